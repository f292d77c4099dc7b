"""One process per run directory, or per folder that is replaced: an operating-system lock that dies with its holder."""

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .atomic import storage_errors
from .documents import parse_object
from .errors import RunInUseError, StorageError, printable

LOCK_NAME = ".lock"
PATIENCE_S, PAUSE_S = 600.0, 0.2  # while another process writes the same folder
PLAIN = os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)  # no pipe is waited for, no link followed


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises RunInUseError naming the holder, StorageError where locking fails.

    The kernel releases the lock when the holder ends, however it ends, so a stale file cannot block anybody.
    """
    path = folder / LOCK_NAME
    descriptor = _open(path)
    try:
        _take(descriptor, path, lambda holder: _describe(folder, holder))
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_place(path: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the place `path`, whose folder is about to be replaced; who comes second waits. Its parent is there.

    Raises RunInUseError naming the holder after `patience_s`, StorageError where locking fails. The lock is a file
    beside the folder, which goes with it.
    """
    beside = path.with_name(f".{path.name}.saccade-lock")
    descriptor = _patiently(path, beside, patience_s)
    try:
        yield
    finally:
        with suppress(OSError):
            beside.unlink()  # while it is held: who waits for it sees that it has gone, and makes another
        os.close(descriptor)


def _patiently(path: Path, beside: Path, patience_s: float) -> int:
    """The descriptor of the file `beside`, locked."""
    give_up = time.monotonic() + patience_s
    while True:
        with ExitStack() as stack:
            descriptor = _open(beside)
            stack.callback(os.close, descriptor)
            try:
                _take(descriptor, beside, lambda holder: _describe_place(path, holder))
            except RunInUseError:
                if time.monotonic() > give_up:
                    raise
            else:
                if _is_at(descriptor, beside):
                    stack.pop_all()
                    return descriptor
        time.sleep(PAUSE_S)


def _open(path: Path) -> int:
    """The descriptor of a lock's file, which is made where it is not there. Raises StorageError."""
    if path.is_symlink():
        raise StorageError(
            f"Cannot write {printable(str(path))}: it is a link, to a file that is not the run's.\nRemove it."
        )
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o644)  # through a link, another file would be cut
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"Cannot write {printable(str(path))}: it is not a plain file. Remove it.")
    return descriptor


def _take(descriptor: int, path: Path, describe: Callable[[bytes], str]) -> None:
    """Lock the file at `path`, and write into it who holds it. Raises RunInUseError with what `describe` makes of its
    content, StorageError."""
    with storage_errors(path):  # a network share may not know locks
        if not _lock_soon(descriptor):
            raise RunInUseError(describe(os.pread(descriptor, 4096, 0)))
    holder = json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()
    with storage_errors(path, len(holder)):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder, 0)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`: its holder before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def refuse_held(folder: Path) -> None:
    """Raise RunInUseError where another process holds `folder`: at once, before the work that precedes `exclusive`.
    Raises StorageError where locking fails."""
    if (folder / LOCK_NAME).is_symlink():
        return
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | PLAIN)
    except OSError:
        return  # no lock was ever taken here, or it cannot be read, which `exclusive` will explain
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return
    try:
        with storage_errors(folder / LOCK_NAME):
            if not _lock(descriptor, fcntl.LOCK_SH):
                raise RunInUseError(_describe(folder, os.pread(descriptor, 4096, 0)))
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether another process holds `folder` now. Raises StorageError where locking fails."""
    try:
        refuse_held(folder)
    except RunInUseError:
        return True
    return False


def _lock_soon(descriptor: int) -> bool:
    """Whether the lock could be had within a moment: somebody may just be looking whether it is held."""
    for _ in range(10):
        if _lock(descriptor, fcntl.LOCK_EX):
            return True
        time.sleep(0.02)
    return False


def _lock(descriptor: int, kind: int) -> bool:
    """Whether the lock was free."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_place(path: Path, content: bytes) -> str:
    return (
        f"{printable(str(path))} is being written {_who(content)}.\n"
        f"Wait until that ends, stop it, or choose another place with --out."
    )


def _describe(folder: Path, content: bytes) -> str:
    return (
        f"The run {printable(str(folder))} is in use {_who(content)}.\n"
        f"Wait until it ends, stop it, or choose another place with --out."
    )


def _who(content: bytes) -> str:
    try:
        holder = parse_object(content)
        return f"by process {int(holder['pid'])} since {printable(str(holder['since'])[:40])}"
    except (ValueError, KeyError, TypeError, OverflowError):
        return "by another process, which has just started"  # it holds the lock but has not yet written its name
