"""Trackio: a run of the project "saccade" on this machine. See it: trackio show --project saccade"""

from collections.abc import Mapping
from typing import Any

from .tracker import PROJECT, TrackedRun, Tracker


def open_tracker(run: TrackedRun) -> Tracker:
    """The run of the same name and key, which a resumed one goes on with."""
    import trackio

    name = f"{run.name}-{run.key[:6]}"
    return _Trackio(trackio.init(project=PROJECT, name=name, config=dict(run.settings), resume="allow"))


class _Trackio:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point of each figure."""
        self._run.log(dict(values), step=step)

    def close(self, verdict: Mapping[str, float]) -> None:
        """The verdict as a last point; without one the run was stopped."""
        from trackio import context_vars

        if verdict:
            self._run.log(dict(verdict))
        if context_vars.current_run.get() is self._run:  # else it would be finished, and say so, once more at the exit
            context_vars.current_run.set(None)
        self._run.finish()
