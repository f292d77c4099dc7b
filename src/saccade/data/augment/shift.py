"""Shifting by whole pixels: the random crop from a padded image that small images are trained with."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, identities, register


class ShiftStrengths(Strengths):
    """How far an image moves."""

    max_px: int = Field(0, ge=0, le=1024, description="largest shift in each direction, in whole output pixels")

    @property
    def is_active(self) -> bool:
        return self.max_px > 0


def draw(strengths: ShiftStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`right_px`, `down_px`: whole numbers in -max_px to max_px, each equally likely, float64 (B,)."""
    shift_B2 = np.floor(uniform_BN * (2 * strengths.max_px + 1)) - strengths.max_px
    return {"right_px": shift_B2[:, 0], "down_px": shift_B2[:, 1]}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The output pixel (x, y) shows what was at (x - right, y - down)."""
    matrix_B33 = identities(len(drawn["right_px"]))
    matrix_B33[:, 0, 2] = -drawn["right_px"]
    matrix_B33[:, 1, 2] = -drawn["down_px"]
    return matrix_B33


register(
    Geometric(
        name="shift",
        summary="move by whole pixels, as a random crop of the padded image does",
        source="He et al. 2016, Deep residual learning, section 4.2 (4 pixels on 32x32 images)",
        strengths=ShiftStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        matrices=matrices,
        lossless=True,
    ),
    __name__,
)
