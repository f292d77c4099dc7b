"""What OpenCV leaves open: what it does to the environment when it is imported, and where its functions write."""

import os

import numpy as np


def import_opencv() -> None:
    """Import OpenCV and put the environment back: its import sets LD_LIBRARY_PATH, which every child would inherit."""
    before = os.environ.get("LD_LIBRARY_PATH")
    import cv2  # noqa: F401

    if before is None:
        os.environ.pop("LD_LIBRARY_PATH", None)
    else:
        os.environ["LD_LIBRARY_PATH"] = before


def written(result: np.ndarray, out: np.ndarray) -> None:
    """See to it that the `result` of an OpenCV function is in `out`, which it was given to write to.

    OpenCV takes other memory where `out` does not suit it, and says so only by what it returns.
    """
    if not np.may_share_memory(result, out):
        out[...] = result.reshape(out.shape)
