"""Bytes out of Parquet files in any order, from any thread, in bounded memory.

Where a file stores its values as they are, as is usual for image files, the place of each value is found when its row
group is first used (parquet_pages.py), and a read fetches that value alone, however large the group is. Other groups
are decoded as a whole, once the sizes that their pages declare are within the limits; those last used are kept. Of
values in a dictionary that is not compressed the places are noted too, where the bytes at them are the value.
"""

import functools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError, ImageError, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_ROW_GROUP_BYTES, refuse_large_image
from .pages import DICTIONARY_PAGE, NULL, ColumnChunk, Page, StoredColumn, find_values, read_footer, read_pages

KEPT_BYTES = 256 << 20
UNKNOWN = -1
MAX_LOST = 16  # values of a group that are looked for in vain before the rest is not looked for


def import_pyarrow() -> tuple[Any, Any]:
    """(pyarrow, pyarrow.parquet). Raises DataError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            "Parquet files need pyarrow, which is not installed.\nInstall it: pip install 'saccade-learn[data]'."
        ) from None
    return pyarrow, pyarrow.parquet


def open_parquet(path: Path, metadata: Any = None, as_dictionary: Sequence[str] = ()) -> Any:
    """The Parquet file at `path`, which is always a file here: by itself pyarrow takes some texts for addresses."""
    pyarrow, parquet = import_pyarrow()
    here = pyarrow.fs.LocalFileSystem()
    return parquet.ParquetFile(
        path, metadata=metadata, pre_buffer=False, filesystem=here, read_dictionary=list(as_dictionary)
    )


@dataclass(frozen=True)
class ParquetPart:
    """One file: its footer, what it was when it was opened, and its column of encoded images."""

    path: Path
    metadata: Any
    signature: tuple[int, int]
    column: str

    @functools.cached_property
    def stored(self) -> list[dict[str, StoredColumn]]:
        """What the footer says of the column, for each row group. Raises DataError."""
        return read_footer(self.path, printable(str(self.path)), [self.column])

    def chunk(self, descriptor: int, group: int) -> ColumnChunk:
        """The images of a row group. Raises DataError where the group has none."""
        schema = self.metadata.schema
        return column_chunk(schema, self.stored, group, self.column, descriptor, printable(str(self.path)))


def column_chunk(
    schema: Any, stored: list[dict[str, StoredColumn]], group: int, path: str, descriptor: int, where: str
) -> ColumnChunk:
    """The column whose path in the schema is `path`. Raises DataError where it is not there."""
    numbers = [number for number in range(len(schema)) if schema.column(number).path == path]
    if not numbers or group >= len(stored) or path not in stored[group]:
        raise DataError(
            f"{where} has no column {printable(path)} in its row group {group}.\n"
            f"The file is damaged: download it again."
        )
    place = f"{where}, row group {group}, column {printable(path)}"
    return ColumnChunk(descriptor, place, stored[group][path], schema.column(numbers[0]))


class ValueReader:
    """The values of one binary column of several files, numbered through. Values are None where the file has none."""

    def __init__(self, parts: list[ParquetPart], kept_bytes: int = KEPT_BYTES) -> None:
        self._parts = parts
        counts = [
            (part, group, parts[part].metadata.row_group(group).num_rows)
            for part in range(len(parts))
            for group in range(parts[part].metadata.num_row_groups)
        ]
        self._part_G = np.array([part for part, _, _ in counts], dtype=np.int32)
        self._group_G = np.array([group for _, group, _ in counts], dtype=np.int32)
        self._start_G = np.cumsum([0, *(rows for _, _, rows in counts)])
        self._place_N = np.full(int(self._start_G[-1]), UNKNOWN, dtype=np.int64)
        self._length_N = np.zeros(int(self._start_G[-1]), dtype=np.int64)
        self._groups = KeptGroups(kept_bytes)

    def read(self, index: int, key: str) -> bytes | None:
        """Value `index`. Raises ImageError naming `key` where the file has changed or cannot be read."""
        number = int(np.searchsorted(self._start_G, index, side="right")) - 1
        part = self._parts[self._part_G[number]]
        try:
            if self._place_N[index] == UNKNOWN:
                group = self._groups.get(number, self._load)
                if self._place_N[index] == UNKNOWN:
                    return group.value(index - int(self._start_G[number]))
            num_bytes = int(self._length_N[index])
            if num_bytes == NULL:
                return None
            refuse_large_image(key, num_bytes)
            with open_plain_file(part.path) as file:
                _check_unchanged(part, os.fstat(file.fileno()), key)
                return os.pread(file.fileno(), num_bytes, int(self._place_N[index]))
        except (OSError, IndexError, UnicodeDecodeError, import_pyarrow()[0].ArrowException) as error:
            raise ImageError(
                key, f"the Parquet file cannot be read: {printable(str(error)[:100]).rstrip('.')}."
            ) from error

    def _load(self, number: int) -> "Group":
        part, group = self._parts[self._part_G[number]], int(self._group_G[number])
        rows = slice(int(self._start_G[number]), int(self._start_G[number + 1]))
        with open_plain_file(part.path) as file:
            _check_unchanged(part, os.fstat(file.fileno()), part.path.name)
            chunk = part.chunk(file.fileno(), group)
            pages = read_pages(chunk)
            found = find_values(chunk, pages)
            if found is not None and len(found[0]) == rows.stop - rows.start:
                self._length_N[rows] = found[1]
                self._place_N[rows] = found[0]  # last: it says that the length is there
                return Group([])
            loaded = _decode_group(part, group, pages, chunk.where)
        if len(loaded) != rows.stop - rows.start:
            raise DataError(f"{chunk.where} has {len(loaded):,} values.\nThe file is damaged: download it again.")
        for row, (place, length) in enumerate(_find_values(part, group, loaded), start=rows.start):
            self._length_N[row] = length
            self._place_N[row] = place
        return loaded


def _decode_group(part: ParquetPart, group: int, pages: list[Page], where: str) -> "Group":
    """The values of a row group, decoded by Arrow. Raises DataError where they would take too much memory."""
    decoded_bytes = sum(page.num_decoded_bytes for page in pages)
    if decoded_bytes > MAX_ROW_GROUP_BYTES:
        raise DataError(
            f"{where} has {decoded_bytes:,} bytes that have to be decoded at once; at most {MAX_ROW_GROUP_BYTES:,} "
            f"are.\nWrite the file again with row groups of 1,000 images, or with this column uncompressed."
        )
    as_dictionary = [part.column] if any(page.kind == DICTIONARY_PAGE for page in pages) else []
    with open_parquet(part.path, part.metadata, as_dictionary) as file:
        values = file.read_row_group(group, columns=[part.column], use_threads=False).column(0)
    if values.type.num_fields:
        values = values.flatten()[0]  # the bytes of struct<bytes, path>
    return Group(values.chunks)


class Group:
    """The values of one row group, as Arrow holds them."""

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = chunks
        self._start_C = np.cumsum([0, *map(len, chunks)])
        self.nbytes = sum(chunk.nbytes for chunk in chunks)

    def __len__(self) -> int:
        return int(self._start_C[-1])

    def value(self, row: int) -> bytes | None:
        chunk = int(np.searchsorted(self._start_C, row, side="right")) - 1
        return self._chunks[chunk][row - int(self._start_C[chunk])].as_py()


class KeptGroups:
    """The groups last used, up to `limit_bytes`; each is loaded once, however many threads ask for it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._reset()
        myself = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_after_fork(myself))

    def get(self, number: int, load: Callable[[int], Group]) -> Group:
        """Group `number`, from `load` where it is not kept."""
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            gate = self._gates.setdefault(number, threading.Lock())
        with gate:
            with self._lock:
                if number in self._kept:
                    return self._kept[number]
            group = load(number)
            with self._lock:
                self._kept[number] = group
                self.nbytes += group.nbytes
                while self.nbytes > self._limit_bytes and len(self._kept) > 1:
                    self.nbytes -= self._kept.popitem(last=False)[1].nbytes
                self._gates.pop(number, None)
            return group

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[int, threading.Lock] = {}
        self._kept: OrderedDict[int, Group] = OrderedDict()
        self.nbytes = 0


def _reset_after_fork(kept: "weakref.ref[KeptGroups]") -> None:
    """A lock that another thread held when the process was forked would never be released in the child."""
    groups = kept()
    if groups is not None:
        groups._reset()


def _check_unchanged(part: ParquetPart, status: os.stat_result, key: str) -> None:
    if (status.st_size, status.st_mtime_ns) != part.signature:
        raise ImageError(key, f"{printable(part.path.name)} has changed since it was opened. Start again.")


def _find_values(part: ParquetPart, group: int, values: Group) -> list[tuple[int, int]]:
    """(place in the file or UNKNOWN, length) of each value; nothing at all for a compressed column."""
    chunk = part.chunk(-1, group)
    column = chunk.metadata
    if not chunk.is_plain:
        return []
    start = column.start
    num_bytes = min(column.total_compressed_size, part.signature[0] - start)
    if start < 0 or num_bytes <= 0:
        return []  # a damaged footer
    with open_plain_file(part.path) as file:
        content = os.pread(file.fileno(), num_bytes, start)
    places: dict[bytes, int] = {}
    found, end, num_lost = [], 0, 0
    for row in range(len(values)):
        value = values.value(row)
        place = UNKNOWN
        if value and num_lost < MAX_LOST:
            place = places.get(value, UNKNOWN)
            if place == UNKNOWN:
                place = content.find(value, end)
                end = place + len(value) if place != UNKNOWN else end
                num_lost += place == UNKNOWN
                places[value] = place
        found.append((place if place == UNKNOWN else start + place, len(value or b"")))
    return found
