"""A table that lists images: file, label, and optionally split and group; CSV, or JSON lines.

The files lie below the folder of the table, or in one of its sub-folders from where the names are given. A folder whose
images are labelled by such tables is read by them.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from ....core.errors import DataError, ImageError, printable
from ....core.types import Record
from ...records import RecordTable, table_of_labels
from ...source import DataSource, SourceFormat, register
from ...source_text import NOTHING_CHOSEN, ChosenColumns
from ..shared.image_files import read_file
from ..shared.label_lists import ONE, check_wanted
from ..shared.listing import (
    UNSPLIT,
    PackedNames,
    check_classes,
    parts_by_folder,
    refuse_twins,
    split_name,
)
from ..shared.targets import NUMBER, no_label_hints, number_hint
from .columns import find_columns, hints
from .files import FileFinder, composed, count_unlisted
from .find import LabelFiles, find_label_files
from .rows import NO_GROUP, ManifestRows
from .tables import ENDINGS, Table, open_table


class Manifest(DataSource):
    """Keys are the names of the files as the table gives them. Images of one group stay on one side of a split."""

    def __init__(self, path: Path, chosen: ChosenColumns = NOTHING_CHOSEN) -> None:
        labels = _label_files(path, chosen)
        table = labels.tables[0][0]
        place = table if len(labels.tables) == 1 else path
        self.name = f"{place}{chosen.as_text()}"
        rows, root, self._unused = _read_tables(labels, place, chosen)
        where = printable(str(place))
        check_wanted(chosen.labels)
        settled = rows.settle(where, ONE if chosen.target else chosen.labels)
        self.task, self.classes, self.label_name = settled.task, settled.classes, rows.label_name
        if not chosen.target:  # numbers are no classes
            check_classes(where, self.classes, "List images of at least one more class.")
            refuse_twins(where, self.classes, "Write the label the same way in every row.")
        self._labels = settled.of_rows(np.array(rows.labels))
        self._names = rows.names
        self._part_N = _parts(rows)
        self._group_N = np.array(rows.groups, dtype=np.int32)
        self._group_names = rows.group_names
        self._root = os.fsencode(root)
        refuse_twins(where, self._group_names, "Write the group the same way in every row.", "groups")
        _check_groups(where, self._group_N, self._part_N, self._group_names)
        told = (*settled.notes, *self._labels.told(), *rows.told_empty(self.classes))
        told = (*told, *([] if chosen.target else self._odd_labels(printable(table.name))))
        self._notes_around = labels.notes, (*told, *_unlisted(labels, root, rows.names))
        self.notes = self.notes_besides(())
        self.digest = self._names.digest(
            self._labels.content(), self._part_N, self._group_N, repr(self.classes).encode()
        )

    def __len__(self) -> int:
        return len(self._names)

    def record(self, index: int) -> Record:
        group = int(self._group_N[index])
        return Record(
            key=os.fsdecode(self._names[index]),
            label=self._labels.label(index),
            split=split_name(self._part_N[index]),
            group=None if group == NO_GROUP else self._group_names[group],
            labels=self._labels.labels(index),
        )

    def table(self) -> RecordTable:
        return table_of_labels(*self._labels.codes(), self._part_N, self._group_N, self._group_names)

    def notes_besides(self, columns: Sequence[str]) -> tuple[str, ...]:
        """The notes without what they say of these columns."""
        before, behind = self._notes_around
        found = [
            hints(each.table, [name for name in each.names if name not in columns], each.repeated)
            for each in self._unused
        ]
        return tuple(dict.fromkeys((*before, *chain.from_iterable(found), *behind)))  # tables of one name: once

    def _odd_labels(self, name: str) -> list[str]:
        """What may not be meant: a word for no label as a class, measured numbers as classes, images that lie in the
        folder of another class."""
        lines = no_label_hints(self.classes)
        if self.task.is_one and (hint := number_hint(self.classes, len(self))):
            lines.append(hint)
        if self.task.is_one and (num := self._num_in_other_folders()):
            images = "1 image lies" if num == 1 else f"{num:,} images lie"
            lines.append(f"{images} in the folder of another class than {name} says: {name} counts, not the folder")
        return lines

    def _num_in_other_folders(self) -> int:
        """How many images lie in a folder that is called like another class than theirs."""
        number_of = {os.fsencode(word): number for number, word in enumerate(self.classes)}
        count = 0
        for index in range(len(self._names)):
            folder = os.path.basename(os.path.dirname(self._names[index]))
            count += number_of.get(folder, self._labels.label(index)) != self._labels.label(index)
        return count

    def read(self, index: int) -> bytes:
        name = self._names[index]
        try:
            return read_file(self._root, name)
        except ImageError:
            other = _other_spelling(self._root, name)
            if other is None:
                raise
            return read_file(self._root, other)


def _label_files(path: Path, chosen: ChosenColumns) -> LabelFiles:
    if not path.is_dir():
        return LabelFiles(tables=((path, None),))
    found = find_label_files(path, chosen)
    if found is None:
        raise DataError(
            f"The folder {printable(str(path))} has no table that lists its images.\n"
            f"Write one with the columns file and label, such as {printable(str(path))}/labels.csv."
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _Unused:
    """Columns of a table that nothing is read from; `repeated` are those of them that may be groups."""

    table: Table
    names: list[str]
    repeated: list[str]


def _read_tables(labels: LabelFiles, place: Path, chosen: ChosenColumns) -> tuple[ManifestRows, Path, list[_Unused]]:
    """The rows of all tables, the folder that their names count from, and the columns that are not used."""
    rows, unused = ManifestRows(chosen.target == NUMBER), []
    root = place
    for path, split in labels.tables:
        table, files = open_table(path), FileFinder(path)
        columns = find_columns(table, files, chosen)
        if len(labels.tables) == 1:
            root, prefix = files.root, ""
        else:
            prefix = os.path.relpath(files.root, place).removeprefix(".")
        repeated = rows.add_table(table, columns, files, prefix, split)
        unused.append(
            _Unused(table=replace(table, sample=(), document=()), names=columns.unused(table), repeated=repeated)
        )
    return rows, root, unused


def _parts(rows: ManifestRows) -> np.ndarray:
    """The split of each row, or where no row has one those of the folders that the files lie in."""
    part_N = np.array(rows.parts, dtype=np.int8)
    by_folder_N = None if (part_N != UNSPLIT).any() else parts_by_folder(rows.names)
    return part_N if by_folder_N is None else by_folder_N


def _unlisted(labels: LabelFiles, root: Path, names: PackedNames) -> list[str]:
    count = count_unlisted(root, names, labels.below)
    if not count:
        return []
    base = labels.below or root
    shown = [str(path.relative_to(base)) if path.is_relative_to(base) else path.name for path, _ in labels.tables]
    images = "1 image is" if count == 1 else f"{count:,} images are"
    return [f"{images} not listed in {', '.join(map(printable, shown))}: not used"]


def _other_spelling(root: bytes, name: bytes) -> bytes | None:
    """The same name with its accents composed or decomposed, where such a file is there."""
    text = os.fsdecode(name)
    for other_text in (composed(text), unicodedata.normalize("NFD", text)):
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


def _recognises(text: str) -> bool:
    path = Path(text)
    if path.is_file():
        return path.suffix.lower() in ENDINGS
    if not path.is_dir():
        return False
    try:
        return find_label_files(path) is not None
    except DataError:
        return True  # opening it says which tables may be meant


register(
    SourceFormat(
        name="manifest",
        summary="a CSV or JSON lines file with the columns file and label, optionally split and group, or its folder; "
        "annotations as COCO or Label Studio write them",
        example="path/to/labels.csv",
        recognises=_recognises,
        open=lambda text: Manifest(Path(text)),
        open_columns=lambda text, chosen: Manifest(Path(text), chosen),
        priority=40,
    ),
    __name__,
)
