"""Colour shifting: each channel gets its own number added, as under another light."""

import numpy as np
from pydantic import Field

from ..augmentation import Colouring, Drawn, Scene, Strengths, between, register
from .shared.colour import shifts


class ColourShiftStrengths(Strengths):
    """How far the channels move."""

    max_levels: float = Field(
        0.0, ge=0, le=255, description="largest shift of a channel either way, in levels of 0 to 255; drawn uniformly"
    )

    @property
    def is_active(self) -> bool:
        return self.max_levels > 0


def draw(strengths: ColourShiftStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`red_levels`, `green_levels`, `blue_levels`: float64 (B,), independent of each other."""
    level_B3 = between(uniform_BN, -strengths.max_levels, strengths.max_levels)
    return {"red_levels": level_B3[:, 0], "green_levels": level_B3[:, 1], "blue_levels": level_B3[:, 2]}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The drawn levels are added."""
    return shifts(np.stack([drawn["red_levels"], drawn["green_levels"], drawn["blue_levels"]], axis=1) / 255)


register(
    Colouring(
        name="colour_shift",
        summary="add a number of its own to each channel",
        source="Wu et al. 2015, Deep Image: scaling up image recognition, arXiv:1501.02876 (colour casting)",
        strengths=ColourShiftStrengths,
        num_draws=lambda strengths, scene: 3,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
