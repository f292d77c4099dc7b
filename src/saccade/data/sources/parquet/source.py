"""Parquet files in the Hugging Face image convention: a column of encoded images, and one of class numbers or names.

Splits and shards are told by file names, as `datasets` does: train.parquet, data/test-00000-of-00003.parquet,
validation/0000.parquet. A single file, or files of one split only, are divided by Saccade.
"""

import os
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError, ImageError, printable
from ....core.types import Record
from ...records import RecordTable, table_of_labels
from ...source import DataSource, SourceFormat, register
from ...source_text import NOTHING_CHOSEN, ChosenColumns
from ..shared.label_lists import ONE, LabelValue, SettledLabels, check_wanted, settle_labels
from ..shared.listing import (
    PackedNames,
    check_classes,
    is_split_folder,
    refuse_many_classes,
    refuse_twins,
    split_name,
    split_of_name,
    splits_of_files,
)
from ..shared.readable import ReadableFile, ReadableImages, first_line
from ..shared.targets import no_label_hints
from .columns import ImageColumns, find_columns, find_image_column
from .labels import check_rows, read_label_lists, read_labels
from .row_groups import ParquetPart, ValueReader, import_pyarrow, open_parquet

SHARD = re.compile(r"^(.*)-(\d{5})-of-(\d{5})$")
DEPTH = 3  # folders below the given one: CONFIGURATION/SPLIT/0000.parquet
FEW = 8  # entries of a sub-folder that are looked at to recognise a set


FileLabels = np.ndarray | list[str] | list[tuple[str, ...]]  # class numbers, texts, or lists of either as texts


class ParquetImages(DataSource):
    """Keys are `file:row`. Files whose rows all have no label (-1, as in competitions) are left out.

    `card` is the data card (README.md) where it is not in the folder of the files.
    """

    def __init__(
        self, path: Path, name: str = "", card: Path | None = None, chosen: ChosenColumns = NOTHING_CHOSEN
    ) -> None:
        where = printable(name or str(path))
        self.name = f"{name or path}{chosen.as_text()}"
        folder = path if path.is_dir() else path.parent
        files = find_files(path, where)
        columns, parts, labels, numbers = _open_parts(files, card or folder / "README.md", chosen)
        check_wanted(chosen.labels)
        settled, value_N = _settled(where, columns, labels, ONE if chosen.target else chosen.labels)
        self.task, self.classes, self.label_name = settled.task, settled.classes, columns.label
        self._labels = settled.of_rows(value_N)
        odd = [] if chosen.target else no_label_hints(self.classes)
        self.notes = (*columns.told(printable(path.name)), *settled.notes, *self._labels.told(), *odd)
        used = [files[number].relative_to(folder) for number in numbers]
        self._files = [str(file) for file in used]
        self._start_F = np.cumsum([0, *map(len, labels)])
        self._split_F = splits_of_files(used, where)
        self._values = ValueReader(parts)
        listing = repr((self.classes, self._files, self._split_F, self._start_F.tolist())).encode()
        self.digest = PackedNames([os.fsencode(file) for file in self._files]).digest(listing, self._labels.content())

    def __len__(self) -> int:
        return int(self._start_F[-1])

    def record(self, index: int) -> Record:
        file = self._file(index)
        return Record(
            key=self._key(index, file),
            label=self._labels.label(index),
            split=split_name(self._split_F[file]),
            labels=self._labels.labels(index),
        )

    def table(self) -> RecordTable:
        split_N = np.repeat(np.array(self._split_F, np.int8), np.diff(self._start_F))
        return table_of_labels(*self._labels.codes(), split_N)

    def read(self, index: int) -> bytes:
        key = self._key(index, self._file(index))
        content = self._values.read(index, key)
        if content is None:
            raise ImageError(key, "the row holds no image bytes.")
        return content

    def _file(self, index: int) -> int:
        return int(np.searchsorted(self._start_F, index, side="right")) - 1

    def _key(self, index: int, file: int) -> str:
        return f"{self._files[file]}:{index - int(self._start_F[file])}"


def find_files(path: Path, where: str) -> list[Path]:
    """The Parquet files of a set, in the order of their names. Raises DataError for several sets, or absent shards."""
    if path.is_file():
        return [path]
    files = sorted(_walk(path, DEPTH))
    if not files:
        raise DataError(f"{where} has no Parquet file.\nGive the folder that has them.")
    sets = sorted({_set_name(file.relative_to(path)) for file in files})
    if len(sets) > 1:
        raise DataError(
            f"{where} holds {len(sets)} sets: {', '.join(printable(name or '.') for name in sets[:6])}.\n"
            f"Give the folder of one of them."
        )
    _refuse_absent_shards(files, where)
    return files


def recognises(text: str) -> bool:
    """Whether `text` is a Parquet file, or a folder with one among the first entries of its folders."""
    path = Path(text)
    if path.is_file():
        return path.suffix.lower() == ".parquet"
    return path.is_dir() and _has_parquet(path, DEPTH, None)


def _has_parquet(folder: Path, depth: int, limit: int | None) -> bool:
    folders: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if limit is not None and number >= limit:
                    break
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(".parquet"):
                    return True
                if depth > 1 and len(folders) < FEW and entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
    except OSError:
        return False  # what cannot be listed is reported by the source that opens it
    return any(_has_parquet(inner, depth - 1, FEW) for inner in folders)


def _walk(folder: Path, depth: int) -> Iterable[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"The folder {printable(str(folder))} cannot be listed: {reason}.\nCheck its permissions."
        ) from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() == ".parquet" and entry.is_file():
            yield entry
        elif depth > 1 and entry.is_dir():
            yield from _walk(entry, depth - 1)


def _set_name(file: Path) -> str:
    """The folder of a configuration: what is left of the file's folders without `data` and splits."""
    return "/".join(part for part in file.parent.parts if part != "data" and not is_split_folder(part))


def _refuse_absent_shards(files: list[Path], where: str) -> None:
    shards: dict[tuple[Path, str, int], set[int]] = {}
    for file in files:
        if match := SHARD.match(file.stem):
            name = file.parent, match[1], int(match[3])
            shards.setdefault(name, set()).add(int(match[2]))
    for (_, prefix, total), found in shards.items():
        absent = sorted(set(range(total)) - found) if total < 100_000 else []
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            raise DataError(
                f"{where} has no {printable(prefix)}-{absent[0]:05d}-of-{total:05d}.parquet{more}.\n"
                f"Download the set again: it is not complete."
            )


def _open_parts(
    files: list[Path], card: Path, chosen: ChosenColumns
) -> tuple[ImageColumns, list[ParquetPart], list[FileLabels], list[int]]:
    """The columns, the files with labels, their labels, and which files they are."""
    columns: ImageColumns | None = None
    parts, labels, numbers = [], [], []
    for number, file in enumerate(files):
        part_columns, part, label = _open_part(file, card, chosen)
        if label is None:
            continue
        if columns is not None and part_columns != columns:
            raise DataError(
                f"{printable(str(file))} has other columns or classes than {printable(files[0].name)}.\n"
                f"They are not one set: give one of them."
            )
        columns = part_columns
        parts.append(part)
        labels.append(label)
        numbers.append(number)
    if columns is None:
        raise DataError(f"{printable(str(files[0]))} has no labelled row.\nThere is nothing to learn from it.")
    return columns, parts, labels, numbers


def open_readable(path: Path, chosen: ChosenColumns) -> ReadableImages:
    """The images of a refused set, in those files that can be read; without classes where labels are what is wrong."""
    folder = path if path.is_dir() else path.parent
    files: list[ReadableFile] = []
    notes: list[str] = []
    for file in [path] if path.is_file() else sorted(_walk(path, DEPTH)):
        try:
            part = _open_images(file, chosen)
        except DataError as error:
            notes.append(first_line(error))
            continue
        shown = file.relative_to(folder)
        keys = [f"{shown}:{row}" for row in range(part.metadata.num_rows)]
        classes = [""] * len(keys)
        try:
            classes = _readable_classes(*_open_part(file, folder / "README.md", chosen)) or classes
        except DataError as error:
            notes.append(first_line(error))
        split = next(filter(None, map(split_of_name, [shown.stem, *shown.parent.parts[::-1]])), None)
        read = partial(_read_value, ValueReader([part]), keys)
        files.append(ReadableFile(split=split, keys=keys, classes=classes, read=read))
    return ReadableImages(f"{path}{chosen.as_text()}", files, notes)


def _read_value(values: ValueReader, keys: list[str], row: int) -> bytes:
    content = values.read(row, keys[row])
    if content is None:
        raise ImageError(keys[row], "the row holds no image bytes.")
    return content


def _readable_classes(columns: ImageColumns, _: ParquetPart, labels: FileLabels | None) -> list[str]:
    """A class name for each row, a number where it has no name; nothing where rows have no labels or several."""
    if isinstance(labels, np.ndarray):
        names = dict(enumerate(columns.names or ()))
        return [names.get(number, str(number)) for number in labels.tolist()]
    return [label for label in labels or [] if isinstance(label, str)]


def _open_images(file: Path, chosen: ChosenColumns) -> ParquetPart:
    """The images of a file, whatever its labels are. Raises DataError."""
    with _opened(file) as (opened, signature, where):
        column = find_image_column(opened.schema_arrow, where, chosen)
        return ParquetPart(path=file, metadata=opened.metadata, signature=signature, column=column)


def _open_part(file: Path, card: Path, chosen: ChosenColumns) -> tuple[ImageColumns, ParquetPart, FileLabels | None]:
    with _opened(file) as (opened, signature, where):
        metadata = opened.metadata
        columns = find_columns(opened.schema_arrow, card, where, chosen)
        labels: FileLabels | None
        if columns.is_list:
            labels = read_label_lists(file, metadata, columns, where)
        else:
            labels = read_labels(file, metadata, columns, where)
    part = ParquetPart(path=file, metadata=metadata, signature=signature, column=columns.image)
    return columns, part, labels


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, tuple[int, int], str]]:
    """(the open file, its size and time, its name in a message). Raises DataError where it is no sound Parquet file."""
    pyarrow, _ = import_pyarrow()
    where = printable(str(file))
    try:
        status = file.stat()
        with open_parquet(file) as opened:
            check_rows(opened.metadata, status.st_size, where)
            yield opened, (status.st_size, status.st_mtime_ns), where
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError, OverflowError) as error:
        reason = printable(" ".join(str(error).split())[:100]).rstrip(".")
        raise DataError(f"{where} is cut off, damaged or no Parquet file ({reason}).\nDownload it again.") from None


def _settled(
    where: str, columns: ImageColumns, labels: list[FileLabels], wanted: str
) -> tuple[SettledLabels, np.ndarray]:
    """The classes, and the place among the settled label values of each row's labels."""
    if all(isinstance(label, np.ndarray) for label in labels):
        names, label_N = _numbered(where, columns, np.concatenate(labels))
        settled = settle_labels(where, names, ONE, names)  # a number is never a list
    else:
        rows: list[LabelValue] = [value for part in labels for value in part]
        rows = _named(where, columns, rows) if columns.is_list and columns.is_number else rows
        place: dict[LabelValue, int] = {}
        label_N = np.array(array("i", (place.setdefault(value, len(place)) for value in rows)))
        refuse_many_classes(where, len(place) if not (columns.is_list or columns.is_value) else 0)
        settled = settle_labels(where, list(place), wanted, columns.names or () if columns.is_list else ())
        names = settled.classes
    if columns.is_value:
        return settled, label_N.astype(np.int32)
    check_classes(where, names, "Give a set with images of at least one more class.")
    refuse_twins(where, names, "Write the label the same way in every row.")
    return settled, label_N.astype(np.int32)


def _numbered(where: str, columns: ImageColumns, label_N: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """(classes, label_N) of class numbers."""
    if columns.names is not None:
        _check_range(where, label_N, len(columns.names))
        return columns.names, label_N
    number_K, label_N = np.unique(label_N, return_inverse=True)
    return _numbers_as_names(where, number_K), label_N


def _named(where: str, columns: ImageColumns, rows: list[LabelValue]) -> list[LabelValue]:
    """Lists of class numbers as lists of class names."""
    number_K = np.array(sorted({int(number) for row in rows for number in row}), np.int64)
    if not len(number_K):
        return rows
    if columns.names is None:
        _numbers_as_names(where, number_K)
        return rows
    _check_range(where, number_K, len(columns.names))
    names = columns.names
    return [tuple(names[int(number)] for number in row) for row in rows]


def _numbers_as_names(where: str, number_K: np.ndarray) -> tuple[str, ...]:
    """The class numbers that occur, which serve as names."""
    if number_K[0] < 0:
        raise DataError(
            f"{where} has the label {number_K[0]}: classes are numbered from 0, and -1 means that there is no label.\n"
            f"Number the classes again."
        )
    refuse_many_classes(where, len(number_K))
    return tuple(map(str, number_K.tolist()))


def _check_range(where: str, label_N: np.ndarray, num_names: int) -> None:
    lowest, highest = int(label_N.min()), int(label_N.max())
    if highest >= num_names or lowest < 0:
        raise DataError(
            f"{where} has the label {highest if highest >= num_names else lowest}, "
            f"but names {num_names} classes, 0 to {num_names - 1}.\n"
            f"The file or its data card is damaged: download it again."
        )


register(
    SourceFormat(
        name="parquet",
        summary="Parquet files with a column of encoded images and one of labels, as Hugging Face keeps them",
        example="path/to/train.parquet",
        recognises=recognises,
        open=lambda text: ParquetImages(Path(text)),
        open_columns=lambda text, chosen: ParquetImages(Path(text), chosen=chosen),
        open_readable=lambda text, chosen: open_readable(Path(text), chosen),
        priority=24,
    ),
    __name__,
)
