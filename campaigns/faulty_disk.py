"""A disk that fails on purpose: full after so many bytes, or refusing every change, or one, from a chosen call on."""

import builtins
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CHANGES = ("fsync", "mkdir", "rename", "replace", "unlink", "rmdir", "pwrite", "ftruncate")


class FaultyDisk:
    """Fails below `root` with `number` (an errno): writes beyond `num_bytes`, or calls after `num_calls`.

    `once`: a single call fails, as with a bad sector; otherwise all later ones do. `struck` says whether any did.
    """

    def __init__(self, root: Path, number: int, num_bytes: int | None = None, num_calls: int | None = None) -> None:
        self.root, self.number = root.resolve(), number
        self.bytes_left, self.calls_left = num_bytes, num_calls
        self.once = False
        self.struck = False

    @contextmanager
    def failing(self) -> Iterator[None]:
        """While entered, this process sees the faulty disk."""
        patches = [mock.patch.object(builtins, "open", self._open(builtins.open))]
        patches += [mock.patch.object(os, name, self._call(getattr(os, name))) for name in CHANGES]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def change(self) -> None:
        """Count one change of the disk; raises OSError where it is one that fails."""
        if self.calls_left is None:
            return
        self.calls_left -= 1
        if self.calls_left == -1 or (self.calls_left < 0 and not self.once):
            self.fail()

    def take(self, wanted: int) -> int:
        """How many of `wanted` bytes still fit."""
        if self.bytes_left is None:
            return wanted
        fitting = min(wanted, self.bytes_left)
        self.bytes_left -= fitting
        return fitting

    def fail(self) -> None:
        self.struck = True
        raise OSError(self.number, os.strerror(self.number))

    def _inside(self, file: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.path.abspath(os.fsdecode(file))
        return self.root in Path(path).parents

    def _call(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *arguments: Any, **options: Any) -> Any:
            if self._inside(options["dir_fd"] if options.get("dir_fd") is not None else file):
                self.change()
                if original is os.pwrite and self.take(len(arguments[0])) < len(arguments[0]):
                    self.fail()
            return original(file, *arguments, **options)

        return call

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wax+") or not self._inside(file):
                return original(file, mode, *arguments, **options)
            self.change()
            return FaultyFile(original(file, mode, *arguments, **options), self)

        return call


class FaultyFile:
    """A file on a faulty disk: what fits is written, then the error comes."""

    def __init__(self, file: Any, disk: FaultyDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, content: bytes) -> int:
        self._disk.change()
        fitting = self._disk.take(len(content))
        self._file.write(content[:fitting])
        if fitting < len(content):
            self._disk.fail()
        return fitting

    def truncate(self, size: int) -> int:
        self._disk.change()
        return int(self._file.truncate(size))

    def __enter__(self) -> "FaultyFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
