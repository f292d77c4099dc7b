"""What the augmentations that mix pairs of images share: partners and Beta-distributed weights."""

import numpy as np


def partners(*nums: int) -> np.ndarray:
    """Who is mixed with whom, int64 (B,), where so many images each belong together: neighbours in the batch's random
    order; a last odd one with its neighbour.

    Pairs, not a rotation of the batch, so that a batch shared by several processes mixes the same images.
    """
    starts = np.cumsum((0, *nums))
    return np.concatenate([start + _pairs(num) for start, num in zip(starts, nums)])


def _pairs(num: int) -> np.ndarray:
    partner_B = np.arange(num) ^ 1
    if num % 2:
        partner_B[-1] = max(0, num - 2)
    return partner_B


def own_weights(alpha: float, probability: float, uniform_BN: np.ndarray) -> np.ndarray:
    """Share of the own image, float64 (B,): Beta(alpha, alpha) for the chosen share of images, 1 for the others."""
    if alpha == 0:
        return np.ones(len(uniform_BN))
    from scipy.special import betaincinv  # here: most runs mix nothing, and the import takes a while

    weight_B = betaincinv(alpha, alpha, uniform_BN[:, 0])
    return np.where(uniform_BN[:, 1] < probability, weight_B, 1.0)


def mix_targets(target_BK: np.ndarray, weight_B: np.ndarray, partner_B: np.ndarray) -> np.ndarray:
    """weight * own target + (1 - weight) * the partner's, float32 (B, K)."""
    weight_B1 = weight_B[:, None]
    return (weight_B1 * target_BK + (1 - weight_B1) * target_BK[partner_B]).astype(np.float32)
