"""Perspective: the corners of the picture move on their own, as when a plane is seen from the side."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Geometric, Scene, Strengths, between, register


class PerspectiveStrengths(Strengths):
    """How far the corners move."""

    max_fraction: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="largest move of each corner, in or out, as a share of the width or height",
    )

    @property
    def is_active(self) -> bool:
        return self.max_fraction > 0


def draw(strengths: PerspectiveStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`corner_fractions`, right and down, of the corners from the upper left one on, clockwise: float64 (B, 4, 2).

    Below 0.25 no draw can bend a corner inward: every output pixel lies in front of the horizon.
    """
    move_BN = between(uniform_BN, -strengths.max_fraction, strengths.max_fraction)
    return {"corner_fractions": move_BN.reshape(-1, 4, 2)}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The homography by which each corner of the output looks at its moved place.

    Heckbert 1989, Fundamentals of texture mapping and image warping, section 2.2.3 (square to quadrilateral).
    """
    height, width = scene.size_HW
    corner_42 = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    place_B42 = (corner_42 + drawn["corner_fractions"]) * [width, height]
    x_4B, y_4B = place_B42[:, :, 0].T, place_B42[:, :, 1].T
    sum_x, sum_y = x_4B[0] - x_4B[1] + x_4B[2] - x_4B[3], y_4B[0] - y_4B[1] + y_4B[2] - y_4B[3]
    right_x, right_y, lower_x, lower_y = x_4B[1] - x_4B[2], y_4B[1] - y_4B[2], x_4B[3] - x_4B[2], y_4B[3] - y_4B[2]
    area = right_x * lower_y - lower_x * right_y
    across, down = (sum_x * lower_y - lower_x * sum_y) / area, (right_x * sum_y - sum_x * right_y) / area
    matrix_B33 = np.empty((len(place_B42), 3, 3))
    for axis, place_4B in enumerate((x_4B, y_4B)):
        matrix_B33[:, axis, 0] = place_4B[1] - place_4B[0] + across * place_4B[1]
        matrix_B33[:, axis, 1] = place_4B[3] - place_4B[0] + down * place_4B[3]
        matrix_B33[:, axis, 2] = place_4B[0]
    matrix_B33[:, 2] = np.stack([across, down, np.ones_like(across)], axis=1)
    matrix_B33[:, :, 2] += (matrix_B33[:, :, 0] + matrix_B33[:, :, 1]) / 2  # the origin is the middle, not a corner
    matrix_B33[:, :, :2] /= [width, height]
    return matrix_B33 / matrix_B33[:, 2:, 2:]


def words(drawn: Drawn, row: int) -> str:
    """The largest move of a corner."""
    return f"corners move up to {100 * np.abs(drawn['corner_fractions'][row]).max():.1f} %"


register(
    Geometric(
        name="perspective",
        summary="see the picture from the side",
        source="the public code of torchvision (RandomPerspective); here corners move in and out alike",
        strengths=PerspectiveStrengths,
        num_draws=lambda strengths, scene: 8,
        draw=draw,
        matrices=matrices,
        projective=True,
        words=words,
    ),
    __name__,
)
