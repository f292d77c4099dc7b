"""`validation.safetensors` of a checkpoint: what its weights say of the images that no step has learned from.

    logits_NK  float32 (N, K)   as the network gives them, without the temperature
    label_N    int64 (N,)
    pixels_NB  uint8 (N, 16)    digests of the pixels, by which several runs find their common images

A confidence threshold for a wanted precision is chosen from it. Four bytes an image and class; beyond 64 MB only the
first images, in the order drawn by the seed of the run, are kept.
"""

from dataclasses import dataclass

import numpy as np

from .checkpoint import Checkpoint
from .files import damaged
from .measured_arrays import ArrayFile
from .names import VALIDATION

MAX_BYTES = 64 << 20
FILE = ArrayFile(name=VALIDATION, types={"logits_NK": np.float32, "label_N": np.int64, "pixels_NB": np.uint8})


@dataclass(frozen=True, kw_only=True)
class ValidationOutputs:
    """The arrays of the file."""

    logits_NK: np.ndarray
    label_N: np.ndarray
    pixels_NB: np.ndarray


def max_images(num_classes: int) -> int:
    """The most images whose outputs are kept."""
    return MAX_BYTES // (4 * num_classes)


def validation_bytes(outputs: ValidationOutputs) -> bytes:
    """The content of the file."""
    return FILE.content({"logits_NK": outputs.logits_NK, "label_N": outputs.label_N, "pixels_NB": outputs.pixels_NB})


def read_validation(checkpoint: Checkpoint) -> ValidationOutputs | None:
    """What the checkpoint keeps of its validation images; None where nothing. Raises CheckpointError."""
    num_classes = len(checkpoint.manifest.classes)
    arrays = FILE.read(checkpoint, {"K": num_classes, "B": 16})
    if arrays is None:
        return None
    path, logits_NK, label_N = FILE.path_in(checkpoint), arrays["logits_NK"], arrays["label_N"]
    if not len(label_N):
        raise damaged(path, "it holds no image")
    if np.abs(logits_NK).max() > 1e30:
        raise damaged(path, "'logits_NK' holds values beyond 1e30")
    if label_N.min() < 0 or label_N.max() >= num_classes:
        raise damaged(path, f"'label_N' holds labels outside 0 to {num_classes - 1}")
    return ValidationOutputs(logits_NK=logits_NK, label_N=label_N, pixels_NB=arrays["pixels_NB"])
