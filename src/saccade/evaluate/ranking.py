"""How well probabilities order the images, class by class against all others, and agreement beyond chance.

Areas with DeLong's interval (evaluate/roc.py), average precision (evaluate/ranked_scores.py). Cohen's kappa: Cohen
1960, Educational and Psychological Measurement 20, 37-46; its variance: Fleiss, Cohen and Everitt 1969, Psychological
Bulletin 72, 323-327.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import printable
from .metrics import Z_95
from .ranked_scores import RankedScores
from .rates import number
from .roc import Area, roc_area
from .verdict import percent


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """`area_K` and `average_precision_K` of each class against the others (NaN where a side has no image); `macro_area`
    is the mean of those that there are. `kappa` with its 95 % interval."""

    classes: tuple[str, ...]
    area_K: tuple[Area, ...]
    average_precision_K: np.ndarray
    macro_area: float
    kappa: float
    kappa_low: float
    kappa_high: float

    def sentence(self) -> str:
        """The mean area, the lowest one with its interval, and kappa."""
        known = [k for k, area in enumerate(self.area_K) if not np.isnan(area.value)]
        if not known:
            return ""
        lowest = min(known, key=lambda k: self.area_K[k].value)
        area = self.area_K[lowest]
        return (
            f"Area under the ROC curve, each class against the others: {percent(self.macro_area)} % on average, lowest "
            f"for '{printable(self.classes[lowest])}', {percent(area.value)} % (95 % interval {percent(area.low)} to "
            f"{percent(area.high)}). Cohen's kappa {self.kappa:.3f} ({self.kappa_low:.3f} to {self.kappa_high:.3f})."
        )

    def as_json(self) -> dict[str, Any]:
        """The value of `ranking` in `evaluate --json`; its keys are a contract."""
        return {
            "macro_auc": number(self.macro_area),
            "kappa": number(self.kappa),
            "kappa_low": self.kappa_low,
            "kappa_high": self.kappa_high,
            "per_class": [
                {
                    "class": name,
                    "auc": number(area.value),
                    "auc_low": area.low,
                    "auc_high": area.high,
                    "average_precision": number(float(self.average_precision_K[k])),
                }
                for k, (name, area) in enumerate(zip(self.classes, self.area_K, strict=True))
            ],
        }


def rank(probability_NK: np.ndarray, label_N: np.ndarray, classes: Sequence[str], confusion_KK: np.ndarray) -> Ranking:
    """The figures of images with these probabilities, labels, and counts (true, said)."""
    area_K = [roc_area(column_N[label_N == k], column_N[label_N != k]) for k, column_N in enumerate(probability_NK.T)]
    values = np.array([area.value for area in area_K])
    precision_K = [
        RankedScores(column_N, label_N == k).average_precision() for k, column_N in enumerate(probability_NK.T)
    ]
    kappa, low, high = cohens_kappa(confusion_KK)
    return Ranking(
        classes=tuple(classes),
        area_K=tuple(area_K),
        average_precision_K=np.array(precision_K),
        macro_area=float(np.nanmean(values)) if not np.isnan(values).all() else float("nan"),
        kappa=kappa,
        kappa_low=low,
        kappa_high=high,
    )


def cohens_kappa(confusion_KK: np.ndarray) -> tuple[float, float, float]:
    """(kappa, low, high): agreement of answers and labels beyond what their shares give by chance; NaN, -1 and 1 where
    chance alone agrees always."""
    total = confusion_KK.sum()
    if not total:
        return float("nan"), -1.0, 1.0
    share_KK = confusion_KK / total
    true_K, said_K = share_KK.sum(axis=1), share_KK.sum(axis=0)
    agreed, chance = float(np.trace(share_KK)), float(true_K @ said_K)
    if chance >= 1:
        return float("nan"), -1.0, 1.0
    kappa = (agreed - chance) / (1 - chance)
    own_K = share_KK.diagonal()
    either_KK = said_K[:, None] + true_K[None, :]  # of cell (true i, said j): the shares of said i and of true j
    first = float((own_K * (1 - (true_K + said_K) * (1 - kappa)) ** 2).sum())
    others_KK = share_KK - np.diag(own_K)
    second = (1 - kappa) ** 2 * float((others_KK * either_KK**2).sum())
    third = (kappa - chance * (1 - kappa)) ** 2
    half = Z_95 * float(np.sqrt(max(first + second - third, 0) / total)) / (1 - chance)
    return kappa, max(kappa - half, -1.0), min(kappa + half, 1.0)
