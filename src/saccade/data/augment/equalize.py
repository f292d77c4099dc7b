"""Equalization: every channel's levels are spread so that each is about as frequent as any other."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, register
from .shared.lookup import histograms, look_up


class EqualizeStrengths(Strengths):
    """How often an image is equalized."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images whose histogram is made flat")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: EqualizeStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`applied`: bool (B,)."""
    return {"applied": uniform_BN[:, 0] < strengths.probability}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """Each level becomes the share of pixels below it, in whole steps, as Pillow's ImageOps.equalize counts them."""
    if not drawn["applied"][row]:
        return image_HWC
    count_C256 = histograms(image_HWC)
    tables = [_table(count_256) for count_256 in count_C256]
    return look_up(image_HWC, np.stack(tables))


def _table(count_256: np.ndarray) -> np.ndarray:
    """uint8 (256,). The pixels of the brightest level stand aside; a step is a 255th of the others."""
    brightest = int(np.flatnonzero(count_256)[-1])
    step = (int(count_256.sum()) - int(count_256[brightest])) // 255
    if step == 0:  # one level, or too few pixels to tell 255 steps apart
        return np.arange(256, dtype=np.uint8)
    below_256 = np.concatenate([[0], np.cumsum(count_256)[:-1]])
    return ((step // 2 + below_256) // step).clip(0, 255).astype(np.uint8)


register(
    Pixel(
        name="equalize",
        summary="spread the levels of each channel evenly",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6 (Pillow's ImageOps.equalize)",
        strengths=EqualizeStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        change=change,
    ),
    __name__,
)
