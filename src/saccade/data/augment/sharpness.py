"""Sharpness: every pixel away from a smoothed copy, or towards it."""

import cv2
import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, between, register

SMOOTH_33 = np.array([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13  # Pillow's ImageFilter.SMOOTH


class SharpnessStrengths(Strengths):
    """How far the factor goes."""

    max_change: float = Field(0.0, ge=0, le=1, description="the factor is drawn from 1 - max_change to 1 + max_change")

    @property
    def is_active(self) -> bool:
        return self.max_change > 0


def draw(strengths: SharpnessStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`factor` (0: smooth, above 1: sharper): float64 (B,)."""
    return {"factor": between(uniform_BN[:, 0], 1 - strengths.max_change, 1 + strengths.max_change)}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """factor * pixel + (1 - factor) * the smoothed copy, as one 3x3 filter; the outermost pixels stay, as in Pillow."""
    factor = float(drawn["factor"][row])
    if factor == 1 or min(image_HWC.shape[:2]) < 3:
        return image_HWC
    kernel_33 = (1 - factor) * SMOOTH_33
    kernel_33[1, 1] += factor
    changed_HWC = image_HWC.copy()
    inner_HWC = cv2.filter2D(image_HWC, -1, kernel_33).reshape(image_HWC.shape)[1:-1, 1:-1]
    changed_HWC[1:-1, 1:-1] = inner_HWC
    return changed_HWC


register(
    Pixel(
        name="sharpness",
        summary="sharper or smoother",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6 (Pillow's ImageEnhance.Sharpness)",
        strengths=SharpnessStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        change=change,
        any_channels=True,
    ),
    __name__,
)
