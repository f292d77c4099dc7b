"""The folder `folds` of a run that `--folds` made: what was asked for, and one run directory a fold.

`folds.toml` is written before the first fold and says everything; `fold-1`, `fold-2`, ... are ordinary runs, each
judged on the images that the others learn from. The run around it is trained last, on all of them. `folds.json` beside
its verdict is what the folds gave; with it, the folder may be removed.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..core.errors import CheckpointError, UsageError, printable, shell_word
from ..core.task import MAX_NUMBER
from ..data.folds import MAX_FOLDS
from .files import Count, RunFile, Text, Texts, read_json_file
from .names import FOLDS, FOLDS_PLAN, FOLDS_VERDICT, fold_name
from .settings import RunSettings, read_settings

Figure = Annotated[float, Field(ge=0, le=2 * MAX_NUMBER)]  # a share of images, or an error in the unit of a number
REMEDY = "Put the file back from a copy, or start a new run with another --out."


class FoldVerdict(RunFile):
    """One fold: `value` is the accuracy, of several labels the mAP, of numbers the mean absolute error, of its
    `num_judged` images."""

    name: Text = Field(description="the folder of its run")
    num_train: Count = Field(description="images that its run learned from")
    num_judged: Count
    value: Figure | None = Field(description="none where no image of the fold has a label")
    low: Figure | None
    high: Figure | None
    frozen: Text = Field("", description="of a transfer: the depth that was chosen")


class FoldsVerdict(RunFile):
    """`folds.json`: the figure of all images, each judged by a model that has not seen it, and that of each fold."""

    figure: Literal["top1", "map", "mae"] = Field(description="what the values are")
    num_judged: Count
    value: Figure
    low: Figure
    high: Figure
    verdict: Text = Field(description="the figure as a sentence")
    notes: Texts = Field((), description="what it is an estimate of, and how the folds differ")
    folds: Annotated[tuple[FoldVerdict, ...], Field(strict=False, min_length=1, max_length=MAX_FOLDS)]

    @model_validator(mode="after")
    def _rates_are_rates(self) -> "FoldsVerdict":
        found = [self.value, self.low, self.high]
        found += [value for one in self.folds for value in (one.value, one.low, one.high) if value is not None]
        if self.figure != "mae" and max(found) > 1:
            raise ValueError(f"a value of {self.figure} is above 1")
        return self


def fold_path(run: Path, number: int) -> Path:
    """The run directory of a fold of `run`, counted from 1."""
    return run / FOLDS / fold_name(number)


def plan_path(run: Path) -> Path:
    """The file that says what folds of `run` were begun with."""
    return run / FOLDS / FOLDS_PLAN


def has_folds(run: Path) -> bool:
    """Whether folds were begun in the run `run`."""
    return os.path.isfile(plan_path(run))


def read_plan_settings(run: Path) -> RunSettings:
    """What `folds.toml` holds. Raises CheckpointError."""
    settings = read_settings(plan_path(run), REMEDY)
    if settings is None:
        raise CheckpointError(f"{printable(str(run))} has no folds: there is no {FOLDS}/{FOLDS_PLAN}.")
    return settings


def read_folds(run: Path) -> FoldsVerdict | None:
    """What the folds of `run` gave; None where it has none, or they are not finished. Raises CheckpointError."""
    return read_json_file(FoldsVerdict, run / FOLDS_VERDICT)


def check_number(number: int) -> None:
    """Raise UsageError where there cannot be so many folds."""
    if not 2 <= number <= MAX_FOLDS:
        raise UsageError(f"--folds takes 2 to {MAX_FOLDS}, got {number}; 5 is usual.")


def refuse_begun(run: Path, verb: str) -> None:
    """Raise CheckpointError where folds were begun in `run`; `verb` is that which goes on with them."""
    if has_folds(run):
        raise CheckpointError(
            f"{printable(str(run))} already holds a run with folds.\n"
            f"Go on with it: saccade {verb} --resume --out {shell_word(run)}\n"
            f"Or choose another place with --out."
        )
