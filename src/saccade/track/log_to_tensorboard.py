"""TensorBoard: event files in the folder `tensorboard` of the run. See them: tensorboard --logdir runs"""

from collections.abc import Mapping
from typing import Any

from .tracker import TrackedRun, Tracker

FOLDER = "tensorboard"


def open_tracker(run: TrackedRun) -> Tracker:
    """A writer into the run's folder; what it wrote of steps that were lost is purged."""
    from torch.utils.tensorboard.writer import SummaryWriter

    purge_step = run.first_step + 1 if run.is_resumed else None
    writer = SummaryWriter(log_dir=str(run.folder / FOLDER), purge_step=purge_step)
    if not run.is_resumed:
        rows = "\n".join(f"    {key} = {value}" for key, value in run.settings.items())
        writer.add_text("settings", rows, 0)
    return _TensorBoard(writer)


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A point in the chart of each figure."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def close(self, verdict: Mapping[str, float]) -> None:
        """The verdict as points of their own."""
        for key, value in verdict.items():
            self._writer.add_scalar(f"verdict/{key.removeprefix('verdict_')}", value, 0)
        self._writer.close()
