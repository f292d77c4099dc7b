"""A CSV file that lists images: file, label, and optionally split and group.

The files lie below the folder of the CSV file, or in one of its sub-folders from where the names are given.
"""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....core.errors import DataError, ImageError, printable
from ....core.types import Record
from ...listing import check_classes, class_order, refuse_twins, split_name
from ...source import DataSource, SourceFormat, register
from ..folder import ENDINGS, read_file
from .rows import NO_GROUP, ManifestRows, names_images

NAMES_IN_FOLDER = ("manifest.csv", "labels.csv", "metadata.csv")


class Manifest(DataSource):
    """Keys are the names of the files as the CSV file gives them. Images of one group stay on one side of a split."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        rows = ManifestRows(path)
        self.classes = class_order(rows.label_names)
        where = printable(self.name)
        check_classes(where, self.classes, "List images of at least one more class.")
        refuse_twins(where, self.classes, "Write the label the same way in every row.")
        order = {name: label for label, name in enumerate(self.classes)}
        label_of_number = np.array([order[name] for name in rows.label_names], dtype=np.int32)
        self._names = rows.names
        self._label_N = label_of_number[np.array(rows.labels)]
        self._part_N = np.array(rows.parts, dtype=np.int8)
        self._group_N = np.array(rows.groups, dtype=np.int32)
        self._group_names = rows.group_names
        self._root = os.fsencode(_root(path, os.fsdecode(rows.names[0])))
        _check_groups(where, self._group_N, self._part_N, self._group_names)
        self.digest = self._names.digest(self._label_N, self._part_N, self._group_N, repr(self.classes).encode())

    def __len__(self) -> int:
        return len(self._names)

    def record(self, index: int) -> Record:
        group = int(self._group_N[index])
        return Record(
            key=os.fsdecode(self._names[index]),
            label=int(self._label_N[index]),
            split=split_name(self._part_N[index]),
            group=None if group == NO_GROUP else self._group_names[group],
        )

    def read(self, index: int) -> bytes:
        name = self._names[index]
        try:
            return read_file(self._root, name)
        except ImageError:
            other = _other_spelling(self._root, name)
            if other is None:
                raise
            return read_file(self._root, other)


def find_manifest(folder: Path) -> Path | None:
    """The CSV file in `folder` that lists images; None without one."""
    paths = (folder / name for name in NAMES_IN_FOLDER)
    return next((path for path in paths if path.is_file() and names_images(path)), None)


def _root(path: Path, first: str) -> Path:
    """The folder from which the names count: that of the CSV file, or the one sub-folder where the first file is."""
    folder = path.parent
    if _is_below(folder, first):
        return folder
    below = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    found = [entry for entry in below if _is_below(entry, first)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{printable(str(path))}: {printable(first)} is in {printable(found[0].name)} and in "
            f"{printable(found[1].name)}.\nPut the folder in front of the file names."
        )
    has_ending = os.path.splitext(first)[1].lower().encode() in ENDINGS
    hint = "" if has_ending else " Give the names with their endings, such as .jpg."
    raise DataError(
        f"{printable(str(path))}: its first file, {printable(first)}, is neither in {printable(str(folder))} "
        f"nor in a folder below it.\nPut the CSV file beside or above the images.{hint}"
    )


def _is_below(folder: Path, name: str) -> bool:
    return os.path.lexists(folder / name) or _other_spelling(os.fsencode(folder), os.fsencode(name)) is not None


def _other_spelling(root: bytes, name: bytes) -> bytes | None:
    """The same name with its accents composed or decomposed, where such a file is there."""
    text = os.fsdecode(name)
    for other_text in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
        other = os.fsencode(other_text)
        if other != name and os.path.exists(os.path.join(root, other)):
            return other
    return None


def _check_groups(where: str, group_N: np.ndarray, part_N: np.ndarray, names: Sequence[str]) -> None:
    """Raise DataError where a group is in two splits: the figure would flatter."""
    pairs = np.unique(np.stack([group_N, part_N])[:, group_N != NO_GROUP], axis=1)
    twice = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(twice):
        first, second = (split_name(int(pairs[1, twice[0] + step])) for step in (0, 1))
        raise DataError(
            f"{where}: the group '{printable(names[int(pairs[0, twice[0]])][:80])}' is in {first} and in {second}, "
            f"so that the one tells of the other.\nGive all its rows one split, or remove the split column."
        )


def _open(text: str) -> Manifest:
    path = Path(text)
    return Manifest(path if path.is_file() else find_manifest(path) or path)


def _recognises(text: str) -> bool:
    path = Path(text)
    if path.suffix.lower() == ".csv":
        return path.is_file()
    return path.is_dir() and find_manifest(path) is not None


register(
    SourceFormat(
        name="manifest",
        summary="a CSV file with the columns file and label, optionally split and group, beside or above its images",
        example="path/to/labels.csv",
        recognises=_recognises,
        open=_open,
        priority=40,
    ),
    __name__,
)
