"""The images in the order of their scores for one class: what curves, average precision and areas are counted from.

Average precision is the sum over distinct scores of precision times the rise of recall, without interpolation (as in
scikit-learn; Manning, Raghavan and Schuetze 2008, section 8.4). The area under the ROC curve (AUC) is the chance that
an image with the class scores higher than one without, ties counting half (Hanley and McNeil 1982).
"""

from dataclasses import dataclass

import numpy as np

from .metrics import ratio


@dataclass(frozen=True, kw_only=True)
class RankingCurve:
    """At each threshold, falling: `true_rate_T` (recall) of the positive images, `false_rate_T` of the negative ones,
    and `precision_T`; NaN where there are no such images. It begins where nothing is said, at a threshold of
    infinity and a precision of 1."""

    threshold_T: np.ndarray
    true_rate_T: np.ndarray
    false_rate_T: np.ndarray
    precision_T: np.ndarray


class RankedScores:
    """The images by `score_N`; `has_N` (bool) says which have the class.

    Images are counted `weight_RN` times in each of R rows, which is what a draw with replacement does.
    """

    def __init__(self, score_N: np.ndarray, has_N: np.ndarray) -> None:
        self._order_N = np.argsort(-score_N, kind="stable")
        self._has_N = has_N[self._order_N].astype(np.float64)
        self._sorted_N = score_N[self._order_N]
        is_last_N = np.append(self._sorted_N[1:] != self._sorted_N[:-1], True)[: len(score_N)]  # of equal scores
        self._last_G = np.flatnonzero(is_last_N)

    def _counts(self, weight_RN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many images, and how many with the class, have each distinct score or a higher one: (R, G) both."""
        sorted_RN = weight_RN[:, self._order_N]
        all_RG = np.cumsum(sorted_RN, axis=1)[:, self._last_G]
        has_RG = np.cumsum(sorted_RN * self._has_N, axis=1)[:, self._last_G]
        return all_RG, has_RG

    def average_precision(self) -> float:
        """Average precision, each image counted once; NaN without an image of the class."""
        return float(self.ap(np.ones((1, len(self._order_N))))[0])

    def area(self) -> float:
        """The area under the ROC curve, each image counted once; NaN where a side has no image."""
        return float(self.auc(np.ones((1, len(self._order_N))))[0])

    def ap(self, weight_RN: np.ndarray) -> np.ndarray:
        """Average precision (R,)."""
        return _ap(*self._counts(weight_RN))

    def auc(self, weight_RN: np.ndarray) -> np.ndarray:
        """The area under the ROC curve (R,)."""
        return _auc(*self._counts(weight_RN))

    def both(self, weight_RN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and AUC, each (R,)."""
        counts = self._counts(weight_RN)
        return _ap(*counts), _auc(*counts)

    def curve(self) -> RankingCurve:
        """The rates at every threshold that changes anything."""
        all_1G, has_1G = self._counts(np.ones((1, len(self._order_N))))
        said_T, right_T = np.append(0.0, all_1G[0]), np.append(0.0, has_1G[0])
        num_positive, num_negative = right_T[-1], said_T[-1] - right_T[-1]
        return RankingCurve(
            threshold_T=np.append(np.inf, self._sorted_N[self._last_G]),
            true_rate_T=ratio(right_T, np.full(len(right_T), num_positive)),
            false_rate_T=ratio(said_T - right_T, np.full(len(said_T), num_negative)),
            precision_T=np.divide(right_T, said_T, out=np.ones(len(said_T)), where=said_T > 0),
        )


def _ap(all_RG: np.ndarray, has_RG: np.ndarray) -> np.ndarray:
    if not all_RG.shape[1]:
        return np.full(len(all_RG), np.nan)
    rise_RG = np.diff(has_RG, axis=1, prepend=0.0)
    total_R = has_RG[:, -1]
    sum_R = (rise_RG * has_RG / np.maximum(all_RG, 1)).sum(axis=1)
    return ratio(sum_R, total_R)


def _auc(all_RG: np.ndarray, has_RG: np.ndarray) -> np.ndarray:
    if not all_RG.shape[1]:
        return np.full(len(all_RG), np.nan)
    rise_RG = np.diff(has_RG, axis=1, prepend=0.0)
    fall_RG = np.diff(all_RG - has_RG, axis=1, prepend=0.0)
    above_R = ((has_RG - rise_RG / 2) * fall_RG).sum(axis=1)
    pairs_R = has_RG[:, -1] * (all_RG - has_RG)[:, -1]
    return ratio(above_R, pairs_R)
