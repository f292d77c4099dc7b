"""`measured.json`: what a transfer has measured to choose its depth, so that a stop loses no finished measurement."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .files import Count, RunFile, Seconds, Text, read_json_file
from .names import MEASURED


class MeasuredFit(RunFile):
    """One fit: `right` holds a hexadecimal digit for four of `num_judged` images left out, 1 where it was right."""

    right: Annotated[str, Field(pattern="^[0-9a-f]*$", max_length=1_000_000)]
    num_judged: Annotated[Count, Field(ge=1, le=4_000_000)]
    seconds: Seconds
    num_parameters: Count


class MeasuredFits(RunFile):
    """All fits that are finished, by name. `key` is a digest of what they depend on."""

    key: Text
    fits: Annotated[dict[Text, MeasuredFit], Field(max_length=10_000)]


def read_measured(run_dir: Path) -> MeasuredFits | None:
    """What was measured until now, None where nothing was. Raises CheckpointError."""
    return read_json_file(MeasuredFits, run_dir / MEASURED, "Remove the file; --resume then measures again.")
