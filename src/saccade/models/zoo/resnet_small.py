"""ResNet for small images (He et al. 2015, arXiv:1512.03385, section 4.2 and Table 6) and the plain networks beside it.

6n + 2 layers with weights: a 3x3 convolution, three groups of n blocks with 16, 32, 64 channels, a dense layer.
Shortcuts that change shape take every second position and fill the new channels with zeros (option A, no parameters);
the variants `-projection` learn a 1x1 convolution instead (option B).
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..layers import convolution_norm, initialise, pooled_features
from .resnet import shortcut

DEPTHS = (20, 32, 44, 56, 110)
PLAIN_DEPTHS = (20, 32, 44, 56)
WIDTHS = (16, 32, 64)

CIFAR = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
# Table 6 says 0.27, 0.46, 0.66, 0.85 and 1.7 million; exact counts by hand: 3x3 weights, two per norm channel, dense.
PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
# By hand, 3x3 filters times positions: 442,368 + 2n 2,359,296 + 2 (1,179,648 + (2n - 1) 2,359,296) + 640, n blocks.
MULTIPLY_ADDS = {20: 40_551_040, 32: 68_862_592, 44: 97_174_144, 56: 125_485_696, 110: 252_887_680}
# What the two projections of option B add: 16 to 32 channels on 16x16, 32 to 64 on 8x8; weights and norms.
PROJECTION_PARAMETERS = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
PROJECTION_MULTIPLY_ADDS = 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8


@dataclass(frozen=True, kw_only=True)
class SmallResNetConfig:
    """`shortcuts`: `zeros` (option A), `projection` (option B) or `none` (the plain network)."""

    depth: int
    shortcuts: str


class ZeroPadding(nn.Module):
    """Option A: every second row and column, new channels all zero, the same number in front and behind."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (channels_out - channels_in) // 2
        self.behind = channels_out - channels_in - self.before

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        thinned_BCHW = map_BCHW[:, :, :: self.stride, :: self.stride]
        return functional.pad(thinned_BCHW, (0, 0, 0, 0, self.before, self.behind))


class SmallBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation; the shortcut joins before the last nonlinearity."""

    def __init__(self, channels_in: int, width: int, stride: int, shortcuts: str) -> None:
        super().__init__()
        self.convolution1 = convolution_norm(channels_in, width, 3, stride)
        self.convolution2 = convolution_norm(width, width, 3)
        self.shortcut: nn.Module | None = None
        if shortcuts == "projection" or (shortcuts == "zeros" and stride == 1 and channels_in == width):
            self.shortcut = shortcut(channels_in, width, stride)
        elif shortcuts == "zeros":
            self.shortcut = ZeroPadding(channels_in, width, stride)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, width, H / stride, W / stride)."""
        residual_BCHW = self.convolution2(torch.relu(self.convolution1(map_BCHW)))
        if self.shortcut is not None:
            residual_BCHW = residual_BCHW + self.shortcut(map_BCHW)
        return torch.relu(residual_BCHW)


class SmallResNet(ImageClassifier):
    """conv - three stages of n blocks - global average pooling - dense."""

    def __init__(self, config: SmallResNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        num_blocks = (config.depth - 2) // 6
        self.stem = convolution_norm(spec.input_CHW[0], WIDTHS[0], 3)
        self.stem.add_module("relu", nn.ReLU())
        self.stages = nn.Sequential()
        channels = WIDTHS[0]
        for number, width in enumerate(WIDTHS, start=1):
            blocks = nn.Sequential()
            for position in range(num_blocks):
                stride = 2 if number > 1 and position == 0 else 1
                blocks.append(SmallBlock(channels, width, stride, config.shortcuts))
                channels = width
            self.stages.add_module(f"stage{number}", blocks)
        self.neck = pooled_features()
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self)


def rename_key(key: str) -> str | None:
    """A tensor's name in public files of CIFAR's ResNets as ours: `conv1`, `layer1.0.bn2`, `linear` or `fc`; shortcuts
    are `shortcut.0` or `downsample.0`."""
    first, *rest = key.split(".")
    if first in ("linear", "fc"):
        return ".".join(["head", *rest])
    if first in ("conv1", "bn1"):
        return ".".join(["stem", "convolution" if first == "conv1" else "norm", *rest])
    if not first.startswith("layer"):
        return None
    block, part, *rest = rest
    place = f"stages.stage{first.removeprefix('layer')}.{block}."
    if part in ("shortcut", "downsample"):
        return place + ("shortcut.convolution." if rest[0] == "0" else "shortcut.norm.") + rest[1]
    kind = "convolution" if part.startswith("conv") else "norm"
    return f"{place}convolution{part[-1]}.{kind}.{rest[0]}"


def build(config: SmallResNetConfig, spec: ModelSpec) -> SmallResNet:
    """A small ResNet, or its plain counterpart, with fresh weights."""
    return SmallResNet(config, spec)


def _register(name: str, config: SmallResNetConfig, summary: str) -> None:
    is_projection = config.shortcuts == "projection"
    reference = Reference(
        spec=CIFAR,
        source="Table 6 in millions, exact by hand (convolutions without bias, batch norm, dense)",
        parameters=PARAMETERS[config.depth] + is_projection * PROJECTION_PARAMETERS,
        multiply_adds=MULTIPLY_ADDS[config.depth] + is_projection * PROJECTION_MULTIPLY_ADDS,
    )
    register(
        Architecture(
            name=name,
            build=partial(build, config),
            summary=summary,
            citation="He et al. 2015, arXiv:1512.03385, section 4.2",
            default_spec=CIFAR,
            references=(reference,),
            rename_key=rename_key,
        ),
        __name__,
    )


for depth in DEPTHS:
    zeros = SmallResNetConfig(depth=depth, shortcuts="zeros")
    projection = SmallResNetConfig(depth=depth, shortcuts="projection")
    summary = f"residual network of {depth} layers for small images"
    _register(f"resnet{depth}", zeros, summary)
    _register(f"resnet{depth}-projection", projection, f"{summary}, learned shortcuts")

for depth in PLAIN_DEPTHS:
    plain = SmallResNetConfig(depth=depth, shortcuts="none")
    _register(f"plain{depth}", plain, f"resnet{depth} without shortcuts, for comparison")
