"""The random crop of photographs: a box of random area and aspect, resized to the input.

It is cut out of the picture as the fit makes it: of a padded one with the room around it, of a squashed one in its
squashed shape; areas and aspects are those in the input. So the largest box is what evaluation sees.
"""

import math

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Framing, Scene, Strengths, between, register
from .shared.geometry import fitted_canvas

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


def box_size(drawn: Drawn, row: int, canvas_HW: tuple[int, int], shape: float = 1.0) -> tuple[int, int]:
    """Height and width of the box in whole pixels: the first that fits, else the largest of a fitting aspect.

    Aspects are times `shape`, width over height.
    """
    height, width = canvas_HW
    for area, log_aspect in zip(drawn["area_fractions"][row].tolist(), drawn["log_aspects"][row].tolist()):
        box_area, aspect = area * height * width, shape * math.exp(log_aspect)
        box_width, box_height = round(math.sqrt(box_area * aspect)), round(math.sqrt(box_area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            return box_height, box_width
    limit = math.exp(drawn["log_aspect_limit"][row])
    aspect = min(max(width / height, shape / limit), shape * limit)
    return min(height, max(1, round(width / aspect))), min(width, max(1, round(height * aspect)))


def frame(drawn: Drawn, row: int, source_HW: tuple[int, int], scene: Scene) -> np.ndarray:
    """The box, at a random whole-pixel place, stretched to the output."""
    fit, canvas_HW = scene.preprocessing.fit, fitted_canvas(source_HW, scene.preprocessing)
    shape = 1.0 if fit == "crop" else scene.size_HW[1] / scene.size_HW[0]
    box_HW = box_size(drawn, row, canvas_HW, shape)
    matrix_33 = np.eye(3)
    for axis, name in enumerate(("down_fraction", "across_fraction")):
        size, canvas, box, fraction = source_HW[axis], canvas_HW[axis], box_HW[axis], drawn[name][row]
        start, box = (_stretched if fit == "squash" else _placed)(size, canvas, box, fraction)
        matrix_33[1 - axis, 1 - axis] = box / scene.size_HW[axis]
        matrix_33[1 - axis, 2] = start + (box - size) / 2
    return matrix_33


def _placed(size: int, canvas: int, box: int, fraction: float) -> tuple[int, int]:
    """(start in the source, length) of a side on a canvas that has the source in its middle: inside the source, or, of
    a longer box, around all of it, so that no box shows the room around the picture alone."""
    room = (canvas - size) // 2
    first, last = max(min(0, size - box), -room), min(max(0, size - box), canvas - room - box)
    return first + math.floor(fraction * (last - first + 1)), box


def _stretched(size: int, canvas: int, box: int, fraction: float) -> tuple[int, int]:
    """(start in the source, length), in whole pixels, of a side of a source that is stretched to fill the canvas."""
    place = math.floor(fraction * (canvas - box + 1))
    start = min(round(place * size / canvas), size - 1)
    return start, max(1, round((place + box) * size / canvas) - start)


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
