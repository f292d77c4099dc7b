"""Shearing: rows and columns slide along themselves."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, between, identities, register


class ShearStrengths(Strengths):
    """How far an image slants."""

    max_horizontal_degrees: float = Field(
        0.0, ge=0, le=60, description="largest slant of the vertical lines either way, in degrees; drawn uniformly"
    )
    max_vertical_degrees: float = Field(
        0.0, ge=0, le=60, description="largest slant of the horizontal lines either way, in degrees; drawn uniformly"
    )

    @property
    def is_active(self) -> bool:
        return max(self.max_horizontal_degrees, self.max_vertical_degrees) > 0


def draw(strengths: ShearStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`horizontal_degrees`, `vertical_degrees`: float64 (B,)."""
    across, down = strengths.max_horizontal_degrees, strengths.max_vertical_degrees
    return {
        "horizontal_degrees": between(uniform_BN[:, 0], -across, across),
        "vertical_degrees": between(uniform_BN[:, 1], -down, down),
    }


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """(x, y) looks at (x + y tan horizontal, y + x tan vertical)."""
    matrix_B33 = identities(len(drawn["horizontal_degrees"]))
    matrix_B33[:, 0, 1] = np.tan(np.deg2rad(drawn["horizontal_degrees"]))
    matrix_B33[:, 1, 0] = np.tan(np.deg2rad(drawn["vertical_degrees"]))
    return matrix_B33


register(
    Geometric(
        name="shear",
        summary="slant sideways and up or down",
        source="LeCun et al. 1998, Gradient-based learning applied to document recognition, section III.B",
        strengths=ShearStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
