"""How many labels are wrong, and which: the disagreements that a classifier's own doubt does not explain.

A weak classifier disagrees with many labels, mostly by its own mistakes, so each disagreement is weighed. An image's
label is taken to be drawn from what the classifier says of it, its logits scaled by one number, but for a share of
labels that are wrong and fall on the other classes alike:

    P(label k) = (1 - share) p_k + share (1 - p_k) / (K - 1),    p = softmax(scale * logits)

Copas 1988, "Binary regression models for contaminated data", Journal of the Royal Statistical Society B 50, 225-265,
here for K classes; `scale` and `share` are the most likely ones. A classifier's own mistakes grow rarer with its
confidence, and wrong labels do not: that tells them apart. Whether there are any is tested by the likelihood ratio
against a share of 0; on that bound it is half of a chi-squared of one degree (Self and Liang 1987, Journal of the
American Statistical Association 82, 605-610). Where the labels show that the wrong ones fall on some classes more than
on others, a matrix takes the place of the share (`label_noise.py`). Labels are suspected where the test shows that some
are wrong, those that the classifier disagrees with and that are then wrong more likely than right.

The probabilities must come from a classifier that has not seen the image with its label: held-out images, or
`cross_validated_probabilities`.
"""

import math
from dataclasses import dataclass

import numpy as np

from .label_noise import even_matrix, noise_matrix, true_classes
from .rates import percent

SIGNIFICANT = 0.05
MORE_LIKELY = 0.5
MAX_SHARE = 0.5
LEAST_SCALE, LARGEST_SCALE = 0.02, 50.0
FEW_OF_A_CLASS = 100  # images; where there were fewer, the expected share was too high (docs/results.md)
FEW_WORDS = f"With fewer than {FEW_OF_A_CLASS} images a class, how likely that is cannot be said."
NUM_BISECTIONS = 40
FITTED_VALUES, MATRIX_VALUES, CHUNK_VALUES = 1 << 22, 1 << 20, 1 << 20
FLOOR = 1e-300


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """What is said of N labels: `share` of them is wrong, `p_value` says how likely such evidence would be if none
    were, and `wrong_N` (float64) is the probability of each that it is wrong. `scale` multiplies the logits."""

    share: float
    scale: float
    p_value: float
    wrong_N: np.ndarray

    @property
    def are_shown(self) -> bool:
        """Whether there is evidence of wrong labels; without it, nothing tells them from the classifier's mistakes."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class SuspectedLabels:
    """`position_S` (int64) of labels that are probably wrong, the likeliest first, and `wrong_S`, how probably.
    `order_N` has all `num_images` so. The classifier disagrees with `num_named` of these labels of `num_classes`
    classes that have images."""

    position_S: np.ndarray
    wrong_S: np.ndarray
    order_N: np.ndarray
    num_named: int
    num_images: int
    num_classes: int
    errors: LabelErrors

    @property
    def expected_share(self) -> float:
        """The share of the suspected labels that is expected to be wrong; NaN without any."""
        return float(self.wrong_S.mean()) if len(self.wrong_S) else float("nan")

    @property
    def has_enough(self) -> bool:
        """Whether there are images enough to say how many of the suspected labels are wrong."""
        return self.num_images >= FEW_OF_A_CLASS * self.num_classes

    def sentence(self) -> str:
        """How many labels are suspected and how many of these are expected to be wrong, or why none is."""
        num, named = len(self.position_S), self.num_named
        if num and not self.has_enough:
            first = f"{'1 label' if num == 1 else f'{num:,} labels'} of {self.num_images:,} may be wrong"
        elif num == 1:
            first = f"1 label of {self.num_images:,} may be wrong, with {percent(self.expected_share)} % probability"
        elif num:
            expected = f"about {self.wrong_S.sum():.0f} of these {num:,} are expected to be"
            first = f"{num:,} labels of {self.num_images:,} may be wrong: {expected} ({percent(self.expected_share)} %)"
        if num:
            rest = "is more likely its own mistake" if named - num == 1 else "are more likely its own mistakes"
            which = "1 more disagreement" if named - num == 1 else f"{named - num:,} more disagreements"
            told = f"{first}; {which} {rest}." if named > num else f"{first}."
            return told if self.has_enough else f"{told} {FEW_WORDS}"
        if not named:
            return f"None of {self.num_images:,} labels is suspected: the classifier disagrees with none."
        labels = "1 label" if named == 1 else f"{named:,} labels"
        if not self.errors.are_shown:
            return (
                f"No label is suspected: the classifier disagrees with {labels} of {self.num_images:,}, no more than "
                f"its own mistakes explain (p = {self.errors.p_value:.2g})."
            )
        return (
            f"No label is suspected: the classifier disagrees with {labels} of {self.num_images:,}, and each is more "
            f"likely its own mistake; about {percent(self.errors.share)} % of all labels are expected to be wrong."
        )


def suspect_labels(
    probability_NK: np.ndarray, label_N: np.ndarray, group_N: np.ndarray | None = None
) -> SuspectedLabels:
    """The labels that are probably wrong; `group_N` as in `estimate_label_errors`."""
    errors = estimate_label_errors(probability_NK, label_N, group_N)
    is_named_N = probability_NK.argmax(axis=1) != label_N
    believed_N = probability_NK[np.arange(len(label_N)), label_N]
    order_N = np.lexsort((believed_N, -errors.wrong_N))
    is_likely_N = is_named_N & (errors.wrong_N > MORE_LIKELY) & errors.are_shown
    position_S = order_N[is_likely_N[order_N]]
    return SuspectedLabels(
        position_S=position_S,
        wrong_S=errors.wrong_N[position_S],
        order_N=order_N,
        num_named=int(is_named_N.sum()),
        num_images=len(label_N),
        num_classes=len(np.unique(label_N)),
        errors=errors,
    )


def estimate_label_errors(
    probability_NK: np.ndarray, label_N: np.ndarray, group_N: np.ndarray | None = None
) -> LabelErrors:
    """The most likely share of wrong labels, and the probability of each label that it is wrong.

    Images of one number in `group_N` (int64; None: each its own) are no evidence of each other. Of very many images
    and classes, the share and the matrix are fitted on images taken evenly.
    """
    from scipy.optimize import minimize_scalar  # here: it takes a while, and most verbs need it not

    num_images, num_classes = probability_NK.shape
    if not num_images or num_classes < 2:
        return LabelErrors(share=0.0, scale=1.0, p_value=1.0, wrong_N=np.zeros(num_images))
    row_M = _evenly(num_images, FITTED_VALUES // num_classes)
    logits_MK, label_M = _logarithms(probability_NK[row_M]), label_N[row_M]

    def likelihoods(log_scale: float) -> tuple[np.ndarray, np.ndarray]:
        own_M = _softmax(logits_MK, math.exp(log_scale))[np.arange(len(label_M)), label_M]
        return own_M, (1 - own_M) / (num_classes - 1)

    def loss(log_scale: float, may_be_wrong: bool) -> float:
        own_M, other_M = likelihoods(log_scale)
        share = _likeliest_share(own_M, other_M) if may_be_wrong else 0.0
        return -float(np.log(np.maximum((1 - share) * own_M + share * other_M, FLOOR)).sum())

    bounds = (math.log(LEAST_SCALE), math.log(LARGEST_SCALE))
    plain, mixed = (
        minimize_scalar(loss, bounds=bounds, args=(may_be_wrong,), method="bounded", options={"xatol": 1e-4})
        for may_be_wrong in (False, True)
    )
    scale, share = math.exp(float(mixed.x)), _likeliest_share(*likelihoods(float(mixed.x)))
    evidence = 2 * (float(plain.fun) - float(mixed.fun))
    row_R = _evenly(num_images, MATRIX_VALUES // num_classes)
    scaled_RK = _softmax(_logarithms(probability_NK[row_R]), scale)
    matrix_KK = noise_matrix(scaled_RK, label_N[row_R], share, None if group_N is None else group_N[row_R])
    wrong_N = _wrong(probability_NK, label_N, scale, matrix_KK)
    is_even = np.array_equal(matrix_KK, even_matrix(num_classes, share))
    return LabelErrors(
        share=share if is_even else float(wrong_N.mean()),
        scale=scale,
        p_value=0.5 * math.erfc(math.sqrt(evidence / 2)) if evidence > 0 else 1.0,
        wrong_N=wrong_N,
    )


def _evenly(num: int, most: int) -> np.ndarray:
    """int64: at most `most` of `num` rows, taken evenly."""
    return np.unique(np.linspace(0, num - 1, min(num, max(1, most))).astype(int))


def _wrong(probability_NK: np.ndarray, label_N: np.ndarray, scale: float, matrix_KK: np.ndarray) -> np.ndarray:
    """float64 (N,): the probability of each label that another class is the true one."""
    num_images, num_classes = probability_NK.shape
    wrong = []
    for start in range(0, num_images, step := max(1, CHUNK_VALUES // num_classes)):
        part = slice(start, start + step)
        true_MK = true_classes(_softmax(_logarithms(probability_NK[part]), scale), label_N[part], matrix_KK)
        true_MK[np.arange(len(true_MK)), label_N[part]] = 0.0
        wrong.append(true_MK.sum(axis=1))
    return np.concatenate(wrong)


def _logarithms(probability_NK: np.ndarray) -> np.ndarray:
    logarithm_NK: np.ndarray = np.log(np.maximum(probability_NK, FLOOR))
    return logarithm_NK


def _softmax(logits_MK: np.ndarray, scale: float) -> np.ndarray:
    """float64 (M, K): the probabilities by the logits, multiplied by `scale`."""
    power_MK: np.ndarray = np.exp(scale * (logits_MK - logits_MK.max(axis=1, keepdims=True)))
    power_MK /= power_MK.sum(axis=1, keepdims=True)
    return power_MK


def _likeliest_share(own_N: np.ndarray, other_N: np.ndarray) -> float:
    """The share of wrong labels with the largest likelihood, 0 to MAX_SHARE: its slope falls, so it is bisected."""
    rise_N = other_N - own_N

    def slope(share: float) -> float:
        return float((rise_N / np.maximum(own_N + share * rise_N, FLOOR)).sum())

    low, high = 0.0, MAX_SHARE
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return (low + high) / 2
