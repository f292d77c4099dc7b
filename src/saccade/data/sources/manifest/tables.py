"""Tables that list images, CSV and JSON lines, read strictly and row by row: a slip is named with its line.

Annotations in one JSON document are a table, too, whose rows are its images.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from ....core.documents import DocumentError, parse_json
from ....core.errors import DataError, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_CSV_LINE_CHARACTERS, MAX_TABLE_COLUMNS
from .documents import NAMES, read_annotations

ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
DELIMITERS = (",", ";", "\t")  # between columns; the first of them that the first line has
SAMPLE_ROWS = 50  # by which columns are told apart
Row = tuple[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first line has been read: `names` of its columns, and the first rows. A row is a `unit`: a line, or
    an image of a `document`, which is all of its rows."""

    path: Path
    names: tuple[str, ...]
    sample: tuple[Row, ...]
    unit: str = "line"
    document: tuple[Row, ...] = ()

    @property
    def where(self) -> str:
        return printable(str(self.path))

    def rows(self) -> Iterator[Row]:
        """(line number, one value for each column) of every row. Raises DataError naming the line."""
        return iter(self.document) if self.document else _checked_rows(self.path, self.names)

    def column(self, name: str) -> int | None:
        """The number of a column: its very name, or else its name in other letter case where that is one only."""
        if name in self.names:
            return self.names.index(name)
        found = [number for number, other in enumerate(self.names) if other.lower() == name.strip().lower()]
        return found[0] if len(found) == 1 else None


def open_table(path: Path) -> Table:
    """The columns and first rows of a table. Raises DataError where it is empty or cannot be read."""
    if path.suffix.lower() == ".json":
        rows = tuple(read_annotations(path))
        return Table(path=path, names=NAMES, sample=rows[:SAMPLE_ROWS], unit="image", document=rows)
    names = _column_names(path)
    if len(names) > MAX_TABLE_COLUMNS:
        raise DataError(
            f"{printable(str(path))} has {len(names):,} columns; at most {MAX_TABLE_COLUMNS:,} are read.\n"
            f"Leave out those that are neither file nor label."
        )
    return Table(path=path, names=names, sample=tuple(islice(_checked_rows(path, names), SAMPLE_ROWS)))


def _column_names(path: Path) -> tuple[str, ...]:
    where = printable(str(path))
    if is_json(path):
        first = next(_objects(path, where), None)
        if first is None:
            raise DataError(
                f'{where} is empty.\nWrite a line for each image: {{"file_name": "a.jpg", "label": "cat"}}.'
            )
        return tuple(first[1])
    header = next(_csv_rows(path, where), None)
    if header is None:
        raise DataError(f"{where} is empty.\nIts first line names the columns: file,label.")
    names = tuple(name.strip() for name in header[1])
    if names[0].startswith("#") or names[0].lower().startswith("sep="):
        raise DataError(
            f"{where} begins with '{printable(names[0][:40])}', not with the names of the columns.\n"
            f"Remove that line, or the sign, so that the names come first: file,label."
        )
    return names


def is_json(path: Path) -> bool:
    """Whether a table is one of JSON lines."""
    return path.suffix.lower() == ".jsonl"


def _checked_rows(path: Path, names: tuple[str, ...]) -> Iterator[Row]:
    where = printable(str(path))
    if is_json(path):
        yield from _rows_of_objects(path, where, names)
        return
    for line, row in islice(_csv_rows(path, where), 1, None):
        if len(row) != len(names):
            raise DataError(
                f"{where}, line {line} has {len(row)} values; the first line names {len(names)} columns.\n"
                f"Put names that contain a comma into double quotes."
            )
        yield line, row


def _csv_rows(path: Path, where: str) -> Iterator[Row]:
    """(line number, values) of every row that is not blank."""
    try:
        with io.TextIOWrapper(open_plain_file(path), encoding="utf-8-sig", newline="") as file:
            lines = _lines(file, where)
            first = next(lines, "")
            sign = next((sign for sign in DELIMITERS if sign in first), DELIMITERS[0])
            reader = csv.reader(chain([first], lines), delimiter=sign, strict=True)
            for row in reader:
                if any(value.strip() for value in row):
                    yield reader.line_num, row
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text.\nSave it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num} is not CSV: {error}.\nCheck its quotes.") from None
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror or error}.\nCheck its permissions.") from None


def _objects(path: Path, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank."""
    line = 0
    try:
        with io.TextIOWrapper(open_plain_file(path), encoding="utf-8-sig") as file:
            for line, text in enumerate(_lines(file, where), 1):
                if not text.strip():
                    continue
                value = parse_json(text.encode())
                if not isinstance(value, dict):
                    raise DocumentError("it is not an object")
                yield line, value
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text.\nSave it in UTF-8.") from None
    except DocumentError as error:
        raise DataError(
            f"{where}, line {line} is not a JSON object: {printable(str(error))}.\n"
            f'Write one for each image: {{"file_name": "a.jpg", "label": "cat"}}.'
        ) from None
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror or error}.\nCheck its permissions.") from None


def _rows_of_objects(path: Path, where: str, names: tuple[str, ...]) -> Iterator[Row]:
    known = set(names)
    for line, value in _objects(path, where):
        other = next((key for key in value if key not in known), None)
        if other is not None:
            raise DataError(
                f"{where}, line {line} has the key '{printable(other[:40])}', which the first line has not.\n"
                f"Give the first line every key, with null where it has no value."
            )
        yield line, [_as_text(value.get(name)) for name in names]


def _as_text(value: Any) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


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
