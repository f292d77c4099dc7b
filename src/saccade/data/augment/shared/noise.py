"""Random pixels from a seed that was drawn: as many as an image needs, on any thread, the same on every machine.

The seed keys NumPy's Philox 4x64 (Salmon et al. 2011), whose raw bits NumPy keeps from version to version; the values
are made from these bits here.
"""

import functools

import numpy as np


def seeds(uniform_BN: np.ndarray) -> np.ndarray:
    """A seed of 64 bits for each sample, uint64 (B,), from two uniform numbers (B, 2)."""
    word_B2 = np.floor(uniform_BN * 2.0**32).astype(np.uint64)
    return (word_B2[:, 0] << np.uint64(32)) | word_B2[:, 1]


def uniform_levels(seed: np.uint64, num: int) -> np.ndarray:
    """`num` levels of 0 to 255, each equally likely, uint8 (num,)."""
    return _words(seed, num, "<u1")


def normal_values(seed: np.uint64, num: int) -> np.ndarray:
    """`num` standard normal values, float32 (num,), of 65,536 quantiles: at most 4.33 from zero."""
    return np.take(_quantiles(), _words(seed, num, "<u2"))


def _words(seed: np.uint64, num: int, kind: str) -> np.ndarray:
    size = np.dtype(kind).itemsize
    raw = np.random.Philox(key=np.array([seed, 0], np.uint64)).random_raw(-(-num * size // 8))
    return raw.astype("<u8").view(kind)[:num]


@functools.lru_cache(maxsize=1)
def _quantiles() -> np.ndarray:
    from scipy.special import ndtri  # here: most runs add no noise, and the import takes a while

    return ndtri((np.arange(65536) + 0.5) / 65536).astype(np.float32)
