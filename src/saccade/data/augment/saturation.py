"""Saturation: every pixel towards its own grey or away from it."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, between, register
from .shared.colour import LUMA_3


class SaturationStrengths(Strengths):
    """How far the factor goes."""

    max_change: float = Field(0.0, ge=0, le=1, description="the factor is drawn from 1 - max_change to 1 + max_change")

    @property
    def is_active(self) -> bool:
        return self.max_change > 0


def draw(strengths: SaturationStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`factor` (0: grey): float64 (B,)."""
    return {"factor": between(uniform_BN[:, 0], 1 - strengths.max_change, 1 + strengths.max_change)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """factor * colour + (1 - factor) * luma: grey pixels stay."""
    factor_B11 = drawn["factor"][:, None, None]
    matrix_B34 = factor_B11 * np.eye(3, 4)
    matrix_B34[:, :, :3] += (1 - factor_B11) * LUMA_3
    return matrix_B34


register(
    Colouring(
        name="saturation",
        summary="more or less colourful",
        source="Howard 2013, Some improvements on deep convolutional network based classification, section 2.2",
        strengths=SaturationStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
