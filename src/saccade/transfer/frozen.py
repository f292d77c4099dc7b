"""The frozen part of a network, run without gradients: where features are taken, in which groups, on which threads."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..core.runtime import Runtime, send
from ..core.types import Preprocessing
from ..data.images.normalize import normalize
from ..kernels.fused_inference import AT_ONCE, can_fuse, fuse_for_inference
from ..models.surgery import cut, depths, mean_over_positions

GROUP = 8  # images that pass through the frozen part together where it is not fused
Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Tap:
    """Where features are taken: behind what `depth` freezes, whole maps or, `pooled`, their means over positions."""

    depth: str
    pooled: bool

    def __str__(self) -> str:
        return f"{self.depth}, {'means' if self.pooled else 'maps'}"


class FrozenPart:
    """The frozen layers of a network up to every tap, ready to be run without gradients, in groups of one size."""

    def __init__(
        self, model: nn.Module, taps: list[Tap], preprocessing: Preprocessing, runtime: Runtime, dtype: torch.dtype
    ) -> None:
        model = model.to(device=runtime.device, memory_format=runtime.memory_format).eval()  # type: ignore[call-overload]
        self.taps = taps
        self.preprocessing = preprocessing
        self.runtime = runtime
        self.dtype = dtype
        fast = can_fuse(runtime.device, runtime.precision)
        self.group = AT_ONCE[runtime.precision] if fast else GROUP
        self.segments: list[tuple[str, nn.Module]] = []  # the layers between one tap's depth and the next
        passed = 0
        for depth in [name for name in depths(model) if any(tap.depth == name for tap in taps)]:
            frozen = cut(model, depth).frozen
            layers = frozen[passed:]
            self.segments.append(
                (depth, fuse_for_inference(layers, runtime.precision) if fast else nn.Sequential(*layers))
            )
            passed = len(frozen)

    def outputs(self, image_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """Features (B, ...) of `dtype` on the CPU at each tap, of B <= `group` prepared uint8 images."""
        num_images = len(image_BCHW)
        if num_images < self.group:
            filler = image_BCHW[:1].expand(self.group - num_images, -1, -1, -1)
            image_BCHW = torch.cat([image_BCHW, filler])
        value = normalize(send(image_BCHW, self.runtime.device), self.preprocessing, self.runtime.precision)
        found: dict[Tap, torch.Tensor] = {}
        with torch.inference_mode(), self.runtime.arithmetic():
            for depth, segment in self.segments:
                value = segment(value)
                for tap in [tap for tap in self.taps if tap.depth == depth]:
                    pooled = mean_over_positions(value.float()) if tap.pooled else value
                    found[tap] = pooled[:num_images].to(self.dtype).cpu()
        return [found[tap] for tap in self.taps]


def weights_digest(modules: tuple[nn.Module, ...]) -> str:
    """SHA-256 over names, shapes and values of all tensors of `modules`, in order."""
    digest = hashlib.sha256()
    for number, module in enumerate(modules):
        for name, tensor in module.state_dict().items():
            digest.update(f"{number} {name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
