"""When the evidence is clear: looked at once, or after every fold, without being wrong more often.

Who looks three times at 5 % is wrong more often than 5 %. Bounds: Pocock 1977 (Biometrika 64), with the constants of
Jennison and Turnbull 2000, table 2.1 (two-sided 10 %: 1.875 for two looks, 1.992 for three): the same at every look, so
that a clear case ends at the first. A depth that promises too little is given up at an early look, which can only make
the whole wrong less often.
"""

from dataclasses import dataclass

import numpy as np

from ..evaluate.significance import mcnemar_exact

# One-sided p-values below which a depth is better, by look: of the normal deviates above.
BOUNDS = {1: (0.05,), 2: (0.0304, 0.0304), 3: (0.0232, 0.0232, 0.0232)}
# p-values from which on the depth has less than one chance in ten to be found better, if it goes on as it began.
HOPELESS = {1: (), 2: (0.247,), 3: (0.307, 0.153)}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of the same `num_judged` images, `num_right` by what is new and `num_before` by what was best until then;
    `p_better` that chance alone makes it better, one-sided."""

    num_judged: int
    num_right: int
    num_before: int
    p_better: float

    @property
    def accuracy(self) -> float:
        """Of what is new."""
        return self.num_right / self.num_judged

    @property
    def accuracy_before(self) -> float:
        """Of what was best until then."""
        return self.num_before / self.num_judged


def compare(now_M: np.ndarray, before_M: np.ndarray) -> Comparison:
    """Which images both got right, bool (M,), in one order."""
    return Comparison(
        num_judged=len(now_M),
        num_right=int(now_M.sum()),
        num_before=int(before_M.sum()),
        p_better=chance_better(before_M, now_M),
    )


def is_better(comparison: Comparison, look: int, num_looks: int) -> bool:
    """Whether the evidence is clear at `look`, counted from 0, of `num_looks`."""
    return comparison.p_better < BOUNDS[num_looks][look]


def is_hopeless(comparison: Comparison, look: int, num_looks: int) -> bool:
    """Whether a further look is not worth its cost, or there is none."""
    return look + 1 == num_looks or comparison.p_better >= HOPELESS[num_looks][look]


def chance_better(before_M: np.ndarray, now_M: np.ndarray) -> float:
    """One-sided exact McNemar p-value that `now_M` is right on more of the same images than `before_M` by luck."""
    num_before, num_now = int((before_M & ~now_M).sum()), int((now_M & ~before_M).sum())
    half = mcnemar_exact(num_before, num_now) / 2
    return half if num_now > num_before else 1.0
