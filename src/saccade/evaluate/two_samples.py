"""Are two samples of vectors drawn from one distribution? The largest Kolmogorov-Smirnov distance, by permutation.

Rabanser et al. 2019, Failing loudly: an empirical study of methods for detecting dataset shift, arXiv:1810.11953,
section 3.2: one univariate Kolmogorov-Smirnov test a dimension, corrected for their number, is as good as multivariate
tests. Corrected here by the permutation distribution of the largest distance (Westfall and Young 1993, Resampling-based
multiple testing, section 2.3) in place of Bonferroni: exact with ties, few images, and dimensions that depend on each
other.
"""

from dataclasses import dataclass

import numpy as np

NUM_PERMUTATIONS = 999
CHUNK_VALUES = 1 << 22
UNSEEN_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class TwoSamples:
    """`distance_D` is the Kolmogorov-Smirnov distance in each dimension, 0 to 1; `p_D` its p-value corrected for all
    dimensions; `p_value` that of the largest. A largest distance below `critical` is called chance at 5 %."""

    distance_D: np.ndarray
    p_D: np.ndarray
    p_value: float
    critical: float


def compare_samples(
    first_ND: np.ndarray, second_MD: np.ndarray, num_permutations: int = NUM_PERMUTATIONS, seed: int = 0
) -> TwoSamples:
    """Compare N vectors with M others. Under equal distributions `p_value` is uniform on 1/(permutations + 1), ..., 1,
    but for ties, which make it larger."""
    num_first, num_second = len(first_ND), len(second_MD)
    both_AD = np.concatenate([first_ND, second_MD])
    order_AD = np.argsort(both_AD, axis=0, kind="stable")
    sorted_AD = np.take_along_axis(both_AD, order_AD, axis=0)
    is_end_AD = np.ones(both_AD.shape, bool)  # equal values are passed together
    is_end_AD[:-1] = sorted_AD[1:] != sorted_AD[:-1]
    step_A = np.repeat(np.array([num_second, -num_first], np.int64), [num_first, num_second])  # whole numbers: exact
    own_D = _largest(step_A[None], order_AD, is_end_AD)[0]
    draw = np.random.default_rng(seed)
    at_once = max(1, CHUNK_VALUES // len(step_A))
    largest_P = np.concatenate(
        [
            _largest(draw.permuted(np.tile(step_A, (num, 1)), axis=1), order_AD, is_end_AD).max(axis=1)
            for num in _parts(num_permutations, at_once)
        ]
    )
    p_D = (1 + (largest_P[:, None] >= own_D).sum(axis=0)) / (1 + num_permutations)
    whole = num_first * num_second
    return TwoSamples(
        distance_D=own_D / whole,
        p_D=p_D,
        p_value=float(p_D.min()),
        critical=float(np.quantile(largest_P, 1 - UNSEEN_LEVEL, method="higher")) / whole,
    )


def _largest(step_PA: np.ndarray, order_AD: np.ndarray, is_end_AD: np.ndarray) -> np.ndarray:
    """int64 (P, D): the largest difference of the two counts on the way through the sorted values, times N M."""
    found_PD = np.empty((len(step_PA), order_AD.shape[1]), np.int64)
    for number in range(order_AD.shape[1]):
        passed_PA = np.cumsum(step_PA[:, order_AD[:, number]], axis=1)
        found_PD[:, number] = np.abs(passed_PA[:, is_end_AD[:, number]]).max(axis=1)
    return found_PD


def _parts(number: int, at_once: int) -> list[int]:
    return [min(at_once, number - start) for start in range(0, number, at_once)]


def main_directions(first_ND: np.ndarray, second_MD: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Both samples, float64, in at most `most` principal directions of all their vectors together, each feature scaled
    to deviation 1.

    The directions do not know which vector is of which sample, so a permutation test on them stays exact; those of one
    sample alone would fit it better than the other, and raise false alarms.
    """
    both_AD = np.concatenate([first_ND, second_MD]).astype(np.float64)
    both_AD -= both_AD.mean(axis=0)
    deviation_D = both_AD.std(axis=0)
    both_AD = both_AD[:, deviation_D > 1e-9] / deviation_D[deviation_D > 1e-9]
    if not both_AD.shape[1]:
        return np.zeros((len(first_ND), 0)), np.zeros((len(second_MD), 0))
    if both_AD.shape[0] < both_AD.shape[1]:
        value_A, vector_AA = np.linalg.eigh(both_AD @ both_AD.T)
        turned_AR = vector_AA * np.sqrt(np.maximum(value_A, 0))
        variance_R = value_A
    else:
        variance_R, vector_DR = np.linalg.eigh(both_AD.T @ both_AD)
        turned_AR = both_AD @ vector_DR
    kept = [place for place in np.argsort(-variance_R)[:most] if variance_R[place] > 1e-9 * variance_R.max()]
    return turned_AR[: len(first_ND), kept], turned_AR[len(first_ND) :, kept]
