"""Whole shards from a distance, in a folder of this machine that never holds more than its limit.

A shard lies there under a name made of its address, size and version, so that another version is another file. It is
written under a temporary name, synced and renamed: what bears its name is whole. A lock of the operating system, which
dies with its holder, lets one thread or process of the machine fetch a shard while the others wait for it. Whoever
needs room removes the shards that have not been used for the longest time; what somebody has open can still be read.
"""

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from ....core import atomic
from ....core.addresses import shown
from ....core.errors import DataError, StorageError, printable
from ....core.lock import PLAIN
from ....core.plain_files import open_plain_file
from ...store_place import store_place
from .remote import RemoteFile, connection, read_part, refuse_changed

PIECE_BYTES = 8 << 20
NUM_LOCKS = 64
WHOLE, PART, LOCK = ".tar", ".part", "lock-"
POLL_S = 0.02
PATIENCE_S = 120.0  # for another process in whose download nothing moves
TOUCH_S = 10.0  # a use is noted no more often
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def default_folder() -> Path:
    """`$XDG_CACHE_HOME` (or ~/.cache) `/saccade/store`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "saccade" / "store"


def open_store(largest_bytes: int) -> tuple["ShardStore | None", str]:
    """(the store for shards of up to `largest_bytes`, a note): no store where none is wanted, or to be had in the usual
    place. Raises StorageError where a place was named that cannot be used."""
    place = store_place()
    if not place.limit_bytes:
        return None, "loader.store_limit_bytes is 0: every image is fetched by a request of its own, which is slow"
    folder = Path(place.folder).expanduser() if place.folder else default_folder()
    if largest_bytes > place.limit_bytes:
        return None, (
            f"a shard has {largest_bytes:,} bytes, more than loader.store_limit_bytes ({place.limit_bytes:,}): every "
            f"image is fetched by a request of its own, which is slow"
        )
    try:
        atomic.make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError("it may not be written by you")
    except StorageError as error:
        reason = error.message.splitlines()[0]
        if place.folder:
            raise StorageError(
                f"Shards cannot be kept in {printable(str(folder))}.\n{reason}\n"
                f"Choose a folder on a disk of this machine: --set loader.store=DIR"
            ) from None
        return None, (
            f"shards cannot be kept in {printable(str(folder))}, so that every image is fetched by a request of its "
            f"own, which is slow; choose a folder with --set loader.store=DIR"
        )
    return ShardStore(folder, place.limit_bytes), ""


class ShardStore:
    """The shards in `folder`: at most `limit_bytes`, over all processes that use it with that limit."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._touched: dict[str, float] = {}

    def has(self, file: RemoteFile) -> bool:
        """Whether the shard is there."""
        return self._path(file).exists()

    def open(self, file: RemoteFile) -> BufferedReader:
        """The shard, fetched where it is not there. It can be read to the end, even if it is removed meanwhile.

        Raises DataError naming the host, StorageError, ChangedFile where another version lies at its address now.
        """
        try:
            stored = self._stored(file)
            if stored is None:
                with self._fetching(file):
                    stored = self._stored(file) or self._fetch(file)
            return stored
        except OSError as error:
            if error.errno in TOO_MANY_FILES:
                raise
            raise self._failure(file, error) from None

    def _path(self, file: RemoteFile, ending: str = WHOLE) -> Path:
        key = repr((file.address, file.num_bytes, file.version, file.opening))
        return self.folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}{ending}"

    def _stored(self, file: RemoteFile) -> BufferedReader | None:
        path = self._path(file)
        try:
            opened = open_plain_file(path, may_be_link=False)
        except FileNotFoundError:
            return None
        if os.fstat(opened.fileno()).st_size != file.num_bytes:  # somebody has cut it
            opened.close()
            path.unlink(missing_ok=True)
            return None
        now_s = time.monotonic()
        if now_s - self._touched.get(path.name, -TOUCH_S) >= TOUCH_S:
            self._touched[path.name] = now_s
            with suppress(OSError):  # it has just been removed, or is another user's: then he notes his uses
                os.utime(path)
        return opened

    @contextmanager
    def _fetching(self, file: RemoteFile) -> Iterator[None]:
        """Hold the lock of a shard. Raises DataError where its holder makes no progress."""
        descriptor = self._lock_file(_lock_name(self._path(file)))
        try:
            moved = _Moved(self.folder)
            while not _lock(descriptor):
                moved.wait(file)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self, name: str) -> int:
        if not self.folder.is_dir():  # somebody has removed it
            atomic.make_folder(self.folder)
        return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | PLAIN, 0o666)

    def _fetch(self, file: RemoteFile) -> BufferedReader:
        path, part = self._path(file), self._path(file, PART)
        part.unlink(missing_ok=True)  # of a process that was killed: its lock is ours now
        opened = os.fdopen(self._reserve(part, file), "r+b")
        try:
            digest = hashlib.sha256()
            for start in range(0, file.num_bytes, PIECE_BYTES):
                with connection():
                    content = self._piece(file, start)
                opened.seek(start)
                opened.write(content)
                digest.update(content)
            refuse_changed(file)
            if file.sha256 not in ("", digest.hexdigest()):
                raise DataError(
                    f"{shown(file.address)} has other bytes than the index beside it says: one of them is of another "
                    f"set, or damaged.\nWrite the shards again, or remove their .index.json files."
                )
            opened.flush()
            os.fsync(opened.fileno())
            found = open_plain_file(part, may_be_link=False)  # before it has its name, and so can be removed
            os.replace(part, path)
            atomic.sync_folder(self.folder)
            return found
        finally:
            with suppress(OSError):  # what could not be written cannot be closed; the first error is told
                opened.close()
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _piece(self, file: RemoteFile, start: int) -> bytes:
        try:
            return read_part(file, start, min(start + PIECE_BYTES, file.num_bytes))
        except DataError:
            refuse_changed(file)
            raise

    def _reserve(self, part: Path, file: RemoteFile) -> int:
        """The descriptor of a new file at `part` with room for the shard. Raises StorageError, OSError."""
        if file.num_bytes > self.limit_bytes:
            raise StorageError(
                f"{shown(file.address)} has {file.num_bytes:,} bytes, more than loader.store_limit_bytes, "
                f"{self.limit_bytes:,}.\nGive the store more: --set loader.store_limit_bytes={2 * file.num_bytes}"
            )
        moved = _Moved(self.folder)
        while True:
            with self._counting():
                if self._has_room(part, file.num_bytes):
                    return self._new_part(part, file.num_bytes)
            moved.wait(file)  # until another download is whole, and so can be removed, or given up

    def _new_part(self, part: Path, num_bytes: int) -> int:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            while num_bytes:
                try:
                    _reserve_bytes(descriptor, num_bytes)
                    break
                except OSError as error:
                    if error.errno in CANNOT_RESERVE:
                        os.ftruncate(descriptor, num_bytes)
                        break
                    if error.errno not in NO_ROOM or not self._remove_oldest():
                        raise
            return descriptor
        except BaseException:
            os.close(descriptor)
            part.unlink(missing_ok=True)
            raise

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Hold the lock of the whole store, for as long as it takes to count and remove files."""
        descriptor = self._lock_file(f"{LOCK}store")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _has_room(self, own: Path, num_bytes: int) -> bool:
        """Whether so many bytes more, for the temporary file `own`, are within the limit, once old shards and what was
        left by killed processes are removed."""
        for part in self.folder.glob(f"*{PART}"):
            self._remove_if_left(part, _lock_name(part) == _lock_name(own))
        while sum(_size(path) for end in (WHOLE, PART) for path in self.folder.glob(f"*{end}")) + num_bytes > (
            self.limit_bytes
        ):
            if not self._remove_oldest():
                return False
        return True

    def _remove_if_left(self, part: Path, is_ours: bool) -> None:
        """Remove a temporary file whose writer is gone: nobody holds the lock of its shard, or we do (`is_ours`)."""
        descriptor = self._lock_file(_lock_name(part))
        try:
            if is_ours or _lock(descriptor):
                part.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def _remove_oldest(self) -> bool:
        """Remove the shard that has not been used for the longest time; whether there was one."""
        used = [(_used_ns(path), path) for path in self.folder.glob(f"*{WHOLE}")]
        if not used:
            return False
        min(used)[1].unlink(missing_ok=True)
        return True

    def _failure(self, file: RemoteFile, error: OSError) -> StorageError:
        where = printable(str(self.folder))
        if error.errno not in NO_ROOM:
            return StorageError(
                f"The store of shards {where} cannot be used: {error.strerror or error}.\n"
                f"Choose a folder on another disk: --set loader.store=DIR"
            )
        return StorageError(
            f"The disk of the store of shards {where} is full: {shown(file.address)} has {file.num_bytes:,} bytes, "
            f"{atomic.free_bytes(self.folder):,} are free.\n"
            f"Free some space, or choose a folder on another disk: --set loader.store=DIR, or XDG_CACHE_HOME."
        )


class _Moved:
    """Waiting for what other threads and processes fetch into `folder`, for as long as it goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seen, self._since_s = folder, "", time.monotonic()

    def wait(self, file: RemoteFile) -> None:
        """Sleep a moment. Raises DataError where no download has moved for two minutes."""
        seen = repr(sorted((path.name, _used_ns(path)) for path in self._folder.glob(f"*{PART}")))
        if seen != self._seen:
            self._seen, self._since_s = seen, time.monotonic()
        if time.monotonic() - self._since_s > PATIENCE_S:
            raise DataError(
                f"{shown(file.address)} waits for another process that fetches shards into "
                f"{printable(str(self._folder))}, and has stopped for {PATIENCE_S:.0f} s.\n"
                f"End that process, or choose another folder: --set loader.store=DIR"
            )
        time.sleep(POLL_S)


def _lock_name(path: Path) -> str:
    """The lock of a shard, by the name of its file."""
    return f"{LOCK}{int(path.name[:8], 16) % NUM_LOCKS:02}"


def _reserve_bytes(descriptor: int, num_bytes: int) -> None:
    """Take the room on the disk now, where the system can."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
    else:
        os.ftruncate(descriptor, num_bytes)


def _lock(descriptor: int) -> bool:
    """Whether the lock was free, and is held now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0  # it has just been removed, or got its name
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _used_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0
