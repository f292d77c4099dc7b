"""Inversion: some images become their negative."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, identities, register


class InvertStrengths(Strengths):
    """How often an image is inverted."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that become their negative")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: InvertStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`applied`: bool (B,)."""
    return {"applied": uniform_BN[:, 0] < strengths.probability}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """1 - channel."""
    matrix_B34 = identities(len(drawn["applied"]), columns=4)
    matrix_B34[drawn["applied"]] = np.concatenate([-np.eye(3), np.ones((3, 1))], axis=1)
    return matrix_B34


register(
    Colouring(
        name="invert",
        summary="turn into the negative",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6",
        strengths=InvertStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
