"""How good a classifier is where an image may have several labels: each class for itself, then all of them.

mAP is the mean average precision (`ranked_scores.py`) of the classes that have images. What is undefined (no image with
the class, or none without) is NaN and in no mean.

Intervals of precision, recall and of images with all labels right are Wilson's; those of average precision, mAP, AUC
and F1 are the percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13), all classes on the same draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from ..core.task import Task, images_right, sigmoid
from .metrics import calibration_error, class_intervals, ratio, wilson_interval
from .ranked_scores import RankedScores
from .scores import as_logits

MOST_RESAMPLES, FEWEST_RESAMPLES = 1000, 100
RESAMPLED_VALUES = 200_000_000  # images times classes, over all draws: more of either, fewer draws
CHUNK_VALUES = 1 << 21


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """How good a classifier is on N images that may have several labels, K classes. Rates are fractions in 0 to 1.

    `_low` and `_high` are 95 % intervals. `map_baseline` is the mAP of answering every image by how often each class
    occurs, `exact_match` the share of images of which every label is right, and `exact_baseline` that of always saying
    the most frequent list of labels. `loss` is the negative logarithm of the probability of an image's labels, the
    classes taken as independent; `ece` the mean of the classes' `ece_K`. `threshold_K` are the probabilities from which
    on a class is said: precision, recall and F1 depend on them, average precision and AUC do not. Values are NaN where
    undefined.
    """

    num_samples: int
    classes: tuple[str, ...]
    map: float
    map_low: float
    map_high: float
    map_baseline: float
    exact_match: float
    exact_low: float
    exact_high: float
    exact_baseline: float
    macro_f1: float
    micro_f1: float
    loss: float
    ece: float
    labels_an_image: float
    num_resamples: int
    support_K: np.ndarray
    said_K: np.ndarray
    right_K: np.ndarray
    threshold_K: np.ndarray
    ap_K: np.ndarray
    ap_low_K: np.ndarray
    ap_high_K: np.ndarray
    auc_K: np.ndarray
    auc_low_K: np.ndarray
    auc_high_K: np.ndarray
    precision_K: np.ndarray
    precision_low_K: np.ndarray
    precision_high_K: np.ndarray
    recall_K: np.ndarray
    recall_low_K: np.ndarray
    recall_high_K: np.ndarray
    f1_K: np.ndarray
    f1_low_K: np.ndarray
    f1_high_K: np.ndarray
    ece_K: np.ndarray

    @property
    def top1(self) -> float:
        """The exact-match rate: where every image has one label, that is what top-1 accuracy counts."""
        return self.exact_match


def compute_label_metrics(
    logits_NK: np.ndarray, label_NK: np.ndarray, classes: Sequence[str], task: Task, seed: int = 0
) -> LabelMetrics:
    """Judge logits_NK against label_NK (0 and 1), with the slopes, shifts and thresholds of `task`.

    Raises TrainingError for logits that are not finite, ModelError for logits and DataError for labels that do not fit.
    """
    logits = as_logits(logits_NK, len(classes))
    scaled_NK = task.scaled(logits)
    label_NK = as_label_rows(label_NK, *scaled_NK.shape)
    return _judged(scaled_NK, sigmoid(scaled_NK), label_NK, (tuple(classes), task), seed)


def as_label_rows(label_NK: np.ndarray, num_images: int, num_classes: int) -> np.ndarray:
    """Labels as bool (N, K). Raises DataError where their number or a value does not fit."""
    if label_NK.shape != (num_images, num_classes) or not np.isin(label_NK, (0, 1)).all():
        raise DataError(
            f"{num_images} images of {num_classes} classes were judged; their labels are 0 and 1 of that shape, got "
            f"{label_NK.shape}."
        )
    return label_NK.astype(bool)


def _judged(
    logits_NK: np.ndarray,
    probability_NK: np.ndarray,
    label_NK: np.ndarray,
    known: tuple[tuple[str, ...], Task],
    seed: int,
) -> LabelMetrics:
    classes, task = known
    num, num_classes = label_NK.shape
    said_NK = task.said(probability_NK)
    support_K, said_K = label_NK.sum(axis=0), said_NK.sum(axis=0)
    right_K = (label_NK & said_NK).sum(axis=0)
    curves = [RankedScores(logits_NK[:, k], label_NK[:, k]) for k in range(num_classes)]
    ap_K = np.array([curve.average_precision() for curve in curves])
    auc_K = np.array([curve.area() for curve in curves])
    drawn = _bootstrap(curves, label_NK, said_NK, seed)
    right_N = images_right(label_NK, said_NK)
    exact_low, exact_high = wilson_interval(int(right_N.sum()), num)
    precision_low_K, precision_high_K = class_intervals(right_K, said_K)
    recall_low_K, recall_high_K = class_intervals(right_K, support_K)
    f1_K = ratio(2 * right_K, support_K + said_K)
    has_K = support_K > 0
    micro = ratio(np.array([2 * right_K.sum()]), np.array([support_K.sum() + said_K.sum()]))
    ece_K = np.array([calibration_error(probability_NK[:, k], label_NK[:, k]) for k in range(num_classes)])
    _, count_S = np.unique(label_NK, axis=0, return_counts=True) if num else (None, np.zeros(0))
    return LabelMetrics(
        num_samples=num,
        classes=classes,
        map=mean_of(ap_K[has_K]),
        map_low=drawn.map_low,
        map_high=drawn.map_high,
        map_baseline=mean_of(support_K[has_K] / max(num, 1)),
        exact_match=mean_of(right_N),
        exact_low=exact_low,
        exact_high=exact_high,
        exact_baseline=float(count_S.max() / num) if num else float("nan"),
        macro_f1=mean_of(f1_K[has_K]),
        micro_f1=float(micro[0]),
        loss=mean_of(image_label_losses(logits_NK, label_NK)),
        ece=mean_of(ece_K),
        labels_an_image=mean_of(label_NK.sum(axis=1)),
        num_resamples=drawn.num,
        support_K=support_K,
        said_K=said_K,
        right_K=right_K,
        threshold_K=task.threshold_K(num_classes),
        ap_K=ap_K,
        ap_low_K=drawn.ap_2K[0],
        ap_high_K=drawn.ap_2K[1],
        auc_K=auc_K,
        auc_low_K=drawn.auc_2K[0],
        auc_high_K=drawn.auc_2K[1],
        precision_K=ratio(right_K, said_K),
        precision_low_K=precision_low_K,
        precision_high_K=precision_high_K,
        recall_K=ratio(right_K, support_K),
        recall_low_K=recall_low_K,
        recall_high_K=recall_high_K,
        f1_K=f1_K,
        f1_low_K=drawn.f1_2K[0],
        f1_high_K=drawn.f1_2K[1],
        ece_K=ece_K,
    )


def loss_and_calibration_error(logits_NK: np.ndarray, label_NK: np.ndarray, task: Task) -> tuple[float, float]:
    """(`loss`, `ece`) of `LabelMetrics`, without the rest."""
    scaled_NK = task.scaled(logits_NK)
    probability_NK = sigmoid(scaled_NK)
    errors = [calibration_error(probability_NK[:, k], label_NK[:, k]) for k in range(label_NK.shape[1])]
    return mean_of(image_label_losses(scaled_NK, label_NK)), mean_of(np.array(errors))


def mean_average_precision(logits_NK: np.ndarray, label_NK: np.ndarray) -> float:
    """mAP alone, without intervals: what chooses the epoch that is kept. NaN where no class has an image."""
    values = [
        RankedScores(logits_NK[:, k], label_NK[:, k] > 0).average_precision()
        for k in range(label_NK.shape[1])
        if label_NK[:, k].any()
    ]
    return mean_of(np.array(values))


def image_label_losses(logits_NK: np.ndarray, label_NK: np.ndarray) -> np.ndarray:
    """loss_N float64: the negative logarithm of the probability of each image's labels, the classes independent."""
    loss_N: np.ndarray = (np.logaddexp(0, np.asarray(logits_NK, np.float64)) - logits_NK * label_NK).sum(axis=1)
    return loss_N


def mean_of(values: np.ndarray) -> float:
    """The mean, NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """The 95 % ends over all draws, (2, K) each."""

    num: int
    map_low: float
    map_high: float
    ap_2K: np.ndarray
    auc_2K: np.ndarray
    f1_2K: np.ndarray


def _bootstrap(curves: Sequence[RankedScores], label_NK: np.ndarray, said_NK: np.ndarray, seed: int) -> _Drawn:
    num, num_classes = label_NK.shape
    nothing_2K = np.full((2, num_classes), np.nan)
    if not num:
        return _Drawn(num=0, map_low=0.0, map_high=1.0, ap_2K=nothing_2K, auc_2K=nothing_2K, f1_2K=nothing_2K)
    total = int(np.clip(RESAMPLED_VALUES // (num * num_classes), FEWEST_RESAMPLES, MOST_RESAMPLES))
    generator = np.random.default_rng(seed)
    ap, auc, f1 = [], [], []
    right_NK = (label_NK & said_NK).astype(np.float64)
    either_NK = label_NK.astype(np.float64) + said_NK
    rows = max(1, CHUNK_VALUES // num)
    for start in range(0, total, rows):
        weight_RN = _draws(generator, min(rows, total - start), num)
        values = [curve.both(weight_RN) for curve in curves]
        ap.append(np.stack([value[0] for value in values], axis=1))
        auc.append(np.stack([value[1] for value in values], axis=1))
        right_RK, either_RK = weight_RN @ right_NK, weight_RN @ either_NK
        f1.append(np.divide(2 * right_RK, either_RK, out=np.full_like(either_RK, np.nan), where=either_RK > 0))
    ap_RK = np.concatenate(ap)
    has_K = label_NK.sum(axis=0)
    low, high = _ends(_nan_mean(ap_RK[:, has_K > 0])[:, None], np.array([num]))[:, 0]
    return _Drawn(
        num=total,
        map_low=float(low),
        map_high=float(high),
        ap_2K=_ends(ap_RK, has_K),
        auc_2K=_ends(np.concatenate(auc), np.minimum(has_K, num - has_K)),
        f1_2K=_ends(np.concatenate(f1), has_K),
    )


def _draws(generator: np.random.Generator, num_draws: int, num: int) -> np.ndarray:
    """How often each image is drawn, float64 (num_draws, num)."""
    drawn_RN = generator.integers(num, size=(num_draws, num))
    return np.stack([np.bincount(drawn_N, minlength=num) for drawn_N in drawn_RN]).astype(np.float64)


def _nan_mean(values_RK: np.ndarray) -> np.ndarray:
    """The mean of each row without NaN; NaN of a row of nothing else."""
    is_there_RK = ~np.isnan(values_RK)
    count_R = is_there_RK.sum(axis=1)
    sum_R = np.where(is_there_RK, values_RK, 0.0).sum(axis=1)
    return ratio(sum_R, count_R)


def _ends(values_RK: np.ndarray, fewest_K: np.ndarray) -> np.ndarray:
    """The 2.5 and 97.5 % quantiles of each column without NaN, (2, K). Where all draws say one thing, as of answers
    without a fault, they are no evidence that other images say it too: then Wilson's interval for `fewest_K` images."""
    ends_2K = np.full((2, values_RK.shape[1]), np.nan)
    for k in range(values_RK.shape[1]):
        known_R = values_RK[~np.isnan(values_RK[:, k]), k]
        if len(known_R):
            low, high = np.percentile(known_R, [2.5, 97.5])
            fewest = int(fewest_K[k])
            ends_2K[:, k] = wilson_interval(round(low * fewest), fewest) if low == high and fewest else (low, high)
    return ends_2K
