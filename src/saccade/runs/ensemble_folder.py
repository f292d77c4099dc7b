"""The folder of an ensemble that `train --ensemble` makes: what was asked for, and one run directory a member.

`ensemble.toml` is written before the first member and says everything; `member-1`, `member-2`, ... are ordinary runs
that differ by their seed alone. They share one split of the images, so that they can be judged together.
"""

import reprlib
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import CheckpointError, UsageError, printable
from .at_path import is_ensemble
from .checkpoint import open_checkpoint
from .files import damaged
from .names import BEST, ENSEMBLE_PLAN, member_name
from .settings import RunSettings, read_settings

MAX_MEMBERS = 15
REMEDY = "Put the file back from a copy; its members, such as member-1, can be used as they are."


def member_path(folder: Path, number: int) -> Path:
    """The run directory of a member, counted from 1."""
    return folder / member_name(number)


def num_members(folder: Path) -> int:
    """How many members the ensemble in `folder` has. Raises CheckpointError where its file is damaged."""
    number = read_plan_settings(folder).values.get("num_members")
    if type(number) is not int or not 2 <= number <= MAX_MEMBERS:
        received = printable(reprlib.repr(number)[:80])
        raise damaged(
            folder / ENSEMBLE_PLAN, f"num_members is a number from 2 to {MAX_MEMBERS}, got {received}", REMEDY
        )
    return number


def read_plan_settings(folder: Path) -> RunSettings:
    """What `ensemble.toml` holds. Raises CheckpointError."""
    settings = read_settings(folder / ENSEMBLE_PLAN, REMEDY)
    if settings is None:
        raise CheckpointError(f"{printable(str(folder))} holds no ensemble: there is no {ENSEMBLE_PLAN}.")
    return settings


def check_size(number: int) -> None:
    """Raise UsageError where an ensemble cannot have so many members."""
    if not 2 <= number <= MAX_MEMBERS:
        raise UsageError(f"--ensemble takes 2 to {MAX_MEMBERS} runs, got {number}.")


def refuse_begun(folder: Path) -> None:
    """Raise CheckpointError where an ensemble stands in `folder` already."""
    if is_ensemble(folder):
        raise CheckpointError(
            f"{printable(str(folder))} already holds an ensemble.\n"
            f"Go on with it by --resume, or choose another place with --out."
        )


def is_finished(run: Path) -> bool:
    """Whether the run was trained to its end and judged: the metrics go into its kept checkpoint last of all."""
    try:
        return bool(open_checkpoint(run / BEST).manifest.metrics)
    except CheckpointError:
        return False


def expand_runs(runs: Sequence[Path]) -> list[Path]:
    """`runs` with every folder of an ensemble replaced by its members. Raises CheckpointError where one is missing."""
    found: list[Path] = []
    for run in runs:
        found += _members(run) if is_ensemble(run) else [run]
    return found


def refuse_ensemble(run: Path, verb: str) -> None:
    """Raise UsageError where `run` is the folder of an ensemble, which `verb` cannot take as one."""
    if is_ensemble(run):
        where = printable(str(run))
        raise UsageError(
            f"{where} is an ensemble of {num_members(run)} runs; 'saccade {verb}' takes one run.\n"
            f"Take a member, such as {where}/member-1."
        )


def _members(folder: Path) -> list[Path]:
    members = [member_path(folder, number) for number in range(1, num_members(folder) + 1)]
    missing = [number for number, member in enumerate(members, start=1) if not is_finished(member)]
    if missing:
        where = printable(str(folder))
        raise CheckpointError(
            f"The ensemble {where} is not complete: member {missing[0]} of {len(members)} has not been trained to its "
            f"end.\nGo on with: saccade train --resume --out {where}"
        )
    return members
