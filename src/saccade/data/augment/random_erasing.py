"""Random erasing: a box of random area and aspect is covered with noise or with one colour."""

from typing import Literal

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Erasing, Scene, Strengths, between, register
from .shared.boxes import box_words, drawn_boxes
from .shared.noise import seeds, uniform_levels

NUM_ATTEMPTS = 10


class RandomErasingStrengths(Strengths):
    """How often a box is covered, how large it is, and with what."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images with a covered box")
    min_area: float = Field(0.02, gt=0, le=1, description="smallest share of the image's area that is covered")
    max_area: float = Field(0.4, gt=0, le=1, description="largest share of the image's area that is covered")
    max_aspect: float = Field(10 / 3, ge=1, le=10, description="height over width of the box, at most; at least 1 / it")
    fill: Literal["noise", "colour", "mean"] = Field(
        "noise", description="with what: noise for each pixel, one random colour, or the mean colour"
    )

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: RandomErasingStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """The box in output pixels, int64 (B,) each (`top` equals `bottom` where there is none), and what fills it.

    The first of ten boxes that fits is put anywhere inside the image. `is_noise`, `seed` of the noise, `red_levels`,
    `green_levels`, `blue_levels` of the colour.
    """
    height, width = scene.size_HW
    smallest, limit = min(strengths.min_area, strengths.max_area), strengths.max_aspect
    area_BT = between(uniform_BN[:, 8::2], smallest, strengths.max_area) * (height * width)
    aspect_BT = between(uniform_BN[:, 9::2], 1 / limit, limit)
    box_2BT = np.rint(np.stack([np.sqrt(area_BT * aspect_BT), np.sqrt(area_BT / aspect_BT)])).astype(np.int64)
    fits_BT = (box_2BT[0] > 0) & (box_2BT[0] <= height) & (box_2BT[1] > 0) & (box_2BT[1] <= width)
    chosen_B = fits_BT.any(axis=1) & (uniform_BN[:, 0] < strengths.probability)
    box_2B = box_2BT[:, np.arange(len(area_BT)), fits_BT.argmax(axis=1)] * chosen_B
    top_B = np.floor(uniform_BN[:, 1] * (height - box_2B[0] + 1)).astype(np.int64)
    left_B = np.floor(uniform_BN[:, 2] * (width - box_2B[1] + 1)).astype(np.int64)
    mean_3 = 255 * np.resize(scene.preprocessing.mean, 3)
    level_B3 = np.floor(256 * uniform_BN[:, 5:8]) if strengths.fill == "colour" else np.tile(mean_3, (len(top_B), 1))
    return {
        "top": top_B,
        "bottom": top_B + box_2B[0],
        "left": left_B,
        "right": left_B + box_2B[1],
        "is_noise": np.full(len(top_B), strengths.fill == "noise"),
        "seed": seeds(uniform_BN[:, 3:5]),
        "red_levels": level_B3[:, 0],
        "green_levels": level_B3[:, 1],
        "blue_levels": level_B3[:, 2],
    }


def fill(drawn: Drawn, row: int, shape_HWC: tuple[int, int, int]) -> np.ndarray:
    """Levels of 0 to 255, each equally likely, for each channel of each pixel; or the colour."""
    if drawn["is_noise"][row]:
        return uniform_levels(drawn["seed"][row], int(np.prod(shape_HWC))).reshape(shape_HWC)
    level_C = np.array([drawn[key][row] for key in ("red_levels", "green_levels", "blue_levels")])[: shape_HWC[2]]
    return np.broadcast_to(np.rint(level_C).clip(0, 255).astype(np.uint8), shape_HWC)


register(
    Erasing(
        name="random_erasing",
        summary="cover a box with noise or a colour",
        source="Zhong et al. 2020, Random erasing data augmentation, arXiv:1708.04896, algorithm 1 and section 4.2",
        strengths=RandomErasingStrengths,
        num_draws=lambda strengths, scene: 8 + 2 * NUM_ATTEMPTS,
        draw=draw,
        boxes=drawn_boxes,
        fill=fill,
        words=box_words,
    ),
    __name__,
)
