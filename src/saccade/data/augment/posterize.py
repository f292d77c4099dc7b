"""Posterization: a channel keeps only its highest bits."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, register


class PosterizeStrengths(Strengths):
    """How few bits are kept, and how often."""

    min_bits: int = Field(8, ge=1, le=8, description="fewest bits that a channel keeps; drawn from it to 8, 8: off")
    probability: float = Field(1.0, ge=0, le=1, description="share of images for which a number of bits is drawn")

    @property
    def is_active(self) -> bool:
        return self.min_bits < 8 and self.probability > 0


def draw(strengths: PosterizeStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`bits`: whole numbers in min_bits to 8, each equally likely, int64 (B,)."""
    bits_B = strengths.min_bits + np.floor(uniform_BN[:, 0] * (9 - strengths.min_bits)).astype(np.int64)
    return {"bits": np.where(uniform_BN[:, 1] < strengths.probability, bits_B, 8)}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """The lower bits become zero."""
    lost = 8 - int(drawn["bits"][row])
    return image_HWC & np.uint8(0xFF << lost & 0xFF) if lost else image_HWC


def words(drawn: Drawn, row: int) -> str:
    """The bits that are kept."""
    bits = int(drawn["bits"][row])
    return f"to {bits} bits" if bits < 8 else ""


register(
    Pixel(
        name="posterize",
        summary="keep only the highest bits of each channel",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6 (4 to 8 bits)",
        strengths=PosterizeStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        change=change,
        words=words,
    ),
    __name__,
)
