"""What the runs say of a data set in numbers: images by class and split as bars, what was left out, notes."""

from typing import Any

from ....core.errors import printable
from ....core.types import SPLITS
from ....report.sections.data import data_facts, left_out_files
from ....runs.summary import DataSummary
from ..runs.index import Run
from ..runs.words import time_words
from .sets import ImageSet, ImageSets

MAX_NOTES = 50


def list_values(sets: ImageSets) -> dict[str, Any]:
    """What the list of data sets shows."""
    return {"rows": [_row(found, sets) for found in sets.all()]}


def _row(found: ImageSet, sets: ImageSets) -> dict[str, Any]:
    data = next((data for run in found.runs if (data := sets.summary(run).data)), None)
    return {
        "id": found.id,
        "name": printable(found.name),
        "source": printable(found.source),
        "num_images": _images_words(data) if data else "-",
        "num_classes": f"{len(data.classes):,}" if data else "-",
        "split": printable(data.split) if data else "no run has read it whole yet",
        "num_runs": len(found.runs),
        "changed": time_words(found.runs[0].look().active_s),
    }


def set_values(found: ImageSet, run: Run, sets: ImageSets) -> dict[str, Any]:
    """What the page of a data set shows of what `run` says."""
    summary = sets.summary(run)
    data = summary.data
    notes = [printable(note) for note in (*data.notes, *data.image_notes)] if data else []
    return {
        "set": found,
        "name": printable(found.name),
        "source": printable(found.source),
        "run": run,
        "runs": [(each.id, printable(each.name)) for each in found.runs],
        "problem": printable(summary.problem),
        "has_data": data is not None,
        "facts": data_facts(data, found.name) if data else [],
        "notes": notes[:MAX_NOTES],
        "num_more_notes": max(0, len(notes) - MAX_NOTES),
        "left_out": left_out_files(data) if data else None,
        "bars": bars_of(data) if data else None,
    }


def bars_of(data: DataSummary) -> dict[str, Any]:
    """A row for each class: its images in each split, and where the bar of each split begins and how long it is, in
    percent of the largest class."""
    splits = [name for name in SPLITS if name in data.counts]
    counts = [[data.counts[split][k] for split in splits] for k in range(len(data.classes))]
    most = max((sum(row) for row in counts), default=0) or 1
    rows = []
    for name, row in zip(data.classes, counts, strict=True):
        starts = [100 * sum(row[:place]) / most for place in range(len(row))]
        bars = [
            (split, round(start, 2), round(100 * number / most, 2))
            for split, start, number in zip(splits, starts, row, strict=True)
        ]
        rows.append({"name": printable(name), "counts": [f"{number:,}" for number in row], "bars": bars})
    return {"splits": splits, "rows": rows, "totals": [f"{number:,}" for number in _totals(data)]}


def _totals(data: DataSummary) -> list[int]:
    """The images of each split that is there."""
    splits = [name for name in SPLITS if name in data.counts]
    return [data.num_images.get(split, 0) if data.num_images else sum(data.counts[split]) for split in splits]


def _images_words(data: DataSummary) -> str:
    """How many images are used, of how many where some are not."""
    used = sum(_totals(data))
    return f"{used:,}" if used == data.num_samples or not used else f"{used:,} of {data.num_samples:,}"
