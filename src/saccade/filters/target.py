"""What a kernel is learned from, and what learning gives: targets in files, learned numbers. No torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .matrix import holds_numbers, read_matrix
from .photo import read_photo


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the filter should answer: `value_HWC` float64. In a picture 0 and 255 mean "or beyond"; they go unused."""

    value_HWC: np.ndarray
    is_picture: bool


def read_target(path: Path) -> Target:
    """The target in a picture, or in a .npy or .csv file of numbers (H, W), (H, W, 1) or (H, W, 3).

    Raises DataError where there is no such file or its numbers are no target, ImageError where it is not an image.
    """
    if holds_numbers(path):
        return Target(value_HWC=read_matrix(path, "target"), is_picture=False)
    return Target(value_HWC=read_photo(path, "target").astype(np.float64), is_picture=True)


@dataclass(frozen=True, kw_only=True)
class LearnedKernel:
    """`weights_HW` as applied by the chosen operation, and a constant `bias`.

    `explained` is the share of the target's variance that the fit explains, None for a flat target; `losses` the mean
    squared error before each step, in the target's units; `num_undetermined` how many of the numbers the photo leaves
    open (the smallest that fit are given); `num_examples` the window positions used.
    """

    weights_HW: np.ndarray
    bias: float
    explained: float | None
    losses: tuple[float, ...]
    num_undetermined: int
    num_examples: int


def relative_error(learned_HW: np.ndarray, true_HW: np.ndarray) -> float | None:
    """Length of the difference over the length of the true kernel; None for a true kernel of zeros."""
    length = float(np.linalg.norm(true_HW))
    return float(np.linalg.norm(learned_HW - true_HW)) / length if length else None
