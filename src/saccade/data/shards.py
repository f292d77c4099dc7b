"""Tar shards, here or anywhere fsspec reaches: which there are, what lies where in them, and bytes from a place.

A shard is walked once, header by header; images are then fetched by offset, in any order.
"""

import itertools
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..core.errors import DataError, ImageError, printable
from .base import read_error

BLOCK = 512
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst")
MAX_SHARDS = 100_000
BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Shard:
    """A tar file: `path` on this machine or a URL, its `name` below the source, and its size and time when opened."""

    path: str
    name: str
    signature: tuple[int, int] | None


@dataclass(frozen=True)
class Member:
    """A file in a shard, and its content where that is small and was asked for."""

    name: str
    offset: int
    num_bytes: int
    content: bytes | None


def is_url(text: str) -> bool:
    return "://" in text


def expand_braces(pattern: str) -> list[str]:
    """`a-{08..11}.tar` and `{a,b}.tar` as a shell expands them; numbers keep the width of the first."""
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    inside = match[1].split(",")
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        if not 0 <= last - first < MAX_SHARDS:
            raise DataError(
                f"The range {{{match[1]}}} has no number in it, or more than {MAX_SHARDS:,}.\nWrite {{000..011}}."
            )
        inside = [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]
    rest = expand_braces(pattern[match.end() :])
    return [pattern[: match.start()] + middle + end for middle, end in itertools.product(inside, rest)]


def find_shards(text: str) -> list[Shard]:
    """The shards that `text` means: a tar file, a folder of them, a pattern with * or braces. Raises DataError."""
    where = printable(text)
    paths: list[str] = []
    for pattern in expand_braces(text):
        paths += _matches(pattern)
    if not paths:
        raise DataError(
            f"{where} means no tar file.\nGive a folder of .tar files, or a pattern such as a-{{00..07}}.tar."
        )
    base = os.path.commonprefix([os.path.dirname(path) + "/" for path in paths]).rpartition("/")[0]
    if Path(text).is_dir():
        base = str(Path(text))
    shards = []
    for path in paths:
        if path.lower().endswith(COMPRESSED):
            raise DataError(
                f"{printable(path)} is compressed, so that its images cannot be read in any order.\n"
                f"Unpack it to a plain .tar: gunzip, or the like. Images are compressed already."
            )
        shards.append(Shard(path, path[len(base) :].lstrip("/"), None if is_url(path) else _signature(path)))
    return shards


def _matches(pattern: str) -> list[str]:
    if is_url(pattern):
        files, path = remote(pattern)
        protocol = pattern.partition("://")[0]
        if "*" not in path and not pattern.endswith("/"):
            return [pattern]
        found = files.glob(path if "*" in path else f"{path.rstrip('/')}/*.tar")
        return [f"{protocol}://{name.lstrip('/') if protocol != 'file' else name}" for name in sorted(found)]
    path_here = Path(pattern)
    if path_here.is_dir():
        return [str(path) for path in sorted([*path_here.glob("*.tar"), *path_here.glob("*/*.tar")]) if _is_plain(path)]
    if "*" in pattern and not path_here.exists():
        return [
            str(path)
            for path in sorted(Path(path_here.anchor or ".").glob(str(path_here.relative_to(path_here.anchor))))
        ]
    return [pattern]


def _is_plain(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.parts[-2:])


def _signature(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read: {error.strerror or error}.\nCheck its name.") from None
    return status.st_size, status.st_mtime_ns


def remote(url: str) -> tuple[Any, str]:
    """(file system, path in it) of a URL. Raises DataError where fsspec or the protocol's package is missing."""
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(
            f"{printable(url)} needs a package that is not installed ({printable(str(error)[:100])}).\n"
            f"Install it: pip install 'saccade-learn[data]', and for s3:// or gs:// s3fs or gcsfs."
        ) from None
    except ValueError as error:
        raise DataError(f"{printable(url)} is no address that fsspec knows: {printable(str(error)[:100])}.") from None


@contextmanager
def _opened(shard: Shard) -> Iterator[IO[bytes]]:
    if is_url(shard.path):
        files, path = remote(shard.path)
        with files.open(path, "rb") as stream:
            yield stream
    else:
        with open(shard.path, "rb") as stream:
            yield stream


def walk_shard(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> Iterator[Member]:
    """The regular files of a shard in order; with the content of those whose name has one of the endings `wanted`.

    Raises DataError for what is no tar file, ends early, or holds links.
    """
    where = printable(shard.path)
    try:
        with _opened(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for name, offset, num_bytes in _members(stream, archive, where):
                content = None
                if name.lower().endswith(wanted) and num_bytes <= max_content_bytes:
                    stream.seek(offset)
                    content = stream.read(num_bytes)
                    if len(content) != num_bytes:
                        raise tarfile.ReadError(f"it ends inside {name}")
                yield Member(name, offset, num_bytes, content)
    except tarfile.TarError as error:
        reason = printable(str(error)[:80])
        raise DataError(f"{where} is cut off, damaged or no tar file ({reason}).\nDownload it again.") from None
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        if not isinstance(error, OSError) and not is_url(shard.path):
            raise
        reason = printable(str(getattr(error, "strerror", None) or error)[:80])
        raise DataError(f"{where} cannot be read: {reason}.\nCheck its name, and the connection.") from None


def _members(stream: IO[bytes], archive: tarfile.TarFile, where: str) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of the regular files. Plain headers are read here, ten times as fast; others by tarfile."""
    place = 0
    while True:
        stream.seek(place)
        header = stream.read(BLOCK)
        if header == bytes(BLOCK):
            return
        if len(header) < BLOCK:
            raise tarfile.ReadError(f"no end after {place:,} bytes")
        plain = _plain_file(header)
        if plain:
            yield plain[0], place + BLOCK, plain[1]
            place += BLOCK + -(-plain[1] // BLOCK) * BLOCK
            continue
        stream.seek(place)
        archive.offset, archive.firstmember = place, None  # type: ignore[attr-defined]
        archive.members = []  # type: ignore[attr-defined]  # a million of them would take a gigabyte
        member = archive.next()
        if member is None:
            raise tarfile.ReadError(f"no header at byte {place:,}")
        if not member.isdir():
            if not member.isreg() or member.issparse():
                raise DataError(
                    f"{where}: {printable(member.name)} is a link or a special file, not an image.\n"
                    f"Write the shard with the files themselves: tar --dereference --hard-dereference."
                )
            yield member.name, member.offset_data, member.size
        place = archive.offset


def _plain_file(header: bytes) -> tuple[str, int] | None:
    """(name, size) of a POSIX header (IEEE 1003.1, ustar) of a regular file; None for any other, or a damaged one."""
    if header[156:157] != b"0" or header[257:262] != b"ustar" or header[345] or header[124] & 0x80:
        return None
    try:
        checksum = int(header[148:156].strip(b" \0"), 8)
        num_bytes = int(header[124:136].strip(b" \0"), 8)
    except ValueError:
        return None
    if checksum != 256 + sum(header[:148]) + sum(header[156:]):
        return None
    return header[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape"), num_bytes


def read_range(shard: Shard, offset: int, num_bytes: int, key: str) -> bytes:
    """`num_bytes` at `offset`. Raises ImageError naming `key` where they cannot be had."""
    if is_url(shard.path):
        content = _read_remote(shard, offset, num_bytes, key)
    else:
        try:
            with open(shard.path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != shard.signature:
                    raise ImageError(key, f"{printable(shard.name)} has changed since it was opened. Start again.")
                content = os.pread(file.fileno(), num_bytes, offset)
        except OSError as error:
            raise read_error(key, "the shard", error) from error
    if len(content) != num_bytes:
        raise ImageError(key, f"the shard gave {len(content):,} of {num_bytes:,} bytes: it has changed or is cut off.")
    return content


def _read_remote(shard: Shard, offset: int, num_bytes: int, key: str) -> bytes:
    files, path = remote(shard.path)
    try:
        return bytes(files.cat_file(path, start=offset, end=offset + num_bytes))
    except Exception as error:  # noqa: BLE001  each file system has its own errors; all mean that the read failed
        text = printable(str(error)[:100]) or type(error).__name__
        raise ImageError(key, f"the shard cannot be read: {text}.") from error


def sample_name(name: str) -> tuple[str, str]:
    """(sample, field) of a member: up to and after the first dot of its last part, as WebDataset has it."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, field = last.partition(".")
    return (f"{folder}{slash}{stem}", field.lower()) if stem else (name, field.lower())
