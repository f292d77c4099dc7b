"""A window of fixed size at a random place of the resized image: the crop that AlexNet was trained with."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Framing, Scene, Strengths, between, register
from ..images.preprocess import place_on_input
from .shared.geometry import centre_frame


class WindowStrengths(Strengths):
    """How far the window may go."""

    reach: float = Field(
        0.0, ge=0, le=1, description="share of the way from the centre to the borders that the window may move; 1: all"
    )

    @property
    def is_active(self) -> bool:
        return self.reach > 0


def draw(strengths: WindowStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """Place of the window between the borders (-1 to 1, 0: the centre): float64 (B,) each."""
    place_B2 = between(uniform_BN, -strengths.reach, strengths.reach)
    return {"across_fraction": place_B2[:, 0], "down_fraction": place_B2[:, 1]}


def frame(drawn: Drawn, row: int, source_HW: tuple[int, int], scene: Scene) -> np.ndarray:
    """The window, its borders moved to the nearest whole pixels of the source; a padded picture has no room to move."""
    if scene.preprocessing.fit == "pad":
        return centre_frame(source_HW, scene.preprocessing)
    resized_HW, _ = place_on_input(source_HW, scene.preprocessing)
    matrix_33 = np.eye(3)
    for axis, (name, size, resized, output) in enumerate(
        zip(("down_fraction", "across_fraction"), source_HW, resized_HW, scene.size_HW)
    ):
        scale = size / resized
        middle = drawn[name][row] * (resized - output) / 2 * scale
        start = round(size / 2 + middle - output * scale / 2)
        box = min(max(1, round(output * scale)), size)
        start = min(max(start, 0), size - box)
        matrix_33[1 - axis, 1 - axis] = box / output
        matrix_33[1 - axis, 2] = start + (box - size) / 2
    return matrix_33


register(
    Framing(
        name="window",
        summary="cut the input from a random place of the resized image instead of its centre",
        source="Krizhevsky et al. 2012, ImageNet classification with deep convolutional networks, section 4.1",
        strengths=WindowStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        frame=frame,
    ),
    __name__,
)
