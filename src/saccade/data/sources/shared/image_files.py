"""The files and folders of images on a disk: one list of endings, one walker, one count of what is passed over.

Training, judging, prediction and the check-up of a set see the same files of a folder.
"""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from ....core.errors import DataError, ImageError, counted, printable
from ....core.plain_files import NotPlainFile, open_plain_file
from ...images.formats.table import ENDINGS as IMAGE_ENDINGS
from ...limits import refuse_large_image
from ...source import ARCHIVES, read_error

ENDINGS = tuple(map(os.fsencode, IMAGE_ENDINGS))
ENDINGS_SHOWN = " ".join(IMAGE_ENDINGS)
# what systems and archives leave behind: of no interest to anyone
SYSTEM_NAMES = {
    *("__macosx", "thumbs.db", ".ds_store", "desktop.ini", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information"),
}
SYSTEM_NAMES_BYTES = {name.encode() for name in SYSTEM_NAMES}
# files that belong to a set of images, and are no lost images
COMPANIONS = {b"readme.md", b"readme.txt", b"readme", b"license", b"license.txt"}
MAX_ENDING_CHARACTERS = 12

Identity = tuple[int, int]


class PassedOver:
    """Counts the files of a folder that are not read as images, by ending, and those that stand at no class."""

    def __init__(self) -> None:
        self._by_ending: Counter[str] = Counter()
        self.num_irregular = 0
        self.num_hidden = 0
        self.num_beside = 0

    def add(self, entry: os.DirEntry[bytes]) -> None:
        """Count a file that the walker met and did not read."""
        name = entry.name.lower()
        if name in SYSTEM_NAMES_BYTES or name in COMPANIONS:
            return
        if name.startswith(b"."):
            self.num_hidden += name.endswith(ENDINGS)  # .gitignore and the like are no lost images
            return
        if name.endswith(ENDINGS):
            self.num_irregular += 1
            return
        self._by_ending[counted_ending(os.fsdecode(name))] += 1

    def update(self, other: "PassedOver") -> None:
        """Count what `other` counted, too."""
        self._by_ending.update(other._by_ending)
        self.num_irregular += other.num_irregular
        self.num_hidden += other.num_hidden
        self.num_beside += other.num_beside

    def by_ending(self) -> dict[str, int]:
        """{ending in lower case: number of files}, the most frequent first."""
        return dict(sorted(self._by_ending.items(), key=lambda item: (-item[1], item[0])))

    def sentence(self) -> str:
        """`10 files passed over: 9 .heic, 1 .docx`; empty where every file was read."""
        parts = [f"{count:,} {printable(ending)}" for ending, count in self.by_ending().items()]
        if len(parts) > 6:
            rest = sum(list(self.by_ending().values())[5:])
            parts = [*parts[:5], f"{rest:,} of other endings"]
        if self.num_beside:
            parts.append(f"{counted(self.num_beside, 'image')} beside the class folders")
        if self.num_irregular:
            parts.append(
                f"{self.num_irregular:,} that {'is not a file' if self.num_irregular == 1 else 'are not files'}"
            )
        if self.num_hidden:
            parts.append(counted(self.num_hidden, "hidden image"))
        total = self._by_ending.total() + self.num_beside + self.num_irregular + self.num_hidden
        return f"{counted(total, 'file')} passed over: {', '.join(parts)}" if total else ""


def counted_ending(name: str) -> str:
    """Under which ending a file is counted that is not read: `.docx`, in lower case."""
    ending = os.path.splitext(name)[1].lower()
    return ending if 0 < len(ending) <= MAX_ENDING_CHARACTERS else "without an ending"


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
