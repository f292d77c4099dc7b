"""How far a confidence can be believed: temperature scaling, the calibration curve, and answering only when sure.

Temperature scaling: Guo et al. 2017, arXiv:1706.04599, section 4.2. One number T divides every logit; it is fitted on
images the network was not trained on. Answers stay as they are, only confidences change.

Deviation from the paper: log T has a normal prior around 0 (T = 1), because the T with the smallest log loss on few
images can make confidences worse on others (experiments/temperature_by_images.py, docs/results.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import counted
from .metrics import CALIBRATION_BINS, calibration_bin, wilson_interval
from .scores import as_labels, as_logits
from .thresholds import PromisedPrecision

if TYPE_CHECKING:
    import torch

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MAX_ITERATIONS = 60
PRIOR_DEVIATION = 0.25  # standard deviation of log T that is expected; with N images the data outweigh it soon


def shrunk_temperature(logits_NK: np.ndarray | torch.Tensor, label_N: np.ndarray | torch.Tensor) -> float:
    """The most probable temperature under the prior: between 1 and that of `fit_temperature`, near 1 for few images.

    Raises what `fit_temperature` raises.
    """
    best = fit_temperature(logits_NK, label_N)
    if best == 1.0:
        return 1.0
    labels = as_labels(label_N, *logits_NK.shape)
    centred_NK, true_mean = _centred(as_logits(logits_NK, logits_NK.shape[1]), labels)
    near, far = 0.0, -float(np.log(best))  # log of the inverse temperature; the slope changes its sign in between
    for _ in range(MAX_ITERATIONS):
        middle = (near + far) / 2
        slope = len(labels) * _loss_slope(centred_NK, true_mean, np.exp(middle))[0] * np.exp(middle)
        is_short = (slope + middle / PRIOR_DEVIATION**2) * far < 0  # the loss still falls towards `far`
        near, far = (middle, far) if is_short else (near, middle)
    return float(np.exp(-(near + far) / 2))


def is_worse_scaled(logits_NK: np.ndarray, label_N: np.ndarray, temperature: float) -> bool:
    """Whether the log loss of these images is higher with `temperature` than without, beyond chance (the paired
    t-test at 2.5 %, which takes more of few images)."""
    from scipy.special import stdtrit  # here: it takes a while, and most verbs need it not

    if len(label_N) < 2 or temperature == 1:
        return False
    own = np.arange(len(label_N))
    plain_N, scaled_N = (
        -log_probabilities(logits_NK.astype(np.float64) / divisor)[own, label_N] for divisor in (1.0, temperature)
    )
    change_N = scaled_N - plain_N
    return bool(change_N.mean() > stdtrit(len(change_N) - 1, 0.975) * change_N.std(ddof=1) / np.sqrt(len(change_N)))


def log_probabilities(logits_NK: np.ndarray) -> np.ndarray:
    """log softmax of each row."""
    centred_NK = logits_NK - logits_NK.max(axis=1, keepdims=True)
    logarithm_NK: np.ndarray = centred_NK - np.log(np.exp(centred_NK).sum(axis=1, keepdims=True))
    return logarithm_NK


def fit_temperature(logits_NK: np.ndarray | torch.Tensor, label_N: np.ndarray | torch.Tensor) -> float:
    """The temperature with the smallest log loss, by safeguarded Newton steps in float64.

    1.0 where there is no such temperature between 0.05 and 20: without images, where every answer is right (the loss
    would fall for ever as T goes to 0) or where the answers are no better than chance. Raises TrainingError for logits
    that are not finite, DataError for labels that do not fit.
    """
    if not len(label_N):
        return 1.0
    logits = as_logits(logits_NK, logits_NK.shape[1])
    labels = as_labels(label_N, *logits.shape)
    centred_NK, true_mean = _centred(logits, labels)
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE  # of the inverse temperature, in which the loss is convex
    if _loss_slope(centred_NK, true_mean, low)[0] >= 0 or _loss_slope(centred_NK, true_mean, high)[0] <= 0:
        return 1.0
    inverse = 1.0
    for _ in range(MAX_ITERATIONS):
        slope, curvature = _loss_slope(centred_NK, true_mean, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def _centred(logits_NK: np.ndarray, label_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Logits float64 less the largest of each row, and the mean of those of the true classes."""
    centred_NK = logits_NK.astype(np.float64)
    centred_NK -= centred_NK.max(axis=1, keepdims=True)
    return centred_NK, float(centred_NK[np.arange(len(label_N)), label_N].mean())


def _loss_slope(centred_NK: np.ndarray, true_mean: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean log loss by the inverse temperature."""
    weight_NK = np.exp(centred_NK * inverse)
    weight_NK /= weight_NK.sum(axis=1, keepdims=True)
    mean_N = (weight_NK * centred_NK).sum(axis=1)
    square_N = (weight_NK * centred_NK**2).sum(axis=1)
    return float(mean_N.mean()) - true_mean, float((square_N - mean_N**2).mean())


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """Per bin of confidence: how many images, their mean confidence and accuracy (NaN where empty), the accuracy's
    95 % Wilson interval, and the bin's `edge`s (one more than bins)."""

    edge: np.ndarray
    num: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def calibration_curve(confidence_N: np.ndarray, right_N: np.ndarray) -> CalibrationCurve:
    """What the 15 bins of the expected calibration error hold, for a plot of accuracy against confidence."""
    bin_N = calibration_bin(confidence_N)
    num = np.bincount(bin_N, minlength=CALIBRATION_BINS)
    right = np.bincount(bin_N, weights=right_N, minlength=CALIBRATION_BINS)
    total = np.bincount(bin_N, weights=confidence_N, minlength=CALIBRATION_BINS)
    interval = [wilson_interval(int(r), int(n)) for r, n in zip(right, num)]
    safe = np.maximum(num, 1)
    return CalibrationCurve(
        edge=np.linspace(0, 1, CALIBRATION_BINS + 1),
        num=num,
        confidence=np.where(num > 0, total / safe, np.nan),
        accuracy=np.where(num > 0, right / safe, np.nan),
        low=np.where(num > 0, [low for low, _ in interval], np.nan),
        high=np.where(num > 0, [high for _, high in interval], np.nan),
    )


@dataclass(frozen=True, kw_only=True)
class SelectiveCurve:
    """Answering only when sure: with a threshold of `threshold_M` (falling, one entry for each confidence that
    occurs), a share `coverage_M` of the images is answered, and `accuracy_M` of those answers are right."""

    threshold_M: np.ndarray
    coverage_M: np.ndarray
    accuracy_M: np.ndarray


def selective_curve(confidence_N: np.ndarray, right_N: np.ndarray) -> SelectiveCurve:
    """Coverage and accuracy for every threshold that changes anything (El-Yaniv and Wiener 2010, JMLR 11, 1605)."""
    order_N = np.argsort(-confidence_N, kind="stable")
    threshold_N = confidence_N[order_N]
    last_N = np.append(threshold_N[1:] != threshold_N[:-1], True)[: len(order_N)]  # equal confidences go together
    answered_N = np.arange(1, len(order_N) + 1)
    right_so_far_N = np.cumsum(right_N[order_N])
    return SelectiveCurve(
        threshold_M=threshold_N[last_N],
        coverage_M=(answered_N / max(len(order_N), 1))[last_N],
        accuracy_M=(right_so_far_N / answered_N)[last_N],
    )


@dataclass(frozen=True, kw_only=True)
class Selective:
    """Answering only at `threshold` or above: `num_answered` of `num_images` images are, `num_right` of these answers
    are right. `promised` is what chose the threshold, None where a person did."""

    threshold: float
    num_images: int
    num_answered: int
    num_right: int
    promised: PromisedPrecision | None = None

    @property
    def coverage(self) -> float:
        """The share of images that is answered."""
        return self.num_answered / self.num_images if self.num_images else float("nan")

    @property
    def precision(self) -> float:
        """The share of answers that is right, NaN without any."""
        return self.num_right / self.num_answered if self.num_answered else float("nan")

    @property
    def low(self) -> float:
        """The lower end of its 95 % interval."""
        return wilson_interval(self.num_right, self.num_answered)[0]

    @property
    def high(self) -> float:
        """The upper end."""
        return wilson_interval(self.num_right, self.num_answered)[1]

    def sentence(self) -> str:
        """`Answering only at 0.90 or above: 312 of 360 images (86.7 %), 99.4 % of them right (95 % ... 97.7 to 99.8).`
        With a promise: `Answers 86.7 % of the images at 98 % precision: at 0.90 or above ...`."""
        at = f"{self.threshold:.2f}" if self.promised is None else f"{self.threshold:.4f}"
        if not self.num_answered:
            return f"Answering only at {at} or above: none of {counted(self.num_images, 'image')}."
        found = (
            f"{self.num_answered:,} of {self.num_images:,} images ({100 * self.coverage:.1f} %), "
            f"{100 * self.precision:.1f} % of them right (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})."
        )
        if self.promised is None:
            return f"Answering only at {at} or above: {found}"
        wanted = f"{100 * self.promised.precision:g} % precision"
        return f"Answers {100 * self.coverage:.1f} % of images at {wanted}: at a confidence of {at} or above, {found}"


def answering_at(
    confidence_N: np.ndarray, right_N: np.ndarray, threshold: float, promised: PromisedPrecision | None = None
) -> Selective:
    """What answering only at `threshold` or above gives."""
    answered_N = confidence_N >= threshold
    return Selective(
        threshold=threshold,
        num_images=len(confidence_N),
        num_answered=int(answered_N.sum()),
        num_right=int(right_N[answered_N].sum()),
        promised=promised,
    )


def selective_sentence(confidence_N: np.ndarray, right_N: np.ndarray, threshold: float) -> str:
    """`Answering only at 0.90 or above: 312 of 360 images (86.7 %), 99.4 % of them right (95 % ... 97.7 to 99.8).`"""
    return answering_at(confidence_N, right_N, threshold).sentence()
