"""CutMix: a box of another image replaces the own pixels, and the targets are mixed by area."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Mixing, Scene, Strengths, register
from .shared.boxes import box_words
from .shared.mixing import mix_targets, own_weights


class CutmixStrengths(Strengths):
    """How large the boxes are and how often."""

    alpha: float = Field(0.0, ge=0, le=100, description="both parameters of the Beta distribution of the area; 0: off")
    probability: float = Field(1.0, ge=0, le=1, description="share of images that get a box of another one")

    @property
    def is_active(self) -> bool:
        return self.alpha > 0 and self.probability > 0


def draw(strengths: CutmixStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """The box in output pixels, int64 (B,) each; `right` equals `left` where there is none."""
    height, width = scene.size_HW
    side_B = np.sqrt(1 - own_weights(strengths.alpha, strengths.probability, uniform_BN))
    drawn = {}
    for first, last, size, uniform_B in (
        ("left", "right", width, uniform_BN[:, 2]),
        ("top", "bottom", height, uniform_BN[:, 3]),
    ):
        cut_B = np.floor(side_B * size).astype(np.int64)
        start_B = np.floor(uniform_B * size).astype(np.int64) - cut_B // 2
        drawn[first], drawn[last] = start_B.clip(0, size), (start_B + cut_B).clip(0, size)
    return drawn


def mix(
    drawn: Drawn, image_BHWC: np.ndarray, partner_B: np.ndarray, target_BK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The partner's pixels inside the box; the own weight is the share of the pixels that stay."""
    height, width = image_BHWC.shape[1:3]
    cut_B = (drawn["right"] - drawn["left"]) * (drawn["bottom"] - drawn["top"])
    mixed_BHWC = image_BHWC.copy()
    for row in np.flatnonzero(cut_B):
        box = (slice(drawn["top"][row], drawn["bottom"][row]), slice(drawn["left"][row], drawn["right"][row]))
        mixed_BHWC[row][box] = image_BHWC[partner_B[row]][box]
    return mixed_BHWC, mix_targets(target_BK, 1 - cut_B / (height * width), partner_B)


register(
    Mixing(
        name="cutmix",
        summary="replace a box by one of another image of the batch, targets by area",
        source="Yun et al. 2019, CutMix: regularization strategy, arXiv:1905.04899, section 3.1 and algorithm A1",
        strengths=CutmixStrengths,
        num_draws=lambda strengths, scene: 4,
        draw=draw,
        mix=mix,
        words=box_words,
    ),
    __name__,
)
