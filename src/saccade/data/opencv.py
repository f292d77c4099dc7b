"""What OpenCV's functions leave open."""

import numpy as np


def written(result: np.ndarray, out: np.ndarray) -> None:
    """See to it that the `result` of an OpenCV function is in `out`, which it was given to write to.

    OpenCV takes other memory where `out` does not suit it, and says so only by what it returns.
    """
    if not np.may_share_memory(result, out):
        out[...] = result.reshape(out.shape)
