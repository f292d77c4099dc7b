"""Metrics as a sentence, as warnings that are only given when true, as a table and as JSON values."""

from typing import Any

import numpy as np

from ..core.errors import printable
from ..core.types import Metrics

FEW_IMAGES = 30
MAX_NAMES = 5


def verdict(metrics: Metrics, kind: str = "held-out") -> str:
    """`98.6 % of 360 held-out images correct (95 % interval 96.8 to 99.4); always guessing the largest class: 10.6 %.`

    `kind` is what the images are: held-out, training, or empty where nobody knows. A rate below one is never rounded up
    to 100.0, nor one above zero down to 0.0.
    """
    if not metrics.num_samples:
        return "No held-out images: nothing is known of the accuracy."
    images = f"{kind} image".strip() + ("" if metrics.num_samples == 1 else "s")
    return (
        f"{percent(metrics.top1)} % of {metrics.num_samples:,} {images} correct "
        f"(95 % interval {percent(metrics.top1_low)} to {percent(metrics.top1_high)}); "
        f"always guessing the largest class: {percent(metrics.majority_rate)} %."
    )


def warnings(metrics: Metrics, kind: str = "held-out") -> list[str]:
    """What a person must know before trusting the figures; empty where there is nothing. `kind`: as in `verdict`."""
    if not metrics.num_samples:
        return ["No image was held out, so the accuracy of this classifier is unknown."]
    found = []
    if metrics.top1_low <= metrics.majority_rate:
        is_largest_K = metrics.support_K == metrics.support_K.max()
        guess = f"'{printable(metrics.majority_class)}'" if is_largest_K.sum() == 1 else "one class"
        found.append(
            f"Not shown to be better than always guessing {guess} ({percent(metrics.majority_rate)} %): "
            f"the interval reaches down to {percent(metrics.top1_low)} %."
        )
    absent = np.flatnonzero(metrics.support_K == 0)
    few = np.flatnonzero((metrics.support_K > 0) & (metrics.support_K < FEW_IMAGES))
    never_right = np.flatnonzero((metrics.support_K > 0) & (metrics.confusion_KK.diagonal() == 0))
    if len(absent):
        found.append(f"No {kind} image of {_names(metrics, absent)}: the accuracy on {_them(absent)} is unknown.")
    images = f"{kind} images".strip()
    if len(few) == len(metrics.classes):
        found.append(f"Each class has fewer than {FEW_IMAGES} {images}, so the intervals are wide.")
    elif len(few):
        found.append(f"Fewer than {FEW_IMAGES} {images} of {_names(metrics, few)}: wide intervals.")
    if len(never_right):
        found.append(f"No image of {_names(metrics, never_right)} was recognised.")
    return found


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """The metrics as JSON values under the keys of `evaluate --json`; rates in 0 to 1, null where undefined."""
    return {
        "num_samples": metrics.num_samples,
        "top1": _number(metrics.top1),
        "top1_low": metrics.top1_low,
        "top1_high": metrics.top1_high,
        "top5": None if metrics.top5 is None else _number(metrics.top5),
        "loss": _number(metrics.loss),
        "ece": _number(metrics.ece),
        "macro_f1": _number(metrics.macro_f1),
        "majority_class": metrics.majority_class,
        "majority_rate": _number(metrics.majority_rate),
        "confusion": metrics.confusion_KK.tolist(),
        "per_class": [_class_json(metrics, k) for k in range(len(metrics.classes))],
    }


def class_rows(metrics: Metrics) -> tuple[list[str], list[list[str]]]:
    """Headings and one row per class: images, precision and recall with their intervals, F1, the usual confusion."""
    headings = [
        "class",
        "images",
        "recall %",
        "95 % interval",
        "precision %",
        "95 % interval",
        "F1 %",
        "most confused with",
    ]
    rows = []
    for k, name in enumerate(metrics.classes):
        recall = _rate(metrics.recall_K[k], metrics.recall_low_K[k], metrics.recall_high_K[k])
        precision = _rate(metrics.precision_K[k], metrics.precision_low_K[k], metrics.precision_high_K[k])
        f1 = "-" if np.isnan(metrics.f1_K[k]) else percent(metrics.f1_K[k])
        rows.append([name, f"{metrics.support_K[k]:,}", *recall, *precision, f1, _taken_for(metrics, k)])
    return headings, rows


def percent(rate: float) -> str:
    """`98.6`, `-` for NaN, with a second digit where the first would say 100.0 or 0.0 of something that is not."""
    if np.isnan(rate):
        return "-"
    text = f"{100 * rate:.1f}"
    if text in ("100.0", "0.0") and rate not in (0.0, 1.0):
        return f"{min(max(100 * rate, 0.01), 99.99):.2f}"
    return text


def _class_json(metrics: Metrics, k: int) -> dict[str, Any]:
    return {
        "class": metrics.classes[k],
        "support": int(metrics.support_K[k]),
        "recall": _number(metrics.recall_K[k]),
        "recall_low": _number(metrics.recall_low_K[k]),
        "recall_high": _number(metrics.recall_high_K[k]),
        "precision": _number(metrics.precision_K[k]),
        "precision_low": _number(metrics.precision_low_K[k]),
        "precision_high": _number(metrics.precision_high_K[k]),
        "f1": _number(metrics.f1_K[k]),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rate(value: float, low: float, high: float) -> list[str]:
    return ["-", "-"] if np.isnan(value) else [percent(value), f"{percent(low)} to {percent(high)}"]


def _taken_for(metrics: Metrics, k: int) -> str:
    wrong_K = metrics.confusion_KK[k].copy()
    wrong_K[k] = 0
    said = int(wrong_K.argmax())
    return f"{metrics.classes[said]} ({wrong_K[said]:,})" if wrong_K[said] else "-"


def _names(metrics: Metrics, which: np.ndarray) -> str:
    names = [f"'{printable(metrics.classes[k])}'" for k in which[:MAX_NAMES]]
    rest = len(which) - len(names)
    if rest:
        return f"{', '.join(names)} and {rest:,} more classes"
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _them(which: np.ndarray) -> str:
    return "it" if len(which) == 1 else "them"
