"""`novelty.safetensors` of a checkpoint: by what an image is known that is unlike everything seen in training.

    unit_MD     float16 (M, D)  what the head sees of some training images, of unit length
    distance_V  float32 (V,)    of validation images, from the fifth nearest of them

Two bytes a feature and image: at most 16 MB. Runs of before 0.3 have none, and nothing is said with them.
"""

from dataclasses import dataclass

import numpy as np

from .checkpoint import Checkpoint
from .files import damaged
from .measured_arrays import ArrayFile
from .names import NOVELTY

MAX_BYTES = 16 << 20
FEWEST = 5  # images; the fifth nearest counts
FILE = ArrayFile(name=NOVELTY, types={"unit_MD": np.float16, "distance_V": np.float32})


@dataclass(frozen=True, kw_only=True)
class KnownFeatures:
    """The arrays of the file."""

    unit_MD: np.ndarray
    distance_V: np.ndarray


def novelty_bytes(known: KnownFeatures) -> bytes:
    """The content of the file."""
    return FILE.content({"unit_MD": known.unit_MD, "distance_V": known.distance_V})


def read_known_features(checkpoint: Checkpoint) -> KnownFeatures | None:
    """What the checkpoint keeps of its training images; None where nothing. Raises CheckpointError."""
    arrays = FILE.read(checkpoint, {})
    if arrays is None:
        return None
    path, unit_MD, distance_V = FILE.path_in(checkpoint), arrays["unit_MD"], arrays["distance_V"]
    if len(unit_MD) < FEWEST or not len(distance_V):
        raise damaged(path, f"it holds fewer than {FEWEST} images, or no distance")
    if np.abs(unit_MD).max() > 1.01:
        raise damaged(path, "'unit_MD' holds features that are longer than 1")
    if distance_V.min() < 0 or distance_V.max() > 2.01:
        raise damaged(path, "'distance_V' holds distances outside 0 to 2")
    return KnownFeatures(unit_MD=unit_MD, distance_V=distance_V)
