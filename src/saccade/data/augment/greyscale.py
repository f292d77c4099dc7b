"""Greyscale: the colours of some images become their luma."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, identities, register
from .shared.colour import LUMA_3


class GreyscaleStrengths(Strengths):
    """How often colours are taken away."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that lose their colours")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: GreyscaleStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`applied`: bool (B,)."""
    return {"applied": uniform_BN[:, 0] < strengths.probability}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """Every channel becomes the luma."""
    matrix_B34 = identities(len(drawn["applied"]), columns=4)
    matrix_B34[drawn["applied"], :, :3] = LUMA_3
    return matrix_B34


register(
    Colouring(
        name="greyscale",
        summary="take the colours away",
        source="Chen et al. 2020, A simple framework for contrastive learning, arXiv:2002.05709, appendix A",
        strengths=GreyscaleStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
