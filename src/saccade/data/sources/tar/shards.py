"""Tar shards, here or anywhere fsspec reaches: which there are, what lies where in them, and bytes from a place.

A shard is walked once, header by header (tar_members.py); images are then fetched by offset, in any order.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from ....core.addresses import WEB, check_address, is_address, shown
from ....core.errors import DataError, ImageError, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_FILE_NAME_CHARACTERS, refuse_large_image
from ...source import read_error
from ..shared.tar_members import DamagedTar, TarMember, tar_members
from .web_files import web_files


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


def remote(url: str) -> tuple[Any, str]:
    """(file system, path in it) of an address. Raises DataError where it may not be opened, or a package is missing."""
    protocol = check_address(url)
    try:
        if protocol in WEB:
            return web_files(), url
        import fsspec

        files = fsspec.filesystem(protocol)  # never url_to_fs, which takes chains and options out of the text
        return files, files._strip_protocol(url)
    except ImportError as error:
        raise DataError(
            f"{shown(url)} needs a package that is not installed ({printable(str(error)[:100])}).\n"
            f"Install it: pip install 'saccade-learn[data]', and for s3://, gs:// or az:// s3fs, gcsfs or adlfs."
        ) from None
    except ValueError as error:
        raise DataError(f"{shown(url)} is not an address that fsspec knows: {printable(str(error)[:100])}.") from None


@contextmanager
def _opened(shard: Shard) -> Iterator[IO[bytes]]:
    if is_address(shard.path):
        files, path = remote(shard.path)
        with files.open(path, "rb") as stream:
            yield stream
    else:
        with open_plain_file(shard.path) as stream:
            yield stream


def walk_shard(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> Iterator[Member]:
    """The regular files of a shard in order; with the content of those whose name has one of the endings `wanted`.

    Raises DataError for what is no tar file, ends early, or holds links.
    """
    where = printable(shard.path)
    try:
        with _opened(shard) as stream:
            for member in _files(stream, where):
                content = None
                if member.name.lower().endswith(wanted) and member.num_bytes <= max_content_bytes:
                    stream.seek(member.offset)
                    content = stream.read(member.num_bytes)
                    if len(content) != member.num_bytes:
                        raise DamagedTar(f"it ends inside {member.name[:40]}")
                yield Member(member.name, member.offset, member.num_bytes, content)
    except DamagedTar as error:
        reason = printable(str(error)[:80])
        raise DataError(f"{where} is cut off, damaged or no tar file ({reason}).\nDownload it again.") from None
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        if not isinstance(error, OSError) and not is_address(shard.path):
            raise
        raise unreadable(where, error) from None


def unreadable(where: str, error: Exception) -> DataError:
    reason = printable(str(getattr(error, "strerror", None) or error)[:80])
    return DataError(f"{where} cannot be read: {reason}.\nCheck its name, and the connection.")


def _files(stream: IO[bytes], where: str) -> Iterator[TarMember]:
    """The regular files of a shard. Raises DataError for anything else but folders, and for names that are none."""
    for member in tar_members(stream):
        if member.kind == "other":
            raise DataError(
                f"{where}: {printable(member.name[:200])} is a link or a special file, not an image.\n"
                f"Write the shard with the files themselves: tar --dereference --hard-dereference."
            )
        if "\0" in member.name or ".." in member.name.split("/") or len(member.name) > MAX_FILE_NAME_CHARACTERS:
            raise DataError(
                f"{where}: '{printable(member.name[:200])}' is not a name of a file inside the shard.\n"
                f"Write the shard again, with names relative to its folder."
            )
        if member.kind == "file":
            yield member


def read_range(shard: Shard, offset: int, num_bytes: int, key: str) -> bytes:
    """`num_bytes` at `offset`. Raises ImageError naming `key` where they cannot be had."""
    refuse_large_image(key, num_bytes)
    if is_address(shard.path):
        content = _read_remote(shard, offset, num_bytes, key)
    else:
        try:
            with open_plain_file(shard.path) as file:
                status = os.fstat(file.fileno())
                if (status.st_size, status.st_mtime_ns) != shard.signature:
                    raise ImageError(key, f"{printable(shard.name)} has changed since it was opened. Start again.")
                content = os.pread(file.fileno(), min(num_bytes, max(0, status.st_size - offset)), offset)
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
