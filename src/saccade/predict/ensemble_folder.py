"""The folder of an ensemble that `train --ensemble` makes: what was asked for, and one run directory a member.

`ensemble.toml` is written before the first member and says everything; `member-1`, `member-2`, ... are ordinary runs
that differ by their seed alone. They share one split of the images, so that they can be judged together.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from ..checkpoint import BEST, open_checkpoint
from ..core.errors import CheckpointError, UsageError, printable
from .ensemble import MAX_MEMBERS

PLAN = "ensemble.toml"


def member_path(folder: Path, number: int) -> Path:
    """The run directory of a member, counted from 1."""
    return folder / f"member-{number}"


def is_ensemble(folder: Path) -> bool:
    """Whether an ensemble was begun in `folder`."""
    return (folder / PLAN).is_file()


def num_members(folder: Path) -> int:
    """How many members the ensemble in `folder` has. Raises CheckpointError where its file is damaged."""
    try:
        number = tomllib.loads((folder / PLAN).read_text(encoding="utf-8")).get("num_members")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CheckpointError(f"{printable(str(folder / PLAN))} is damaged: {printable(str(error))}.") from None
    if not isinstance(number, int) or not 2 <= number <= MAX_MEMBERS:
        raise CheckpointError(f"{printable(str(folder / PLAN))} is damaged: num_members is {printable(str(number))}.")
    return number


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
