"""What a person sees while a run goes on: one live line on a terminal, plain lines everywhere else, all on stderr."""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from ..core.display import fitted
from ..core.durations import between_words
from ..core.errors import printable_lines
from .colour import WARNING, painted
from .live_line import LiveLine, live_line

if TYPE_CHECKING:
    from pathlib import Path

    from ..train.config import RunConfig
    from ..train.loop import EpochResult

NOTE = "note:"
HEARTBEAT_S = 60.0
WORKING_S = 10.0  # between lines that say how far long work is
REDRAW_S = 0.1
CELL_WIDTH = 9  # characters, or those of a longer heading
EVERY_COLUMN = ("epoch", "train loss", "train acc", "val loss", "val acc", "lr", "time", "img/s")
MAP_COLUMN = {"val acc": "val mAP"}  # of several labels
NUMBER_COLUMN = {"train acc": "train near", "val acc": "val MAE"}  # of a number
# Columns that go first when the terminal is narrower than so many characters.
USUAL_WIDTH = 80  # characters, of a terminal that does not say its own
DROPPED_BELOW = ((100, {"train acc"}), (80, {"lr", "img/s"}), (60, {"train loss", "time"}))


@dataclass(frozen=True, kw_only=True)
class Output:
    """How to talk: `quiet` says only the result, `plain` never redraws, `width` in characters (0: no limit)."""

    stream: TextIO
    quiet: bool
    plain: bool
    width: int


def choose_output(quiet: bool = False, plain: bool = False, stream: TextIO | None = None) -> Output:
    """A live line only on a real terminal that can redraw; never in CI, in files, with TERM=dumb or --plain."""
    stream = stream or sys.stderr
    on_terminal = stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return Output(
        stream=stream, quiet=quiet, plain=plain or not on_terminal, width=terminal_width(stream) if on_terminal else 0
    )


def terminal_width(stream: TextIO) -> int:
    """Characters in a line of the terminal behind `stream`, wherever stdout leads; COLUMNS decides first."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except OSError:  # what only calls itself a terminal
        return USUAL_WIDTH


class RunConsole:
    """Shows a training run: five lines at the start, one row an epoch, a heartbeat or a live line in between."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._columns = visible_columns(output.width)
        self._line = live_line(output.stream) or LiveLine(output.stream, not output.plain, output.width)
        self._drawn_s = self._epoch_started_s = time.monotonic()
        self._first_step = True
        self._started_s = time.monotonic()
        self._has_headings = False
        self._left_until_s = (0.0, 0.0)
        self._line.left = self._left

    @property
    def seconds(self) -> float:
        """Since the command began, its loading of torch included."""
        return time.monotonic() - self._started_s

    def begin(self, lines: list[str]) -> None:
        """Say what is about to run; the headings come with the first row."""
        for line in lines:
            self._print(line, stamped=False)

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._print(f"{NOTE} {text}", stamped=False)

    def measured(self, text: str) -> None:
        """A measurement that is finished: a line that stays."""
        self._print(text)

    def time_left(self, low_s: float, high_s: float) -> None:
        """How long all of the work still takes: a part of the live line."""
        now_s = time.monotonic()
        self._left_until_s = (now_s + low_s, now_s + high_s)

    def _left(self) -> str:
        """How long all of it still takes; what has passed since it was told is no part of it."""
        low_s, high_s = (max(0.0, until_s - time.monotonic()) for until_s in self._left_until_s)
        return left_words(low_s, high_s)

    def begun(self, run_dir: "Path", config: "RunConfig", step: int) -> None:
        """Nothing: its first lines have it."""

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """Nothing: the rows have it."""

    def ended(self, verdict: dict[str, Any] | None) -> None:
        """Nothing: the verdict is the result."""

    def working(self, text: str) -> None:
        """How far long work is: the live line, or a line that stays every 10 s."""
        now_s = time.monotonic()
        if self.output.quiet:
            return
        if now_s - self._drawn_s >= (WORKING_S if self.output.plain else REDRAW_S):
            self._drawn_s = now_s
            self._show([text])
        else:
            self._line.say(text)  # which it will show, if this goes on

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """Redraw the live line at most ten times a second; elsewhere one line a minute."""
        now_s = time.monotonic()
        if self._first_step:
            self._first_step = False
            self._epoch_started_s = now_s
        pause_s = HEARTBEAT_S if self.output.plain else REDRAW_S
        if self.output.plain:
            self._line.say("")  # steps have a heartbeat of their own
        if self.output.quiet or now_s - self._drawn_s < pause_s:
            return
        self._drawn_s = now_s
        loss, accuracy = means()
        remaining = "" if self._left() else remaining_time(now_s - self._epoch_started_s, batch, num_batches)
        parts = [f"epoch {epoch + 1}", f"batch {batch}/{num_batches}", f"loss {loss:.3f}"]
        parts += [] if math.isnan(accuracy) else [f"acc {100 * accuracy:.1f} %"]
        self._show(parts + ([remaining] if remaining else []))

    def scan(self, done: int, total: int) -> None:
        """How many of the images have been looked at before training, as often as `step` speaks."""
        now_s = time.monotonic()
        pause_s = HEARTBEAT_S if self.output.plain else REDRAW_S
        if done == total:
            self._line.clear()
            self._line.say("preparing")
        elif not self.output.quiet and now_s - self._drawn_s >= pause_s:
            self._drawn_s = now_s
            self._show([f"checking images {done:,}/{total:,}"])

    def epoch(self, result: "EpochResult") -> None:
        """One row that stays."""
        self._line.say(f"epoch {result.epoch + 1}" if result.epoch < result.num_epochs else "finishing")
        self._epoch_started_s = self._drawn_s = time.monotonic()
        cells = row_cells(result)
        shown = [_renamed(result).get(name, name) for name in self._columns]
        if self.output.plain:
            names = [name for name in cells if cells[name].strip()]
            left = [self._left()] if self._left() and result.epoch < result.num_epochs else []
            self._print("  ".join([*(f"{name} {cells[name].strip()}" for name in names), *left]))
        else:
            if not self._has_headings:
                self._has_headings = True
                self._print("  ".join(name.rjust(CELL_WIDTH) for name in shown), stamped=False)
            self._print("  ".join(cells[name].rjust(max(CELL_WIDTH, len(name))) for name in shown), stamped=False)

    def _show(self, parts: list[str]) -> None:
        """What goes on now: the live line, of as many parts as fit whole, or a line that stays."""
        if self.output.plain:
            text = "  ".join(parts)
            self._print("  ".join([*parts, *filter(None, [self._left()])]))
            self._line.told(text)
            return
        while len(parts) > 1 and len("  ".join(parts)) >= self.output.width:
            parts = parts[:-1]
        self._line.draw("  ".join(parts))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._left_until_s = (0.0, 0.0)
        self._line.say("")
        self._line.clear()

    def _print(self, text: str, stamped: bool = True) -> None:
        if self.output.quiet:
            return
        self._line.clear()
        text = fitted(printable_lines(text), self.output.width)
        if text.startswith(NOTE):
            text = painted(NOTE, WARNING, self.output.stream) + text.removeprefix(NOTE)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S ") if stamped and self.output.plain else ""
        encoding = self.output.stream.encoding or "utf-8"
        try:
            self.output.stream.write(f"{stamp}{text}\n".encode(encoding, "backslashreplace").decode(encoding))
            self.output.stream.flush()
        except (
            OSError
        ):  # the reader (`| head`, a killed `tee`) has gone, or its disk is full: the work goes on unwatched
            self.output = replace(self.output, quiet=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.output.stream.fileno())


def visible_columns(width: int) -> list[str]:
    """The columns that fit `width` characters (0: no limit), never a cut number."""
    dropped: set[str] = set()
    for limit, names in DROPPED_BELOW:
        if width and width < limit:
            dropped |= names
    return [name for name in EVERY_COLUMN if name not in dropped]


def _renamed(result: "EpochResult") -> dict[str, str]:
    """The columns that are called otherwise than for one label an image."""
    if result.validation_map is not None:
        return MAP_COLUMN
    return NUMBER_COLUMN if result.is_number else {}


def row_cells(result: "EpochResult") -> dict[str, str]:
    """The text of each column; the best epoch so far is marked with a star."""
    from ..core.display import figure

    has_validation = result.validation_loss is not None and result.validation_accuracy is not None
    star = "*" if result.is_best and has_validation else ""
    rate = result.validation_accuracy if result.validation_map is None else result.validation_map
    names = _renamed(result)
    chosen_by = f"{100 * (rate or 0):.2f} %" if result.validation_mae is None else figure(result.validation_mae)
    return {
        "epoch": f"{result.epoch}/{result.num_epochs}",
        "train loss": f"{result.train_loss:.4f}",
        names.get("train acc", "train acc"): f"{100 * result.train_accuracy:.2f} %",
        "val loss": f"{result.validation_loss:.4f}" if has_validation else "",
        names.get("val acc", "val acc"): f"{chosen_by}{star}" if has_validation else "",
        "lr": f"{result.learning_rate:.3g}",
        "time": duration(result.seconds),
        "img/s": f"{result.images_per_second:,.0f}",
    }


def duration(seconds: float) -> str:
    """`3.2 s`, `4 min 05 s` or `2 h 07 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    return f"{minutes} min {rest_s:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def remaining_time(elapsed_s: float, batch: int, num_batches: int) -> str:
    """`12 s to go` once a tenth of the epoch has shown its speed, nothing before."""
    if batch * 10 < num_batches or elapsed_s <= 0:
        return ""
    return f"{duration(elapsed_s / batch * (num_batches - batch))} to go"


def left_words(low_s: float, high_s: float) -> str:
    """`3 to 5 min left`, `up to 8 min left` where the least says little; nothing where nothing is known."""
    return f"{between_words(low_s, high_s)} left" if high_s > 0 else ""
