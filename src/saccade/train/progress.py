"""Who watches a run: what it is told, and the one that says nothing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .config import RunConfig
from .loop import EpochResult


class RunProgress(Protocol):
    """Who watches a run: a terminal, a log, a test."""

    def scan(self, done: int, total: int) -> None:
        """Called as images are looked at before training; `done == total` at the end."""

    def begin(self, lines: list[str]) -> None:
        """Called once before the first step, with what is about to run."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def working(self, text: str) -> None:
        """What goes on now, and how far it is: `features of 648 of 3,068 images`."""

    def time_left(self, low_s: float, high_s: float) -> None:
        """All of the work, to its verdict and report, still takes between so many seconds."""

    def measured(self, text: str) -> None:
        """A measurement that is finished, while others follow."""

    def begun(self, run_dir: Path, config: RunConfig, step: int) -> None:
        """A run begins, or goes on after so many steps, in its folder; with folds and ensembles one after another."""

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """What `metrics.jsonl` has got."""

    def ended(self, verdict: dict[str, Any] | None) -> None:
        """The run is judged, with these figures; None: it was stopped, or failed."""

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """See loop.Progress."""

    def epoch(self, result: EpochResult) -> None:
        """See loop.Progress."""


class Silent:
    """A RunProgress that says nothing."""

    def begin(self, lines: list[str]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def working(self, text: str) -> None:
        """Nothing."""

    def time_left(self, low_s: float, high_s: float) -> None:
        """Nothing."""

    def measured(self, text: str) -> None:
        """Nothing."""

    def scan(self, done: int, total: int) -> None:
        """Nothing."""

    def begun(self, run_dir: Path, config: RunConfig, step: int) -> None:
        """Nothing."""

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """Nothing."""

    def ended(self, verdict: dict[str, Any] | None) -> None:
        """Nothing."""

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """Nothing."""

    def epoch(self, result: EpochResult) -> None:
        """Nothing."""


class NotedOnce:
    """A RunProgress that hands all on to another, but each note once: a command may open the same images twice.

    The other one may be of before there were `time_left`, `measured`, `begun`, `logged` and `ended`, and hears none
    of them.
    """

    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress
        self._told: set[str] = set()

    @property
    def seconds(self) -> float:
        """Since the command began, where the other one knows that; else 0."""
        seconds = getattr(self._progress, "seconds", 0.0)
        return seconds if isinstance(seconds, float) else 0.0

    def note(self, text: str) -> None:
        """What was not noted before."""
        if text not in self._told:
            self._told.add(text)
            self._progress.note(text)

    def begin(self, lines: list[str]) -> None:
        """As the other one."""
        self._progress.begin(lines)

    def working(self, text: str) -> None:
        """As the other one."""
        self._progress.working(text)

    def time_left(self, low_s: float, high_s: float) -> None:
        """As the other one, if it hears of that."""
        if hasattr(self._progress, "time_left"):
            self._progress.time_left(low_s, high_s)

    def measured(self, text: str) -> None:
        """As the other one, if it hears of that."""
        if hasattr(self._progress, "measured"):
            self._progress.measured(text)

    def begun(self, run_dir: Path, config: RunConfig, step: int) -> None:
        """As the other one, if it hears of that."""
        if hasattr(self._progress, "begun"):
            self._progress.begun(run_dir, config, step)

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """As the other one, if it hears of that."""
        if hasattr(self._progress, "logged"):
            self._progress.logged(event, values)

    def ended(self, verdict: dict[str, Any] | None) -> None:
        """As the other one, if it hears of that."""
        if hasattr(self._progress, "ended"):
            self._progress.ended(verdict)

    def scan(self, done: int, total: int) -> None:
        """As the other one."""
        self._progress.scan(done, total)

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """As the other one."""
        self._progress.step(epoch, batch, num_batches, means)

    def epoch(self, result: EpochResult) -> None:
        """As the other one."""
        self._progress.epoch(result)


class BegunOnce(NotedOnce):
    """As `NotedOnce`, for several runs of one command: of what is about to run, each line is said once, too."""

    def begin(self, lines: list[str]) -> None:
        """The lines that no run before had."""
        new = [line for line in lines if line not in self._told]
        self._told.update(new)
        self._progress.begin(new)


class OneOfSeveral(NotedOnce):
    """As `NotedOnce`, for run `number` of `total` of one command, counted from 1: the time left is that of all of them,
    since each takes about as long as this one."""

    def __init__(self, progress: RunProgress, number: int, total: int) -> None:
        super().__init__(progress)
        self._num_others = total - number
        self._started_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """0: what came before is not of this run."""
        return 0.0

    def time_left(self, low_s: float, high_s: float) -> None:
        """This one's, and those of the runs behind it."""
        done_s = time.monotonic() - self._started_s
        super().time_left(low_s + self._num_others * (done_s + low_s), high_s + self._num_others * (done_s + high_s))
