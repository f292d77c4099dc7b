"""The network as it leaves: pixels in, logits and probabilities or a number out, preprocessing and temperature inside.

Some layers compute in place or by a gradient of their own, which exporters lose or refuse. They have a plain form here,
of the same values, that is used while exporting and nowhere else.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core.task import Task
from ..core.types import Preprocessing
from ..data.images.normalize import scale_and_shift
from ..evaluate.novelty import NEIGHBOUR
from ..kernels.response_norm import LocalResponseNorm
from ..models.penultimate import MAX_KEPT, split_outputs, with_features
from .bundle import DISTANCE, LOGITS, NUMBER, PROBABILITIES


class PlainLocalResponseNorm(nn.Module):
    """`LocalResponseNorm` in torch's own operations, which divide `alpha` by the number of channels in the sum."""

    def __init__(self, fast: LocalResponseNorm) -> None:
        super().__init__()
        self.fast = fast

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        layer = self.fast
        return functional.local_response_norm(map_BCHW, layer.size, layer.alpha * layer.size, layer.beta, layer.k)


class Shipped(nn.Module):
    """(logits_BK, probability_BK) float32 of image_BHWC, prepared to the input size: uint8, of bands of 16 bits uint16.

    Logits are those of the network, without temperature, slopes and shifts; probabilities are those of `predict`. Where
    a number is asked for, (logits_B1, number_B1).
    """

    pixel_scale_C11: torch.Tensor
    pixel_shift_C11: torch.Tensor
    logit_slope_K: torch.Tensor
    logit_shift_K: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, temperature: float, task: Task) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.pixel_type = torch.uint16 if preprocessing.depth_bits == 16 else torch.uint8
        pixel_scale_C11, pixel_shift_C11 = scale_and_shift(
            preprocessing.mean, preprocessing.std, preprocessing.full_scale
        )
        self.register_buffer("pixel_scale_C11", pixel_scale_C11)
        self.register_buffer("pixel_shift_C11", pixel_shift_C11)
        slopes, shifts = task.slopes or (1.0,), task.shifts or (0.0,)
        if task.is_one:
            slopes = (1 / temperature,)
        elif task.is_number:
            slopes, shifts = (task.deviation,), (task.mean,)
        self.register_buffer("logit_slope_K", torch.tensor(slopes, dtype=torch.float32))
        self.register_buffer("logit_shift_K", torch.tensor(shifts, dtype=torch.float32))

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return [LOGITS, NUMBER if self.task.is_number else PROBABILITIES]

    def forward(self, image_BHWC: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        return self.answers(self.of_pixels(image_BHWC))

    def of_pixels(self, image_BHWC: torch.Tensor) -> torch.Tensor:
        """What the network gives for the pixels."""
        image_BCHW = image_BHWC.permute(0, 3, 1, 2).to(torch.float32)
        found: torch.Tensor = self.network(torch.addcmul(self.pixel_shift_C11, image_BCHW, self.pixel_scale_C11))
        return found

    def answers(self, logits_BK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits_BK, probability_BK), or (logits_B1, number_B1)."""
        scaled_BK = logits_BK * self.logit_slope_K + self.logit_shift_K
        if self.task.is_number:
            return logits_BK, scaled_BK
        return logits_BK, scaled_BK.sigmoid() if self.task.is_several else scaled_BK.softmax(dim=1)


class ShippedWithDistance(Shipped):
    """The same, and distance_B float32: how far images lie from those of training, by the rule of `nearest_distance`.

    `network` gives features behind its logits; `known_MD` (float16) are those of training images, of unit length.
    """

    known_DM: torch.Tensor

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, temperature: float, task: Task, known_MD: np.ndarray
    ) -> None:
        super().__init__(network, preprocessing, temperature, task)
        self.register_buffer("known_DM", torch.from_numpy(np.ascontiguousarray(known_MD.T)))
        self.num_features = known_MD.shape[1]

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return [*super().outputs, DISTANCE]

    def forward(self, image_BHWC: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        both_BX = self.of_pixels(image_BHWC)
        logits_BK, feature_BD = split_outputs(both_BX, both_BX.shape[1] - self.num_features)
        length_B1 = feature_BD.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-30)
        cosine_BM = (feature_BD / length_B1) @ self.known_DM.float()
        nearest_B = cosine_BM.topk(NEIGHBOUR, dim=1).values[:, -1]
        return *self.answers(logits_BK), (2 - 2 * nearest_B).clamp_min(0).sqrt()


def shipped(
    network: nn.Module,
    preprocessing: Preprocessing,
    temperature: float,
    task: Task,
    known_MD: np.ndarray | None = None,
) -> Shipped:
    """`network` with what belongs to it, ready for an exporter. `network` itself stays as it is.

    `known_MD` are unit features of training images, by which others are told to be unlike them.
    """
    plain = copy.deepcopy(network).cpu().eval()
    for name, module in list(plain.named_modules()):
        if isinstance(module, LocalResponseNorm):
            parent_name, _, own_name = name.rpartition(".")
            setattr(plain.get_submodule(parent_name), own_name, PlainLocalResponseNorm(module))
    with_both = with_features(plain, MAX_KEPT) if known_MD is not None else None
    if known_MD is None or with_both is None:
        return Shipped(plain, preprocessing, temperature, task).eval().requires_grad_(False)
    found = ShippedWithDistance(with_both, preprocessing, temperature, task, known_MD)
    return found.eval().requires_grad_(False)
