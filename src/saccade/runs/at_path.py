"""What lies at a path, told without torch: whether it is a run, and what is said where nothing is there."""

import os
from pathlib import Path

from ..core.errors import CheckpointError, printable
from ..core.plain_files import refuse_long_name
from .names import BEST, ENSEMBLE_PLAN, LAST, MANIFEST


def holds_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint folder, or a run that has saved one, whole or not."""
    return os.path.isfile(path / MANIFEST) or any(os.path.isdir(path / name) for name in (BEST, LAST))


def is_ensemble(folder: Path) -> bool:
    """Whether an ensemble was begun in `folder`."""
    return os.path.isfile(folder / ENSEMBLE_PLAN)


def is_run(path: Path) -> bool:
    """Whether a run, a checkpoint or an ensemble stands in the folder `path`, finished or not."""
    return is_ensemble(path) or holds_checkpoint(path)


def refuse_no_run(path: Path) -> None:
    """Raise CheckpointError where nothing is at `path`; UsageError where nothing can be called so."""
    if not os.path.exists(path):
        refuse_long_name(path)
        raise no_run(path, "is not there")


def no_run(path: Path, what: str) -> CheckpointError:
    """The error that says `what` of `path`, and what is meant by a run."""
    return CheckpointError(
        f"The run {printable(str(path))} {what}.\n"
        f"Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1."
    )
