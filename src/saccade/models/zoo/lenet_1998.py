"""LeNet-5 as published (LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition,
Proc. IEEE 86(11), section II.B, Table I, Figure 2 and appendix A).

Scaled tanh units, subsampling with one trainable gain and bias a map and the squashing behind it, the partial
connections of C3, an output of radial basis functions. Deviations: the +1/-1 codes of the output are drawn once from a
fixed seed instead of the paper's 7x12 bitmaps of the characters, which it does not print as numbers; the outputs are
the negated squared distances, so that the largest is the answer, and softmax cross-entropy trains them.
"""

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, does_not_fit, register
from ..layers import Flatten

# Table I: which of the six maps of S2 each of the sixteen maps of C3 is connected to.
TABLE_I = (
    *((first, (first + 1) % 6, (first + 2) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 2) % 6, (first + 3) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 3) % 6, (first + 4) % 6) for first in range(3)),
    (0, 1, 2, 3, 4, 5),
)
INPUT_PX = 32
CODE_SEED = 1998

SPEC = ModelSpec(num_classes=10, input_CHW=(1, INPUT_PX, INPUT_PX))
REFERENCES = (
    Reference(
        spec=SPEC,
        source="section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164; the output codes are fixed; "
        "multiply-adds by hand: C1 117,600, C3 60 connections 150,000, C5 48,000, F6 10,080",
        parameters=60_000,
        multiply_adds=325_680,
    ),
)


class ScaledTanh(nn.Module):
    """A tanh(S a) with A = 1.7159 and S = 2/3 (appendix A): f(1) = 1, f(-1) = -1."""

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape, values in -1.7159 to 1.7159."""
        return 1.7159 * torch.tanh(activation * (2 / 3))


class Subsampling(nn.Module):
    """The mean of 2x2 positions times a trainable gain plus a trainable bias, one of each a map (layers S2, S4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain_C11 = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias_C11 = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H / 2, W / 2)."""
        return functional.avg_pool2d(map_BCHW, 2) * self.gain_C11 + self.bias_C11


class PartialConvolution(nn.Module):
    """C3: 5x5 filters on the maps that Table I connects, summed; 25 weights a connection and a bias a map: 1,516."""

    index: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv2d(len(row), 1, 5) for row in TABLE_I)
        # All rows in one, on the network's device: an index that comes from the CPU makes it wait for a GPU.
        index = torch.tensor([channel for row in TABLE_I for channel in row])
        self.register_buffer("index", index, persistent=False)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, 6, H, W) to (B, 16, H - 4, W - 4)."""
        chosen = map_BCHW.index_select(1, self.index).split([len(row) for row in TABLE_I], dim=1)
        return torch.cat([filter_(some_BCHW) for filter_, some_BCHW in zip(self.filters, chosen, strict=True)], dim=1)


class RadialBasisOutput(nn.Module):
    """y_k = -sum of (x_d - code_kd)^2 (equation 7, negated): how near the 84 units of F6 are to each class's code."""

    code_KD: torch.Tensor

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(CODE_SEED)
        signs_KD = torch.randint(0, 2, (num_classes, num_features), generator=generator)
        self.register_buffer("code_KD", 2.0 * signs_KD - 1.0)

    def forward(self, feature_BD: torch.Tensor) -> torch.Tensor:
        """logits_BK, at most 0."""
        return -(feature_BD[:, None, :] - self.code_KD).square().sum(dim=2)


class LeNet5AsPublished(ImageClassifier):
    """C1, S2 - C3, S4, C5 - F6, radial basis functions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height_px, width_px = spec.input_CHW
        if (height_px, width_px) != (INPUT_PX, INPUT_PX):
            does_not_fit(
                "lenet5-1998",
                "stages.stage2.c5",
                spec,
                f"C5 covers all of a 5x5 map, which only inputs of {INPUT_PX}x{INPUT_PX} leave",
                "Use --input 32x32x1 for a table, --set input.size_px=32 to train.",
            )
        self.stem = nn.Sequential(
            OrderedDict(c1=nn.Conv2d(channels, 6, 5), tanh1=ScaledTanh(), s2=Subsampling(6), tanh2=ScaledTanh())
        )
        stage1 = OrderedDict(c3=PartialConvolution(), tanh3=ScaledTanh(), s4=Subsampling(16), tanh4=ScaledTanh())
        stage2 = OrderedDict(c5=nn.Conv2d(16, 120, 5), tanh5=ScaledTanh())
        self.stages = nn.Sequential(OrderedDict(stage1=nn.Sequential(stage1), stage2=nn.Sequential(stage2)))
        self.neck = Flatten()
        self.head = nn.Sequential(
            OrderedDict(f6=nn.Linear(120, 84), tanh6=ScaledTanh(), output=RadialBasisOutput(spec.num_classes, 84))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 2.4 / math.prod(module.weight.shape[1:])  # appendix A: uniform, 2.4 over the fan-in
                nn.init.uniform_(module.weight, -bound, bound)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


register(
    Architecture(
        name="lenet5-1998",
        build=LeNet5AsPublished,
        summary="LeNet-5 as published: tanh, trainable subsampling, partial C3",
        citation="LeCun et al. 1998, Proc. IEEE 86(11), section II.B",
        default_spec=SPEC,
        references=REFERENCES,
    ),
    __name__,
)
