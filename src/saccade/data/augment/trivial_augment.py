"""TrivialAugment in its wide space: one operation an image, drawn uniformly, at a strength drawn uniformly.

Müller and Hutter 2021, TrivialAugment: tuning-free yet state-of-the-art data augmentation, arXiv:2103.10158,
section 3 and the wide space of its experiments as its public code defines it (aug_lib.py). Deviations: contrast turns
around one grey for the whole training set; angles and moves are not rounded to whole degrees and pixels; the geometry
joins the one resample, so that the border is the configuration's, not black.
"""

import numpy as np
from pydantic import Field

from ..augmentation import Choosing, Drawn, Scene, Strengths, register
from .shared.operations import Choice, chosen_words, operations_of, values_of

NUM_LEVELS = 31
TABLE = (
    Choice("identity"),
    Choice("autocontrast"),
    Choice("equalize"),
    Choice("rotate", 0, 135, is_signed=True),
    Choice("solarize", 256, 0),
    Choice("colour", 0.01, 2),
    Choice("posterize", 8, 2),
    Choice("contrast", 0.01, 2),
    Choice("brightness", 0.01, 2),
    Choice("sharpness", 0.01, 2),
    Choice("shear-x", 0, 0.99, is_signed=True),
    Choice("shear-y", 0, 0.99, is_signed=True),
    Choice("translate-x-px", 0, 32, is_signed=True),
    Choice("translate-y-px", 0, 32, is_signed=True),
)
OPERATIONS_IN_ORDER = operations_of(TABLE)


class TrivialAugmentStrengths(Strengths):
    """How often an operation is drawn; there is nothing else to tune."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that get one operation of the wide space")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw(strengths: TrivialAugmentStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`operation`, int64 (B, 1), places in TABLE, and `value`, float64 (B, 1)."""
    operation_B1 = np.floor(uniform_BN[:, :1] * len(TABLE)).astype(np.int64)
    operation_B1[uniform_BN[:, 3] >= strengths.probability] = 0
    level_B1 = np.floor(uniform_BN[:, 1:2] * NUM_LEVELS) / (NUM_LEVELS - 1)
    return {"operation": operation_B1, "value": values_of(TABLE, operation_B1, level_B1, uniform_BN[:, 2:3])}


def words(drawn: Drawn, row: int) -> str:
    """The operation and its value."""
    return chosen_words(OPERATIONS_IN_ORDER, drawn["operation"][row], drawn["value"][row])


register(
    Choosing(
        name="trivial_augment",
        summary="one of 14 operations at any strength (TrivialAugment, wide)",
        source="Müller and Hutter 2021, TrivialAugment, arXiv:2103.10158, section 3; wide space",
        strengths=TrivialAugmentStrengths,
        num_draws=lambda strengths, scene: 4,
        draw=draw,
        operations=OPERATIONS_IN_ORDER,
        words=words,
    ),
    __name__,
)
