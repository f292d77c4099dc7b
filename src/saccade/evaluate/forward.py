"""Run a network over images it is judged on: each image once, in order, nothing random."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as array_bytes
from torch import nn

from ..core.agreement import agree
from ..core.errors import ModelError, SaccadeError
from ..core.ranks import Ranks
from ..core.runtime import Runtime, is_out_of_memory, send
from ..core.types import Preprocessing
from ..data.images.normalize import normalize
from ..data.loading.loader import Loader

Part = TypeVar("Part")
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


def untold(num_images: int) -> None:
    """Nobody asks how far the work is."""


@torch.inference_mode()
def collect_outputs(
    model: nn.Module,
    loader: Loader,
    preprocessing: Preprocessing,
    runtime: Runtime,
    precision: torch.dtype,
    check: Callable[[], None] = keep_going,
    passed: Callable[[int], None] = untold,
) -> Outputs:
    """The logits of every image of `loader`, computed in `precision`. The model is left in evaluation mode.

    The processes of a run share its batches out, whole ones, since the bits of logits depend on how a batch is cut.
    Each has all outputs then, the same for any number of processes. All call it, with the same images.

    `check` is called in front of every batch, and while one is waited for; what it raises ends the work. `passed` hears
    how many images passed, behind each batch of this process.
    """
    model.eval()
    ranks = runtime.ranks

    def forwarded(own: range) -> Iterator[Outputs]:
        for batch in islice(loader.epoch(0, first_batch=own.start, shuffle=False, check=check), len(own)):
            check()
            logits_BK = forward(model, batch.image_BCHW, preprocessing, runtime, precision).cpu()
            passed(len(batch.index_B))
            yield Outputs(logits_NK=logits_BK.numpy(), label_N=batch.target.numpy(), index_N=batch.index_B)

    parts = shared_out(ranks, loader.num_batches, forwarded)
    return _joined(parts) if ranks.is_alone else _joined(list(_gathered(ranks, parts)))


def shared_out(ranks: Ranks, num_batches: int, work: Callable[[range], Iterator[Part]]) -> list[Part]:
    """What `work` gives for the batches of this process, one at a time. What ends it in one process ends it in all, at
    the same batch, so that none waits for another that has given up."""
    shares = batch_shares(num_batches, ranks.world_size)
    own = shares[ranks.rank]
    done, found = work(own), []
    for number in range(max(len(share) for share in shares)):
        failure = None
        try:
            if number < len(own):
                found.append(next(done))
        except SaccadeError as error:
            failure = error
        agree(ranks, failure, patiently=True)
    return found


def batch_shares(num_batches: int, num_processes: int) -> list[range]:
    """Which batches each process computes: neighbours, so that outputs by process are in the order of the images."""
    bounds = [number * num_batches // num_processes for number in range(num_processes + 1)]
    return [range(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def _gathered(ranks: Ranks, parts: list[Outputs]) -> Iterator[Outputs]:
    """The outputs of all processes, in the order of the images."""
    content = b""
    if parts:
        own = _joined(parts)
        content = array_bytes({"logits_NK": own.logits_NK, "label_N": own.label_N, "index_N": own.index_N})
    for part in ranks.gather(content, patiently=True):
        if part:
            arrays = parse_arrays(part)
            yield Outputs(logits_NK=arrays["logits_NK"], label_N=arrays["label_N"], index_N=arrays["index_N"])


def _joined(parts: list[Outputs]) -> Outputs:
    return Outputs(
        logits_NK=np.concatenate([part.logits_NK for part in parts]),
        label_N=np.concatenate([part.label_N for part in parts]),
        index_N=np.concatenate([part.index_N for part in parts]),
    )


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
