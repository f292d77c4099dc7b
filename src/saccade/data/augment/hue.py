"""Hue: colours turn around the grey axis, luma stays."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, between, identities, register
from .shared.colour import LUMA_3

# In-phase and quadrature components of FCC NTSC: SMPTE 170M, section 7; luma of ITU-R BT.601.
RGB_TO_YIQ_33 = np.array([LUMA_3, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
YIQ_TO_RGB_33 = np.linalg.inv(RGB_TO_YIQ_33)


class HueStrengths(Strengths):
    """How far colours turn."""

    max_degrees: float = Field(0.0, ge=0, le=180, description="largest turn of the hue either way, in degrees")

    @property
    def is_active(self) -> bool:
        return self.max_degrees > 0


def draw(strengths: HueStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`turn_degrees`: float64 (B,)."""
    return {"turn_degrees": between(uniform_BN[:, 0], -strengths.max_degrees, strengths.max_degrees)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """A rotation in the plane of the two colour components. Linear, unlike a turn in HSV, so it composes."""
    turn_B = np.deg2rad(drawn["turn_degrees"])
    turn_B33 = identities(len(turn_B))
    turn_B33[:, 1, 1] = turn_B33[:, 2, 2] = np.cos(turn_B)
    turn_B33[:, 1, 2] = -np.sin(turn_B)
    turn_B33[:, 2, 1] = np.sin(turn_B)
    matrix_B34 = identities(len(turn_B), columns=4)
    matrix_B34[:, :, :3] = YIQ_TO_RGB_33 @ turn_B33 @ RGB_TO_YIQ_33
    return matrix_B34


register(
    Colouring(
        name="hue",
        summary="turn all hues",
        source="the public training code of Inception (image_processing.py, distort_color); as a rotation in YIQ",
        strengths=HueStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
