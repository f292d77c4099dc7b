"""The runs of a folder and how each stands: live, finished, stopped or damaged.

The list in the terminal and every page that shows runs read them here. Nothing is computed, no weights or outputs are
opened and torch is not imported, so a folder of hundreds of runs is listed at once.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from ..core import lock
from ..core.errors import CheckpointError, ConfigError, UsageError, printable, shell_word
from .files import Count, Finite, Rate, RunFile, Text, read_json_file
from .log import EpochEvent, read_epochs
from .names import (
    BEST,
    CONFIG,
    DATA,
    ENSEMBLE_PLAN,
    ENVIRONMENT,
    EVALUATION,
    FOLDS,
    FOLDS_PLAN,
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
from .settings import read_settings
from .summary import DEFAULTS, ConfigFacts, read_config_facts

State = Literal["live", "finished", "stopped", "damaged"]
FigureName = Literal["top1", "map", "mae"]
MAX_FOLDERS = 20_000  # that are looked into
MAX_DEPTH = 6  # folders inside folders
MAX_PARTS = 20  # members of an ensemble, or folds
LIVE_READS = 3  # of a file that grows while it is read
BEGUN_WITH = (ENVIRONMENT, DATA, FOUND, f"{BEST}/{MANIFEST}", f"{LAST}/{MANIFEST}")  # beside the `config.toml` of a run
WRITTEN: tuple[str, ...] = (CONFIG, ENSEMBLE_PLAN, MEASURED, TRANSFER, METRICS_LOG, EVALUATION)
WRITTEN += tuple(f"{name}/{MANIFEST}" for name in (BEST, LAST, START))

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a run was judged to be: `name` top1 or map (fractions) or mae (in the number's unit), and its 95 % interval,
    on `num_judged` images. None where no interval is known."""

    name: FigureName
    value: float
    low: float | None
    high: float | None
    num_judged: int


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run, or an ensemble or a run with folds, as a list shows it.

    `num_epochs` of `epochs` are finished; 0 of 0 where nothing is known. `figure` is None before the verdict. `problem`
    says what is damaged. Times are seconds since 1970. `parts` are the members of an ensemble, or the folds, that were
    begun, of `num_parts`.
    """

    path: Path
    state: State
    config: ConfigFacts
    num_epochs: int
    epochs: int
    figure: Figure | None
    split: str
    kind: str
    caveats: tuple[str, ...]
    begun_s: float
    updated_s: float
    problem: str = ""
    is_choosing: bool = False  # a transfer that has not found where its fine-tuning starts
    is_ensemble: bool = False
    num_parts: int = 0
    parts: tuple["ListedRun", ...] = ()

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        return f"saccade {self.config.verb} --resume --out {shell_word(self.path)}"


class _Epochs(RunFile):
    """`transfer.json`, as far as a list shows it."""

    epochs: Count = 0


class _Judged(RunFile):
    """`evaluation.json`, as far as a list shows it."""

    num_samples: Count = 0
    top1: Rate | None = None
    top1_low: Rate | None = None
    top1_high: Rate | None = None
    map: Rate | None = None
    map_low: Rate | None = None
    map_high: Rate | None = None
    mae: Annotated[Finite, Field(ge=0)] | None = None
    mae_low: Annotated[Finite, Field(ge=0)] | None = None
    mae_high: Annotated[Finite, Field(ge=0)] | None = None
    split: Text = ""
    kind: Text | None = None
    caveats: Annotated[tuple[Text, ...], Field(strict=False)] | None = None

    def figure(self) -> Figure | None:
        """The first figure that is there: accuracy, mean average precision, mean absolute error."""
        names: tuple[FigureName, ...] = ("top1", "map", "mae")
        for name in names:
            value = getattr(self, name)
            if value is not None:
                low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
                return Figure(name=name, value=value, low=low, high=high, num_judged=self.num_samples)
        return None


def is_listed(folder: Path) -> bool:
    """Whether a run, an ensemble or folds were begun in `folder`."""
    if os.path.isfile(folder / ENSEMBLE_PLAN) or os.path.isfile(folder / FOLDS / FOLDS_PLAN):
        return True
    return os.path.isfile(folder / CONFIG) and any(os.path.isfile(folder / name) for name in BEGUN_WITH)


def find_runs(folder: Path) -> list[Path]:
    """Every run in `folder`, at any depth up to 6 and in the order of names; links and hidden folders are not followed.
    A run's own folds and an ensemble's members are theirs. Raises UsageError where there is no such folder, or more
    than 20,000 folders in it."""
    if not os.path.isdir(folder):
        raise UsageError(
            f"There is no folder {printable(str(folder))}.\n"
            f"Runs lie in 'runs' beside where they were begun, or where --out said: saccade runs FOLDER"
        )
    found, waiting, num_seen = [], [(folder, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        num_seen += 1
        if num_seen > MAX_FOLDERS:
            raise UsageError(
                f"{printable(str(folder))} has more than {MAX_FOLDERS:,} folders.\nName the folder of the runs alone."
            )
        if is_listed(place):
            found.append(place)
        elif depth < MAX_DEPTH:
            waiting += [(inner, depth + 1) for inner in _folders_in(place)]
    return sorted(found)


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield folder / entry.name
    except OSError:  # not ours to read: no run of ours lies there
        return


def list_runs(folder: Path) -> tuple[ListedRun, ...]:
    """How each run in `folder` stands, the one that was begun last first. Raises what `find_runs` raises."""
    return tuple(sorted(map(read_listed, find_runs(folder)), key=lambda run: (-run.begun_s, str(run.path))))


def read_listed(path: Path) -> ListedRun:
    """How the run, ensemble or run with folds in `path` stands. What is damaged is in `problem`; nothing is raised."""
    if os.path.isfile(path / ENSEMBLE_PLAN):
        return _read_group(path, path / ENSEMBLE_PLAN, [path / member_name(number + 1) for number in range(MAX_PARTS)])
    if os.path.isfile(path / FOLDS / FOLDS_PLAN):
        folds = [path / FOLDS / fold_name(number + 1) for number in range(MAX_PARTS)]
        return _read_group(path, path / FOLDS / FOLDS_PLAN, folds)
    return _read_run(path)


def _read_run(path: Path, is_live: bool | None = None) -> ListedRun:
    is_live = lock.is_held(path) if is_live is None else is_live
    problems: list[str] = []
    _, config = _read(lambda: read_config_facts(path), ("", ConfigFacts()), problems, is_live)
    no_epochs: tuple[EpochEvent, ...] = ()
    log = _read(lambda: read_epochs(path / METRICS_LOG), no_epochs, problems, is_live)
    start = _read(lambda: read_json_file(_Epochs, path / TRANSFER), None, problems, is_live)
    judged = _read(lambda: read_json_file(_Judged, path / EVALUATION), None, problems, is_live)
    if judged is not None and not problems and not os.path.isfile(path / BEST / MANIFEST):
        problems.append(f"{printable(str(path / BEST))} has no {MANIFEST}: its weights cannot be opened.")
    begun_s, updated_s = _times(path)
    return ListedRun(
        path=path,
        state="live" if is_live else "damaged" if problems else "finished" if judged else "stopped",
        config=config,
        num_epochs=log[-1].epoch if log else 0,
        epochs=(start.epochs if start else 0) or config.epochs or 0,
        figure=judged.figure() if judged else None,
        split=judged.split if judged else "",
        kind=(judged.kind or "") if judged else "",
        caveats=(judged.caveats or ()) if judged else (),
        begun_s=begun_s,
        updated_s=updated_s,
        problem=problems[0] if problems else "",
        is_choosing=config.verb == "transfer" and start is None and judged is None,
    )


def _read_group(path: Path, plan: Path, parts: list[Path]) -> ListedRun:
    """An ensemble, or a run with folds: what its plan says, with how its parts stand."""
    is_live = lock.is_held(path) or lock.is_held(plan.parent)
    problems: list[str] = []
    config, num_parts = _read(lambda: _read_plan(plan), (ConfigFacts(), 0), problems, is_live)
    listed = tuple(_read_run(part) for part in parts if is_listed(part))
    own = _read_run(path, is_live) if os.path.isfile(path / CONFIG) else None  # of folds: the run for use, trained last
    judged = _read(lambda: read_json_file(_Judged, path / EVALUATION), None, problems, is_live)
    problems += [part.problem for part in (*listed, *([own] if own else [])) if part.problem]
    times = [_times(path), *((part.begun_s, part.updated_s) for part in listed)]
    return ListedRun(
        path=path,
        state="live" if is_live else "damaged" if problems else "finished" if judged else "stopped",
        config=config,
        num_epochs=own.num_epochs if own else 0,
        epochs=own.epochs if own else 0,
        figure=judged.figure() if judged else None,
        split=judged.split if judged else "",
        kind=(judged.kind or "") if judged else "",
        caveats=(judged.caveats or ()) if judged else (),
        begun_s=min(begun_s for begun_s, _ in times),
        updated_s=max(updated_s for _, updated_s in times),
        problem=problems[0] if problems else "",
        is_ensemble=plan.name == ENSEMBLE_PLAN,
        num_parts=num_parts,
        parts=listed,
    )


def _read_plan(plan: Path) -> tuple[ConfigFacts, int]:
    """(configuration, number of parts) in `ensemble.toml` or `folds.toml`. Raises CheckpointError, ConfigError."""
    settings = read_settings(plan)
    values = settings.values if settings else {}
    asked = values.get("run", {})
    config = ConfigFacts.parse(DEFAULTS | asked if isinstance(asked, dict) else DEFAULTS, printable(str(plan)))
    number = values.get("num_members" if plan.name == ENSEMBLE_PLAN else "num_folds")
    return config, number if type(number) is int and 0 < number <= MAX_PARTS else 0


def _read(read: Callable[[], Read], otherwise: Read, problems: list[str], is_live: bool) -> Read:
    """What `read` gives; `otherwise`, with the reason among `problems`, where the file is damaged. The files of a live
    run may be in the middle of growing."""
    for _ in range(LIVE_READS if is_live else 1):
        try:
            return read()
        except (CheckpointError, ConfigError) as error:
            reason = error.message.split("\n")[0]
    problems.append(reason)
    return otherwise


def _times(path: Path) -> tuple[float, float]:
    """(when the run was begun, when a file of it was last written), seconds since 1970."""
    times_s = []
    for name in WRITTEN:
        try:
            times_s.append((path / name).stat().st_mtime)
        except OSError:
            continue
    return (times_s[0], max(times_s)) if times_s else (0.0, 0.0)
