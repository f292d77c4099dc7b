"""How a run, an ensemble or a run with folds stands, told from its files alone: running, finished, stopped or damaged.

Nothing here opens weights or imports torch, and a damaged file is a state, not an error: the rest is told all the same.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..core import lock
from ..core.errors import CheckpointError, ConfigError, printable, shell_word
from .files import Count, Finite, Rate, RunFile, Seconds, Text, read_json_file
from .judging_work import PASS_SHARE, REPORT_S, num_passes
from .log import EpochEvent, GrowingLog
from .measured import read_measured
from .names import (
    BEST,
    CONFIG,
    DATA,
    ENSEMBLE_PLAN,
    ENVIRONMENT,
    EVALUATION,
    FOLDS,
    FOLDS_PLAN,
    FOLDS_VERDICT,
    FOUND,
    LAST,
    MANIFEST,
    MEASURED,
    METRICS_LOG,
    START,
    TRANSFER,
    fold_name,
    member_name,
)
from .settings import Found, read_settings
from .summary import DEFAULTS, ConfigFacts, DataSummary, read_config_facts, read_data_summary, read_environment

State = Literal["running", "finished", "stopped", "damaged"]
FigureName = Literal["top1", "map", "mae"]
KEPT = (f"{BEST}/{MANIFEST}", f"{LAST}/{MANIFEST}")
PLAN_OF_FOLDS = f"{FOLDS}/{FOLDS_PLAN}"
BEGUN = (CONFIG, ENSEMBLE_PLAN, PLAN_OF_FOLDS, ENVIRONMENT)  # written when it begins
BESIDE_CONFIG = (FOUND, ENVIRONMENT, DATA, METRICS_LOG, EVALUATION)  # one of these, or it is somebody else's file
WATCHED = (*BEGUN, FOUND, DATA, MEASURED, TRANSFER, METRICS_LOG, EVALUATION, FOLDS_VERDICT, BEST, LAST, START, *KEPT)
MAX_PARTS = 20  # members of an ensemble, or folds
SILENT_S = 120.0  # after which a training that is said to run may hang; an epoch may take longer
RECENT_EPOCHS = 5  # of which the time that is left is told
SLOWER = 1.1  # than the slowest of these
DOUBT = 0.25  # of a forecast, as a share
EVERYTHING = "all"  # is frozen but the last layer


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a run was judged to be: `name` top1 or map (fractions) or mae (in the number's unit), and its 95 % interval,
    on `num_judged` images. None where no interval is known."""

    name: FigureName
    value: float
    low: float | None
    high: float | None
    num_judged: int


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
    mae: Annotated[Finite, Field(ge=0)] | None = None
    mae_low: Finite | None = None
    mae_high: Finite | None = None
    caveats: Annotated[tuple[Text, ...], Field(strict=False)] | None = None

    @property
    def figure(self) -> Figure | None:
        """The figure that judges the run; None where it is not there."""
        names: tuple[FigureName, ...] = ("top1", "map", "mae")
        for name in names:
            value, low, high = (getattr(self, name + end) for end in ("", "_low", "_high"))
            if value is not None:
                return Figure(name=name, value=value, low=low, high=high, num_judged=self.num_samples)
        return None


@dataclass(frozen=True, kw_only=True)
class NumImages:
    """How many images of a run are in each split, and how many pass to judge it."""

    train: int
    validation: int
    test: int
    passes: int

    def judging_s(self, epochs: tuple[EpochEvent, ...]) -> tuple[float, float]:
        """(least, most) seconds that judging takes, by the validations of `epochs`; by their training where there are
        none."""
        training = [self.train / event.images_per_second if event.images_per_second else 0.0 for event in epochs]
        if self.validation:
            spent = [max(0.0, event.seconds - took_s) for event, took_s in zip(epochs, training, strict=True)]
            low_s, high_s = (self.passes / self.validation * each for each in (min(spent), SLOWER * max(spent)))
        else:
            share = self.passes / max(1, self.train)
            low_s, high_s = PASS_SHARE[0] * share * min(training), PASS_SHARE[1] * share * max(training)
        return low_s + REPORT_S[0], high_s + REPORT_S[1]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the files of a run say. `problem` names the file that is damaged, "" where none is. Times are seconds since
    1970: `begun_s` None where nothing says it, `active_s` when a file changed last. `num_fits`: measurements that a
    transfer has finished to choose its depth. `frozen_judging_s`: of a transfer that has all but its last layer frozen,
    and so no epochs, what judging was expected to take. `parts` are the members of an ensemble, or the folds, that were
    begun, of `num_parts`."""

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
    num_by_split: NumImages | None = None
    frozen_judging_s: float | None = None
    is_ensemble: bool = False
    num_parts: int = 0
    parts: tuple["Standing", ...] = ()

    @property
    def is_judged(self) -> bool:
        return self.figures is not None

    @property
    def figure(self) -> Figure | None:
        """The figure that judges it; None before the verdict."""
        return self.figures.figure if self.figures else None

    @property
    def num_done(self) -> int:
        """How many epochs are done."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept until now."""
        return max((event.epoch for event in self.epochs if event.is_best), default=None)

    @property
    def is_fitted(self) -> bool:
        """Whether all training is done, so that it is judged next."""
        if self.num_parts:
            return False
        return self.frozen_judging_s is not None and not self.epochs

    @property
    def resume_command(self) -> str:
        """What goes on with it."""
        return f"saccade {self.config.verb} --resume --out {shell_word(self.path)}"

    def silent_s(self, now_s: float) -> float:
        """Seconds since a file changed."""
        return max(0.0, now_s - self.active_s)

    def is_stale(self, now_s: float) -> bool:
        """Whether it is said to run and has been silent for two minutes, and for much longer than an epoch takes."""
        recent = [event.seconds for run in (self, *self.parts) for event in run.epochs[-RECENT_EPOCHS:]]
        usual_s = 3 * max(recent, default=0.0)
        return self.state == "running" and self.silent_s(now_s) > max(SILENT_S, usual_s)

    def left_s(self, now_s: float) -> tuple[float, float] | None:
        """(least, most) seconds until all of it is judged and reported, folds or members included, by the latest
        epochs; None where nothing tells."""
        if self.is_fitted and self.state == "running":
            expected_s, spent_s = self.frozen_judging_s or 0.0, self.silent_s(now_s)
            low_s, high_s = (1 - DOUBT) * expected_s + REPORT_S[0], (1 + DOUBT) * expected_s + REPORT_S[1]
            return max(0.0, low_s - spent_s), max(0.0, high_s - spent_s)
        trained = [run for run in (*self.parts, self) if run.epochs]
        num_left = self._num_left()
        if self.state != "running" or not trained or num_left is None:
            return None
        latest = max(trained, key=lambda run: run.active_s)
        recent = latest.epochs[-RECENT_EPOCHS:]
        epoch_s = [event.seconds for event in recent]
        judging_s = latest.num_by_split.judging_s(recent) if latest.num_by_split else REPORT_S
        spent_s, num_judgings = self.silent_s(now_s), self._num_judgings()
        low_s = num_left * min(epoch_s) + num_judgings * judging_s[0] - spent_s
        high_s = num_left * SLOWER * max(epoch_s) + num_judgings * judging_s[1] - spent_s
        return max(0.0, low_s), max(0.0, high_s)

    def _num_judgings(self) -> int:
        """How often it is still judged: each fold or member, and what they serve. The verdict of an ensemble costs
        about as much as those of its members."""
        judged = sum(part.is_judged for part in self.parts)
        own = max(1, self.num_parts) if self.is_ensemble else 1
        return max(0, self.num_parts - judged) + (0 if self.is_judged else own)

    def _num_left(self) -> int | None:
        """How many epochs are still to be done, those of folds or members that have not begun included; None where
        nothing tells. One that was judged is done, also where it stopped early."""
        usual = next((part.num_epochs for part in self.parts if part.num_epochs), self.num_epochs)
        if usual is None:
            return None
        own = 0 if self.is_ensemble else max(0, (self.num_epochs or usual) - self.num_done)
        begun = sum(0 if part.is_judged else max(0, usual - part.num_done) for part in self.parts)
        return own + begun + usual * max(0, self.num_parts - len(self.parts))


class WatchedRun:
    """A run, or an ensemble or a run with folds, that is looked at again and again: files that did not change are not
    read again."""

    def __init__(self, path: Path, is_part: bool = False) -> None:
        """`is_part`: a member or a fold, which has no parts itself."""
        self.path = path
        self._is_part = is_part
        self._parts: dict[Path, WatchedRun] = {}
        self._stood: tuple[Standing, ...] = ()
        self._log = GrowingLog(path / METRICS_LOG)
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._facts: dict[str, Any] = {}
        self.changes = 0  # how often something was different

    def look(self) -> Standing:
        """How it stands now. Nothing is raised for what a file holds."""
        stats = [_stat(self.path / name) for name in WATCHED]
        paths = [] if self._is_part else part_paths(self.path)
        self._parts = {path: self._parts.get(path) or WatchedRun(path, is_part=True) for path in paths}
        parts = tuple(part.look() for part in self._parts.values())
        is_new = tuple(stats) != self._seen
        self.changes += is_new or parts != self._stood
        self._stood = parts
        if is_new:
            self._seen = tuple(stats)
            self._facts = _facts(self.path, self._log, None if self._is_part else _plan(self.path))
        times_s = [time_ns / 1e9 for time_ns, _ in stats]
        begun_s = [time_s for time_s in times_s[: len(BEGUN)] if time_s]
        return self._standing(begun_s, max(times_s), parts)

    def _standing(self, begun_s: list[float], active_s: float, parts: tuple[Standing, ...]) -> Standing:
        facts = self._facts
        epochs, figures, num_epochs = facts["epochs"], facts["figures"], facts["num_epochs"]
        is_done = figures is not None and not (epochs and num_epochs and epochs[-1].epoch < num_epochs)
        held = lock.is_held(self.path) or (bool(facts["num_parts"]) and lock.is_held(self.path / FOLDS))
        problem = next((problem for problem in (facts["problem"], *(part.problem for part in parts)) if problem), "")
        state: State = "running" if held and not is_done else "finished" if figures is not None else "stopped"
        found: dict[str, Any] = facts | {
            "problem": problem,
            "begun_s": min([*begun_s, *(part.begun_s for part in parts if part.begun_s)], default=None),
            "active_s": max([active_s, *(part.active_s for part in parts)]),
        }
        return Standing(path=self.path, state="damaged" if problem else state, parts=parts, **found)


def looks_like_run(path: Path) -> bool:
    """Whether a run, an ensemble or folds were begun in the folder `path`."""
    if _plan(path) or any(os.path.isfile(path / name) for name in KEPT):
        return True
    return os.path.isfile(path / CONFIG) and any(os.path.isfile(path / name) for name in BESIDE_CONFIG)


def part_paths(path: Path) -> list[Path]:
    """The members of the ensemble in `path`, or its folds, that were begun; of a link nothing is looked at."""
    plan = _plan(path)
    if plan is None:
        return []
    name_of = member_name if plan.name == ENSEMBLE_PLAN else fold_name
    parts = [plan.parent / name_of(number) for number in range(1, MAX_PARTS + 1)]
    return [part for part in parts if not part.is_symlink() and looks_like_run(part)]


def _plan(path: Path) -> Path | None:
    """The file that says what the ensemble, or the folds, in `path` were begun with."""
    return next((path / name for name in (ENSEMBLE_PLAN, PLAN_OF_FOLDS) if os.path.isfile(path / name)), None)


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


class _Start(RunFile):
    """`transfer.json`, as far as a list shows it."""

    epochs: Count = 0
    frozen: Text = ""
    judging_s: Seconds = 0.0


class NamedNetwork(RunFile):
    """`manifest.json`, as far as a list shows it."""

    model: Text = ""


def _num_by_split(data: DataSummary | None) -> NumImages | None:
    """How many images there are to judge; None where nothing tells."""
    if data is None or not data.counts:
        return None
    num = {name: sum(counts) for name, counts in data.counts.items()} | dict(data.num_images)
    train, validation, test = (num.get(name, 0) for name in ("train", "validation", "test"))
    return NumImages(
        train=train,
        validation=validation,
        test=test,
        passes=num_passes(train, validation, test or validation or train, len(data.classes)),
    )


def _facts(path: Path, log: GrowingLog, plan: Path | None) -> dict[str, Any]:
    """What the files hold, each read by itself; `problem` is the message about the first that is damaged."""
    problems: list[str] = []

    def read(reader: Any, otherwise: Any) -> Any:
        try:
            found = reader()
        except (CheckpointError, ConfigError) as error:
            problems.append(error.message)
            return otherwise
        return otherwise if found is None else found

    text, config = read(lambda: read_config_facts(path), ("", ConfigFacts()))
    planned, num_parts = read(lambda: _read_plan(plan), (config, 0)) if plan else (config, 0)
    config = config if text else planned
    is_ensemble = plan is not None and plan.name == ENSEMBLE_PLAN
    data = read(lambda: read_data_summary(path), None)
    environment = read(lambda: read_environment(path), None)
    figures = read(lambda: read_json_file(VerdictFigures, path / EVALUATION), None)
    fits = read(lambda: read_measured(path), None)
    start = read(lambda: read_json_file(_Start, path / TRANSFER), _Start())
    model = read(lambda: _model(path, config), "")
    epochs = log.read()
    problems += [log.problem] if log.problem else []
    if figures is not None and not is_ensemble and not problems and not os.path.isfile(path / BEST / MANIFEST):
        problems.append(f"{printable(str(path / BEST))} has no {MANIFEST}: its weights cannot be opened.")
    return {
        "problem": problems[0] if problems else "",
        "model": model,
        "device": environment.device if environment else "",
        "config": config,
        "num_images": data.num_samples if data else None,
        "epochs": epochs,
        "num_epochs": (epochs[-1].num_epochs if epochs else None) or start.epochs or config.epochs,
        "figures": figures,
        "num_fits": len(fits.fits) if fits else 0,
        "frozen_judging_s": start.judging_s if start.frozen == EVERYTHING else None,
        "num_by_split": _num_by_split(data),
        "is_ensemble": is_ensemble,
        "num_parts": num_parts,
    }


def _model(path: Path, config: ConfigFacts) -> str:
    """The network: of the weights that were kept, else as it was found or asked for."""
    for name in KEPT:
        kept = read_json_file(NamedNetwork, path / name)
        if kept is not None and kept.model:
            return kept.model
    found = read_json_file(Found, path / FOUND)
    if found is not None and isinstance(found.values.get("model"), str):
        return str(found.values["model"])
    return config.model


def _read_plan(plan: Path) -> tuple[ConfigFacts, int]:
    """(configuration, number of parts) in `ensemble.toml` or `folds.toml`. Raises CheckpointError, ConfigError."""
    settings = read_settings(plan)
    values = settings.values if settings else {}
    asked = values.get("run", {})
    config = ConfigFacts.parse(DEFAULTS | asked if isinstance(asked, dict) else DEFAULTS, printable(str(plan)))
    number = values.get("num_members" if plan.name == ENSEMBLE_PLAN else "num_folds")
    return config, number if type(number) is int and 0 < number <= MAX_PARTS else 0
