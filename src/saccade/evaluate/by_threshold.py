"""What is confused with what when only sure answers count: a confusion matrix for each of some thresholds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import printable
from ..core.task import ONE_LABEL, Task
from .metrics import wilson_interval
from .verdict import percent

THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The images that are answered at `threshold` or above, of `num_images`: `confusion_KK[true, said]` counts them."""

    threshold: float
    num_images: int
    confusion_KK: np.ndarray

    @property
    def num_answered(self) -> int:
        """How many are answered."""
        return int(self.confusion_KK.sum())

    @property
    def num_right(self) -> int:
        """How many of these answers are right."""
        return int(np.trace(self.confusion_KK))

    def as_json(self) -> dict[str, Any]:
        """One entry of `by_threshold` in `evaluate --json`; its keys are a contract."""
        low, high = wilson_interval(self.num_right, self.num_answered)
        return {
            "min_confidence": self.threshold,
            "num_answered": self.num_answered,
            "coverage": self.num_answered / self.num_images if self.num_images else None,
            "precision": self.num_right / self.num_answered if self.num_answered else None,
            "precision_low": low,
            "precision_high": high,
            "confusion": self.confusion_KK.tolist(),
        }


def confusion_by_threshold(
    probability_NK: np.ndarray, label_N: np.ndarray, task: Task = ONE_LABEL
) -> tuple[Answered, ...]:
    """One entry for each of THRESHOLDS, the lowest first; 0 answers everything."""
    num_classes = probability_NK.shape[1]
    said_N = task.answer_of(probability_NK)
    confidence_N = probability_NK[np.arange(len(said_N)), said_N]
    found = []
    for threshold in THRESHOLDS:
        is_sure_N = confidence_N >= threshold
        cell_M = label_N[is_sure_N] * num_classes + said_N[is_sure_N]
        confusion_KK = np.bincount(cell_M, minlength=num_classes**2).reshape(num_classes, num_classes)
        found.append(Answered(threshold=threshold, num_images=len(label_N), confusion_KK=confusion_KK))
    return tuple(found)


def threshold_rows(answered: tuple[Answered, ...], classes: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each threshold: answered, right, and what is still confused most."""
    headings = ["at or above", "answered", "% of images", "correct %", "95 % interval", "most confused"]
    rows = []
    for entry in answered:
        low, high = wilson_interval(entry.num_right, entry.num_answered)
        share = entry.num_answered / entry.num_images if entry.num_images else float("nan")
        right = entry.num_right / entry.num_answered if entry.num_answered else float("nan")
        interval = f"{percent(low)} to {percent(high)}" if entry.num_answered else "-"
        rows.append(
            [
                f"{entry.threshold:.2f}",
                f"{entry.num_answered:,}",
                percent(share),
                percent(right),
                interval,
                _most_confused(entry.confusion_KK, classes),
            ]
        )
    return headings, rows


def _most_confused(confusion_KK: np.ndarray, classes: tuple[str, ...]) -> str:
    wrong_KK = confusion_KK.copy()
    np.fill_diagonal(wrong_KK, 0)
    if not wrong_KK.any():
        return "-"
    true, said = divmod(int(wrong_KK.argmax()), len(classes))
    return f"{printable(classes[true])} as {printable(classes[said])} ({wrong_KK[true, said]:,})"
