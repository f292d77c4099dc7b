"""How good a classifier is on labelled images, every rate with its interval, and the sentence that says it."""

import math
from typing import Any

import numpy as np

from ..core.errors import DataError, TrainingError
from ..core.types import Metrics

Z_95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
NUM_BINS = 15


def compute_metrics(logits_NK: np.ndarray, label_N: np.ndarray, classes: tuple[str, ...]) -> Metrics:
    """Judge `logits_NK` (floating) against `label_N` (0 to K - 1). Ties go to the class that comes first.

    Raises DataError without images, TrainingError for logits that are not finite: they mean nothing.
    """
    if not len(label_N):
        raise DataError("There is no image to judge on.")
    if not np.isfinite(logits_NK).all():
        bad = int((~np.isfinite(logits_NK).all(axis=1)).sum())
        raise TrainingError(
            f"The network's outputs are not finite for {bad:,} of {len(label_N):,} images; they cannot be judged.\n"
            f"Its weights are damaged or training diverged: train again with a lower learning rate."
        )
    probability_NK = softmax(logits_NK)
    said_N = logits_NK.argmax(axis=1)
    num_classes = len(classes)
    confusion_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion_KK, (label_N, said_N), 1)
    support_K, said_K, right_K = confusion_KK.sum(1), confusion_KK.sum(0), confusion_KK.diagonal()
    low, high = wilson_interval(int(right_K.sum()), len(label_N))
    return Metrics(
        num_samples=len(label_N),
        top1=float(right_K.sum() / len(label_N)),
        top1_low=low,
        top1_high=high,
        top5=_top5(logits_NK, label_N) if num_classes > 5 else None,
        loss=_log_loss(logits_NK, label_N),
        ece=calibration_error(probability_NK.max(axis=1), said_N == label_N),
        majority_class=classes[int(support_K.argmax())],
        majority_rate=float(support_K.max() / len(label_N)),
        classes=classes,
        confusion_KK=confusion_KK,
        precision_K=_ratio(right_K, said_K),
        recall_K=_ratio(right_K, support_K),
        support_K=support_K,
    )


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a rate (Wilson 1927, JASA 22, p. 209), two-sided 95 % by default; (0, 1) without data."""
    if total == 0:
        return 0.0, 1.0
    rate = correct / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def calibration_error(confidence_N: np.ndarray, correct_N: np.ndarray) -> float:
    """Expected calibration error over 15 equal bins (Guo et al. 2017, arXiv:1706.04599, equation 3)."""
    bin_N = np.minimum((confidence_N * NUM_BINS).astype(int), NUM_BINS - 1)
    gap = np.bincount(bin_N, weights=correct_N - confidence_N, minlength=NUM_BINS)
    return float(np.abs(gap).sum() / len(confidence_N))


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """probability_NK float64, safe for large logits."""
    shifted_NK = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponential_NK = np.exp(shifted_NK)
    return exponential_NK / exponential_NK.sum(axis=1, keepdims=True)


def verdict(metrics: Metrics) -> str:
    """The closing sentence: rate, number of images, interval, baseline."""
    images = "image" if metrics.num_samples == 1 else "images"
    return (
        f"{percent(metrics.top1)} % of {metrics.num_samples:,} held-out {images} correct (95 % interval "
        f"{percent(metrics.top1_low)} to {percent(metrics.top1_high)}); "
        f"always guessing the largest class: {percent(metrics.majority_rate)} %."
    )


def percent(rate: float) -> str:
    """`98.6`, with a second decimal where the first would say 100.0 or 0.0 of something that is not."""
    text = f"{100 * rate:.1f}"
    return f"{100 * rate:.2f}" if text in ("100.0", "0.0") and rate not in (0.0, 1.0) else text


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """The figures under the keys of the command-line contract, and per class; undefined values are null."""
    return {
        "num_samples": metrics.num_samples,
        "top1": metrics.top1,
        "top1_low": metrics.top1_low,
        "top1_high": metrics.top1_high,
        "top5": metrics.top5,
        "loss": metrics.loss,
        "ece": metrics.ece,
        "majority_class": metrics.majority_class,
        "majority_rate": metrics.majority_rate,
        "confusion": metrics.confusion_KK.tolist(),
        "per_class": [
            {
                "class": name,
                "support": int(support),
                "precision": None if math.isnan(precision) else float(precision),
                "recall": None if math.isnan(recall) else float(recall),
            }
            for name, support, precision, recall in zip(
                metrics.classes, metrics.support_K, metrics.precision_K, metrics.recall_K, strict=True
            )
        ],
    }


def _top5(logits_NK: np.ndarray, label_N: np.ndarray) -> float:
    order_N5 = np.argsort(-logits_NK, axis=1, kind="stable")[:, :5]
    return float((order_N5 == label_N[:, None]).any(axis=1).mean())


def _log_loss(logits_NK: np.ndarray, label_N: np.ndarray) -> float:
    shifted_NK = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    log_sum_N = np.log(np.exp(shifted_NK).sum(axis=1))
    return float((log_sum_N - shifted_NK[np.arange(len(label_N)), label_N]).mean())


def _ratio(numerator_K: np.ndarray, denominator_K: np.ndarray) -> np.ndarray:
    """Element by element, NaN where nothing was counted."""
    return np.where(denominator_K > 0, numerator_K / np.maximum(denominator_K, 1), np.nan)
