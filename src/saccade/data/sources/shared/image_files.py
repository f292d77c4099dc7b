"""The files and folders of images on a disk: one list of endings, one walker.

Training, judging, prediction and the check-up of a set see the same files of a folder.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from ....core.errors import DataError, ImageError, printable
from ....core.plain_files import NotPlainFile, open_plain_file
from ...images.formats.table import ENDINGS as IMAGE_ENDINGS
from ...left_out import ENDINGS, SYSTEM_NAMES, SYSTEM_NAMES_BYTES, PassedOver
from ...limits import refuse_large_image
from ...source import ARCHIVES, read_error

ENDINGS_SHOWN = " ".join(IMAGE_ENDINGS)
Identity = tuple[int, int]


def walk_images(
    folder: Path | bytes, visited: Set[Identity] = frozenset(), passed_over: PassedOver | None = None
) -> Iterator[bytes]:
    """Paths of regular files with an image's ending below `folder`; hidden ones left out, no folder visited twice.

    `visited` are folders that count as visited: a link to one of them inside `folder` is not followed. `passed_over`
    counts the other files. Raises DataError for a folder that cannot be listed.
    """
    pending = [os.fsencode(folder)]
    seen: set[Identity] = set()
    while pending:
        current = pending.pop()
        identity = identities([current])
        if identity & seen or (seen and identity & visited):
            continue
        seen |= identity
        for entry in list_entries(current):
            name = entry.name.lower()
            is_left = name.startswith(b".") or name in SYSTEM_NAMES_BYTES
            if not is_left and name.endswith(ENDINGS) and _is_regular(entry):
                yield entry.path
            elif is_folder(entry):
                if not is_left:
                    pending.append(entry.path)
            elif passed_over is not None:
                passed_over.add(entry)


def list_entries(folder: Path | bytes) -> list[os.DirEntry[bytes]]:
    """What lies in a folder, in no order. Raises DataError where it cannot be listed."""
    path = os.fsencode(folder)
    try:
        with os.scandir(path) as found:
            return list(found)
    except PermissionError:
        raise DataError(
            f"The folder {printable(os.fsdecode(path))} may not be read by you.\nChange its permissions."
        ) from None
    except OSError as error:
        name = printable(os.fsdecode(path))
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        is_long = error.errno == errno.ENAMETOOLONG
        remedy = "Shorten the names" if is_long else "Check the disk, or whether something is changing the folder"
        raise DataError(f"The folder {shown} cannot be listed: {error.strerror or error}.\n{remedy}.") from None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; hidden ones and those of the system left out."""
    names = (os.fsdecode(entry.name) for entry in list_entries(folder) if is_folder(entry))
    return sorted(name for name in names if not (name.startswith(".") or name.lower() in SYSTEM_NAMES))


def has_images(folder: Path) -> bool:
    """Whether an image lies in `folder` or below it."""
    return next(walk_images(folder), None) is not None


def why_no_images(folder: Path) -> str:
    """What a folder without images holds instead, for a message that begins with its name."""
    others = PassedOver()
    if next(walk_images(folder, passed_over=others), None) is not None:
        return ""
    told = f"; {others.sentence()}" if others.sentence() else ""
    names = (os.fsdecode(entry.name) for entry in list_entries(folder))
    archive = next((name for name in sorted(names) if name.lower().endswith(ARCHIVES)), "")
    unpack = f"; unpack {printable(archive)} first" if archive else ""
    return f"the folder holds no images{told}{unpack} (endings looked for: {ENDINGS_SHOWN})."


def images_directly_in(folder: Path, passed_over: PassedOver | None = None) -> list[str]:
    """Names of the images that lie in `folder` itself, sorted; `passed_over` counts its other files."""
    found = []
    for entry in list_entries(folder):
        if not entry.name.startswith(b".") and entry.name.lower().endswith(ENDINGS) and _is_regular(entry):
            found.append(os.fsdecode(entry.name))
        elif passed_over is not None and not is_folder(entry):
            passed_over.add(entry)
    return sorted(found)


def read_file(root: bytes, path: bytes) -> bytes:
    """The content of the file `path` below `root`. Raises ImageError naming it."""
    try:
        with open_plain_file(os.path.join(root, path)) as file:
            refuse_large_image(os.fsdecode(path), os.fstat(file.fileno()).st_size)
            return file.read()
    except NotPlainFile as error:
        raise ImageError(os.fsdecode(path), f"{error}.") from None
    except OSError as error:
        raise read_error(os.fsdecode(path), "the file", error) from error


def identities(paths: Iterable[Path | bytes]) -> set[Identity]:
    """Device and inode of the folders that are there."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue  # it has vanished, or may not be looked at: listing it will say so
        found.add((status.st_dev, status.st_ino))
    return found


def is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself


def _is_regular(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a file or a dangling link, which the scan names; FIFOs and devices would hang a reader."""
    try:
        if entry.is_file():
            return True  # known from the listing, without another call for each file
        return entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        return True  # a link that leads to itself
