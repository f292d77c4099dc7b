"""Rotation about the middle of the image."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, between, identities, register


class RotationStrengths(Strengths):
    """How far an image turns."""

    max_degrees: float = Field(0.0, ge=0, le=180, description="largest angle either way, in degrees; drawn uniformly")

    @property
    def is_active(self) -> bool:
        return self.max_degrees > 0


def draw(strengths: RotationStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`angle_degrees`, counted clockwise as seen: float64 (B,)."""
    return {"angle_degrees": between(uniform_BN[:, 0], -strengths.max_degrees, strengths.max_degrees)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The output shows the image turned clockwise: it looks back by the opposite angle (y points down)."""
    angle_B = np.deg2rad(drawn["angle_degrees"])
    matrix_B33 = identities(len(angle_B))
    matrix_B33[:, 0, 0] = matrix_B33[:, 1, 1] = np.cos(angle_B)
    matrix_B33[:, 0, 1] = np.sin(angle_B)
    matrix_B33[:, 1, 0] = -np.sin(angle_B)
    return matrix_B33


register(
    Geometric(
        name="rotation",
        summary="turn about the middle",
        source="Simard, Steinkraus, Platt 2003, Best practices for convolutional neural networks, section 2",
        strengths=RotationStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
