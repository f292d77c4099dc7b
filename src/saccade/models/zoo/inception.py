"""The Inception block (Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842, Figure 2 and Table 1),
naive and with 1x1 bottlenecks, and two one-block networks that let the two be compared.

Table 1, row 3a, of 28x28x192: the naive 5x5 alone takes 28*28*32 * 5*5*192 = 120,422,400 multiplications; with a 1x1
bottleneck of 16 channels in front, 2,408,448 + 10,035,200 = 12,443,648.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..layers import initialise, pooled_features


@dataclass(frozen=True, kw_only=True)
class InceptionConfig:
    """Output channels of the parts. A reduction of 0 leaves its 1x1 out: the naive form."""

    plain: int
    reduce3x3: int
    filter3x3: int
    reduce5x5: int
    filter5x5: int
    pool: int

    @property
    def channels(self) -> int:
        return self.plain + self.filter3x3 + self.filter5x5 + self.pool


ROW_3A = InceptionConfig(plain=64, reduce3x3=96, filter3x3=128, reduce5x5=16, filter5x5=32, pool=32)
NAIVE_3A = InceptionConfig(plain=64, reduce3x3=0, filter3x3=128, reduce5x5=0, filter5x5=32, pool=32)
BLOCK_INPUT = ModelSpec(num_classes=10, input_CHW=(192, 28, 28))


class Inception(nn.Module):
    """Four branches side by side on the same map, their channels concatenated: 1x1, 3x3, 5x5, pooling then 1x1.

    `normalise` puts batch normalisation behind every convolution, `wide_kernel` is the 5x5 (the public weights have 3).
    """

    def __init__(
        self, channels_in: int, config: InceptionConfig, normalise: bool = False, wide_kernel: int = 5
    ) -> None:
        super().__init__()
        layer = partial(convolution_relu, normalise=normalise)
        self.branch1 = layer(channels_in, config.plain, 1)
        self.branch3 = _branch(layer, channels_in, config.reduce3x3, config.filter3x3, 3)
        self.branch5 = _branch(layer, channels_in, config.reduce5x5, config.filter5x5, wide_kernel)
        self.branch_pool = nn.Sequential(
            OrderedDict(pool=nn.MaxPool2d(3, stride=1, padding=1), project=layer(channels_in, config.pool, 1))
        )

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, sum of the branches, H, W)."""
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(map_BCHW) for branch in branches], dim=1)


def convolution_relu(
    channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, normalise: bool = False
) -> nn.Sequential:
    """A `same` convolution and ReLU, with batch normalisation between where asked for."""
    padding = kernel_size // 2
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        convolution=nn.Conv2d(channels_in, channels_out, kernel_size, stride, padding, bias=not normalise)
    )
    if normalise:
        layers["norm"] = nn.BatchNorm2d(channels_out, eps=1e-3)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def _branch(
    layer: partial[nn.Sequential], channels_in: int, reduce: int, channels_out: int, kernel_size: int
) -> nn.Sequential:
    if not reduce:
        return nn.Sequential(OrderedDict(filter=layer(channels_in, channels_out, kernel_size)))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        reduce=layer(channels_in, reduce, 1), filter=layer(reduce, channels_out, kernel_size)
    )
    return nn.Sequential(parts)


class OneBlock(ImageClassifier):
    """A single Inception block between an empty stem and a dense head: what a block costs, alone."""

    def __init__(self, config: InceptionConfig, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = nn.Identity()
        self.stages = nn.Sequential(OrderedDict(stage1=Inception(spec.input_CHW[0], config)))
        self.neck = pooled_features()
        self.head = nn.Linear(config.channels, spec.num_classes)
        initialise(self)


def build(config: InceptionConfig, spec: ModelSpec) -> OneBlock:
    """A one-block network with fresh weights."""
    return OneBlock(config, spec)


# By hand: the weights of all filters, times 28 * 28 for the multiply-adds; biases; 2,570 and 2,560 of the head.
# Table 1 says 159 thousand parameters and 128 million multiply-adds for row 3a.
NAIVE_REFERENCE = Reference(
    spec=BLOCK_INPUT,
    source="by hand: 12,288 + 221,184 + 153,600 + 6,144 weights",
    parameters=396_042,
    multiply_adds=308_283_904,
)
BLOCK_REFERENCE = Reference(
    spec=BLOCK_INPUT,
    source="by hand: 12,288 + 18,432 + 110,592 + 3,072 + 12,800 + 6,144 weights; Table 1: 159 thousand, 128 million",
    parameters=166_266,
    multiply_adds=128_051_712,
)

for name, config, what, reference in (
    ("inception-naive", NAIVE_3A, "one Inception block as first thought of, without bottlenecks", NAIVE_REFERENCE),
    ("inception-block", ROW_3A, "one Inception block with 1x1 bottlenecks (row 3a)", BLOCK_REFERENCE),
):
    register(
        Architecture(
            name=name,
            build=partial(build, config),
            summary=what,
            citation="Szegedy et al. 2014, arXiv:1409.4842, Figure 2 and Table 1, row 3a",
            default_spec=BLOCK_INPUT,
            references=(reference,),
        ),
        __name__,
    )
