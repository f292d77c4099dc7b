"""Gzipped files of strangers: the texts in their headers are limited, since Python reads those byte by byte."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..core.plain_files import open_plain_file

MAX_HEADER_TEXT_BYTES = 1 << 20  # of all file names and comments in one file; gzip writes one short name


class DamagedGzip(OSError):
    """What is wrong with a gzipped file."""


class _FewSingleBytes:
    """A file as `gzip` reads it; single bytes, which are those of a name or a comment, up to a limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._num_single = 0
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, num_bytes: int) -> bytes:
        self._num_single += num_bytes == 1
        if self._num_single > MAX_HEADER_TEXT_BYTES:
            raise DamagedGzip(f"the names in its header have more than {MAX_HEADER_TEXT_BYTES:,} bytes")
        return self._file.read(num_bytes)


@contextmanager
def open_gzip(path: Path) -> Iterator[gzip.GzipFile]:
    """The unpacked content of the file at `path`. Raises OSError, EOFError and zlib.error as `gzip.open` does."""
    with open_plain_file(path) as file, gzip.GzipFile(fileobj=_FewSingleBytes(file), mode="rb") as unpacked:
        yield unpacked
