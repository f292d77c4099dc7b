"""`seen.safetensors`: digests of the images that training saw, so that a later evaluation can tell them apart."""

from pathlib import Path

import numpy as np

from ..core.errors import CheckpointError, printable
from .files import read_tensor_file, take_array

REMEDY = "It says what training saw. Put the file back from a copy; without it the figure is not of held-out images."


def read_seen(path: Path, num_bytes: int) -> np.ndarray:
    """digest_NB, uint8 of `num_bytes` a row. Raises CheckpointError where the file is missing or damaged."""
    arrays = read_tensor_file(path, REMEDY)
    if arrays is None:
        raise CheckpointError(f"{printable(str(path))} is gone.\n{REMEDY}")
    return take_array(arrays, "digest_NB", np.uint8, (None, num_bytes), (path, REMEDY))
