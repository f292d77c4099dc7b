"""Autocontrast: every channel is stretched so that it reaches from black to its full level."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, register
from .shared.lookup import histograms, look_up


class AutocontrastStrengths(Strengths):
    """How often an image is stretched."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images whose channels are stretched to 0 to 255")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: AutocontrastStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`applied`: bool (B,)."""
    return {"applied": uniform_BN[:, 0] < strengths.probability}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """A channel's lowest level becomes 0 and its highest 255; a channel of one level stays."""
    if not drawn["applied"][row]:
        return image_HWC
    tables = []
    for count_256 in histograms(image_HWC):
        lowest, highest = np.flatnonzero(count_256)[[0, -1]].tolist()
        stretched = (np.arange(256) - lowest) * (255 / max(1, highest - lowest))
        tables.append(np.rint(stretched).clip(0, 255) if highest > lowest else np.arange(256))
    return look_up(image_HWC, np.stack(tables).astype(np.uint8))


register(
    Pixel(
        name="autocontrast",
        summary="stretch each channel to the full range",
        source="Cubuk et al. 2019, AutoAugment, arXiv:1805.09501, table 6 (Pillow's ImageOps.autocontrast)",
        strengths=AutocontrastStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw,
        change=change,
    ),
    __name__,
)
