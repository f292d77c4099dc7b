"""What the augmentations share that replace each level by another one."""

import cv2
import numpy as np


def look_up(image_HWC: np.ndarray, level_X256: np.ndarray) -> np.ndarray:
    """Every level of the image replaced by its entry in a table: uint8 (256,), or (C, 256) for each channel."""
    if level_X256.ndim == 1:
        return np.take(level_X256, image_HWC)
    return cv2.LUT(image_HWC, np.ascontiguousarray(level_X256.T)[None]).reshape(image_HWC.shape)


def histograms(image_HWC: np.ndarray) -> np.ndarray:
    """How often each channel shows each level: int64 (C, 256)."""
    return np.stack([np.bincount(plane_HW.ravel(), minlength=256) for plane_HW in np.moveaxis(image_HWC, -1, 0)])
