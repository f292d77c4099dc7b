"""A watcher of runs that tells the trackers of `--log` what it hears, and hands everything on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs.names import CONFIG
from ..track.tracker import TrackedRun, Trackers, check_trackers, flat_settings, run_key
from .config import RunConfig
from .progress import NotedOnce, RunProgress


class Tracked(NotedOnce):
    """As `NotedOnce`, with trackers called `names`. Raises UsageError for one that is not there."""

    def __init__(self, progress: RunProgress, names: Sequence[str]) -> None:
        super().__init__(progress)
        check_trackers(names)
        self._trackers = Trackers(names, self.note)

    def begun(self, run_dir: Path, config: RunConfig, step: int) -> None:
        """Open the trackers for this run."""
        super().begun(run_dir, config, step)
        settings = {"source": config.source, "model": config.model, "epochs": config.epochs, "seed": config.seed}
        run = TrackedRun(
            name=run_dir.name or str(run_dir),
            folder=run_dir,
            key=run_key(run_dir, (run_dir / CONFIG).stat().st_mtime_ns),
            settings=flat_settings(settings | config.differences()),
            is_resumed=step > 0,
            first_step=step,
        )
        self._trackers.begin(run)

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """Tell the trackers, too."""
        super().logged(event, values)
        self._trackers.log(event, values)

    def ended(self, verdict: dict[str, Any] | None) -> None:
        """Close the trackers."""
        super().ended(verdict)
        self._trackers.close(verdict or {})
