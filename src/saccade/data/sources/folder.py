"""Folders of image files: `class/file`, or train, val or validation, and test above the classes."""

import errno
import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

import numpy as np

from ...core.errors import DataError, ImageError, printable
from ...core.types import Record
from ..limits import refuse_large_image
from ..listing import (
    SPLIT_NAMES,
    PackedNames,
    check_classes,
    refuse_absent_classes,
    refuse_twins,
    split_name,
    split_number,
)
from ..source import DataSource, SourceFormat, read_error, register

ENDINGS = (b".jpg", b".jpeg", b".jpe", b".png", b".webp", b".bmp", b".gif")
IGNORED = {
    *("__macosx", "thumbs.db", ".ds_store", "desktop.ini", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information"),
}
ARCHIVES = (".zip", ".rar", ".7z", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
IGNORED_BYTES = {name.encode() for name in IGNORED}

Identity = tuple[int, int]


class ImageFolder(DataSource):
    """Classes are the sub-folders' names in alphabetical order; keys are paths relative to the folder.

    The list of files is packed: about 100 bytes a file, whatever their number.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._root = os.fsencode(folder)
        splits = find_splits(folder)
        self.classes = _class_names(folder, splits)
        self._names = PackedNames()
        labels, parts = array("i"), array("b")
        above = _identities([folder.resolve(), *folder.resolve().parents, *(base for base, _ in splits)])
        visited = above | _class_folders(folder, splits, self.classes)
        for base, split in splits:
            for label, name in enumerate(self.classes):
                count = len(self._names)
                if (base / name).is_dir() and not above & _identities([base / name]):
                    for path in sorted(walk_images(base / name, visited)):
                        self._names.append(path[len(self._root) + 1 :])
                labels.extend([label] * (len(self._names) - count))
                parts.extend([split_number(split)] * (len(self._names) - count))
        self._label_N = np.array(labels, dtype=np.int32)
        self._part_N = np.array(parts, dtype=np.int8)
        _check_counts(folder, self.classes, self._label_N)
        self.digest = self._names.digest(self._label_N, self._part_N)

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(
            key=os.fsdecode(self._names[index]),
            label=int(self._label_N[index]),
            split=split_name(self._part_N[index]),
        )

    def read(self, index: int) -> bytes:
        return read_file(self._root, self._names[index])


def read_file(root: bytes, path: bytes) -> bytes:
    """The content of the file `path` below `root`. Raises ImageError naming it."""
    try:
        # without waiting for a writer: a FIFO that took the file's place must not hang the reader
        descriptor = os.open(os.path.join(root, path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageError(os.fsdecode(path), "it is not a regular file.")
            refuse_large_image(os.fsdecode(path), os.fstat(descriptor).st_size)
            return file.read()
    except OSError as error:
        raise read_error(os.fsdecode(path), "the file", error) from error


def find_splits(folder: Path) -> list[tuple[Path, str | None]]:
    """[(folder of classes, split)]: the folder itself, or its train, validation and test folders where it has train."""
    named: dict[str, Path] = {}
    for name in _subfolders(folder):
        split = SPLIT_NAMES.get(name.lower())
        if split and split in named:
            raise DataError(
                f"{printable(str(folder))} has two folders for {split}: {named[split].name} and {printable(name)}.\n"
                f"Keep one of them."
            )
        if split:
            named[split] = folder / name
    if "train" not in named:
        _refuse_splits_without_train(folder, named)
        return [(folder, None)]
    if not any(_subfolders(path) for path in named.values()):
        return [(folder, None)]
    others = [name for name in _subfolders(folder) if name.lower() not in SPLIT_NAMES]
    if others:
        raise DataError(
            f"{printable(str(folder))} has the folder 'train' beside '{printable(others[0])}': "
            f"are the sub-folders splits or classes?\nMove everything that is not a split out of it."
        )
    return [(path, split) for split, path in sorted(named.items())]


def _refuse_splits_without_train(folder: Path, named: dict[str, Path]) -> None:
    """Folders test and validation are hardly two classes where there are classes in them."""
    if named and len(named) == len(_subfolders(folder)) and any(_subfolders(path) for path in named.values()):
        found = [path.name for path in named.values()]
        raise DataError(
            f"The folder {printable(str(folder))} has {' and '.join(found)} with sub-folders, but no train: "
            f"are they splits or classes?\n"
            f"Add the folder train, or give one part alone, such as {printable(str(folder / found[0]))}."
        )


def walk_images(folder: Path, visited: Set[Identity] = frozenset()) -> Iterator[bytes]:
    """Paths of regular files with an image's ending below `folder`; hidden ones left out, no folder visited twice.

    `visited` are folders that count as visited: a link to one of them inside `folder` is not followed.
    """
    pending = [os.fsencode(folder)]
    seen: set[Identity] = set()
    while pending:
        current = pending.pop()
        identity = _identities([current])
        if identity & seen or (seen and identity & visited):
            continue
        seen |= identity
        for entry in _entries(current):
            name = entry.name.lower()
            if name.startswith(b".") or name in IGNORED_BYTES:
                continue
            if name.endswith(ENDINGS) and _is_regular(entry):
                yield entry.path
            elif _is_folder(entry):
                pending.append(entry.path)


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except PermissionError:
        raise DataError(
            f"The folder {printable(os.fsdecode(folder))} may not be read by you.\nChange its permissions."
        ) from None
    except OSError as error:
        name = printable(os.fsdecode(folder))
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        is_long = error.errno == errno.ENAMETOOLONG
        remedy = "Shorten the names" if is_long else "Check the disk, or whether something is changing the folder"
        raise DataError(f"The folder {shown} cannot be listed: {error.strerror or error}.\n{remedy}.") from None


def _identities(paths: Iterable[Path | bytes]) -> set[Identity]:
    """Device and inode of the folders that are there."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue  # it has vanished, or may not be looked at: listing it will say so
        found.add((status.st_dev, status.st_ino))
    return found


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
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


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _subfolders(folder: Path) -> list[str]:
    names = (os.fsdecode(entry.name) for entry in _entries(os.fsencode(folder)) if _is_folder(entry))
    return sorted(name for name in names if not _is_ignored(name))


def _class_folders(folder: Path, splits: list[tuple[Path, str | None]], classes: tuple[str, ...]) -> set[Identity]:
    """The folders of all classes: a link from one class to another adds no image to the first."""
    found: dict[Identity, Path] = {}
    for path in (base / name for base, _ in splits for name in classes):
        for identity in _identities([path]):
            if identity in found:
                one, two = (printable(str(place.relative_to(folder))) for place in (found[identity], path))
                raise DataError(
                    f"The folder {printable(str(folder))} has one sub-folder under two names, through a link: "
                    f"{one} and {two}.\nRemove one of the two."
                )
            found[identity] = path
    return set(found)


def _class_names(folder: Path, splits: list[tuple[Path, str | None]]) -> tuple[str, ...]:
    names = sorted({name for base, _ in splits for name in _subfolders(base)})
    where = printable(str(folder))
    if not names:
        raise DataError(_no_classes(folder))
    remedy = "Add a sub-folder of images for at least one more class."
    if len(names) == 1 and len(_subfolders(splits[0][0] / names[0])) > 1 and splits[0][1] is None:
        remedy = f"Did you mean {where}/{printable(names[0])}, which has several sub-folders?"
    check_classes(f"The folder {where}", names, remedy)
    for name in names:
        if name != os.fsencode(name).decode("utf-8", "replace"):
            raise DataError(
                f"The folder {where} has a class whose name is no valid text: '{printable(name)}'.\nRename that folder."
            )
    refuse_twins(f"The folder {where}", names, "Merge the two folders, or rename one.")
    return tuple(names)


def _no_classes(folder: Path) -> str:
    where = printable(str(folder))
    names = [os.fsdecode(entry.name) for entry in _entries(os.fsencode(folder))]
    archive = next((name for name in sorted(names) if name.lower().endswith(ARCHIVES)), None)
    images = next(walk_images(folder), None)
    if archive and not images:
        return (
            f"The folder {where} holds no images, but the archive {printable(archive)}.\n"
            f"Unpack it, and give the folder with one sub-folder of images per class."
        )
    return (
        f"The folder {where} holds {'images but no sub-folders' if images else 'no images'}.\n"
        f"Put the images of each class into a sub-folder named after it, such as {where}/cat and {where}/dog."
    )


def _check_counts(folder: Path, classes: tuple[str, ...], label_N: np.ndarray) -> None:
    where = f"The folder {printable(str(folder))}"
    if not len(label_N):
        raise DataError(
            f"{where} has {len(classes)} sub-folders but no image in them "
            f"(endings looked for: .jpg .jpeg .jpe .png .webp .bmp .gif).\nCheck the path and the endings."
        )
    refuse_absent_classes(where, classes, label_N, "Add images to them, or remove the empty folders.")


register(
    SourceFormat(
        name="folder",
        summary="a folder with one sub-folder of images per class, or train, validation and test above the classes",
        example="path/to/photos",
        recognises=lambda text: Path(text).is_dir(),
        open=lambda text: ImageFolder(Path(text)),
        priority=90,
    ),
    __name__,
)
