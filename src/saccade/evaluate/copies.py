"""Copies of training images among those to be judged on: they are left out of every figure, and that is told.

A figure that counts them says how well a network knows what it has learned. It is given once, beside the verdict, for
who compares with published figures of a whole test part.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.task import ONE_LABEL, Task
from .verdict import percent


@dataclass(frozen=True, kw_only=True)
class WithoutCopies:
    """Which of N images are judged, `is_judged_N`: those that training did not see, nor nearly, or else all of them.

    `num_copies` of the N are copies, and `top1_with` is the share of right answers on all N.
    """

    is_judged_N: np.ndarray
    num_copies: int
    top1_with: float
    word: str = "correct"

    @property
    def are_all(self) -> bool:
        """Whether there is nothing but copies, which are judged then."""
        return 0 < len(self.is_judged_N) == self.num_copies

    def kind(self, kind: str) -> str:
        """What the judged images are, which were thought to be `kind` (as in `verdict`)."""
        return "training" if self.are_all else kind

    def caveats(self) -> list[str]:
        """What is said beside the verdict; nothing where no image is a copy."""
        if self.are_all:
            return [
                "Every judged image is a copy of one that training saw: nothing is known of the accuracy on others."
            ]
        if not self.num_copies:
            return []
        copies = "copy" if self.num_copies == 1 else f"{self.num_copies:,} copies"
        return [
            f"With the {copies}, for comparison with published figures: {percent(self.top1_with)} % of "
            f"{len(self.is_judged_N):,} images {self.word}."
        ]

    def as_json(self, task: Task = ONE_LABEL) -> dict[str, Any]:
        """The keys of `--json` and `evaluation.json`: `top1_with_copies` is null where no image is a copy. Of several
        labels it is the share of images with every label right, and called `exact_match_with_copies`, of
        numbers that of images whose answer is near, `near_with_copies`."""
        return {
            "num_copies": self.num_copies,
            f"{task.right_figure}_with_copies": self.top1_with if self.num_copies else None,
        }


NEAR_WORDS = "within half a standard deviation of the training numbers"
NO_COPIES = WithoutCopies(is_judged_N=np.zeros(0, bool), num_copies=0, top1_with=float("nan"))


def leave_out_copies(right_N: np.ndarray, is_copy_N: np.ndarray, task: Task = ONE_LABEL) -> WithoutCopies:
    """Which of N images are judged: `right_N` (bool) were answered right, `is_copy_N` (bool) are copies."""
    is_judged_N = ~is_copy_N if not is_copy_N.all() else np.ones_like(is_copy_N)
    top1_with = float(right_N.mean()) if len(right_N) else float("nan")
    return WithoutCopies(
        is_judged_N=is_judged_N,
        num_copies=int(is_copy_N.sum()),
        top1_with=top1_with,
        word=NEAR_WORDS if task.is_number else "correct",
    )
