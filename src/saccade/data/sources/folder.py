"""Folders of image files: `class/file`, or train, val or validation, and test above the classes."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core.errors import DataError, ImageError, printable
from ...core.types import Record
from ..base import SOURCES, DataSource, SourceFormat

ENDINGS = (b".jpg", b".jpeg", b".jpe", b".png", b".webp", b".bmp", b".gif")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
IGNORED = {"__macosx", "thumbs.db", ".ds_store", "desktop.ini"}


class ImageFolder(DataSource):
    """Classes are the sub-folders' names in alphabetical order; keys are paths relative to the folder.

    The list of files is one packed byte string with offsets: about 100 bytes a file, whatever their number.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._root = os.fsencode(folder)
        splits = find_splits(folder)
        self.classes = _class_names(folder, splits)
        packed = bytearray()
        ends: list[int] = []
        labels: list[int] = []
        part: list[int] = []
        self._split_names = sorted({split for _, split in splits}, key=str)
        for base, split in splits:
            for label, name in enumerate(self.classes):
                class_folder = base / name
                if not class_folder.is_dir():
                    continue
                for path in sorted(walk_images(class_folder)):
                    packed += path[len(self._root) + 1 :]
                    ends.append(len(packed))
                    labels.append(label)
                    part.append(self._split_names.index(split))
        self._packed = bytes(packed)
        self._ends_N = np.array(ends, dtype=np.int64)
        self._label_N = np.array(labels, dtype=np.int32)
        self._part_N = np.array(part, dtype=np.int8)
        _check_counts(folder, self.classes, self._label_N)
        digest = hashlib.sha256(self._packed + self._label_N.tobytes() + self._part_N.tobytes())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(
            key=os.fsdecode(self._path(index)),
            label=int(self._label_N[index]),
            split=self._split_names[self._part_N[index]],
        )

    def read(self, index: int) -> bytes:
        path = self._path(index)
        try:
            with open(os.path.join(self._root, path), "rb") as file:
                return file.read()
        except OSError as error:
            raise ImageError(os.fsdecode(path), f"the file cannot be read: {error.strerror or error}.") from error

    def _path(self, index: int) -> bytes:
        start = self._ends_N[index - 1] if index else 0
        return self._packed[start : self._ends_N[index]]


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
    if "train" not in named or not any(_subfolders(path) for path in named.values()):
        return [(folder, None)]
    others = [name for name in _subfolders(folder) if name.lower() not in SPLIT_NAMES]
    if others:
        raise DataError(
            f"{printable(str(folder))} has the folder 'train' beside '{printable(others[0])}': "
            f"are the sub-folders splits or classes?\nMove everything that is not a split out of it."
        )
    return [(path, split) for split, path in sorted(named.items())]


def walk_images(folder: Path) -> Iterator[bytes]:
    """Paths of regular files with an image's ending below `folder`; hidden ones left out, no folder visited twice."""
    pending = [os.fsencode(folder)]
    visited: set[tuple[int, int]] = set()
    while pending:
        current = pending.pop()
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        try:
            entries = list(os.scandir(current))
        except PermissionError:
            raise DataError(
                f"The folder {printable(os.fsdecode(current))} may not be read by you.\nChange its permissions."
            ) from None
        for entry in entries:
            if _is_ignored(os.fsdecode(entry.name)):
                continue
            if entry.is_dir():
                pending.append(entry.path)
            elif entry.name.lower().endswith(ENDINGS) and _is_regular(entry):
                yield entry.path


def _is_regular(entry: os.DirEntry[bytes]) -> bool:
    try:
        return stat.S_ISREG(entry.stat().st_mode)  # follows links; FIFOs, sockets and devices would hang a reader
    except OSError:
        return True  # a dangling link: the scan names it with its reason


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if not _is_ignored(entry.name) and entry.is_dir())


def _class_names(folder: Path, splits: list[tuple[Path, str | None]]) -> tuple[str, ...]:
    names = sorted({name for base, _ in splits for name in _subfolders(base)})
    where = printable(str(folder))
    if not names:
        loose = next(walk_images(folder), None)
        what = "images but no sub-folders" if loose else "no images"
        raise DataError(
            f"The folder {where} holds {what}.\n"
            f"Put the images of each class into a sub-folder named after it, such as {where}/cat and {where}/dog."
        )
    if len(names) == 1:
        raise DataError(
            f"The folder {where} has one class only, '{printable(names[0])}': there is nothing to tell apart.\n"
            f"Add a sub-folder of images for at least one more class."
        )
    _refuse_twins(where, names)
    return tuple(names)


def _refuse_twins(where: str, names: list[str]) -> None:
    """Names that look alike (letter case, composed or decomposed accents) are a slip that would halve a class."""
    seen: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", name).casefold()
        if plain in seen:
            raise DataError(
                f"The folder {where} has two classes whose names differ only in letter case or accent encoding: "
                f"{seen[plain]!a} and {name!a}.\nMerge the two folders, or rename one."
            )
        seen[plain] = name


def _check_counts(folder: Path, classes: tuple[str, ...], label_N: np.ndarray) -> None:
    count_K = np.bincount(label_N, minlength=len(classes))
    empty = [classes[label] for label in np.flatnonzero(count_K == 0)]
    if len(empty) == len(classes):
        raise DataError(
            f"The folder {printable(str(folder))} has {len(classes)} sub-folders but no image in them "
            f"(endings looked for: .jpg .jpeg .jpe .png .webp .bmp .gif).\nCheck the path and the endings."
        )
    if empty:
        shown = ", ".join(f"'{printable(name)}'" for name in empty[:5])
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise DataError(
            f"The folder {printable(str(folder))} has classes without a single image: {shown}{more}.\n"
            f"Add images to them, or remove the empty folders."
        )


SOURCES.add(
    "folder",
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
