"""The vertical mirror: up and down change places, for images without an up, such as from above or of tissue."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, identities, register


class VerticalMirrorStrengths(Strengths):
    """How often an image is turned upside down."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that are mirrored top to bottom")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: VerticalMirrorStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`mirrored`: bool (B,)."""
    return {"mirrored": uniform_BN[:, 0] < strengths.probability}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """y -> -y where mirrored."""
    matrix_B33 = identities(len(drawn["mirrored"]))
    matrix_B33[:, 1, 1] = np.where(drawn["mirrored"], -1.0, 1.0)
    return matrix_B33


register(
    Geometric(
        name="vertical_mirror",
        summary="mirror top to bottom",
        source="Dieleman et al. 2015, Rotation-invariant networks for galaxy morphology, arXiv:1503.07077",
        strengths=VerticalMirrorStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
        lossless=True,
    ),
    __name__,
)
