"""Weights & Biases: a run of the project "saccade", or of WANDB_PROJECT. WANDB_MODE=offline sends nothing."""

import os
from collections.abc import Mapping
from typing import Any

from .tracker import PROJECT, TrackedRun, Tracker


def open_tracker(run: TrackedRun) -> Tracker:
    """The run of the same key, which a resumed one goes on with. Its files lie in the run."""
    import wandb

    opened = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.name,
        id=run.key,
        resume="allow",
        dir=str(run.folder),
        config=dict(run.settings),
    )
    return _WandB(opened)


class _WandB:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point of each figure."""
        self._run.log(dict(values), step=step)

    def close(self, verdict: Mapping[str, float]) -> None:
        """The verdict into the run's summary; without one it was stopped."""
        for key, value in verdict.items():
            self._run.summary[key] = value
        self._run.finish(exit_code=0 if verdict else 1)
