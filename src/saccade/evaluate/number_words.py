"""Figures of numbers as sentences, as warnings that are only given when true, as a table and as JSON values."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import atomic
from ..core.display import figure
from ..core.errors import printable
from .mistakes import safe_cell
from .number_metrics import COVERED, NumberMetrics
from .rates import FEW_IMAGES, number, percent

NUM_RANGES = 5


def number_verdict(metrics: NumberMetrics, kind: str) -> str:
    """`Mean absolute error 3.2 of 'angle' on 360 held-out images (95 % interval 2.9 to 3.5); always saying the median,
    45: 22.5.`"""
    if not metrics.num_samples:
        return "No held-out images: nothing is known of the error."
    images = f"{metrics.num_samples:,} {kind}".strip() + (" image" if metrics.num_samples == 1 else " images")
    return (
        f"Mean absolute error {figure(metrics.mae)} of '{printable(metrics.name)}' on {images} "
        f"(95 % interval {_ends(metrics.mae_low, metrics.mae_high)}); "
        f"always saying the median, {figure(metrics.median)}: {figure(metrics.baseline_mae)}."
    )


def spread_sentence(metrics: NumberMetrics) -> str:
    """R2, the root mean squared error, and how many truths the interval of an answer holds."""
    r2 = "-" if math.isnan(metrics.r2) else f"{metrics.r2:.3f} ({_rounded(metrics.r2_low, metrics.r2_high)})"
    first = f"R2 {r2}, root mean squared error {figure(metrics.rmse)}, mean of answer less truth {metrics.bias:+.3g}."
    if not metrics.half_width:
        return first
    return (
        f"{first} An answer within {figure(metrics.half_width)} of the truth is expected for "
        f"{100 * COVERED:.0f} % of images; here {percent(metrics.covered)} % are."
    )


def number_warnings(metrics: NumberMetrics, kind: str) -> list[str]:
    """What a person must know before trusting the figures; empty where there is nothing."""
    if not metrics.num_samples:
        return ["No image was held out, so the error is unknown."]
    found = []
    if not metrics.mae_high < metrics.baseline_mae:
        reach = f"the interval of the mean absolute error reaches up to {figure(metrics.mae_high)}"
        if math.isnan(metrics.mae_high):
            reach = "one image says nothing of others"
        found.append(f"Not shown to be better than always saying the median ({figure(metrics.baseline_mae)}): {reach}.")
    if metrics.num_samples < FEW_IMAGES:
        found.append(f"Fewer than {FEW_IMAGES} {kind} images, so the intervals are wide.".replace("  ", " "))
    return found


def number_json(metrics: NumberMetrics) -> dict[str, Any]:
    """The metrics as JSON values, null where undefined. The keys are a contract."""
    values = {
        name: number(getattr(metrics, name))
        for name in ("mae", "mae_low", "mae_high", "baseline_mae", "median", "least", "most", "rmse", "r2", "r2_low")
    }
    more = {name: number(getattr(metrics, name)) for name in ("r2_high", "bias", "median_error", "near", "loss")}
    return {
        "task": "number",
        "number": metrics.name,
        "num_samples": metrics.num_samples,
        **values,
        **more,
        "half_width": metrics.half_width or None,
        "covered": number(metrics.covered),
        "num_resamples": metrics.num_resamples,
    }


def number_rows(metrics: NumberMetrics) -> tuple[list[str], list[list[str]]]:
    """Headings and the one row of what is measured: images, range, errors, R2."""
    headings = ["number", "images", "least", "median", "most", "mean absolute error", "95 % interval", "R2"]
    r2 = "-" if math.isnan(metrics.r2) else f"{metrics.r2:.3f}"
    span = [figure(value) for value in (metrics.least, metrics.median, metrics.most, metrics.mae)]
    interval = _ends(metrics.mae_low, metrics.mae_high)
    return headings, [[metrics.name, f"{metrics.num_samples:,}", *span, interval, r2]]


def range_rows(said_N: np.ndarray, value_N: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each of up to five ranges of the truth with equally many images: where it errs."""
    headings = ["truth", "images", "mean absolute error", "answer less truth"]
    if not len(value_N):
        return headings, []
    edges = np.unique(np.quantile(value_N, np.linspace(0, 1, NUM_RANGES + 1)))
    place_N = np.clip(np.searchsorted(edges, value_N, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for place in range(max(len(edges) - 1, 1)):
        own_N = place_N == place
        if not own_N.any():
            continue
        error_N = said_N[own_N] - value_N[own_N]
        span = f"{figure(float(value_N[own_N].min()))} to {figure(float(value_N[own_N].max()))}"
        rows.append([span, f"{own_N.sum():,}", figure(float(np.abs(error_N).mean())), f"{error_N.mean():+.3g}"])
    return headings, rows


@dataclass(frozen=True, kw_only=True)
class NumberMistake:
    """One judged image: its position and key, its number, and what was said."""

    position: int
    key: str
    truth: float
    said: float


def find_number_mistakes(said_N: np.ndarray, value_N: np.ndarray, keys: Sequence[str]) -> list[NumberMistake]:
    """Every judged image, the largest error first; equal ones in the order of the images."""
    order = np.argsort(-np.abs(said_N - value_N), kind="stable")
    return [
        NumberMistake(position=int(i), key=keys[i], truth=float(value_N[i]), said=float(said_N[i]))
        for i in order.tolist()
    ]


def write_number_mistakes(path: Path, mistakes: Sequence[NumberMistake]) -> None:
    """Write `number_mistakes_csv` to `path`, durably. Raises StorageError."""
    atomic.write_text(path, number_mistakes_csv(mistakes))


def number_mistakes_csv(mistakes: Sequence[NumberMistake]) -> str:
    """One line per image under a heading line, the largest error first; names pass through `safe_cell`."""
    text = io.StringIO()
    rows = [[safe_cell(m.key), repr(m.truth), f"{m.said:.7g}", f"{abs(m.said - m.truth):.7g}"] for m in mistakes]
    csv.writer(text, lineterminator="\r\n").writerows([["image", "truth", "said", "error"], *rows])
    return text.getvalue()


def _ends(low: float, high: float) -> str:
    return "unknown" if math.isnan(low) else f"{figure(low)} to {figure(high)}"


def _rounded(low: float, high: float) -> str:
    return "interval unknown" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
