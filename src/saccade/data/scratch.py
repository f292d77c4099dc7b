"""Memory that a thread uses again: fresh pages from the system cost more time than resampling into them.

An image of 224 px in four channels lies above the size from which the C library maps memory anew for every array and
gives it back after; each page is then cleared by the system first.
"""

import math
import threading

import numpy as np

MAX_KEPT_BYTES = 8 << 20  # of one purpose and thread; what is larger is made anew and given back

_blocks = threading.local()


def scratch(purpose: str, shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of `shape`, contents undefined, good until this thread asks for the same `purpose` again."""
    num_bytes = math.prod(shape)
    if num_bytes > MAX_KEPT_BYTES:
        return np.empty(shape, np.uint8)
    block = getattr(_blocks, purpose, None)
    if block is None or len(block) < num_bytes:
        block = np.empty(num_bytes, np.uint8)
        setattr(_blocks, purpose, block)
    return block[:num_bytes].reshape(shape)


def written(result: np.ndarray, out: np.ndarray) -> None:
    """See to it that the `result` of an OpenCV function is in `out`, which it was given to write to.

    OpenCV takes other memory where `out` does not suit it, and says so only by what it returns.
    """
    if not np.may_share_memory(result, out):
        out[...] = result.reshape(out.shape)
