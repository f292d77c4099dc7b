"""Tar shards, here or anywhere fsspec reaches: which there are, what lies where in them, and bytes from a place.

A shard is walked once, header by header (tar_members.py); images are then read by offset, in any order. One at a
distance is fetched whole into the store (store.py) and read from there; by parts of it only where there is no store.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from ....core.addresses import is_address
from ....core.errors import DataError, ImageError, SaccadeError, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_FILE_NAME_CHARACTERS, refuse_large_image
from ...source import read_error
from ..shared.tar_members import DamagedTar, TarMember, tar_members
from .remote import ChangedFile, RemoteFile, read_part, refuse_changed, remote, trouble
from .store import ShardStore


@dataclass(frozen=True)
class Shard:
    """A tar file: `path` on this machine or a URL, its `name` below the source, and its size and time when opened.

    Of a file at a distance `there` is what its server says of it, and `store` where it is kept whole, if anywhere.
    """

    path: str
    name: str
    signature: tuple[int, int] | None
    there: RemoteFile | None = None
    store: ShardStore | None = None


@dataclass(frozen=True)
class Member:
    """A file in a shard, and its content where that is small and was asked for."""

    name: str
    offset: int
    num_bytes: int
    content: bytes | None


@contextmanager
def _opened(shard: Shard) -> Iterator[IO[bytes]]:
    if shard.there is not None and shard.store is not None:
        with shard.store.open(shard.there) as stream:
            yield stream
    elif is_address(shard.path):
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
    except SaccadeError:
        raise
    except ChangedFile:
        raise DataError(f"{where} has changed while it was read.\nWait until it is whole, then start again.") from None
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        if is_address(shard.path):
            raise trouble(shard.path, error) from None
        if not isinstance(error, OSError):
            raise
        reason = printable(str(error.strerror or error)[:80])
        raise DataError(f"{where} cannot be read: {reason}.\nCheck its name and its permissions.") from None


def _files(stream: IO[bytes], where: str) -> Iterator[TarMember]:
    """The regular files of a shard. Raises DataError for anything else but folders, and for names that are none."""
    for member in tar_members(stream):
        if member.kind == "other":
            raise DataError(
                f"{where}: {printable(member.name[:200])} is a link or a special file, not an image.\n"
                f"Write the shard with the files themselves: tar --dereference --hard-dereference."
            )
        if not is_file_name(member.name):
            raise DataError(
                f"{where}: '{printable(member.name[:200])}' is not a name of a file inside the shard.\n"
                f"Write the shard again, with names relative to its folder."
            )
        if member.kind == "file":
            yield member


def is_file_name(name: str) -> bool:
    """Whether a name in a shard is one of a file inside its folder."""
    return "\0" not in name and ".." not in name.split("/") and len(name) <= MAX_FILE_NAME_CHARACTERS


def read_range(shard: Shard, offset: int, num_bytes: int, key: str) -> bytes:
    """`num_bytes` at `offset`. Raises ImageError naming `key` where they cannot be had; of a shard at a distance
    DataError or StorageError where that is no fault of the image."""
    refuse_large_image(key, num_bytes)
    if shard.there is not None:
        content = _read_far(shard, shard.there, offset, num_bytes, key)
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


def _read_far(shard: Shard, there: RemoteFile, offset: int, num_bytes: int, key: str) -> bytes:
    end = min(offset + num_bytes, there.num_bytes)
    try:
        if shard.store is None:
            return _part(there, offset, end)
        with shard.store.open(there) as file:
            return os.pread(file.fileno(), max(0, end - offset), offset)
    except ChangedFile:
        raise ImageError(key, f"{printable(shard.name)} has changed since it was opened. Start again.") from None
    except OSError as error:
        raise read_error(key, "the shard in the store", error) from error


def _part(there: RemoteFile, start: int, end: int) -> bytes:
    try:
        return read_part(there, start, end) if end > start else b""
    except DataError:
        refuse_changed(there)
        raise


def sample_name(name: str) -> tuple[str, str]:
    """(sample, field) of a member: up to and after the first dot of its last part, as WebDataset has it."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, field = last.partition(".")
    return (f"{folder}{slash}{stem}", field.lower()) if stem else (name, field.lower())
