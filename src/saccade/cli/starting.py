"""Say "starting" on a terminal while torch is imported, which takes seconds, or many where the disk is cold.

Verbs import it when they run, each at its own place; one finder of modules hears of all of them. It finds nothing.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TextIO

SLOW = "torch"
TEXT = "starting"
CLEARED = "\r\x1b[2K"


class _HearsOfTorch(MetaPathFinder):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, always. The line comes with torch, and goes with the next module that is none of its own."""
        if fullname == SLOW:
            self._is_shown = True
            self._write(TEXT)
        elif self._is_shown and fullname.partition(".")[0] == __name__.partition(".")[0]:
            self.end()
        return None

    def end(self) -> None:
        """Take the line away, and hear no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._is_shown:
            self._is_shown = False
            self._write(CLEARED)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody reads it
            self._is_shown = False


@contextmanager
def starting(arguments: Sequence[str]) -> Iterator[None]:
    """In the enclosed work a terminal that can redraw shows that torch is being imported, unless `arguments` ask for
    quiet."""
    stream = sys.stderr
    can_redraw = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    if SLOW in sys.modules or not can_redraw or "--quiet" in arguments or "--plain" in arguments:
        yield
        return
    hears = _HearsOfTorch(stream)
    sys.meta_path.insert(0, hears)
    try:
        yield
    finally:
        hears.end()
