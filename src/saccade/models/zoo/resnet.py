"""ResNet for photos (He, Zhang, Ren, Sun 2015, Deep residual learning for image recognition, arXiv:1512.03385, Table 1)
and the plain networks it is compared with in section 4.1.

Deviations: in bottlenecks the 3x3 convolution carries the stride, not the first 1x1 (the public weights' "v1.5", Goyal
et al. 2017, arXiv:1706.02677); shortcuts that change shape are learned projections (option B).
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..layers import SqueezeExcitation, convolution_norm, initialise, pooled_features

# Table 1: blocks in conv2_x to conv5_x, and whether they are bottlenecks.
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # output channels of a bottleneck over its inner width

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
PUBLISHED = {  # parameters and multiply-adds of the public implementation (torchvision 0.28), biases not counted
    18: (11_689_512, 1_814_073_344),
    34: (21_797_672, 3_663_761_408),
    50: (25_557_032, 4_089_184_256),
    101: (44_549_160, 7_801_405_440),
    152: (60_192_808, 11_513_626_624),
}
PLAIN = {  # by hand: the same without the projections of option B; Figure 3 says 3.6 billion for plain34
    18: (11_515_688, 1_794_805_760),
    34: (21_623_848, 3_644_493_824),
}


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """`depth` is a key of DEPTHS; without `shortcuts` it is the plain network of the same shape.

    Bottlenecks have `groups` groups of `group_width` channels inside in conv2_x, twice as wide in each later stage
    (`resnext.py`, `wide_resnet.py`), and end in squeeze-and-excitation that narrows its channels `squeeze` times, where
    that is not 0 (`se_resnet.py`). `deep_stem` and `pooled_shortcuts` are the tweaks of `resnet_d.py`.
    """

    depth: int
    shortcuts: bool = True
    groups: int = 1
    group_width: int = WIDTHS[0]
    deep_stem: bool = False
    pooled_shortcuts: bool = False
    squeeze: int = 0

    def inner_width(self, width: int) -> int:
        """Channels inside a bottleneck of a stage of `width`."""
        return self.groups * (self.group_width * width // WIDTHS[0])


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut joins after the second, before its nonlinearity (Figure 2)."""

    def __init__(self, channels_in: int, width: int, stride: int, config: ResNetConfig) -> None:
        super().__init__()
        self.convolution1 = convolution_norm(channels_in, width, 3, stride)
        self.convolution2 = convolution_norm(width, width, 3)
        self.shortcut = _shortcut(channels_in, width, stride, config)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, width, H / stride, W / stride)."""
        residual_BCHW = self.convolution2(torch.relu(self.convolution1(map_BCHW)))
        if self.shortcut is not None:
            residual_BCHW = residual_BCHW + self.shortcut(map_BCHW)
        return torch.relu(residual_BCHW)


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up (Figure 5, right)."""

    def __init__(self, channels_in: int, width: int, stride: int, config: ResNetConfig) -> None:
        super().__init__()
        inner = config.inner_width(width)
        self.convolution1 = convolution_norm(channels_in, inner, 1)
        self.convolution2 = convolution_norm(inner, inner, 3, stride, config.groups)
        self.convolution3 = convolution_norm(inner, EXPANSION * width, 1)
        self.excitation = squeeze_excitation(EXPANSION * width, config.squeeze)
        self.shortcut = _shortcut(channels_in, EXPANSION * width, stride, config)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, 4 * width, H / stride, W / stride)."""
        narrow_BCHW = torch.relu(self.convolution2(torch.relu(self.convolution1(map_BCHW))))
        residual_BCHW = self.excitation(self.convolution3(narrow_BCHW))
        if self.shortcut is not None:
            residual_BCHW = residual_BCHW + self.shortcut(map_BCHW)
        return torch.relu(residual_BCHW)


def squeeze_excitation(channels: int, squeeze: int) -> nn.Module:
    """The identity where `squeeze` is 0."""
    return SqueezeExcitation(channels, channels // squeeze) if squeeze else nn.Identity()


def shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else the projection W_s of equation 2."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return convolution_norm(channels_in, channels_out, 1, stride)


def pooled_shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """As `shortcut`, but the projection sees the means of 2x2 positions, not every second one (ResNet-D)."""
    if stride == 1:
        return shortcut(channels_in, channels_out, stride)
    return nn.Sequential(
        OrderedDict(
            pool=nn.AvgPool2d(stride, ceil_mode=True),  # a row or column left over has a mean of its own
            project=convolution_norm(channels_in, channels_out, 1),
        )
    )


def _shortcut(channels_in: int, channels_out: int, stride: int, config: ResNetConfig) -> nn.Module | None:
    if not config.shortcuts:
        return None
    return (pooled_shortcut if config.pooled_shortcuts else shortcut)(channels_in, channels_out, stride)


def plain_stem(channels: int) -> nn.Sequential:
    """conv1 of Table 1: 7x7 with stride 2, then pooling."""
    return nn.Sequential(
        OrderedDict(
            convolution=convolution_norm(channels, WIDTHS[0], 7, 2),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )


def deep_stem(channels: int) -> nn.Sequential:
    """Three 3x3 convolutions for the 7x7, the first two of half the width (ResNet-C and D)."""
    half = WIDTHS[0] // 2
    return nn.Sequential(
        OrderedDict(
            convolution1=convolution_norm(channels, half, 3, 2),
            relu1=nn.ReLU(),
            convolution2=convolution_norm(half, half, 3),
            relu2=nn.ReLU(),
            convolution3=convolution_norm(half, WIDTHS[0], 3),
            relu3=nn.ReLU(),
            pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )


class ResNet(ImageClassifier):
    """conv1, pool - conv2_x to conv5_x - global average pooling - fc."""

    def __init__(self, config: ResNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        counts, is_bottleneck = DEPTHS[config.depth]
        block = Bottleneck if is_bottleneck else BasicBlock
        self.stem = (deep_stem if config.deep_stem else plain_stem)(spec.input_CHW[0])
        self.stages = nn.Sequential()
        channels = WIDTHS[0]
        for number, (count, width) in enumerate(zip(counts, WIDTHS, strict=True), start=1):
            blocks = nn.Sequential()
            for position in range(count):
                stride = 2 if number > 1 and position == 0 else 1
                blocks.append(block(channels, width, stride, config))
                channels = width * (EXPANSION if is_bottleneck else 1)
            self.stages.add_module(f"stage{number}", blocks)
        self.neck = pooled_features()
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self)


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision and timm files as ours."""
    if key.startswith("fc."):
        return key.replace("fc.", "head.")
    if key.startswith(("conv1.", "bn1.")):
        return key.replace("conv1.", "stem.convolution.convolution.").replace("bn1.", "stem.convolution.norm.")
    stage, block, *rest = key.removeprefix("layer").split(".")
    place = f"stages.stage{stage}.{block}."
    if rest[0] == "downsample":
        return place + ("shortcut.convolution." if rest[1] == "0" else "shortcut.norm.") + rest[2]
    kind = "convolution" if rest[0].startswith("conv") else "norm"
    return f"{place}convolution{rest[0][-1]}.{kind}.{rest[1]}"


def build(config: ResNetConfig, spec: ModelSpec) -> ResNet:
    """A ResNet, or its plain counterpart, with fresh weights."""
    return ResNet(config, spec)


for depth in DEPTHS:
    register(
        Architecture(
            name=f"resnet{depth}",
            build=partial(build, ResNetConfig(depth=depth)),
            summary=f"residual network of {depth} layers for photos",
            citation="He et al. 2015, arXiv:1512.03385, Table 1",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source="torchvision 0.28 (parameters), counted by hand from Table 1 (multiply-adds)",
                    parameters=PUBLISHED[depth][0],
                    multiply_adds=PUBLISHED[depth][1],
                ),
            ),
            rename_key=rename_key,
        ),
        __name__,
    )

for depth in PLAIN:
    register(
        Architecture(
            name=f"plain{depth}",
            build=partial(build, ResNetConfig(depth=depth, shortcuts=False)),
            summary=f"resnet{depth} without shortcuts, for comparison",
            citation="He et al. 2015, arXiv:1512.03385, section 4.1",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source="counted by hand from Table 1; Figure 3 says 3.6 billion for plain34",
                    parameters=PLAIN[depth][0],
                    multiply_adds=PLAIN[depth][1],
                ),
            ),
        ),
        __name__,
    )
