"""How a run stands, told from its files alone: running, finished, stopped or damaged, and what is known of it.

Nothing here opens weights or imports torch, and a damaged file is a state, not an error: the rest is told all the same.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core import lock
from ..core.errors import CheckpointError, ConfigError, shell_word
from .files import Count, Finite, Rate, RunFile, Text, read_json_file
from .log import EpochEvent, GrowingLog
from .measured import read_measured
from .names import (
    BEST,
    CONFIG,
    DATA,
    ENVIRONMENT,
    EVALUATION,
    FOUND,
    LAST,
    MANIFEST,
    MEASURED,
    METRICS_LOG,
    START,
    TRANSFER,
)
from .settings import Found, read_settings
from .summary import ConfigFacts, read_config_facts, read_data_summary, read_environment

State = Literal["running", "finished", "stopped", "damaged"]
WATCHED = (CONFIG, FOUND, ENVIRONMENT, DATA, MEASURED, TRANSFER, METRICS_LOG, EVALUATION, BEST, LAST, START)
SILENT_S = 120.0  # after which a training that is said to run may hang; an epoch may take longer
RECENT_EPOCHS = 5  # of which the time that is left is told
DEFAULT_EPOCHS = 10


class VerdictFigures(RunFile):
    """`evaluation.json`, as far as a list shows it: of one label `top1`, of several `map`, of numbers `mae`."""

    split: Text = ""
    kind: Text | None = None
    num_samples: Count = 0
    top1: Rate | None = None
    top1_low: Rate | None = None
    top1_high: Rate | None = None
    map: Rate | None = None
    map_low: Rate | None = None
    map_high: Rate | None = None
    mae: Finite | None = None
    mae_low: Finite | None = None
    mae_high: Finite | None = None

    @property
    def rate(self) -> tuple[str, float, float, float] | None:
        """(what it is, value, low, high) of the figure that judges the run; None where it is not there."""
        for name in ("top1", "map", "mae"):
            value, low, high = (getattr(self, name + end) for end in ("", "_low", "_high"))
            if value is not None and low is not None and high is not None:
                return name, value, low, high
        return None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the files of a run say. `problem` names the file that is damaged, "" where none is. Times are seconds since
    1970: `begun_s` None where nothing says it, `active_s` when a file changed last. `num_fits`: measurements that a
    transfer has finished to choose its depth."""

    path: Path
    state: State
    problem: str
    model: str
    device: str
    config: ConfigFacts
    num_images: int | None
    epochs: tuple[EpochEvent, ...]
    num_epochs: int | None
    figures: VerdictFigures | None
    begun_s: float | None
    active_s: float
    num_fits: int

    @property
    def is_judged(self) -> bool:
        return self.figures is not None

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept until now."""
        return max((event.epoch for event in self.epochs if event.is_best), default=None)

    @property
    def resume_command(self) -> str:
        """What goes on with it."""
        return f"saccade {self.config.verb} --resume --out {shell_word(self.path)}"

    def silent_s(self, now_s: float) -> float:
        """Seconds since a file changed."""
        return max(0.0, now_s - self.active_s)

    def is_stale(self, now_s: float) -> bool:
        """Whether it is said to run and has been silent for two minutes, and for much longer than an epoch takes."""
        usual_s = 3 * max((event.seconds for event in self.epochs[-RECENT_EPOCHS:]), default=0.0)
        return self.state == "running" and self.silent_s(now_s) > max(SILENT_S, usual_s)

    def left_s(self, now_s: float) -> tuple[float, float] | None:
        """(least, most) seconds until training ends, by its latest epochs; None where nothing tells."""
        if self.state != "running" or not self.epochs or self.num_epochs is None:
            return None
        recent = [event.seconds for event in self.epochs[-RECENT_EPOCHS:]]
        num_left = max(0, self.num_epochs - self.epochs[-1].epoch)
        spent_s = self.silent_s(now_s)
        return tuple(max(0.0, num_left * each - spent_s) for each in (min(recent), 1.1 * max(recent)))  # type: ignore[return-value]


class WatchedRun:
    """A run that is looked at again and again: files that did not change are not read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = GrowingLog(path / METRICS_LOG)
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._facts: dict[str, Any] = {}
        self.changes = 0  # how often something was different

    def look(self) -> Standing:
        """How it stands now. Nothing is raised for what a file holds."""
        stats = [_stat(self.path / name) for name in WATCHED]
        if tuple(stats) != self._seen:
            self._seen = tuple(stats)
            self._facts = _facts(self.path, self._log)
            self.changes += 1
        return self._standing(max((time_ns for time_ns, _ in stats), default=0) / 1e9)

    def _standing(self, active_s: float) -> Standing:
        facts = self._facts
        epochs, figures, num_epochs = facts["epochs"], facts["figures"], facts["num_epochs"]
        is_done = figures is not None and not (epochs and num_epochs and epochs[-1].epoch < num_epochs)
        held = lock.is_held(self.path)
        state: State = "running" if held and not is_done else "finished" if figures is not None else "stopped"
        return Standing(path=self.path, state="damaged" if facts["problem"] else state, active_s=active_s, **facts)


def looks_like_run(path: Path) -> bool:
    """Whether a run was begun in the folder `path`."""
    return any(os.path.isfile(path / name) for name in (CONFIG, METRICS_LOG, EVALUATION)) or any(
        os.path.isdir(path / name) for name in (BEST, LAST)
    )


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _facts(path: Path, log: GrowingLog) -> dict[str, Any]:
    """What the files hold, each read by itself; `problem` is the message about the first that is damaged."""
    problems: list[str] = []

    def read(reader: Any, otherwise: Any) -> Any:
        try:
            found = reader()
        except (CheckpointError, ConfigError) as error:
            problems.append(error.message)
            return otherwise
        return otherwise if found is None else found

    config: ConfigFacts = read(lambda: read_config_facts(path)[1], ConfigFacts())
    data = read(lambda: read_data_summary(path), None)
    environment = read(lambda: read_environment(path), None)
    figures = read(lambda: read_json_file(VerdictFigures, path / EVALUATION), None)
    fits = read(lambda: read_measured(path), None)
    model = read(lambda: _model(path), "")
    epochs = log.read()
    problems += [log.problem] if log.problem else []
    wanted = config.epochs if config.epochs is not None else DEFAULT_EPOCHS
    return {
        "problem": problems[0] if problems else "",
        "model": model,
        "device": environment.device if environment else "",
        "config": config,
        "num_images": data.num_samples if data else None,
        "epochs": epochs,
        "num_epochs": (epochs[-1].num_epochs if epochs else None) or wanted,
        "figures": figures,
        "begun_s": _stat(path / ENVIRONMENT)[0] / 1e9 or None,
        "num_fits": len(fits.fits) if fits else 0,
    }


class NamedNetwork(RunFile):
    """`manifest.json`, as far as a list shows it."""

    model: Text = ""


def _model(path: Path) -> str:
    """The network: of the weights that were kept, else as the settings name it; a transfer's was found."""
    for name in (BEST, LAST):
        kept = read_json_file(NamedNetwork, path / name / MANIFEST)
        if kept is not None and kept.model:
            return kept.model
    found = read_json_file(Found, path / FOUND)
    if found is not None and isinstance(found.values.get("model"), str):
        return str(found.values["model"])
    settings = read_settings(path / CONFIG)
    return str(settings.values.get("model", "")) if settings else ""
