"""`added.json`: where the images of a run lie that `add-class` made, which have no place of their own."""

import json
from pathlib import Path
from typing import Annotated

from annotated_types import Len
from pydantic import Field

from ..core import atomic
from .files import RunFile, Texts, read_json_file
from .names import ADDED


class Added(RunFile):
    """The source that the first run was trained on, then what was added, in order."""

    sources: Annotated[Texts, Len(2, 10_000)] = Field(description="the first run's source, then each that was added")


def write_added(run: Path, sources: tuple[str, ...]) -> None:
    """Record where the images of `run` lie. Raises StorageError."""
    atomic.write_text(run / ADDED, json.dumps({"sources": sources}, indent=1) + "\n")


def read_added(run: Path) -> tuple[str, ...]:
    """The places of the run's images; none where it was not made by `add-class`. Raises CheckpointError."""
    found = read_json_file(Added, run / ADDED, "Remove the file, and say where the images lie: --source SOURCE.")
    return found.sources if found else ()
