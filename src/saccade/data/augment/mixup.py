"""Mixup: an image fades into another one, and its target with it."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Mixing, Scene, Strengths, register
from .shared.mixing import mix_targets, own_weights


class MixupStrengths(Strengths):
    """How strongly and how often."""

    alpha: float = Field(
        0.0, ge=0, le=100, description="both parameters of the Beta distribution of the weight; 0: off"
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of images that are mixed")

    @property
    def is_active(self) -> bool:
        return self.alpha > 0 and self.probability > 0


def draw(strengths: MixupStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`own_weight`, 0 to 1: float64 (B,)."""
    return {"own_weight": own_weights(strengths.alpha, strengths.probability, uniform_BN)}


def mix(
    drawn: Drawn, image_BHWC: np.ndarray, partner_B: np.ndarray, target_BK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """weight * own + (1 - weight) * partner, for pixels (rounded to whole levels) and targets."""
    weight_B = drawn["own_weight"]
    mixed_BHWC = image_BHWC.copy()
    for row in np.flatnonzero(weight_B < 1):
        own, partner = image_BHWC[row].astype(np.float32), image_BHWC[partner_B[row]].astype(np.float32)
        mixed_BHWC[row] = np.rint(partner + np.float32(weight_B[row]) * (own - partner))
    return mixed_BHWC, mix_targets(target_BK, weight_B, partner_B)


def words(drawn: Drawn, row: int) -> str:
    """The own share."""
    weight = float(drawn["own_weight"][row])
    return f"{100 * weight:.0f} % own" if weight < 1 else ""


register(
    Mixing(
        name="mixup",
        summary="fade into another image of the batch, targets too",
        source="Zhang et al. 2018, mixup: beyond empirical risk minimization, arXiv:1710.09412, section 2",
        strengths=MixupStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        mix=mix,
        words=words,
    ),
    __name__,
)
