"""The pages of a column in a Parquet file: their declared sizes, checked before Arrow allocates them, and their values.

Arrow believes what a page says of itself: 44 KB of compressed zeros become gigabytes. So the headers of all pages are
read here first (https://parquet.apache.org/docs/file-format: PageHeader, in Thrift's compact protocol). Where values
are stored as they are, uncompressed and one behind the other, their places are found here too, without Arrow.
"""

import os
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError
from ....core.plain_files import open_plain_file
from ...limits import refuse_expansion
from .thrift import read_struct, read_varint

DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_2 = range(4)
PLAIN, RLE, DELTA_BYTE_ARRAY = 0, 3, 7
UNCOMPRESSED = 0
NULL = -1  # the length of a value that is not there
MAX_HEADER_BYTES = 1 << 20
WINDOW_BYTES = 1 << 16


@dataclass(frozen=True)
class Page:
    """A page, its `num_bytes` at `offset`; `levels` are the bytes of repetition and definition (version 2)."""

    kind: int
    offset: int
    num_bytes: int
    num_decoded_bytes: int
    num_values: int
    encoding: int
    levels: tuple[int, int] | None
    has_usual_levels: bool


@dataclass(frozen=True)
class StoredColumn:
    """What the footer says of a column of a row group (ColumnMetaData); `dictionary_page_offset` 0 without one."""

    codec: int
    num_values: int
    total_compressed_size: int
    data_page_offset: int
    dictionary_page_offset: int

    @property
    def start(self) -> int:
        """The place of its first page."""
        has_dictionary = 0 < self.dictionary_page_offset < self.data_page_offset
        return self.dictionary_page_offset if has_dictionary else self.data_page_offset


@dataclass(frozen=True)
class ColumnChunk:
    """A column of a row group in the open file `descriptor`; `where` names it in messages."""

    descriptor: int
    where: str
    metadata: StoredColumn
    schema: Any

    @property
    def is_plain(self) -> bool:
        """Whether bytes in the file are the values, unless a dictionary comes before them."""
        return self.metadata.codec == UNCOMPRESSED and self.schema.max_repetition_level == 0


class Damaged(Exception):
    """What is wrong with a column chunk."""


def read_footer(path: Path, where: str, names: Collection[str]) -> list[dict[str, StoredColumn]]:
    """The columns of `names` (paths in the schema) in each row group. Raises DataError, and OSError as `open` does.

    Read here, since pyarrow's own view of a column ends the process where a value in a damaged footer is unknown.
    """
    try:
        with open_plain_file(path) as file:
            file_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, file_bytes - 8))
            (num_bytes,) = struct.unpack("<I", file.read(8)[:4])
            if num_bytes + 12 > file_bytes:
                raise Damaged("its footer is larger than the file")
            file.seek(file_bytes - 8 - num_bytes)
            fields, _ = read_struct(file.read(num_bytes), 0)
        return [_stored_columns(group, names) for group in fields.get(4, [])]
    except (Damaged, IndexError, ValueError, struct.error, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, Damaged) else "its footer is damaged"
        raise DataError(f"{where} is cut off, damaged or no Parquet file ({reason}).\nDownload it again.") from None


def _stored_columns(group: dict[int, Any], names: Collection[str]) -> dict[str, StoredColumn]:
    found = {}
    for column in group[1] if 1 in group else []:
        fields = column.get(3) or {}
        path = ".".join(part.decode("utf-8") for part in fields.get(3, []))
        if path in names:
            dictionary = fields.get(11)
            found[path] = StoredColumn(
                codec=_number(fields, 4),
                num_values=_number(fields, 5),
                total_compressed_size=_number(fields, 7),
                data_page_offset=_number(fields, 9),
                dictionary_page_offset=dictionary if type(dictionary) is int else 0,
            )
    return found


def read_pages(chunk: ColumnChunk) -> list[Page]:
    """The pages of a column chunk, whose sizes fit the file and the limits. Raises DataError."""
    try:
        pages = list(_walk(chunk))
    except (Damaged, IndexError, ValueError, struct.error) as error:
        reason = str(error) if isinstance(error, Damaged) else "the header of a page is damaged"
        raise DataError(f"{chunk.where}: {reason}.\nThe file is damaged: download it again.") from None
    decoded_bytes = sum(page.num_decoded_bytes for page in pages)
    refuse_expansion(chunk.where, sum(page.num_bytes for page in pages), decoded_bytes)
    if any(page.encoding == DELTA_BYTE_ARRAY for page in pages):
        raise DataError(
            f"{chunk.where} is stored with the encoding DELTA_BYTE_ARRAY, which is not read for images and labels.\n"
            f"Write the file again with pyarrow or datasets."
        )
    return pages


def find_values(chunk: ColumnChunk, pages: list[Page]) -> tuple[np.ndarray, np.ndarray] | None:
    """(place_N int64, length_N int64) of the values of a plain column, NULL where there is none; None for any other."""
    data = [page for page in pages if page.kind != INDEX_PAGE]
    usual = all(page.encoding == PLAIN and page.kind != DICTIONARY_PAGE and page.has_usual_levels for page in data)
    if not chunk.is_plain or not usual:
        return None
    places = np.zeros(sum(page.num_values for page in data), np.int64)
    lengths = np.full(len(places), NULL, np.int64)
    start = 0
    try:
        for page in data:
            is_there_N, offset = _levels(chunk, page)
            found = np.array(list(_values(chunk, page, offset, int(is_there_N.sum()))), np.int64).reshape(-1, 2)
            rows = start + np.flatnonzero(is_there_N)
            places[rows], lengths[rows] = found[:, 0], found[:, 1]
            start += page.num_values
    except (Damaged, IndexError, ValueError, struct.error) as error:
        reason = str(error) if isinstance(error, Damaged) else "a page is damaged"
        raise DataError(f"{chunk.where}: {reason}.\nThe file is damaged: download it again.") from None
    return places, lengths


def _walk(chunk: ColumnChunk) -> Iterator[Page]:
    column = chunk.metadata
    if column.num_values == 0:
        return
    place = column.start
    file_bytes = os.fstat(chunk.descriptor).st_size
    end, num_values = place + column.total_compressed_size, 0
    if not 0 < place <= end <= file_bytes or column.num_values < 0:
        raise Damaged(f"its bytes {place:,} to {end:,} lie outside the file, which has {file_bytes:,}")
    while num_values < column.num_values:
        if place >= end:
            raise Damaged(f"it has {num_values:,} values, and says that it has {column.num_values:,}")
        page = _page(chunk, place, end)
        num_values += page.num_values if page.kind in (DATA_PAGE, DATA_PAGE_2) else 0
        yield page
        place = page.offset + page.num_bytes
    if num_values > column.num_values:
        raise Damaged(f"it has {num_values:,} values, and says that it has {column.num_values:,}")


def _page(chunk: ColumnChunk, place: int, end: int) -> Page:
    content, size = b"", 1 << 12
    while True:
        content = os.pread(chunk.descriptor, min(size, end - place), place)
        try:
            fields, num_header_bytes = read_struct(content, 0)
            break
        except IndexError:
            if len(content) < size or size >= MAX_HEADER_BYTES:
                raise Damaged(f"the header of the page at byte {place:,} has no end") from None
            size *= 16
    kind, decoded, coded = (_number(fields, number) for number in (1, 2, 3))
    is_known = kind in (DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_2)
    offset = place + num_header_bytes
    if not is_known or not 0 <= coded <= end - offset or decoded < 0:
        raise Damaged(f"the page at byte {place:,} says that its {coded:,} bytes are {decoded:,}")
    if chunk.metadata.codec == UNCOMPRESSED and coded != decoded:
        raise Damaged(f"the page at byte {place:,} is not compressed, but says that its size changes")
    inside = fields.get({DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_2: 8}.get(kind, 6), {})
    if not isinstance(inside, dict):
        raise Damaged(f"the header of the page at byte {place:,} is damaged")
    levels = None
    if kind == DATA_PAGE_2:
        levels = _number(inside, 6), _number(inside, 5)
        if min(levels) < 0 or sum(levels) > min(coded, decoded):
            raise Damaged(f"the page at byte {place:,} has levels that are larger than it")
    num_values = 0 if kind == INDEX_PAGE else _number(inside, 1)
    if num_values < 0:
        raise Damaged(f"the page at byte {place:,} has {num_values} values")
    encoding = PLAIN if kind == INDEX_PAGE else _number(inside, 4 if kind == DATA_PAGE_2 else 2)
    usual_levels = kind != DATA_PAGE or chunk.schema.max_definition_level == 0 or inside.get(3) == RLE
    return Page(kind, offset, coded, decoded, num_values, encoding, levels, usual_levels)


def _number(fields: dict[int, Any], number: int) -> int:
    value = fields.get(number)
    if type(value) is not int:
        raise Damaged("the header of a page is damaged")
    return value


# --- values that are stored as they are ---


def _levels(chunk: ColumnChunk, page: Page) -> tuple[np.ndarray, int]:
    """(whether each value is there, where the values begin)."""
    everything, max_level = np.ones(page.num_values, bool), chunk.schema.max_definition_level
    if page.levels is not None:
        offset = page.offset + sum(page.levels)
        content = os.pread(chunk.descriptor, page.levels[1], page.offset + page.levels[0])
    elif max_level:
        head = os.pread(chunk.descriptor, 4, page.offset)
        (num_bytes,) = struct.unpack("<I", head)
        if num_bytes + 4 > page.num_bytes:
            raise Damaged(f"the page at byte {page.offset:,} has levels that are larger than it")
        content, offset = os.pread(chunk.descriptor, num_bytes, page.offset + 4), page.offset + 4 + num_bytes
    else:
        return everything, page.offset
    if not max_level:
        return everything, offset
    return _hybrid(content, page.num_values, max_level.bit_length()) == max_level, offset


def _hybrid(content: bytes, count: int, num_bits: int) -> np.ndarray:
    """`count` numbers below 256 in the RLE / bit-packing hybrid encoding."""
    result, start, at = np.zeros(count, np.uint8), 0, 0
    while start < count:
        head, at = read_varint(content, at)
        if head & 1:
            packed = np.frombuffer(content, np.uint8, count=(head >> 1) * num_bits, offset=at)
            at += len(packed)
            bits = np.unpackbits(packed, bitorder="little").reshape(-1, num_bits)
            values = bits @ (1 << np.arange(num_bits, dtype=np.uint8))
            num_values = min(len(values), count - start)
            result[start : start + num_values] = values[:num_values]
        else:
            num_values = min(head >> 1, count - start)
            result[start : start + num_values] = content[at]
            at += 1
        if not num_values:
            raise Damaged("its levels are damaged")
        start += num_values
    return result


def _values(chunk: ColumnChunk, page: Page, place: int, count: int) -> Iterator[tuple[int, int]]:
    """(place, length) of each value: four bytes of its length, then itself."""
    end = page.offset + page.num_bytes
    window, window_start = b"", place
    for _ in range(count):
        if place + 4 > end:
            raise Damaged(f"the page at byte {page.offset:,} ends inside its values")
        if place + 4 > window_start + len(window):
            window, window_start = os.pread(chunk.descriptor, min(WINDOW_BYTES, end - place), place), place
        (length,) = struct.unpack_from("<I", window, place - window_start)
        if place + 4 + length > end:
            raise Damaged(f"the page at byte {page.offset:,} ends inside its values")
        yield place + 4, length
        place += 4 + length
    if place != end:
        raise Damaged(f"the page at byte {page.offset:,} does not end with its values")
