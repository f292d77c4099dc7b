"""When the evidence is clear: looked at once, or after every fold, without being wrong more often.

Who looks three times at 5 % is wrong more often than 5 %. Bounds: O'Brien and Fleming 1979 (Biometrics 35), with the
constants of Jennison and Turnbull 2000, table 2.3 (two-sided 10 %: 1.678 for two looks, 1.710 for three). They ask for
much at first and leave the last look almost all of its power. A depth that promises too little is given up at an early
look, which can only make the whole wrong less often.
"""

from dataclasses import dataclass

import numpy as np

from ..evaluate.significance import mcnemar_exact

# One-sided p-values below which a depth is better, by look: of the normal deviates constant * sqrt(looks / look).
BOUNDS = {1: (0.05,), 2: (0.0088, 0.0467), 3: (0.0015, 0.0181, 0.0436)}
# p-values from which on the depth has less than one chance in ten to be found better, if it goes on as it began: of
# the deviates z at which all looks together come to the last bound, if those to come are as before and 1.2816 lower.
HOPELESS = {1: (), 2: (0.29,), 3: (0.35, 0.214)}


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
