"""Two classifiers on the same images: is one better, or is it luck?

Exact McNemar test: McNemar 1947, Psychometrika 12, 153-157, with the binomial distribution. The interval of the
difference is the percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13): both classifiers are always
judged on the same draw, so images that are hard for both do not blur the comparison. Where few answers differ, or none,
the bootstrap is too narrow, down to nothing: what must not be missed takes the score interval of paired shares (Tango
1998, Statistics in Medicine 17, 891-908), which holds its level there.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from .metrics import Z_95

NUM_RESAMPLES = 5000
CHUNK_VALUES = 1 << 21
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`difference` is the accuracy of the second minus that of the first, a fraction, within `low` to `high` (95 %);
    `p_value` the chance of at least such an imbalance if both were equally good."""

    num_samples: int
    num_only_first: int
    num_only_second: int
    difference: float
    low: float
    high: float
    p_value: float


def compare_answers(right_first_N: np.ndarray, right_second_N: np.ndarray, seed: int = 0) -> Comparison:
    """Compare whether two classifiers were right, image by image in the same order. Raises DataError otherwise."""
    if right_first_N.shape != right_second_N.shape or not len(right_first_N):
        raise DataError(
            f"Two classifiers are compared on the same images, at least one; "
            f"got {len(right_first_N):,} and {len(right_second_N):,}."
        )
    first_N, second_N = right_first_N.astype(bool), right_second_N.astype(bool)
    num_only_first = int((first_N & ~second_N).sum())
    num_only_second = int((second_N & ~first_N).sum())
    if abs(num_only_second - num_only_first) in (0, len(first_N)) and num_only_first * num_only_second == 0:
        low, high = paired_score_interval(num_only_first, num_only_second, len(first_N))  # every draw is the same
    else:
        low, high = paired_bootstrap(first_N.astype(np.float64), second_N.astype(np.float64), seed)
    return Comparison(
        num_samples=len(first_N),
        num_only_first=num_only_first,
        num_only_second=num_only_second,
        difference=(num_only_second - num_only_first) / len(first_N),
        low=low,
        high=high,
        p_value=mcnemar_exact(num_only_first, num_only_second),
    )


def holm(p_value_S: np.ndarray) -> np.ndarray:
    """Adjusted p-values (Holm 1979): the smallest times their number, the next times one less, never falling."""
    order = np.argsort(p_value_S, kind="stable")
    factor = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_value_S[order] * factor))
    return adjusted


def mcnemar_exact(num_only_first: int, num_only_second: int) -> float:
    """Two-sided p-value of `num_only_first` against `num_only_second` images on which only one was right."""
    total = num_only_first + num_only_second
    smaller = min(num_only_first, num_only_second)
    logarithm = [
        math.lgamma(total + 1) - math.lgamma(i + 1) - math.lgamma(total - i + 1) - total * math.log(2)
        for i in range(smaller + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logarithm))


def paired_bootstrap(first_N: np.ndarray, second_N: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of mean(second - first) over 5,000 draws of N images with replacement."""
    difference_N = second_N - first_N
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK_VALUES // len(difference_N))
    means = [
        difference_N[generator.integers(len(difference_N), size=(min(rows, NUM_RESAMPLES - start), len(difference_N)))]
        .mean(axis=1)
        for start in range(0, NUM_RESAMPLES, rows)
    ]  # fmt: skip
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def paired_score_interval(num_only_first: float, num_only_second: float, num_samples: float) -> tuple[float, float]:
    """The 95 % score interval of the second's accuracy minus the first's, a fraction, from the images on which only one
    was right (Tango 1998). Without such images it is as wide as the number of images allows."""
    if num_samples <= 0:
        return -1.0, 1.0

    def score(difference: float) -> float:  # falls with the difference
        """How many standard errors the difference that was seen lies above `difference`."""
        linear = (2 * num_samples - num_only_second + num_only_first) * difference - num_only_first - num_only_second
        constant = -num_only_first * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear**2 - 8 * num_samples * constant))
        lost = (root - linear) / (4 * num_samples)  # most likely share that only the first has right
        variance = num_samples * (2 * lost + difference * (1 - difference))
        seen = num_only_second - num_only_first - num_samples * difference
        return seen / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, seen) if seen else 0.0

    ends = []
    for wanted in (Z_95, -Z_95):
        low, high = -1.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if score(middle) > wanted else (low, middle)
        ends.append((low + high) / 2)
    return ends[0], ends[1]


def images_to_show(num_only_first: int, num_only_second: int, num_samples: int, most_lost: float) -> int | None:
    """How many images it takes to show that the second loses at most `most_lost` of accuracy, where answers go on to
    differ as often as they did; None where no number would do."""
    if (num_only_first - num_only_second) / num_samples >= most_lost:
        return None

    def shows(number: int) -> bool:
        scale = number / num_samples
        low, _ = paired_score_interval(scale * num_only_first, scale * num_only_second, number)
        return -low <= most_lost

    low, high = 0, num_samples
    while not shows(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def p_words(p_value: float) -> str:
    """`p = 0.012`, or `p < 0.001`: never shown as zero."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def comparison_sentence(comparison: Comparison, first: str, second: str) -> str:
    """Which of two named classifiers is better on these images, by how much, and whether that could be luck."""
    better, worse = (second, first) if comparison.difference >= 0 else (first, second)
    points = 100 * abs(comparison.difference)
    ends = sorted([comparison.low, comparison.high], key=abs) if comparison.low * comparison.high > 0 else None
    low, high = (100 * abs(end) for end in ends) if ends else (100 * comparison.low, 100 * comparison.high)
    counts = (
        f"{first} alone is right on {comparison.num_only_first:,} and {second} alone on "
        f"{comparison.num_only_second:,} of {comparison.num_samples:,} images"
    )
    p_value = p_words(comparison.p_value)
    if comparison.p_value < SIGNIFICANT and ends:
        return (
            f"{better} is better than {worse} by {points:.1f} points (95 % interval {low:.1f} to {high:.1f}): "
            f"{counts} (McNemar {p_value})."
        )
    told = " Where few answers differ, the interval is too narrow: the test decides." if ends else ""
    return (
        f"{first} and {second} cannot be told apart: {counts} (McNemar {p_value}; difference "
        f"{100 * comparison.difference:+.1f} points, 95 % interval "
        f"{100 * comparison.low:+.1f} to {100 * comparison.high:+.1f}).{told}"
    )
