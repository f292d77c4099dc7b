"""Run a network over images it is judged on: each image once, in order, nothing random."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..core.runtime import Runtime
from ..core.types import Preprocessing
from ..data.loader import Loader
from ..data.preprocess import normalize


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network said of N images: `logits_NK` float32, `label_N` int64, `index_N` into the source."""

    logits_NK: np.ndarray
    label_N: np.ndarray
    index_N: np.ndarray


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

    `check` is called in front of every batch; what it raises ends the work.
    """
    model.eval()
    logits, labels, indices = [], [], []
    for batch in loader.epoch(0, shuffle=False):
        check()
        logits.append(forward(model, batch.image_BCHW, preprocessing, runtime, precision).cpu())
        labels.append(batch.target.numpy())
        indices.append(batch.index_B)
    return Outputs(logits_NK=torch.cat(logits).numpy(), label_N=np.concatenate(labels), index_N=np.concatenate(indices))


def forward(
    model: nn.Module,
    image_BCHW: torch.Tensor,
    preprocessing: Preprocessing,
    runtime: Runtime,
    precision: torch.dtype,
) -> torch.Tensor:
    """logits_BK float32 on the device, of prepared uint8 images on any device."""
    image_BCHW = image_BCHW.to(runtime.device, non_blocking=True)
    with runtime.arithmetic(precision):
        logits_BK = model(normalize(image_BCHW, preprocessing, precision))
    return logits_BK.float()
