"""The rows of a CSV file that lists images, read strictly: a slip in it is named with its line."""

import csv
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ....core.errors import DataError, printable
from ...limits import MAX_CLASS_NAME_CHARACTERS, MAX_CSV_LINE_CHARACTERS, MAX_FILE_NAME_CHARACTERS
from ...listing import UNSPLIT, PackedNames, parse_split, split_number

COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "image"),
    "label": ("label", "class"),
    "split": ("split",),
    "group": ("group",),
}
NO_GROUP = -1


@dataclass(frozen=True)
class _Columns:
    """Where in a row the values stand; None for a column that is not there."""

    file: int
    label: int
    split: int | None
    group: int | None
    count: int


class ManifestRows:
    """The rows of a manifest, checked and packed; labels and groups numbered in the order they first occur."""

    def __init__(self, path: Path) -> None:
        self.names = PackedNames()
        self.labels, self.groups, self.parts = array("i"), array("i"), array("b")
        self._label_numbers: dict[str, int] = {}
        self._group_numbers: dict[str, int] = {}
        self._where = printable(str(path))
        self._row_of_hash: dict[int, int] = {}
        lines = read_rows(path)
        first = next(lines, None)
        if first is None:
            raise DataError(f"{self._where} is empty.\nIts first line names the columns: file,label.")
        columns = _find_columns(self._where, first[1])
        for line, row in lines:
            self._add(columns, line, row)
        if not len(self.names):
            raise DataError(f"{self._where} names its columns, but lists no image.\nAdd a row for each image.")
        del self._row_of_hash

    @property
    def label_names(self) -> list[str]:
        return list(self._label_numbers)

    @property
    def group_names(self) -> list[str]:
        return list(self._group_numbers)

    def _add(self, columns: _Columns, line: int, row: list[str]) -> None:
        where = f"{self._where}, line {line}"
        if len(row) != columns.count:
            raise DataError(
                f"{where} has {len(row)} values; the first line names {columns.count} columns.\n"
                f"Put names that contain a comma into double quotes."
            )
        name, label = _file_name(where, row[columns.file]), row[columns.label].strip()
        if not label:
            raise DataError(f"{where} has no label for {printable(name)}.\nFill it in, or remove the row.")
        if len(label) > MAX_CLASS_NAME_CHARACTERS:
            raise DataError(
                f"{where} has a label of {len(label):,} characters; at most {MAX_CLASS_NAME_CHARACTERS} are read.\n"
                f"Give the class a shorter name."
            )
        self._refuse_duplicate(line, name, label)
        self.names.append(os.fsencode(name))
        self.labels.append(self._label_numbers.setdefault(label, len(self._label_numbers)))
        self.parts.append(UNSPLIT if columns.split is None else _split(where, row[columns.split].strip()))
        group = "" if columns.group is None else row[columns.group].strip()
        self.groups.append(self._group_numbers.setdefault(group, len(self._group_numbers)) if group else NO_GROUP)

    def _refuse_duplicate(self, line: int, name: str, label: str) -> None:
        """By the hash of the name, which takes less memory than the name."""
        row = self._row_of_hash.setdefault(hash(name), len(self.names))
        if row == len(self.names) or os.fsdecode(self.names[row]) != name:
            return
        before = self.label_names[self.labels[row]]
        what = "again" if before == label else f"as '{printable(label)}', and before as '{printable(before)}'"
        raise DataError(f"{self._where}, line {line} lists {printable(name)} {what}.\nKeep one row for each file.")


def names_images(path: Path) -> bool:
    """Whether the first line of a CSV file names a file and a label column."""
    try:
        header = next(read_rows(path), None)
    except DataError:
        return False
    names = {text.strip().lower() for text in header[1]} if header else set()
    return all(names & set(COLUMNS[column]) for column in ("file", "label"))


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of every row that is not blank."""
    where = printable(str(path))
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_lines(file, where), strict=True)
            for row in reader:
                if any(value.strip() for value in row):
                    yield reader.line_num, row
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text.\nSave it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num} is not CSV: {error}.\nCheck its quotes.") from None
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror or error}.\nCheck its permissions.") from None


def _lines(file: IO[str], where: str) -> Iterator[str]:
    """The lines of a file. Raises DataError for one that no memory need hold."""
    number = 1
    while line := file.readline(MAX_CSV_LINE_CHARACTERS + 1):
        if len(line) > MAX_CSV_LINE_CHARACTERS:
            raise DataError(
                f"{where}, line {number:,} has more than {MAX_CSV_LINE_CHARACTERS:,} characters.\n"
                f"Write one row for each image."
            )
        yield line
        number += 1


def _find_columns(where: str, header: Sequence[str]) -> _Columns:
    names = [name.strip().lower() for name in header]
    found: dict[str, int | None] = {}
    for column, spellings in COLUMNS.items():
        matches = [number for number, name in enumerate(names) if name in spellings]
        if len(matches) > 1:
            both = " and ".join(f"'{names[number]}'" for number in matches[:2])
            raise DataError(f"{where} has two columns for the {column}: {both}.\nRename one of them.")
        found[column] = matches[0] if matches else None
    file, label = found["file"], found["label"]
    if file is None or label is None:
        missing = "file" if file is None else "label"
        shown = ", ".join(printable(name[:40]) for name in header[:8])
        other = " Separate the columns by commas." if len(names) == 1 else ""
        raise DataError(
            f"{where} has no column '{missing}'; its first line is: {shown}.\n"
            f"Name the columns file,label and, where you have them, split and group.{other}"
        )
    return _Columns(file=file, label=label, split=found["split"], group=found["group"], count=len(names))


def _file_name(where: str, text: str) -> str:
    """The name in its plain form. Raises DataError where it is none, or leads out of the folder."""
    name = text.strip()
    if "/" not in name:
        name = name.replace("\\", "/")  # written on Windows
    plain = os.path.normpath(name) if name else ""
    if not plain or "\0" in plain or len(name) > MAX_FILE_NAME_CHARACTERS:
        raise DataError(f"{where} names no file.\nFill it in, or remove the row.")
    if os.path.isabs(plain) or plain.split("/")[0] == "..":
        raise DataError(
            f"{where}: {printable(name)} is not a name relative to the folder of the CSV file, inside that folder.\n"
            f"Give such names, and put the CSV file beside or above the images."
        )
    return plain


def _split(where: str, text: str) -> int:
    if not text:
        raise DataError(f"{where} has no split.\nFill it in for every row, or remove the column.")
    return split_number(parse_split(text, where))
