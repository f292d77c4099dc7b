"""Mirroring left and right."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, identities, register


class MirrorStrengths(Strengths):
    """How often an image is mirrored."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that are mirrored left to right")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: MirrorStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`mirrored`: bool (B,)."""
    return {"mirrored": uniform_BN[:, 0] < strengths.probability}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """x -> -x where mirrored."""
    matrix_B33 = identities(len(drawn["mirrored"]))
    matrix_B33[:, 0, 0] = np.where(drawn["mirrored"], -1.0, 1.0)
    return matrix_B33


register(
    Geometric(
        name="mirror",
        summary="mirror left to right",
        source="Krizhevsky et al. 2012, ImageNet classification with deep convolutional networks, section 4.1",
        strengths=MirrorStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
        lossless=True,
    ),
    __name__,
)
