"""The verdict: metrics as a sentence, as warnings that are only given when true, as a table and as JSON values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import printable
from ..core.task import Task
from ..core.types import Metrics
from .grades import grades_json, grades_sentence
from .label_metrics import LabelMetrics, compute_label_metrics
from .label_words import (
    CROSS_VALIDATED,
    by_whom,
    exact_sentence,
    label_metrics_json,
    label_rows,
    label_verdict,
    label_warnings,
)
from .metrics import compute_metrics
from .number_metrics import NumberMetrics, compute_number_metrics
from .number_words import number_json, number_rows, number_verdict, number_warnings, spread_sentence
from .rates import FEW_IMAGES as FEW_IMAGES
from .rates import number, rate
from .rates import percent as percent

MAX_NAMES = 5
AnyMetrics = Metrics | LabelMetrics | NumberMetrics  # of images with one label, with several, with a number


def metrics_of(logits_NK: np.ndarray, label_N: np.ndarray, classes: Sequence[str], task: Task) -> AnyMetrics:
    """The metrics of logits for the kind of labels that `task` says."""
    if task.is_several:
        return compute_label_metrics(logits_NK, label_N, classes, task)
    if task.is_number:
        return compute_number_metrics(logits_NK, label_N, classes, task)
    return compute_metrics(logits_NK, label_N, classes, task)


def verdict(metrics: AnyMetrics, kind: str = "held-out") -> str:
    """`98.6 % of 360 held-out images correct (95 % interval 96.8 to 99.4); always guessing the largest class: 10.6 %.`

    `kind` is what the images are: held-out, cross-validated, training, or empty where nobody knows. A rate below one is
    never rounded up to 100.0, nor one above zero down to 0.0. Of several labels, as in `label_verdict`, of numbers as
    in `number_verdict`.
    """
    if isinstance(metrics, LabelMetrics):
        return label_verdict(metrics, kind)
    if isinstance(metrics, NumberMetrics):
        return number_verdict(metrics, kind)
    if not metrics.num_samples:
        return "No held-out images: nothing is known of the accuracy."
    images = f"{'' if kind == CROSS_VALIDATED else kind} image".strip() + ("" if metrics.num_samples == 1 else "s")
    return (
        f"{percent(metrics.top1)} % of {metrics.num_samples:,} {images} correct{by_whom(kind)} "
        f"(95 % interval {percent(metrics.top1_low)} to {percent(metrics.top1_high)}); "
        f"always guessing the largest class: {percent(metrics.majority_rate)} %."
    )


def verdicts(metrics: AnyMetrics, kind: str = "held-out") -> list[str]:
    """The verdict; of several labels also how many images have every label right; of numbers R2 and its kin."""
    first = verdict(metrics, kind)
    if isinstance(metrics, LabelMetrics) and metrics.num_samples:
        return [first, exact_sentence(metrics)]
    if isinstance(metrics, NumberMetrics) and metrics.num_samples:
        return [first, spread_sentence(metrics)]
    if isinstance(metrics, Metrics) and metrics.grades and metrics.num_samples:
        return [first, grades_sentence(metrics.grades, metrics.classes)]
    return [first]


def warnings(metrics: AnyMetrics, kind: str = "held-out") -> list[str]:
    """What a person must know before trusting the figures; empty where there is nothing. `kind`: as in `verdict`."""
    if isinstance(metrics, LabelMetrics):
        return label_warnings(metrics, kind)
    if isinstance(metrics, NumberMetrics):
        return number_warnings(metrics, kind)
    if not metrics.num_samples:
        return ["No image was held out, so the accuracy of this classifier is unknown."]
    found = []
    if metrics.grades and not metrics.grades.mae_high < metrics.grades.baseline_mae:
        found.append(
            f"Not shown to be nearer than always saying the median grade ({metrics.grades.baseline_mae:.3f}): the "
            f"interval of the distance reaches up to {metrics.grades.mae_high:.3f} grades."
        )
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


def metrics_json(metrics: AnyMetrics) -> dict[str, Any]:
    """The metrics as JSON values under the keys of `evaluate --json`; rates in 0 to 1, null where undefined."""
    if isinstance(metrics, LabelMetrics):
        return label_metrics_json(metrics)
    if isinstance(metrics, NumberMetrics):
        return number_json(metrics)
    return {
        **(grades_json(metrics.grades, metrics.classes) if metrics.grades else {}),
        "num_samples": metrics.num_samples,
        "top1": number(metrics.top1),
        "top1_low": metrics.top1_low,
        "top1_high": metrics.top1_high,
        "top5": None if metrics.top5 is None else number(metrics.top5),
        "loss": number(metrics.loss),
        "ece": number(metrics.ece),
        "macro_f1": number(metrics.macro_f1),
        "majority_class": metrics.majority_class,
        "majority_rate": number(metrics.majority_rate),
        "confusion": metrics.confusion_KK.tolist(),
        "per_class": [_class_json(metrics, k) for k in range(len(metrics.classes))],
    }


def class_rows(metrics: AnyMetrics) -> tuple[list[str], list[list[str]]]:
    """Headings and one row per class: images, precision and recall with their intervals, F1, the usual confusion."""
    if isinstance(metrics, LabelMetrics):
        return label_rows(metrics)
    if isinstance(metrics, NumberMetrics):
        return number_rows(metrics)
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
        recall = rate(metrics.recall_K[k], metrics.recall_low_K[k], metrics.recall_high_K[k])
        precision = rate(metrics.precision_K[k], metrics.precision_low_K[k], metrics.precision_high_K[k])
        f1 = "-" if np.isnan(metrics.f1_K[k]) else percent(metrics.f1_K[k])
        rows.append([name, f"{metrics.support_K[k]:,}", *recall, *precision, f1, _taken_for(metrics, k)])
    return headings, rows


def _class_json(metrics: Metrics, k: int) -> dict[str, Any]:
    return {
        "class": metrics.classes[k],
        "support": int(metrics.support_K[k]),
        "recall": number(metrics.recall_K[k]),
        "recall_low": number(metrics.recall_low_K[k]),
        "recall_high": number(metrics.recall_high_K[k]),
        "precision": number(metrics.precision_K[k]),
        "precision_low": number(metrics.precision_low_K[k]),
        "precision_high": number(metrics.precision_high_K[k]),
        "f1": number(metrics.f1_K[k]),
    }


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
