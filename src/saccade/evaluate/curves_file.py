"""The curves of every class against all others as a file, for those who plot them themselves: CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import atomic
from ..core.errors import UsageError, printable
from .mistakes import safe_cell
from .ranked_scores import RankedScores, RankingCurve
from .rates import number

ENDINGS = (".csv", ".json")
HEADINGS = ("class", "threshold", "true_positive_rate", "false_positive_rate", "precision")


def check_curves_file(path: Path) -> None:
    """Raise UsageError where `path` cannot become a file of curves."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"--curves writes .csv or .json files; got '{printable(path.name)}'.\nChange the ending of the file."
        )


def write_curves(path: Path, probability_NK: np.ndarray, has_NK: np.ndarray, classes: Sequence[str]) -> None:
    """Write a line, or an entry, for every threshold that changes anything, for each class; durably. `has_NK` (bool)
    says which images have which class.

    Raises StorageError, UsageError for another ending.
    """
    check_curves_file(path)
    curves = [RankedScores(probability_NK[:, k], has_NK[:, k]).curve() for k in range(len(classes))]
    if path.suffix.lower() == ".json":
        values = [_as_json(name, curve) for name, curve in zip(classes, curves, strict=True)]
        atomic.write_text(path, json.dumps({"classes": values}, allow_nan=False) + "\n")
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADINGS)
    for name, curve in zip(classes, curves, strict=True):
        writer.writerows([safe_cell(name), *map(_cell, values)] for values in _columns(curve))
    atomic.write_text(path, text.getvalue())


def _columns(curve: RankingCurve) -> Iterator[tuple[float, ...]]:
    arrays = (curve.threshold_T, curve.true_rate_T, curve.false_rate_T, curve.precision_T)
    return zip(*(array.tolist() for array in arrays), strict=True)


def _cell(value: float) -> str:
    """The number, `inf` for the threshold at which nothing is said; empty where it is undefined."""
    return "" if np.isnan(value) else repr(value)


def _as_json(name: str, curve: RankingCurve) -> dict[str, Any]:
    """One entry of `classes`; its keys are a contract. The threshold at which nothing is said is null."""
    return {
        "class": name,
        "threshold": [None, *curve.threshold_T[1:].tolist()],
        "true_positive_rate": [number(value) for value in curve.true_rate_T],
        "false_positive_rate": [number(value) for value in curve.false_rate_T],
        "precision": [number(value) for value in curve.precision_T],
    }
