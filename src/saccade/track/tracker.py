"""What a tracker is told of a run, how one is opened by its name, and how one that fails is left out.

A tracker hears the events of `metrics.jsonl`, in their order, and the verdict. It may be offline or broken: what it
raises is told once, it hears nothing more of the run, and the run goes on.
"""

import hashlib
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import UsageError, did_you_mean, printable

PROJECT = "saccade"  # what runs are filed under, where the tracker's own environment says nothing else
# Name -> (package that is imported, what to install).
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
    "trackio": ("trackio", "trackio"),
}


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run as a tracker files it: `key` is the same for every start of it, and of no other run."""

    name: str
    folder: Path
    key: str
    settings: Mapping[str, str | int | float | bool]
    is_resumed: bool
    first_step: int  # steps that were taken before


class Tracker(Protocol):
    """One tracker, open for one run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Figures after so many steps."""

    def close(self, verdict: Mapping[str, float]) -> None:
        """The run has ended; `verdict` is empty where it was stopped."""


class Trackers:
    """Several trackers of one run, each left out once it has failed; `note` hears why."""

    def __init__(self, names: Sequence[str], note: Callable[[str], None]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._note = note
        self._open: dict[str, Tracker] = {}
        self._step = 0

    def begin(self, run: TrackedRun) -> None:
        """Open every tracker for `run`."""
        self._step = run.first_step
        for name in self.names:
            with self._left_out(name, "could not be opened"):
                self._open[name] = _module(name).open_tracker(run)

    def log(self, event: str, values: Mapping[str, Any]) -> None:
        """Tell an event of `metrics.jsonl`: of an epoch its figures."""
        if event != "epoch":
            return
        self._step = int(values.get("step", self._step))
        figures = figures_of(values, ("epoch", "num_epochs", "step", "is_best"))
        for name in list(self._open):
            with self._left_out(name, "failed and hears no more of this run"):
                self._open[name].log(figures, self._step)

    def close(self, verdict: Mapping[str, Any]) -> None:
        """The run has ended, with these figures, or without any."""
        figures = {f"verdict_{key}": value for key, value in figures_of(verdict, ()).items()}
        for name in list(self._open):
            with self._left_out(name, "failed at the end"):
                self._open[name].close(figures)
            self._open.pop(name, None)

    @contextmanager
    def _left_out(self, name: str, what: str) -> Iterator[None]:
        """What a library raises in the enclosed work ends its tracking, and nothing else, even where it would leave the
        process; Ctrl-C goes on. What it prints goes to stderr, since stdout has the result."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a library raises, the run goes on
            self._open.pop(name, None)
            words = "" if isinstance(error, SystemExit) else str(error).strip()  # of that a number
            reason = printable((words.splitlines() or [type(error).__name__])[0][:200])
            self._note(f"--log {name} {what}: {reason}; metrics.jsonl has all of it")


def check_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for a tracker that is not known, or whose package is not installed: before any work."""
    for name in names:
        if name not in PACKAGES:
            known = ", ".join(PACKAGES)
            raise UsageError(f"Unknown tracker '{printable(name[:80])}'.{did_you_mean(name, PACKAGES)} Known: {known}.")
        package, extra = PACKAGES[name]
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"--log {name} needs the package {package}, which is not installed.\n"
                f"Install it: pip install 'saccade-learn[{extra}]'\n"
                f"Without it the figures of every epoch are in metrics.jsonl of the run."
            )


def run_key(folder: Path, begun_ns: int) -> str:
    """The key of the run that was begun in `folder` at that time: 16 hexadecimal characters."""
    return hashlib.sha256(f"{folder.resolve()} {begun_ns}".encode()).hexdigest()[:16]


def figures_of(values: Mapping[str, Any], without: Sequence[str]) -> dict[str, float]:
    """The finite numbers among `values`."""
    return {
        key: float(value)
        for key, value in values.items()
        if key not in without
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


def flat_settings(table: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Dotted keys and plain values of a nested table; lists as text."""
    return dict(_leaves(table, ""))


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool) else str(value)


def _module(name: str) -> Any:
    return importlib.import_module(f".log_to_{name}", __package__)
