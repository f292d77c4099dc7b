"""Run a network over images it is judged on: each image once, in order, nothing random."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..core.errors import ModelError
from ..core.runtime import Runtime, is_out_of_memory, send
from ..core.types import Preprocessing
from ..data.images.normalize import normalize
from ..data.loading.loader import Loader

GROUP_PIXELS = 8 * 224 * 224  # of the images that pass together on a processor, so that their maps stay in its cache


IMAGES_AT_ONCE = 256  # on a GPU: training may compute larger batches in parts, which judging knows nothing of


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network said of N images: `logits_NK` float32, `label_N` int64, `index_N` into the source."""

    logits_NK: np.ndarray
    label_N: np.ndarray
    index_N: np.ndarray

    def of(self, is_kept_N: np.ndarray) -> "Outputs":
        """Those of the images of which `is_kept_N` (bool) is true."""
        return Outputs(
            logits_NK=self.logits_NK[is_kept_N], label_N=self.label_N[is_kept_N], index_N=self.index_N[is_kept_N]
        )


def keep_going() -> None:
    """Nothing stands in the way of the next batch."""


@torch.inference_mode()
def collect_outputs(
    model: nn.Module,
    loader: Loader,
    preprocessing: Preprocessing,
    runtime: Runtime,
    precision: torch.dtype,
    check: Callable[[], None] = keep_going,
) -> Outputs:
    """The logits of every image of `loader`, computed in `precision`. The model is left in evaluation mode.

    `check` is called in front of every batch, and while one is waited for; what it raises ends the work.
    """
    model.eval()
    logits, labels, indices = [], [], []
    for batch in loader.epoch(0, shuffle=False, check=check):
        check()
        logits.append(forward(model, batch.image_BCHW, preprocessing, runtime, precision).cpu())
        labels.append(batch.target.numpy())
        indices.append(batch.index_B)
    return Outputs(logits_NK=torch.cat(logits).numpy(), label_N=np.concatenate(labels), index_N=np.concatenate(indices))


def require_finite(logits_BK: torch.Tensor, name: str) -> torch.Tensor:
    """`logits_BK` as they are. Raises ModelError where one is not finite, which no probability can be made of; `name`
    is the classifier's in the message."""
    if not bool(torch.isfinite(logits_BK).all()):
        raise ModelError(
            f"{name} computes answers that are not finite: its weights are too large, or were changed.\n"
            f"Take another checkpoint, or train again with a lower learning rate."
        )
    return logits_BK


def forward(
    model: nn.Module,
    image_BCHW: torch.Tensor,
    preprocessing: Preprocessing,
    runtime: Runtime,
    precision: torch.dtype,
) -> torch.Tensor:
    """logits_BK float32 on the device, of prepared uint8 images on any device.

    Raises ModelError where the maps of a few images need more memory than there is.
    """
    image_BCHW = send(image_BCHW, runtime.device)
    num_together = IMAGES_AT_ONCE
    if runtime.device.type == "cpu":
        num_together = max(1, GROUP_PIXELS // (image_BCHW.shape[2] * image_BCHW.shape[3]))
    try:
        with runtime.arithmetic(precision):
            logits = [
                model(normalize(part_BCHW, preprocessing, precision)).float()
                for part_BCHW in image_BCHW.split(max(1, num_together))
            ]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height_px, width_px = image_BCHW.shape[2:]
        raise ModelError(
            f"The network needs more memory than there is for {num_together} images of {height_px}x{width_px}.\n"
            f"'saccade table' says how much it takes; close other programs, or take a smaller network."
        ) from None
    return torch.cat(logits)
