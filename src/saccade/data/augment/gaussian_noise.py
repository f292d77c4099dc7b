"""Gaussian noise: a normal number of its own is added to each channel of each pixel."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, between, register
from .shared.noise import normal_values, seeds


class GaussianNoiseStrengths(Strengths):
    """How strong the noise is, and how often there is some."""

    max_deviation_levels: float = Field(
        0.0, ge=0, le=255, description="largest standard deviation in levels of 0 to 255; drawn uniformly from 0"
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of images that get noise")

    @property
    def is_active(self) -> bool:
        return self.max_deviation_levels > 0 and self.probability > 0


def draw(strengths: GaussianNoiseStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`deviation_levels`: float64 (B,), 0 where there is no noise, and `seed` of the noise: uint64 (B,)."""
    deviation_B = between(uniform_BN[:, 0], 0, strengths.max_deviation_levels)
    return {
        "deviation_levels": np.where(uniform_BN[:, 1] < strengths.probability, deviation_B, 0.0),
        "seed": seeds(uniform_BN[:, 2:4]),
    }


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """pixel + deviation * normal number, rounded and clipped."""
    full = scene.preprocessing.full_scale
    deviation = np.float32(drawn["deviation_levels"][row] * (full / 255))
    if deviation == 0:
        return image_HWC
    noisy_HWC = normal_values(drawn["seed"][row], image_HWC.size).reshape(image_HWC.shape) * deviation
    noisy_HWC += image_HWC
    return np.rint(noisy_HWC, out=noisy_HWC).clip(0, full).astype(image_HWC.dtype)


def words(drawn: Drawn, row: int) -> str:
    """The standard deviation."""
    deviation = float(drawn["deviation_levels"][row])
    return f"deviation {deviation:.1f}" if deviation else ""


register(
    Pixel(
        name="gaussian_noise",
        summary="add noise to every pixel",
        source="Hendrycks and Dietterich 2019, Benchmarking neural network robustness, arXiv:1903.12261, section 3",
        strengths=GaussianNoiseStrengths,
        num_draws=lambda strengths, scene: 4,
        draw=draw,
        change=change,
        any_channels=True,
        words=words,
    ),
    __name__,
)
