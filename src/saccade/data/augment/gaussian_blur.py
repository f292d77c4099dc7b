"""Gaussian blur, as of a lens that is out of focus."""

import math

import cv2
import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, between, register

RADIUS_DEVIATIONS = 3  # the kernel ends here: beyond lie 0.3 % of its weight


class GaussianBlurStrengths(Strengths):
    """How wide the blur is, and how often there is one."""

    max_deviation_px: float = Field(
        0.0, ge=0, le=64, description="largest standard deviation of the blur in output pixels; drawn uniformly from 0"
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of images that are blurred")

    @property
    def is_active(self) -> bool:
        return self.max_deviation_px > 0 and self.probability > 0


def draw(strengths: GaussianBlurStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`deviation_px`: float64 (B,), 0 where nothing is blurred."""
    deviation_B = between(uniform_BN[:, 0], 0, strengths.max_deviation_px)
    return {"deviation_px": np.where(uniform_BN[:, 1] < strengths.probability, deviation_B, 0.0)}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """A separable Gaussian kernel in float32, rounded once; beyond the border lies the mirror image, edge not repeated.

    Not cv2.GaussianBlur on bytes, whose fixed-point kernel is wrong by up to 1.5 levels.
    """
    deviation_px = float(drawn["deviation_px"][row])
    if deviation_px == 0:
        return image_HWC
    kernel_K = gaussian_kernel(deviation_px)
    blurred_HWC = cv2.sepFilter2D(image_HWC, cv2.CV_32F, kernel_K, kernel_K, borderType=cv2.BORDER_REFLECT_101)
    return np.rint(blurred_HWC).astype(image_HWC.dtype).reshape(image_HWC.shape)


def gaussian_kernel(deviation_px: float) -> np.ndarray:
    """Weights from -3 to 3 standard deviations, float64, odd in number, with sum 1."""
    radius = max(1, math.ceil(RADIUS_DEVIATIONS * deviation_px))
    weight_K = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation_px) ** 2)
    return weight_K / weight_K.sum()


register(
    Pixel(
        name="gaussian_blur",
        summary="blur by a Gaussian kernel",
        source="Chen et al. 2020, A simple framework for contrastive learning, arXiv:2002.05709, appendix A",
        strengths=GaussianBlurStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        change=change,
        any_channels=True,
    ),
    __name__,
)
