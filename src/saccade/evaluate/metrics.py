"""How good a classifier is on labelled images: rates with their intervals, per class, and against always guessing.

Wilson interval: Wilson 1927, JASA 22, 209-212, without continuity correction. Expected calibration error: Guo et al.
2017, arXiv:1706.04599, equation 3, with 15 equal-width bins (lower, upper] of the confidence, as in their section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..core.task import ONE_LABEL, Task
from ..core.types import Metrics
from .grades import grade_figures
from .scores import ImageScores, as_labels, as_logits, score_images
from .wilson import Z_95 as Z_95
from .wilson import wilson_ends
from .wilson import wilson_interval as wilson_interval

if TYPE_CHECKING:
    import torch

CALIBRATION_BINS = 15
MIN_CLASSES_FOR_TOP5 = 6


def compute_metrics(
    logits_NK: np.ndarray | torch.Tensor,
    label_N: np.ndarray | torch.Tensor,
    classes: Sequence[str],
    task: Task = ONE_LABEL,
) -> Metrics:
    """Judge logits_NK (any float type) against label_N, integers that index `classes`.

    Without images every rate is NaN and its interval 0 to 1. Raises TrainingError for logits that are not
    finite, ModelError for logits and DataError for labels that do not fit the classes.
    """
    logits = as_logits(logits_NK, len(classes))
    labels = as_labels(label_N, len(logits), len(classes))
    scores = score_images(logits, labels, task)
    metrics = metrics_of_scores(scores, labels, classes)
    return replace(metrics, grades=grade_figures(scores.said_N, labels, len(classes))) if task.is_grade else metrics


def metrics_of_scores(scores: ImageScores, label_N: np.ndarray, classes: Sequence[str]) -> Metrics:
    """The same from scores that were computed already."""
    num_classes, num_samples = len(classes), len(label_N)
    confusion_KK = np.bincount(label_N * num_classes + scores.said_N, minlength=num_classes**2)
    confusion_KK = confusion_KK.reshape(num_classes, num_classes)
    right_K, support_K, said_K = confusion_KK.diagonal().copy(), confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    num_right = int(right_K.sum())
    top1_low, top1_high = wilson_interval(num_right, num_samples)
    f1_K = ratio(2 * right_K, support_K + said_K)
    majority = int(support_K.argmax())
    precision_low_K, precision_high_K = class_intervals(right_K, said_K)
    recall_low_K, recall_high_K = class_intervals(right_K, support_K)
    return Metrics(
        num_samples=num_samples,
        top1=num_right / num_samples if num_samples else float("nan"),
        top1_low=top1_low,
        top1_high=top1_high,
        top5=_mean(scores.rank_N < 5) if num_classes >= MIN_CLASSES_FOR_TOP5 else None,
        loss=_mean(scores.loss_N),
        ece=calibration_error(scores.confidence_N, scores.rank_N == 0),
        macro_f1=_mean(f1_K[support_K > 0]),
        majority_class=classes[majority],
        majority_rate=_mean(label_N == majority),
        classes=tuple(classes),
        confusion_KK=confusion_KK,
        precision_K=ratio(right_K, said_K),
        precision_low_K=precision_low_K,
        precision_high_K=precision_high_K,
        recall_K=ratio(right_K, support_K),
        recall_low_K=recall_low_K,
        recall_high_K=recall_high_K,
        f1_K=f1_K,
        support_K=support_K,
    )


def calibration_error(confidence_N: np.ndarray, right_N: np.ndarray) -> float:
    """Expected calibration error, a fraction: the gap between confidence and accuracy, averaged over all images."""
    if not len(confidence_N):
        return float("nan")
    bin_N = calibration_bin(confidence_N)
    gap_bins = np.bincount(bin_N, weights=right_N - confidence_N, minlength=CALIBRATION_BINS)
    return float(np.abs(gap_bins).sum() / len(confidence_N))


def calibration_bin(confidence_N: np.ndarray) -> np.ndarray:
    """Which of the 15 bins (lower, upper] each confidence in 0 to 1 falls into; 0 falls into the first."""
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    return np.searchsorted(edges[1:-1], confidence_N, side="left")


def class_intervals(right_K: np.ndarray, total_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95 % Wilson interval of right_K / total_K; NaN where the total is 0."""
    low_K, high_K = wilson_ends(right_K.astype(np.float64), total_K.astype(np.float64))
    return np.where(total_K > 0, low_K, np.nan), np.where(total_K > 0, high_K, np.nan)


def ratio(part_K: np.ndarray, whole_K: np.ndarray) -> np.ndarray:
    """part_K / whole_K; NaN where the whole is 0."""
    share_K: np.ndarray = np.divide(part_K, whole_K, out=np.full(len(part_K), np.nan), where=whole_K > 0)
    return share_K


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
