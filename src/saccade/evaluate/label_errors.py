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

Of several labels each class is a label of its own, yes or no (K = 2), with its own scale and share, and the tests of
all classes are corrected for their number (Holm 1979). Of grades K is their number: a wrong grade falls on all others
alike, so that one beside the true one is hardly ever suspected.

The probabilities must come from a classifier that has not seen the image with its label: held-out images, or
`cross_validated_probabilities`.
"""

import math
from dataclasses import dataclass

import numpy as np

from .label_noise import even_matrix, noise_matrix, true_classes
from .rates import percent
from .significance import holm

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
    were, and `wrong_N` (float64) is the probability of each that it is wrong. `scale` multiplies the logits. There is
    evidence of wrong labels where the p-value is below `level`."""

    share: float
    scale: float
    p_value: float
    wrong_N: np.ndarray
    level: float = SIGNIFICANT

    @property
    def are_shown(self) -> bool:
        """Whether there is evidence of wrong labels; without it, nothing tells them from the classifier's mistakes."""
        return self.p_value < self.level


@dataclass(frozen=True, kw_only=True)
class LabelsInOrder:
    """Labels, the likeliest wrong first: `position_S` (int64) of their images, `wrong_S` (float64), how probably they
    are wrong, and of several labels `class_S` (int64), the class whose yes or no is meant."""

    position_S: np.ndarray
    wrong_S: np.ndarray
    class_S: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class SuspectedLabels:
    """What is said of all `num_images` labels of `num_classes` classes that have images. `order_N` (int64) has their
    positions, the likeliest wrong first, `order_wrong_N` how probably they are, and `is_suspect_N` (bool) which of
    these are probably wrong. The classifier disagrees with `num_named` of them. Of several labels every class of every
    image is a label, yes or no, and `order_class_N` are the classes."""

    order_N: np.ndarray
    order_wrong_N: np.ndarray
    is_suspect_N: np.ndarray
    num_named: int
    num_images: int
    num_classes: int
    errors: LabelErrors
    are_numbers: bool = False
    order_class_N: np.ndarray | None = None
    least_images: int | None = None  # of several labels: with the label, or without it, of the class with the fewest

    def listed(self, count: int = 0) -> LabelsInOrder:
        """The `count` labels that are most likely wrong; 0: those that are suspected."""
        chosen_S = np.arange(min(count, len(self.order_N))) if count else np.flatnonzero(self.is_suspect_N)
        return LabelsInOrder(
            position_S=self.order_N[chosen_S],
            wrong_S=self.order_wrong_N[chosen_S],
            class_S=None if self.order_class_N is None else self.order_class_N[chosen_S],
        )

    @property
    def position_S(self) -> np.ndarray:
        """int64: the suspected labels, the likeliest wrong first."""
        return self.listed().position_S

    @property
    def wrong_S(self) -> np.ndarray:
        """float64: how probably each suspected label is wrong."""
        return self.listed().wrong_S

    @property
    def expected_share(self) -> float:
        """The share of the suspected labels that is expected to be wrong; NaN without any."""
        return float(self.wrong_S.mean()) if self.is_suspect_N.any() else float("nan")

    @property
    def has_enough(self) -> bool:
        """Whether there are images enough to say how many of the suspected labels are wrong."""
        if self.least_images is not None:
            return self.least_images >= FEW_OF_A_CLASS
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
            few = FEW_WORDS.replace(" a class", "") if self.are_numbers else FEW_WORDS
            return told if self.has_enough else f"{told} {few}"
        if not named and self.are_numbers:
            return f"None of {self.num_images:,} labels is suspected: none is farther off than errors explain."
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
    is_likely_N = is_named_N & (errors.wrong_N > MORE_LIKELY)
    return SuspectedLabels(
        order_N=order_N,
        order_wrong_N=errors.wrong_N[order_N],
        is_suspect_N=is_likely_N[order_N] & errors.are_shown,
        num_named=int(is_named_N.sum()),
        num_images=len(label_N),
        num_classes=len(np.unique(label_N)),
        errors=errors,
    )


def suspect_several(
    probability_NK: np.ndarray, label_NK: np.ndarray, checked_NK: np.ndarray, group_N: np.ndarray | None = None
) -> SuspectedLabels:
    """The same where an image may have several labels: `label_NK` (0 or 1) by the probability of each class.

    `checked_NK` (bool) says which labels were judged by other images. The likeliest wrong labels come first.
    """
    columns: list[tuple[int, np.ndarray, SuspectedLabels]] = []
    for k in np.flatnonzero(checked_NK.any(axis=0)).tolist():
        row_M = np.flatnonzero(checked_NK[:, k])
        probability_M = probability_NK[row_M, k]
        both_M2 = np.stack([1 - probability_M, probability_M], axis=1)
        own_group_M = None if group_N is None else group_N[row_M]
        columns.append((k, row_M, suspect_labels(both_M2, label_NK[row_M, k].astype(np.int64), own_group_M)))
    p_C = holm(np.array([found.errors.p_value for _, _, found in columns]))
    position, wrong, classes, suspect = [], [], [], []
    for p_value, (k, row_M, found) in zip(p_C, columns, strict=True):
        position.append(row_M[found.order_N])
        wrong.append(found.order_wrong_N)
        classes.append(np.full(len(row_M), k))
        suspect.append(found.is_suspect_N & (p_value < SIGNIFICANT))
    order_N, wrong_N, class_N, suspect_N = (
        np.concatenate([*parts, np.zeros(0)]) for parts in (position, wrong, classes, suspect)
    )
    order_P = np.argsort(-wrong_N, kind="stable")
    num = int(checked_NK.sum())
    shares = [found.errors.share * len(row_M) for _, row_M, found in columns]
    all_wrong = np.concatenate([*(found.errors.wrong_N for _, _, found in columns), np.zeros(0)])
    few = [min(label_NK[row_M, k].sum(), (1 - label_NK[row_M, k]).sum()) for k, row_M, _ in columns]
    return SuspectedLabels(
        order_N=order_N[order_P].astype(np.int64),
        order_wrong_N=wrong_N[order_P],
        is_suspect_N=suspect_N[order_P].astype(bool),
        num_named=sum(found.num_named for _, _, found in columns),
        num_images=num,
        num_classes=len(columns),
        errors=LabelErrors(
            share=float(sum(shares)) / max(num, 1),
            scale=1.0,
            p_value=float(p_C.min(initial=1.0)),
            wrong_N=all_wrong,
        ),
        order_class_N=class_N[order_P].astype(np.int64),
        least_images=int(min(few, default=0)),
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
        share = likeliest_share(own_M, other_M) if may_be_wrong else 0.0
        return -float(np.log(np.maximum((1 - share) * own_M + share * other_M, FLOOR)).sum())

    bounds = (math.log(LEAST_SCALE), math.log(LARGEST_SCALE))
    plain, mixed = (
        minimize_scalar(loss, bounds=bounds, args=(may_be_wrong,), method="bounded", options={"xatol": 1e-4})
        for may_be_wrong in (False, True)
    )
    scale, share = math.exp(float(mixed.x)), likeliest_share(*likelihoods(float(mixed.x)))
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


def likeliest_share(own_N: np.ndarray, other_N: np.ndarray) -> float:
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
