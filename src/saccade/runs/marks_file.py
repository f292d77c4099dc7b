"""`marks.json`: what a person has said of judged images, beside the run's own files, none of which it changes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from ..core import atomic
from .files import RunFile, Text, read_json_file
from .names import MARKS

REMEDY = "Remove the file, and the marks with it, or put it back from a copy; the run is not concerned."
FORMAT = 1
MAX_MARKS = 100_000

MarkName = Literal["label wrong", "unclear"]
MARK_NAMES: tuple[str, ...] = get_args(MarkName)


class Mark(RunFile):
    """One image: its name, its label and the answer when it was marked."""

    image: Text
    label: Text
    said: Text
    mark: MarkName


class Marks(RunFile):
    """All marks of a run."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    marks: Annotated[tuple[Mark, ...], Field(strict=False, max_length=MAX_MARKS)] = ()


def read_marks(run: Path) -> dict[str, Mark]:
    """The marks of a run by the name of the image. Raises CheckpointError."""
    found = read_json_file(Marks, run / MARKS, REMEDY)
    return {mark.image: mark for mark in found.marks} if found else {}


def write_marks(run: Path, marks: Mapping[str, Mark]) -> None:
    """Store `marks` as those of the run, durably. Raises StorageError."""
    rows = [mark.model_dump(mode="json") for mark in marks.values()]
    atomic.write_text(run / MARKS, json.dumps({"format": FORMAT, "marks": rows}, indent=1) + "\n")
