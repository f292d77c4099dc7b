"""Translation by any distance, also by parts of a pixel; what comes into view is read from the source."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, between, identities, register


class TranslationStrengths(Strengths):
    """How far an image moves."""

    max_fraction: float = Field(
        0.0, ge=0, le=1, description="largest move in each direction, as a share of the width or height"
    )

    @property
    def is_active(self) -> bool:
        return self.max_fraction > 0


def draw(strengths: TranslationStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`right_fraction`, `down_fraction` of the output's width and height: float64 (B,)."""
    move_B2 = between(uniform_BN, -strengths.max_fraction, strengths.max_fraction)
    return {"right_fraction": move_B2[:, 0], "down_fraction": move_B2[:, 1]}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """(x, y) looks at (x - right, y - down)."""
    height, width = scene.size_HW
    matrix_B33 = identities(len(drawn["right_fraction"]))
    matrix_B33[:, 0, 2] = -drawn["right_fraction"] * width
    matrix_B33[:, 1, 2] = -drawn["down_fraction"] * height
    return matrix_B33


register(
    Geometric(
        name="translation",
        summary="move by any distance",
        source="LeCun et al. 1998, Gradient-based learning applied to document recognition, section III.B",
        strengths=TranslationStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
