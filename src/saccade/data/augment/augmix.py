"""AugMix: several short chains of operations, mixed with each other and with the image itself.

Hendrycks et al. 2020, AugMix: a simple data processing method to improve robustness and uncertainty, arXiv:1912.02781,
section 3 and algorithm 1; operations and ranges of its public code (augmentations.py), which leaves out those that
ImageNet-C tests. Deviations: no Jensen-Shannon loss (it needs three views of each image in a batch); all geometry of a
chain is one resample of the image at the input's size, in front of its other operations; the border is the
configuration's; levels are continuous, posterize keeps at least one bit.
"""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, between, register
from .shared.geometry import canvas_for, resample
from .shared.mixing import own_weights
from .shared.operations import (
    Choice,
    change_image,
    chosen_geometry,
    chosen_steps,
    chosen_words,
    operations_of,
    values_of,
)

FULL_SEVERITY = 10.0
LEAST_SEVERITY = 0.1
MAX_DEPTH = 3
TABLE = (
    Choice("autocontrast"),
    Choice("equalize"),
    Choice("posterize", 4, 0),
    Choice("rotate", 0, 30, is_signed=True),
    Choice("solarize", 256, 0),
    Choice("shear-x", 0, 0.3, is_signed=True),
    Choice("shear-y", 0, 0.3, is_signed=True),
    Choice("translate-x", 0, 1 / 3, is_signed=True),
    Choice("translate-y", 0, 1 / 3, is_signed=True),
)
OPERATIONS_IN_ORDER = operations_of(TABLE)
_NUMBERS_A_CHAIN = 2 + 3 * MAX_DEPTH


class AugmixStrengths(Strengths):
    """How strong the operations are, how many chains there are, and how they are weighed."""

    severity: float = Field(
        0.0,
        ge=0,
        le=10,
        description="strongest level of an operation, drawn up to it; the paper's is 3, 0: off",
    )
    num_chains: int = Field(3, ge=1, le=8, description="chains of one to three operations that are mixed")
    alpha: float = Field(
        1.0, ge=0.1, le=100, description="parameter of the Dirichlet and Beta distributions of the weights"
    )

    @property
    def is_active(self) -> bool:
        return self.severity > 0


def draw(strengths: AugmixStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`own_weight` of the image, (B,); `chain_weight`, (B, chains), which add up to 1; `operation` and `value`,
    (B, chains, 3): places in TABLE, -1 where a chain is shorter."""
    from scipy.special import gammaincinv  # here: most runs do not need it, and the import takes a while

    if strengths.severity == 0:
        shape = (len(uniform_BN), strengths.num_chains)
        weight_BW = np.full(shape, 1 / strengths.num_chains)
        nothing_BWD, zero_BWD = np.full((*shape, MAX_DEPTH), -1), np.zeros((*shape, MAX_DEPTH))
        ones_B = np.ones(len(uniform_BN))
        return {"own_weight": ones_B, "chain_weight": weight_BW, "operation": nothing_BWD, "value": zero_BWD}
    number_BWN = uniform_BN[:, 2:].reshape(-1, strengths.num_chains, _NUMBERS_A_CHAIN)
    gamma_BW = gammaincinv(strengths.alpha, number_BWN[:, :, 0])  # gamma variables, normalised: Dirichlet
    depth_BW1 = 1 + np.floor(number_BWN[:, :, 1:2] * MAX_DEPTH)
    operation_BWD = np.floor(number_BWN[:, :, 2::3] * len(TABLE)).astype(np.int64)
    level_BWD = between(number_BWN[:, :, 3::3], min(LEAST_SEVERITY, strengths.severity), strengths.severity)
    value_BWD = values_of(TABLE, operation_BWD, level_BWD / FULL_SEVERITY, number_BWN[:, :, 4::3])
    operation_BWD[np.arange(MAX_DEPTH) >= depth_BW1] = -1
    return {
        "own_weight": own_weights(strengths.alpha, 1.0, uniform_BN[:, :2]),
        "chain_weight": gamma_BW / gamma_BW.sum(axis=1, keepdims=True),
        "operation": operation_BWD,
        "value": value_BWD,
    }


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """own weight * image + (1 - own weight) * sum of chain weight * chain, rounded once."""
    own_weight = float(drawn["own_weight"][row])
    if own_weight == 1:
        return image_HWC
    mixed_HWC = np.float32(own_weight) * image_HWC
    for chain, weight in enumerate(drawn["chain_weight"][row].tolist()):
        operation_N, value_N = drawn["operation"][row, chain], drawn["value"][row, chain]
        mixed_HWC += np.float32((1 - own_weight) * weight) * run_chain(operation_N, value_N, image_HWC, scene)
    return np.rint(mixed_HWC, out=mixed_HWC).clip(0, 255).astype(np.uint8)


def run_chain(operation_N: np.ndarray, value_N: np.ndarray, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """The image after one chain: its geometry in one resample, then its other operations in their order."""
    matrix_33 = chosen_geometry(OPERATIONS_IN_ORDER, operation_N[None], value_N[None], scene)[0]
    if (matrix_33 != np.eye(3)).any():
        image_HWC = resample(image_HWC, matrix_33, None, canvas_for(scene.preprocessing, scene.border))
    changed_HWC = np.empty_like(image_HWC)
    change_image(image_HWC, None, chosen_steps(OPERATIONS_IN_ORDER, operation_N, value_N, scene), scene, changed_HWC)
    return changed_HWC


def words(drawn: Drawn, row: int) -> str:
    """The own share, and each chain with its share of the rest."""
    own_weight = float(drawn["own_weight"][row])
    if own_weight == 1:
        return ""
    texts = [f"{100 * own_weight:.0f} % own"]
    for chain, weight in enumerate(drawn["chain_weight"][row].tolist()):
        names = chosen_words(OPERATIONS_IN_ORDER, drawn["operation"][row, chain], drawn["value"][row, chain])
        texts.append(f"{100 * (1 - own_weight) * weight:.0f} % {names}")
    return ", ".join(texts)


register(
    Pixel(
        name="augmix",
        summary="mix chains of operations with the image (AugMix, without its loss)",
        source="Hendrycks et al. 2020, AugMix, arXiv:1912.02781, section 3 and algorithm 1",
        strengths=AugmixStrengths,
        num_draws=lambda strengths, scene: 2 + strengths.num_chains * _NUMBERS_A_CHAIN,
        draw=draw,
        change=change,
        words=words,
    ),
    __name__,
)
