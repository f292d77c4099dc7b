"""All colour augmentations of an image as one 3x4 matrix."""

import cv2
import numpy as np

from ...images.opencv import written

_TO_LEVELS = np.array([1.0, 1.0, 1.0, 255.0])
LUMA_3 = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, the grey that evaluation uses


def compose(first_B34: np.ndarray, then_B34: np.ndarray) -> np.ndarray:
    """matrix_B34 that does `first` and then `then`."""
    composed_B34 = then_B34[:, :, :3] @ first_B34
    composed_B34[:, :, 3] += then_B34[:, :, 3]
    return composed_B34


def recolour(image_HWC: np.ndarray, matrix_34: np.ndarray, out_HWC: np.ndarray | None = None) -> np.ndarray:
    """uint8 pixels through one matrix (RGB in 0 to 1), rounded and clipped once; grey images keep one channel.

    The result goes to `out_HWC` where it is given, other memory than `image_HWC`.
    """
    if out_HWC is None:
        out_HWC = np.empty_like(image_HWC)
    matrix_34 = matrix_34 * _TO_LEVELS
    if image_HWC.shape[2] == 1:
        gain, offset = LUMA_3 @ matrix_34[:, :3].sum(axis=1), LUMA_3 @ matrix_34[:, 3]
        table = np.rint(np.arange(256) * gain + offset).clip(0, 255).astype(np.uint8)
        return np.take(table, image_HWC, out=out_HWC)
    written(cv2.transform(image_HWC, matrix_34, dst=out_HWC), out_HWC)
    return out_HWC


def around(middle: float, factor_B: np.ndarray) -> np.ndarray:
    """matrix_B34 that stretches every channel by a factor around `middle`."""
    matrix_B34 = factor_B[:, None, None] * np.eye(3, 4)
    matrix_B34[:, :, 3] = (middle * (1 - factor_B))[:, None]
    return matrix_B34


def shifts(shift_B3: np.ndarray) -> np.ndarray:
    """matrix_B34 that adds to the channels."""
    matrix_B34 = np.tile(np.eye(3, 4), (len(shift_B3), 1, 1))
    matrix_B34[:, :, 3] = shift_B3
    return matrix_B34


def mean_luma(mean: tuple[float, ...]) -> float:
    """The luma of a mean colour (or the mean of a grey channel)."""
    return float(LUMA_3 @ np.broadcast_to(np.asarray(mean, dtype=np.float64), 3))
