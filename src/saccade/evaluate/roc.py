"""How well one number tells two groups apart: the area under the ROC curve, with DeLong's interval.

The area is the share of pairs, one of each group, that stand in the right order; equal numbers count half (Mann and
Whitney 1947). Its variance: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845, by midranks (Sun and Xu
2014, IEEE Signal Processing Letters 21, 1389-1393). The interval is formed for the logit of the area, so that it stays
within 0 to 1.
"""

from dataclasses import dataclass

import numpy as np

from .metrics import Z_95, wilson_interval
from .ranked_scores import RankedScores


@dataclass(frozen=True, kw_only=True)
class Area:
    """An area under a ROC curve, 0 to 1, and its 95 % interval; NaN, 0 and 1 where one of the groups is empty."""

    value: float
    low: float
    high: float


def roc_area(positive_P: np.ndarray, negative_N: np.ndarray) -> Area:
    """How well larger numbers mean the first group.

    Where no pair, or every pair, stands in the right order, or all numbers are equal, DeLong's variance is 0, and the
    interval is Wilson's for as many images as the smaller group has.
    """
    num_positive, num_negative = len(positive_P), len(negative_N)
    if not num_positive or not num_negative:
        return Area(value=float("nan"), low=0.0, high=1.0)
    placement_P, placement_N = _placements(positive_P, negative_N)
    value = _area(positive_P, negative_N)
    fewest = min(num_positive, num_negative)
    variance = 0.0
    if value not in (0.0, 1.0) and fewest > 1:
        variance = float(placement_P.var(ddof=1) / num_positive + placement_N.var(ddof=1) / num_negative)
    if not variance:
        low, high = wilson_interval(round(value * fewest), fewest)
        return Area(value=value, low=low, high=high)
    logit, half = np.log(value / (1 - value)), Z_95 * np.sqrt(variance) / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (logit - half, logit + half))
    return Area(value=value, low=low, high=high)


def _area(positive_P: np.ndarray, negative_N: np.ndarray) -> float:
    is_positive_M = np.repeat([True, False], [len(positive_P), len(negative_N)])
    return RankedScores(np.concatenate([positive_P, negative_N]), is_positive_M).area()


def _placements(positive_P: np.ndarray, negative_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the other group that stands on the right side of each number; equal ones count half."""
    sorted_positive, sorted_negative = np.sort(positive_P), np.sort(negative_N)
    below_P = _share_below(sorted_negative, positive_P)
    above_N = 1 - _share_below(sorted_positive, negative_N)
    return below_P, above_N


def _share_below(sorted_M: np.ndarray, value_N: np.ndarray) -> np.ndarray:
    left_N = np.searchsorted(sorted_M, value_N, side="left")
    right_N = np.searchsorted(sorted_M, value_N, side="right")
    share_N: np.ndarray = (left_N + right_N) / (2 * len(sorted_M))
    return share_N
