"""Who watches a run: what it is told, and the one that says nothing."""

from collections.abc import Callable
from typing import Protocol

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

    def scan(self, done: int, total: int) -> None:
        """Nothing."""

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """Nothing."""

    def epoch(self, result: EpochResult) -> None:
        """Nothing."""


class NotedOnce:
    """A RunProgress that hands all on to another, but each note once: a command may open the same images twice."""

    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress
        self._told: set[str] = set()

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
