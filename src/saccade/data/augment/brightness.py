"""Brightness: all channels times one factor."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, between, register
from .shared.colour import around


class BrightnessStrengths(Strengths):
    """How far the factor goes."""

    max_change: float = Field(0.0, ge=0, le=1, description="the factor is drawn from 1 - max_change to 1 + max_change")

    @property
    def is_active(self) -> bool:
        return self.max_change > 0


def draw(strengths: BrightnessStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`factor`: float64 (B,)."""
    return {"factor": between(uniform_BN[:, 0], 1 - strengths.max_change, 1 + strengths.max_change)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """Every channel times the factor."""
    return around(0.0, drawn["factor"])


register(
    Colouring(
        name="brightness",
        summary="brighter or darker",
        source="Howard 2013, Some improvements on deep convolutional network based classification, section 2.2",
        strengths=BrightnessStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
