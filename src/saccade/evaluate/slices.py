"""Where is it worse? The accuracy on parts of the judged images, with a warning that is corrected for many parts.

Each part is compared with all other images by Fisher's exact test. Of many parts one is always the worst, so the
chances are corrected by Holm's method (1979, Scandinavian Journal of Statistics 6, 65-70): where nothing is worse, any
warning comes with a chance of 5 % at most. Numbers are cut into thirds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import counted, printable
from .metrics import wilson_interval
from .significance import holm
from .verdict import percent

MIN_IMAGES = 10  # of a part; smaller ones say nothing
MAX_SHOWN = 40
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The images of which `trait` is `part`: how many, how many are right; `p_value` of the comparison with all others,
    `adjusted` for the number of parts that were looked at."""

    trait: str
    part: str
    num_images: int
    num_right: int
    num_others: int
    num_others_right: int
    p_value: float
    adjusted: float = 1.0

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.num_right / self.num_images

    @property
    def others_accuracy(self) -> float:
        """That of all other images; NaN without any."""
        return self.num_others_right / self.num_others if self.num_others else float("nan")

    @property
    def is_worse(self) -> bool:
        """Whether it is shown to be worse than the others."""
        return self.adjusted < SIGNIFICANT and self.accuracy < self.others_accuracy

    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the accuracy."""
        return wilson_interval(self.num_right, self.num_images)

    def as_json(self, name: str = "top1") -> dict[str, Any]:
        """One entry of `slices` in `evaluate --json`, the share of right answers under `name`; its keys are a
        contract."""
        low, high = self.interval()
        return {
            "trait": self.trait,
            "part": self.part,
            "num_samples": self.num_images,
            name: self.accuracy,
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_others": self.others_accuracy,
            "p_value": self.p_value,
            "p_value_adjusted": self.adjusted,
            "is_worse": self.is_worse,
        }


def cut_numbers(trait: str, value_N: np.ndarray, right_N: np.ndarray, unit: str = "") -> list[Slice]:
    """Thirds of the images by a number; fewer where many are equal. Without a cut, nothing."""
    edges = np.unique(np.quantile(value_N, [1 / 3, 2 / 3])) if len(value_N) else np.zeros(0)
    part_N = np.searchsorted(edges, value_N, side="left")
    shown = [f"{edge:.3g}{unit}" for edge in edges]
    names = (
        [f"to {shown[0]}", *(f"{a} to {b}" for a, b in zip(shown, shown[1:])), f"above {shown[-1]}"] if shown else []
    )
    found = [_slice(trait, name, part_N == number, right_N) for number, name in enumerate(names)]
    kept = [part for part in found if part is not None]
    return kept if len(kept) > 1 else []


def cut_names(trait: str, name_N: Sequence[str], right_N: np.ndarray) -> list[Slice]:
    """The images of each name, in order of the names. Where all have one name, nothing."""
    names = np.array(name_N, dtype=object)
    found = [_slice(trait, name, names == name, right_N) for name in sorted(set(name_N))]
    return [part for part in found if part is not None] if len(found) > 1 else []


def _slice(trait: str, part: str, is_in_N: np.ndarray, right_N: np.ndarray) -> Slice | None:
    num, others = int(is_in_N.sum()), int((~is_in_N).sum())
    if num < MIN_IMAGES:
        return None
    num_right, others_right = int(right_N[is_in_N].sum()), int(right_N[~is_in_N].sum())
    return Slice(
        trait=trait,
        part=part,
        num_images=num,
        num_right=num_right,
        num_others=others,
        num_others_right=others_right,
        p_value=fisher_exact(num_right, num - num_right, others_right, others - others_right),
    )


def fisher_exact(right: int, wrong: int, others_right: int, others_wrong: int) -> float:
    """Two-sided p-value: the chance of a table as improbable as this one, or more, where all images are alike."""
    from scipy.special import gammaln  # here: it takes a while, and most verbs need it not

    num, total_right, total = right + wrong, right + others_right, right + wrong + others_right + others_wrong
    fewest, most = max(0, num - (total - total_right)), min(num, total_right)
    count_C = np.arange(fewest, most + 1)

    def log_choose(whole: int, part: np.ndarray) -> np.ndarray:
        value: np.ndarray = gammaln(whole + 1) - gammaln(part + 1) - gammaln(whole - part + 1)
        return value

    log_C = log_choose(total_right, count_C) + log_choose(total - total_right, num - count_C)
    chance_C = np.exp(log_C - log_C.max())
    chance_C /= chance_C.sum()
    return float(min(1.0, chance_C[chance_C <= chance_C[right - fewest] * (1 + 1e-7)].sum()))


def corrected(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """`slices`, all that were looked at, with their adjusted chances."""
    adjusted = holm(np.array([part.p_value for part in slices]))
    return tuple(replace(part, adjusted=float(value)) for part, value in zip(slices, adjusted, strict=True))


def slice_warnings(slices: Sequence[Slice]) -> list[str]:
    """A sentence for each part that is shown to be worse than the other images."""
    told = []
    for part in sorted((part for part in slices if part.is_worse), key=lambda part: part.adjusted):
        low, high = part.interval()
        told.append(
            f"Worse where {printable(part.trait)} is {printable(part.part)}: {percent(part.accuracy)} % of "
            f"{part.num_images:,} images (95 % interval {percent(low)} to {percent(high)}), of the others "
            f"{percent(part.others_accuracy)} % (p = {part.adjusted:.2g}, corrected for "
            f"{counted(len(slices), 'part')})."
        )
    return told


def slice_sentences(slices: Sequence[Slice]) -> list[str]:
    """The warnings, or that there are none."""
    if not slices:
        return [f"There are no two parts to compare: a part has {MIN_IMAGES} images or more."]
    looked_at = "1 was looked at" if len(slices) == 1 else f"{len(slices)} were looked at"
    none = f"No part is shown to be worse than the other images ({looked_at})."
    return slice_warnings(slices) or [none]


def left_out_words(slices: Sequence[Slice]) -> str:
    """That the table shows the first parts only; empty where it shows all."""
    return f"(the first {MAX_SHOWN} of {len(slices):,} parts; --json has all)" if len(slices) > MAX_SHOWN else ""


def slice_rows(slices: Sequence[Slice]) -> tuple[list[str], list[list[str]]]:
    """Headings and a row for each part; the first ones of a trait with many."""
    headings = ["trait", "part", "images", "correct %", "95 % interval", "others %", "p, corrected"]
    rows = []
    for part in slices[:MAX_SHOWN]:
        low, high = part.interval()
        interval = f"{percent(low)} to {percent(high)}"
        figures = [f"{part.num_images:,}", percent(part.accuracy), interval, percent(part.others_accuracy)]
        rows.append([part.trait, part.part, *figures, f"{part.adjusted:.2g}"])
    return headings, rows
