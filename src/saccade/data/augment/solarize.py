"""Solarization: levels above a threshold are inverted."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, between, register
from .shared.lookup import look_up


class SolarizeStrengths(Strengths):
    """How low the threshold goes, and how often there is one."""

    min_threshold_levels: float = Field(
        256.0, ge=0, le=256, description="lowest threshold, in levels of 0 to 255; drawn from it to 256, 256: off"
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of images for which a threshold is drawn")

    @property
    def is_active(self) -> bool:
        return self.min_threshold_levels < 256 and self.probability > 0


def draw(strengths: SolarizeStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`threshold_levels`: float64 (B,), 256 where nothing is inverted."""
    threshold_B = between(uniform_BN[:, 0], strengths.min_threshold_levels, 256)
    return {"threshold_levels": np.where(uniform_BN[:, 1] < strengths.probability, threshold_B, 256.0)}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """level -> 255 - level where the level is at least the threshold."""
    threshold = float(drawn["threshold_levels"][row])
    if threshold > 255:
        return image_HWC
    level_256 = np.arange(256)
    return look_up(image_HWC, np.where(level_256 >= threshold, 255 - level_256, level_256).astype(np.uint8))


def words(drawn: Drawn, row: int) -> str:
    """The threshold."""
    threshold = float(drawn["threshold_levels"][row])
    return f"from level {int(np.ceil(threshold))}" if threshold <= 255 else ""


register(
    Pixel(
        name="solarize",
        summary="invert the levels above a threshold",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6 (thresholds 0 to 256)",
        strengths=SolarizeStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        change=change,
        words=words,
    ),
    __name__,
)
