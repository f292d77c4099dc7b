"""Occlusion: cover a part of the image and see how far the answer falls. Zeiler and Fergus 2013, arXiv:1311.2901, 4.2.

It needs no gradient and no layer: only the answers. Covered pixels take the mean colour of the training images, which
is zero after normalisation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..core.task import ONE_LABEL, Task

PATCHES_PER_SIDE = 5
BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class OcclusionMap:
    """`drop_HW` (float64): by how much the probability of the class falls when the place is covered, averaged over
    the patches that cover it; negative where covering helps. `patch_px` is the side of the patch."""

    drop_HW: np.ndarray
    patch_px: int
    base_probability: float
    message: str = ""


@torch.no_grad()
def occlusion(
    model: nn.Module,
    input_1CHW: torch.Tensor,
    class_index: int,
    patch_px: int = 0,
    temperature: float = 1.0,
    task: Task = ONE_LABEL,
) -> OcclusionMap:
    """Cover every patch of `patch_px` (0: a fifth of the short side) in half steps; edges are reached exactly."""
    height_px, width_px = input_1CHW.shape[2:]
    patch_px = min(patch_px or max(1, round(min(height_px, width_px) / PATCHES_PER_SIDE)), height_px, width_px)
    places = [(top, left) for top in _starts(height_px, patch_px) for left in _starts(width_px, patch_px)]

    def probability(input_BCHW: torch.Tensor) -> np.ndarray:
        return task.probabilities(model(input_BCHW), temperature)[:, class_index]

    base = float(probability(input_1CHW)[0])
    total_HW, times_HW = np.zeros((height_px, width_px)), np.zeros((height_px, width_px))
    for start in range(0, len(places), BATCH_SIZE):
        chunk = places[start : start + BATCH_SIZE]
        covered_BCHW = input_1CHW.repeat(len(chunk), 1, 1, 1)
        for number, (top, left) in enumerate(chunk):
            covered_BCHW[number, :, top : top + patch_px, left : left + patch_px] = 0.0
        for (top, left), after in zip(chunk, probability(covered_BCHW)):
            total_HW[top : top + patch_px, left : left + patch_px] += base - after
            times_HW[top : top + patch_px, left : left + patch_px] += 1
    drop_HW = total_HW / times_HW
    flat = "Covering no part of the image changes the answer." if np.abs(drop_HW).max() < 1e-6 else ""
    return OcclusionMap(drop_HW=drop_HW, patch_px=patch_px, base_probability=base, message=flat)


def _starts(length_px: int, patch_px: int) -> list[int]:
    step_px = max(1, patch_px // 2)
    return sorted({*range(0, length_px - patch_px, step_px), length_px - patch_px})
