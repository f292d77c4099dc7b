"""The live line: what goes on now and for how long, at the bottom of a terminal, where nothing else is told.

A thread draws it each second, so that no work is silent for ten of them, whoever does it. Everything that is printed
takes it away first. On a terminal that cannot redraw (TERM=dumb, CI, --plain), and into a file or a pipe, a line is
printed after ten seconds and then once in a minute.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from ..core.display import text_width

PLAIN_PATIENCE_S = 10.0  # the same where every line stays; later lines come with the heartbeat
PATIENCE_S = 2.0  # of a person, before a silent command says what it does
HEARTBEAT_S = 60.0
TICK_S = 1.0
REDRAW_S = 0.1
CLEARED, HIDDEN, SHOWN = "\r\x1b[2K", "\x1b[?25l", "\x1b[?25h"


class LiveLine:
    """One line on `stream`, at most `width` characters wide; without `can_redraw` a line that stays, once in a minute.

    It is on while entered. What is drawn by somebody else in between is cleared by `clear` before they print.
    """

    def __init__(self, stream: TextIO, can_redraw: bool, width: int) -> None:
        self.stream, self.can_redraw, self.width = stream, can_redraw, width
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._text = self._drawn = self._told = ""
        self._since_s = self._told_s = time.monotonic()
        self._has_cursor = True
        self.drawn_s = 0.0
        self.left: Callable[[], str] = _unknown  # how long all of it still takes, asked whenever a line is drawn

    def __enter__(self) -> "LiveLine":
        _Current.line = self
        self._thread = threading.Thread(target=self._keep_ticking, name="live line", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _Current.line = None
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._text = ""
            self.clear()

    def say(self, text: str) -> None:
        """What goes on from now on; nothing is drawn yet, and nothing at all of an empty text."""
        with self._lock:
            if text != self._text:
                self._text, self._since_s = text, time.monotonic()

    def draw(self, text: str) -> None:
        """Show `text` at once; it stays, with its age, until something else is told."""
        with self._lock:
            self._text, self._since_s = text, time.monotonic()
            self.drawn_s = self._since_s
            self._draw(self._with_left(text))

    def told(self, text: str) -> None:
        """Somebody else has printed `text`: it goes on, and is told again only with the heartbeat."""
        with self._lock:
            self._text = self._told = text
            self._since_s = self._told_s = time.monotonic()

    def clear(self) -> None:
        """Take the line away: something is printed now."""
        with self._lock:
            self._told_s = time.monotonic()
            if self._drawn or not self._has_cursor:
                self._drawn, self._has_cursor = "", True
                self._write(f"{CLEARED}{SHOWN}")

    def _keep_ticking(self) -> None:
        while not self._ended.wait(TICK_S):
            self.tick()

    def tick(self) -> None:
        """A second has passed: show what goes on, and for how long, where that is due."""
        with self._lock:
            now_s = time.monotonic()
            age_s = now_s - self._since_s
            if self._text and age_s >= PATIENCE_S and now_s - self._told_s >= self._patience_s():
                self._draw(self._with_left(self._text, f"({age_words(age_s)})"))

    def _with_left(self, *parts: str) -> str:
        """`parts` with the time left in between, where it is known and there is room for it."""
        left = self.left()
        whole = "  ".join([parts[0], left, *parts[1:]])
        is_shown = left and (not self.can_redraw or not self.width or text_width(whole) < self.width)
        return whole if is_shown else "  ".join(parts)

    def _patience_s(self) -> float:
        if self.can_redraw:
            return PATIENCE_S if not self._drawn else 0.0
        return PLAIN_PATIENCE_S if self._text != self._told else HEARTBEAT_S

    def _draw(self, text: str) -> None:
        if not self.can_redraw:
            self._told, self._told_s = self._text, time.monotonic()
            self._write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
            return
        while text and self.width and text_width(text) >= self.width:
            text = text[:-1]
        if text != self._drawn:
            self._write(f"{HIDDEN if self._has_cursor else ''}{CLEARED}{text}")
            self._drawn, self._has_cursor = text, False

    def _write(self, text: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        try:
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads it any more: the work goes on unwatched
            self._text = ""


def _unknown() -> str:
    return ""


class _Current:
    line: LiveLine | None = None  # of this command


def live_line(stream: TextIO) -> LiveLine | None:
    """The live line of this command on `stream`, where it has one."""
    line = _Current.line
    return line if line is not None and line.stream is stream else None


def say(text: str) -> None:
    """What this command does from now on."""
    if _Current.line is not None:
        _Current.line.say(text)


def show(text: str) -> None:
    """What this command does now, and how far it is."""
    line = _Current.line
    if line is not None and line.can_redraw and time.monotonic() - line.drawn_s >= REDRAW_S:
        line.draw(text)


def clear() -> None:
    """Something is printed now."""
    if _Current.line is not None:
        _Current.line.clear()


def age_words(seconds: float) -> str:
    """`12 s` or `3 min 05 s`: whole seconds."""
    minutes, rest_s = divmod(int(seconds), 60)
    return f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"
