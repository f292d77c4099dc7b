"""Contrast: all channels stretched around the mean grey of the training set."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, between, register
from .shared.colour import around, mean_luma


class ContrastStrengths(Strengths):
    """How far the factor goes."""

    max_change: float = Field(0.0, ge=0, le=1, description="the factor is drawn from 1 - max_change to 1 + max_change")

    @property
    def is_active(self) -> bool:
        return self.max_change > 0


def draw(strengths: ContrastStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`factor`: float64 (B,)."""
    return {"factor": between(uniform_BN[:, 0], 1 - strengths.max_change, 1 + strengths.max_change)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """Around the luma of the preprocessing's mean, not of the image's own: it needs no pass over the pixels."""
    return around(mean_luma(scene.preprocessing.mean), drawn["factor"])


register(
    Colouring(
        name="contrast",
        summary="more or less contrast",
        source="Howard 2013, Some improvements on deep convolutional network based classification, section 2.2",
        strengths=ContrastStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
