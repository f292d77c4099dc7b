"""One process per run directory: an operating-system lock that dies with its holder."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .atomic import storage_errors
from .errors import RunInUseError, printable

LOCK_NAME = ".lock"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises RunInUseError naming the holder, StorageError where locking fails.

    The kernel releases the lock when the holder ends, however it ends, so a stale file cannot block anybody.
    """
    path = folder / LOCK_NAME
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)  # a link could lead anywhere
    try:
        with storage_errors(path):  # a network share may not know locks
            if not _lock_soon(descriptor):
                raise RunInUseError(_describe(folder, os.pread(descriptor, 4096, 0)))
        holder = json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()
        with storage_errors(path, len(holder)):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder, 0)
        yield
    finally:
        os.close(descriptor)


def refuse_held(folder: Path) -> None:
    """Raise RunInUseError where another process holds `folder`: at once, before the work that precedes `exclusive`.
    Raises StorageError where locking fails."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return  # no lock was ever taken here, or it cannot be read, which `exclusive` will explain
    try:
        with storage_errors(folder / LOCK_NAME):
            if not _lock(descriptor, fcntl.LOCK_SH):
                raise RunInUseError(_describe(folder, os.pread(descriptor, 4096, 0)))
    finally:
        os.close(descriptor)


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


def _describe(folder: Path, content: bytes) -> str:
    try:
        holder = json.loads(content)
        who = f"by process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "by another process, which has just started"  # it holds the lock but has not yet written its name
    return (
        f"The run {printable(str(folder))} is in use {who}.\n"
        f"Wait until it ends, stop it, or choose another place with --out."
    )
