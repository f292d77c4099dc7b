"""Metrics of several labels as sentences, as warnings that are only given when true, as a table and as JSON values."""

from typing import Any

import numpy as np

from .label_answers import named
from .label_metrics import LabelMetrics
from .rates import FEW_IMAGES, number, percent, rate

CROSS_VALIDATED = "cross-validated"  # the kind of images that were each judged by a model of a fold


def by_whom(kind: str) -> str:
    """Who judged images of this kind, where it was not one model."""
    return ", each judged by a model that has not seen it" if kind == CROSS_VALIDATED else ""


def label_verdict(metrics: LabelMetrics, kind: str) -> str:
    """`mAP 84.3 % on 360 held-out images, 10 classes (95 % interval 82.1 to 86.2); answering by how often each class
    occurs: 25.0 %.`"""
    if not metrics.num_samples:
        return "No held-out images: nothing is known of the accuracy."
    images = f"{metrics.num_samples:,} {'' if kind == CROSS_VALIDATED else kind}".strip()
    images += (" image" if metrics.num_samples == 1 else " images") + by_whom(kind)
    return (
        f"mAP {percent(metrics.map)} % on {images}, {len(metrics.classes)} classes "
        f"(95 % interval {percent(metrics.map_low)} to {percent(metrics.map_high)}); "
        f"answering by how often each class occurs: {percent(metrics.map_baseline)} %."
    )


def exact_sentence(metrics: LabelMetrics) -> str:
    """How many images have every label right, against always saying the most frequent labels."""
    return (
        f"Every label right: {percent(metrics.exact_match)} % of the images (95 % interval "
        f"{percent(metrics.exact_low)} to {percent(metrics.exact_high)}); always saying the most frequent labels: "
        f"{percent(metrics.exact_baseline)} %."
    )


def label_warnings(metrics: LabelMetrics, kind: str) -> list[str]:
    """What a person must know before trusting the figures; empty where there is nothing."""
    if not metrics.num_samples:
        return ["No image was held out, so the accuracy of this classifier is unknown."]
    found = []
    if not metrics.map_low > metrics.map_baseline:
        found.append(
            f"Not shown to be better than answering by how often each class occurs "
            f"({percent(metrics.map_baseline)} %): the interval of the mAP reaches down to "
            f"{percent(metrics.map_low)} %."
        )

    def names(which_K: np.ndarray) -> list[str]:
        return [metrics.classes[k] for k in np.flatnonzero(which_K)]

    images = f"{kind} images".strip()
    absent = names(metrics.support_K == 0)
    few = names((metrics.support_K > 0) & (metrics.support_K < FEW_IMAGES))
    everywhere = names((metrics.support_K == metrics.num_samples) & (metrics.support_K > 0))
    never = names((metrics.support_K > 0) & (metrics.right_K == 0))
    if absent:
        found.append(f"No {images[:-1]} of {named(absent)}: in no mean, and nothing is known of it.")
    if everywhere:
        which = "it" if len(everywhere) == 1 else "they"
        found.append(f"All {images} are of {named(everywhere)}: nothing shows whether {which} can be told.")
    if len(few) == len(metrics.classes):
        found.append(f"Each class has fewer than {FEW_IMAGES} {images}, so the intervals are wide.")
    elif few:
        found.append(f"Fewer than {FEW_IMAGES} {images} of {named(few)}: wide intervals.")
    if never:
        found.append(f"No image of {named(never)} was recognised.")
    return found


def label_metrics_json(metrics: LabelMetrics) -> dict[str, Any]:
    """The metrics as JSON values; rates in 0 to 1, null where undefined. The keys are a contract."""
    rates = {
        "map": metrics.map,
        "map_low": metrics.map_low,
        "map_high": metrics.map_high,
        "map_baseline": metrics.map_baseline,
        "exact_match": metrics.exact_match,
        "exact_match_low": metrics.exact_low,
        "exact_match_high": metrics.exact_high,
        "exact_match_baseline": metrics.exact_baseline,
        "macro_f1": metrics.macro_f1,
        "micro_f1": metrics.micro_f1,
        "loss": metrics.loss,
        "ece": metrics.ece,
        "labels_an_image": metrics.labels_an_image,
    }
    return {
        "task": "several labels",
        "num_samples": metrics.num_samples,
        **{name: number(value) for name, value in rates.items()},
        "num_resamples": metrics.num_resamples,
        "per_class": [_class_json(metrics, k) for k in range(len(metrics.classes))],
    }


def _class_json(metrics: LabelMetrics, k: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "class": metrics.classes[k],
        "support": int(metrics.support_K[k]),
        "said": int(metrics.said_K[k]),
        "threshold": float(metrics.threshold_K[k]),
    }
    for name in ("ap", "auc", "precision", "recall", "f1"):
        for end in ("", "_low", "_high"):
            values[name + end] = number(getattr(metrics, f"{name}{end}_K")[k])
    return values | {"ece": number(metrics.ece_K[k])}


def label_rows(metrics: LabelMetrics) -> tuple[list[str], list[list[str]]]:
    """Headings and one row per class: images, average precision, AUC, recall and precision with their intervals, F1."""
    headings = ["class", "images", "AP %", "95 % interval", "AUC %", "recall %", "95 % interval", "precision %"]
    headings += ["95 % interval", "F1 %", "said from"]
    rows = []
    for k, name in enumerate(metrics.classes):
        ap = rate(metrics.ap_K[k], metrics.ap_low_K[k], metrics.ap_high_K[k])
        recall = rate(metrics.recall_K[k], metrics.recall_low_K[k], metrics.recall_high_K[k])
        precision = rate(metrics.precision_K[k], metrics.precision_low_K[k], metrics.precision_high_K[k])
        f1, auc = percent(metrics.f1_K[k]), percent(metrics.auc_K[k])
        said = f"{metrics.threshold_K[k]:.2f}"
        rows.append([name, f"{metrics.support_K[k]:,}", *ap, auc, *recall, *precision, f1, said])
    return headings, rows
