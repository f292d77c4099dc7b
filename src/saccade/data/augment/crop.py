"""The random crop of photographs: a box of random area and aspect, resized to the input."""

import math

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Framing, Scene, Strengths, between, register

NUM_ATTEMPTS = 10


class CropStrengths(Strengths):
    """Which boxes may be cut out."""

    min_area: float = Field(1.0, gt=0, le=1, description="smallest share of the image's area that is seen; 1: off")
    max_area: float = Field(1.0, gt=0, le=1, description="largest share of the image's area that is seen")
    max_aspect: float = Field(4 / 3, ge=1, le=10, description="width over height of the box, at most; at least 1 / it")

    @property
    def is_active(self) -> bool:
        return self.min_area < 1


def draw(strengths: CropStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """Ten boxes (area and logarithm of the aspect, (B, 10)) and one place; the first box that fits is used."""
    largest = math.log(strengths.max_aspect)
    return {
        "across_fraction": uniform_BN[:, 0],
        "down_fraction": uniform_BN[:, 1],
        "area_fractions": between(uniform_BN[:, 2::2], min(strengths.min_area, strengths.max_area), strengths.max_area),
        "log_aspects": between(uniform_BN[:, 3::2], -largest, largest),
        "log_aspect_limit": np.full(len(uniform_BN), largest),
    }


def box_size(drawn: Drawn, row: int, source_HW: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the box in whole source pixels: the first that fits, else the largest of a fitting aspect."""
    height, width = source_HW
    for area, log_aspect in zip(drawn["area_fractions"][row].tolist(), drawn["log_aspects"][row].tolist()):
        box_area, aspect = area * height * width, math.exp(log_aspect)
        box_width, box_height = round(math.sqrt(box_area * aspect)), round(math.sqrt(box_area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            return box_height, box_width
    limit = math.exp(drawn["log_aspect_limit"][row])
    aspect = min(max(width / height, 1 / limit), limit)
    return min(height, max(1, round(width / aspect))), min(width, max(1, round(height * aspect)))


def frame(drawn: Drawn, row: int, source_HW: tuple[int, int], scene: Scene) -> np.ndarray:
    """The box, at a random whole-pixel place, stretched to the output."""
    height, width = source_HW
    box_height, box_width = box_size(drawn, row, source_HW)
    left = math.floor(drawn["across_fraction"][row] * (width - box_width + 1))
    top = math.floor(drawn["down_fraction"][row] * (height - box_height + 1))
    across = [box_width / scene.size_HW[1], 0.0, left + (box_width - width) / 2]
    down = [0.0, box_height / scene.size_HW[0], top + (box_height - height) / 2]
    return np.array([across, down, [0.0, 0.0, 1.0]])


register(
    Framing(
        name="crop",
        summary="cut out a box of random area and aspect at a random place",
        source="Szegedy et al. 2014, Going deeper with convolutions, section 6 (8 to 100 %, aspect 3/4 to 4/3)",
        strengths=CropStrengths,
        num_draws=lambda strengths, scene: 2 + 2 * NUM_ATTEMPTS,
        draw=draw,
        frame=frame,
    ),
    __name__,
)
