"""RandAugment: a few operations an image, drawn uniformly, all at one magnitude.

Cubuk et al. 2020, RandAugment: practical automated data augmentation with a reduced search space, arXiv:1909.13719,
section 3: 14 operations, N of them an image, magnitude M on a scale on which 10 is the largest strength of AutoAugment
(Cubuk et al. 2019, arXiv:1805.09501, table 6); like the paper's experiments, M may be larger. Deviations: brightness,
colour, contrast and sharpness go as far below 1 as above it (the public code at M = 9 only ever brightens), and
posterize and solarize grow stronger with M; contrast turns around one grey for the whole training set; all geometry of
an image is one resample in front of colours and pixels, and the border is the configuration's.
"""

import numpy as np
from pydantic import Field

from ..augmentation import Choosing, Drawn, Scene, Strengths, register
from .shared.operations import Choice, chosen_words, operations_of, values_of

FULL_MAGNITUDE = 10.0
TABLE = (
    Choice("identity"),
    Choice("autocontrast"),
    Choice("equalize"),
    Choice("rotate", 0, 30, is_signed=True),
    Choice("solarize", 256, 0),
    Choice("colour", 0, 0.9, is_signed=True),  # around 1, as the three below
    Choice("posterize", 8, 4),
    Choice("contrast", 0, 0.9, is_signed=True),
    Choice("brightness", 0, 0.9, is_signed=True),
    Choice("sharpness", 0, 0.9, is_signed=True),
    Choice("shear-x", 0, 0.3, is_signed=True),
    Choice("shear-y", 0, 0.3, is_signed=True),
    Choice("translate-x", 0, 150 / 331, is_signed=True),  # AutoAugment moves images of 331 px by up to 150
    Choice("translate-y", 0, 150 / 331, is_signed=True),
)
FACTORS = ("colour", "contrast", "brightness", "sharpness")
OPERATIONS_IN_ORDER = operations_of(TABLE)


class RandAugmentStrengths(Strengths):
    """The two numbers of the paper."""

    num_operations: int = Field(0, ge=0, le=8, description="operations an image gets, one after the other (N); 0: off")
    magnitude: float = Field(
        9.0, ge=0, le=30, description="how strong they are (M): 10 is the largest strength of AutoAugment"
    )

    @property
    def is_active(self) -> bool:
        return self.num_operations > 0


def draw(strengths: RandAugmentStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`operation`, int64 (B, N), places in TABLE, and `value`, float64 (B, N)."""
    operation_BN = np.floor(uniform_BN[:, 0::2] * len(TABLE)).astype(np.int64)
    level_BN = np.full(operation_BN.shape, strengths.magnitude / FULL_MAGNITUDE)
    value_BN = values_of(TABLE, operation_BN, level_BN, uniform_BN[:, 1::2])
    is_factor_BN = np.array([choice.operation in FACTORS for choice in TABLE])[operation_BN]
    value_BN = np.where(is_factor_BN, np.maximum(1 + value_BN, 0), value_BN)
    return {"operation": operation_BN, "value": value_BN}


def words(drawn: Drawn, row: int) -> str:
    """The operations and their values."""
    return chosen_words(OPERATIONS_IN_ORDER, drawn["operation"][row], drawn["value"][row])


register(
    Choosing(
        name="rand_augment",
        summary="N of 14 operations at magnitude M (RandAugment)",
        source="Cubuk et al. 2020, RandAugment, arXiv:1909.13719, section 3; ranges: arXiv:1805.09501, table 6",
        strengths=RandAugmentStrengths,
        num_draws=lambda strengths, scene: 2 * strengths.num_operations,
        draw=draw,
        operations=OPERATIONS_IN_ORDER,
        words=words,
    ),
    __name__,
)
