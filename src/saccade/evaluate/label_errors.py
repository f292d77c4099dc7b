"""How many labels are wrong, and which: the disagreements that a classifier's own doubt does not explain.

Confident learning (Northcutt et al. 2021, arXiv:1911.00068, section 3.1: thresholds and confident joint) names the
labels that a classifier disagrees with; an image off the joint's diagonal is named. A weak classifier names mostly its
own mistakes, so what it names is weighed. An image's label is taken to be drawn from what the classifier says of it,
its logits scaled by one number, but for a share of labels that are wrong and fall on the other classes alike:

    P(label k) = (1 - share) p_k + share (1 - p_k) / (K - 1),    p = softmax(scale * logits)

Copas 1988, "Binary regression models for contaminated data", Journal of the Royal Statistical Society B 50, 225-265,
here for K classes; `scale` and `share` are the most likely ones. A classifier's own mistakes grow rarer with its
confidence, and wrong labels do not: that tells them apart. Whether there are any is tested by the likelihood ratio
against a share of 0; on that bound it is half of a chi-squared of one degree (Self and Liang 1987, Journal of the
American Statistical Association 82, 605-610). Labels are suspected where the test shows that some are wrong, those
among the named ones that are then wrong more likely than right.

Of several labels each class is a label of its own, yes or no (K = 2), with its own scale and share, and the tests of
all classes are corrected for their number (Holm 1979). Of grades K is their number: a wrong grade falls on all others
alike, so that one beside the true one is hardly ever suspected.

The probabilities must come from a classifier that has not seen the image with its label: held-out images, or
`cross_validated_probabilities`.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from .rates import percent
from .significance import holm

SIGNIFICANT = 0.05
MORE_LIKELY = 0.5
MAX_SHARE = 0.5
LEAST_SCALE, LARGEST_SCALE = 0.02, 50.0
FEW_OF_A_CLASS = 100  # images; where there were fewer, the expected share was too high (docs/results.md)
FEW_WORDS = f"With fewer than {FEW_OF_A_CLASS} images a class, how likely that is cannot be said."
NUM_BISECTIONS = 40
FITTED_VALUES, CHUNK_VALUES = 1 << 22, 1 << 20
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
class SuspectedLabels:
    """`position_S` (int64) of labels that are probably wrong, the least believed first, and `wrong_S`, how probably.
    Confident learning named `num_named` of `num_images` labels of `num_classes` classes that have images. Of several
    labels `class_S` are the classes whose yes or no is meant, and every class of every image is one of `num_images`."""

    position_S: np.ndarray
    wrong_S: np.ndarray
    num_named: int
    num_images: int
    num_classes: int
    errors: LabelErrors
    are_numbers: bool = False
    class_S: np.ndarray | None = None
    least_images: int | None = None  # of several labels: with the label, or without it, of the class with the fewest

    @property
    def expected_share(self) -> float:
        """The share of the suspected labels that is expected to be wrong; NaN without any."""
        return float(self.wrong_S.mean()) if len(self.wrong_S) else float("nan")

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
            return f"None of {self.num_images:,} labels is suspected: the classifier confidently disagrees with none."
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


def suspect_labels(probability_NK: np.ndarray, label_N: np.ndarray) -> SuspectedLabels:
    """The labels that are probably wrong."""
    found = _named(probability_NK, label_N)
    is_likely_S = (found.wrong_S > MORE_LIKELY) & found.errors.are_shown
    return replace(found, position_S=found.position_S[is_likely_S], wrong_S=found.wrong_S[is_likely_S])


def _named(probability_NK: np.ndarray, label_N: np.ndarray) -> SuspectedLabels:
    """All that confident learning names, with the probability that they are wrong."""
    errors = estimate_label_errors(probability_NK, label_N)
    named = suspected_labels(probability_NK, label_N)
    return SuspectedLabels(
        position_S=named,
        wrong_S=errors.wrong_N[named],
        num_named=len(named),
        num_images=len(label_N),
        num_classes=len(np.unique(label_N)),
        errors=errors,
    )


def suspect_several(probability_NK: np.ndarray, label_NK: np.ndarray, checked_NK: np.ndarray) -> SuspectedLabels:
    """The same where an image may have several labels: `label_NK` (0 or 1) by the probability of each class.

    `checked_NK` (bool) says which labels were judged by other images. The least likely labels come first.
    """
    columns: list[tuple[int, np.ndarray, SuspectedLabels]] = []
    for k in np.flatnonzero(checked_NK.any(axis=0)).tolist():
        row_M = np.flatnonzero(checked_NK[:, k])
        probability_M = probability_NK[row_M, k]
        both_M2 = np.stack([1 - probability_M, probability_M], axis=1)
        columns.append((k, row_M, _named(both_M2, label_NK[row_M, k].astype(np.int64))))
    p_C = holm(np.array([found.errors.p_value for _, _, found in columns]))
    position, wrong, classes = [], [], []
    for p_value, (k, row_M, found) in zip(p_C, columns, strict=True):
        is_likely_S = (found.wrong_S > MORE_LIKELY) & (p_value < SIGNIFICANT)
        position.append(row_M[found.position_S[is_likely_S]])
        wrong.append(found.wrong_S[is_likely_S])
        classes.append(np.full(int(is_likely_S.sum()), k))
    position_S, wrong_S, class_S = (np.concatenate([*parts, np.zeros(0)]) for parts in (position, wrong, classes))
    order_S = np.argsort(-wrong_S, kind="stable")
    num = int(checked_NK.sum())
    shares = [found.errors.share * len(row_M) for _, row_M, found in columns]
    all_wrong = np.concatenate([*(found.errors.wrong_N for _, _, found in columns), np.zeros(0)])
    few = [min(label_NK[row_M, k].sum(), (1 - label_NK[row_M, k]).sum()) for k, row_M, _ in columns]
    return SuspectedLabels(
        position_S=position_S[order_S].astype(np.int64),
        wrong_S=wrong_S[order_S],
        num_named=sum(found.num_named for _, _, found in columns),
        num_images=num,
        num_classes=len(columns),
        errors=LabelErrors(
            share=float(sum(shares)) / max(num, 1),
            scale=1.0,
            p_value=float(p_C.min(initial=1.0)),
            wrong_N=all_wrong,
        ),
        class_S=class_S[order_S].astype(np.int64),
        least_images=int(min(few, default=0)),
    )


def suspected_labels(probability_NK: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """Positions of images whose label may be wrong, the least believed label first (int64).

    A class counts for an image when its probability reaches the mean probability that the class gets on its own
    images; the most probable class that counts is the suspected true one. Classes without images never count.
    """
    num_images, num_classes = probability_NK.shape
    own_N = probability_NK[np.arange(num_images), label_N]
    support_K = np.bincount(label_N, minlength=num_classes)
    threshold_K = np.bincount(label_N, weights=own_N, minlength=num_classes) / np.maximum(support_K, 1)
    threshold_K[support_K == 0] = np.inf
    counts_NK = probability_NK >= threshold_K - 1e-12  # a class of one image is its own mean, up to rounding
    likely_N = np.where(counts_NK, probability_NK, -1.0).argmax(axis=1)
    is_suspect_N = counts_NK.any(axis=1) & (likely_N != label_N) & (probability_NK.argmax(axis=1) != label_N)
    suspects = np.flatnonzero(is_suspect_N)
    return suspects[np.argsort(own_N[suspects], kind="stable")]


def estimate_label_errors(probability_NK: np.ndarray, label_N: np.ndarray) -> LabelErrors:
    """The most likely share of wrong labels, and the probability of each label that it is wrong.

    Of very many images and classes, the share is fitted on images taken evenly.
    """
    from scipy.optimize import minimize_scalar  # here: it takes a while, and most verbs need it not

    num_images, num_classes = probability_NK.shape
    if not num_images or num_classes < 2:
        return LabelErrors(share=0.0, scale=1.0, p_value=1.0, wrong_N=np.zeros(num_images))
    row_M = np.unique(np.linspace(0, num_images - 1, min(num_images, max(1, FITTED_VALUES // num_classes))).astype(int))
    logits_MK, label_M = _logarithms(probability_NK[row_M]), label_N[row_M]

    def likelihoods(log_scale: float) -> tuple[np.ndarray, np.ndarray]:
        own_M = _own_probability(logits_MK, label_M, math.exp(log_scale))
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
    share = likeliest_share(*likelihoods(float(mixed.x)))
    evidence = 2 * (float(plain.fun) - float(mixed.fun))
    scale, wrong = math.exp(float(mixed.x)), []
    for start in range(0, num_images, step := max(1, CHUNK_VALUES // num_classes)):
        part = slice(start, start + step)
        own_M = _own_probability(_logarithms(probability_NK[part]), label_N[part], scale)
        other_M = share * (1 - own_M) / (num_classes - 1)
        wrong.append(other_M / np.maximum((1 - share) * own_M + other_M, FLOOR))
    return LabelErrors(
        share=share,
        scale=scale,
        p_value=0.5 * math.erfc(math.sqrt(evidence / 2)) if evidence > 0 else 1.0,
        wrong_N=np.concatenate(wrong),
    )


def _logarithms(probability_NK: np.ndarray) -> np.ndarray:
    logarithm_NK: np.ndarray = np.log(np.maximum(probability_NK, FLOOR))
    return logarithm_NK


def _own_probability(logits_MK: np.ndarray, label_M: np.ndarray, scale: float) -> np.ndarray:
    """float64 (M,): the probability of each label by the logits, multiplied by `scale`."""
    scaled_MK = scale * (logits_MK - logits_MK.max(axis=1, keepdims=True))
    power_MK = np.exp(scaled_MK)
    own_M: np.ndarray = power_MK[np.arange(len(label_M)), label_M] / power_MK.sum(axis=1)
    return own_M


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
