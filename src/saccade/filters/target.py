"""What a kernel is learned from, and what learning gives: targets in files, learned numbers. No torch."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, printable
from .photo import read_file, read_photo
from .view import NUMBERS_SUFFIX

MAX_TARGET = 1e12


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the filter should answer: `value_HWC` float64. In a picture 0 and 255 mean "or beyond"; they go unused."""

    value_HWC: np.ndarray
    is_picture: bool


def read_target(path: Path) -> Target:
    """The target in a picture, or in a .npy file of numbers (H, W), (H, W, 1) or (H, W, 3).

    Raises DataError where there is no such file or its numbers are no target, ImageError where it is not an image.
    """
    if path.suffix.lower() != NUMBERS_SUFFIX:
        return Target(value_HWC=read_photo(path, "target").astype(np.float64), is_picture=True)
    value = _read_numbers(read_file(path, "target"), printable(str(path)))
    value_HWC = value[..., None] if value.ndim == 2 else value
    if value_HWC.ndim != 3 or value_HWC.shape[2] not in (1, 3) or not value_HWC.size:
        raise DataError(
            f"The numbers in '{printable(str(path))}' have shape {value.shape}; a target has (height, width), "
            f"(height, width, 1) or (height, width, 3)."
        )
    if not (np.abs(value_HWC) <= MAX_TARGET).all():
        raise DataError(f"The numbers in '{printable(str(path))}' are not all finite and below {MAX_TARGET:g}.")
    return Target(value_HWC=value_HWC, is_picture=False)


def _read_numbers(content: bytes, shown: str) -> np.ndarray:
    """The array of a .npy file. Its size is checked against the header first, which may promise any memory."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.kind not in "fiu" or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
            raise ValueError(f"it promises {dtype} numbers of shape {shape}")
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False).astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"'{shown}' is not a whole .npy file of numbers: {printable(str(error))}.\n"
            f"Write one with 'saccade filter PHOTO --kernel sobel-x --out target.npy'."
        ) from error


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
