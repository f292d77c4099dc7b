"""The live line of a command, from its start: "starting" while torch is imported, which takes seconds, or many where
the disk is cold; then what the verb does.

Verbs import torch when they run, each at its own place; one finder of modules hears of all of them. It finds nothing.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from .console import terminal_width
from .live_line import LiveLine

SLOW = "torch"
TEXT = "starting"
# What a verb does as long as nothing better is told. Those that are not here are done at once; into a file or a pipe
# they say nothing.
WORK = {
    "train": "preparing",
    "transfer": "preparing",
    "add-class": "preparing",
    "evaluate": "judging",
    "predict": "answering",
    "features": "computing features",
    "similar": "comparing images",
    "suggest": "comparing images",
    "drift": "comparing images",
    "explain": "explaining",
    "export": "exporting",
    "serve": "opening the models",
    "push": "exporting",
    "report": "writing the report",
    "runs": "reading the runs",
    "filter": "filtering",
    "inspect": "looking at the images",
    "preview": "drawing",
    "table": "following the network",
    "compare": "comparing",
    "convert": "converting",
    "weights": "fetching weights",
}


class _HearsOfTorch(MetaPathFinder):
    def __init__(self, line: LiveLine, work: str) -> None:
        self._line, self._work = line, work
        self._is_shown = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, always. The line comes with torch, and goes with the next module that is none of its own."""
        if fullname == SLOW:
            self._is_shown = True
            self._line.draw(TEXT) if self._line.can_redraw else self._line.say(TEXT)
        elif self._is_shown and fullname.partition(".")[0] == __name__.partition(".")[0]:
            self.end()
        return None

    def end(self) -> None:
        """Say what the verb does from now on, and hear no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._is_shown:
            self._is_shown = False
            self._line.clear()
            self._line.say(self._work)


@contextmanager
def starting(arguments: Sequence[str]) -> Iterator[None]:
    """In the enclosed work the live line is on, unless `arguments` ask for quiet."""
    stream = sys.stderr
    verb = next((word for word in arguments if not word.startswith("-")), "")
    is_other = os.environ.get("LOCAL_RANK", "0") != "0"  # one of several processes, of which the first says it
    if is_other or "--quiet" in arguments or not (stream.isatty() or verb in WORK):
        yield
        return
    can_redraw = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    can_redraw = can_redraw and "--plain" not in arguments
    work = WORK.get(verb, "")
    with LiveLine(stream, can_redraw, terminal_width(stream) if can_redraw else 0) as line:
        line.say(work)
        if SLOW in sys.modules:
            yield
            return
        hears = _HearsOfTorch(line, work)
        sys.meta_path.insert(0, hears)
        try:
            yield
        finally:
            hears.end()
