"""MobileNetV4 (Qin et al. 2024, MobileNetV4: Universal models for the mobile ecosystem, arXiv:2404.10518), the two
smaller convolutional ones.

The last 1x1 convolution works behind pooling and has batch normalisation, as in timm's weights. Dropout
(0.2) and stochastic depth (medium: rising to 0.075) act in training alone; their rates are ours.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..inverted_residual import (
    FusedInvertedResidual,
    InvertedResidualConfig,
    Style,
    activated_convolution,
    round_channels,
    styled_convolution,
)
from ..layers import Flatten, StochasticDepth, initialise


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A row of the paper's table: a plain convolution."""

    kernel: int
    channels: int
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Fused:
    """A row: a fused inverted bottleneck with a 3x3 filter."""

    expansion: int
    channels: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Universal:
    """A row: a universal inverted bottleneck. `start` and `middle` are its depthwise filters, 0 for none: with both it
    is the paper's ExtraDW, with the middle one IB, with the first one ConvNext, with none FFN."""

    start: int
    middle: int
    expansion: float
    channels: int
    stride: int = 1


Row = Convolution | Fused | Universal


def _universal(*rows: tuple[int, int, float], channels: int) -> tuple[Universal, ...]:
    """Rows (start, middle, expansion) of one width; the first halves the map."""
    return tuple(
        Universal(start=start, middle=middle, expansion=expansion, channels=channels, stride=2 if number == 0 else 1)
        for number, (start, middle, expansion) in enumerate(rows)
    )


# Table of MNv4-Conv-S.
SMALL: tuple[tuple[Row, ...], ...] = (
    (Convolution(kernel=3, channels=32, stride=2), Convolution(kernel=1, channels=32)),
    (Convolution(kernel=3, channels=96, stride=2), Convolution(kernel=1, channels=64)),
    _universal((5, 5, 3), (0, 3, 2), (0, 3, 2), (0, 3, 2), (0, 3, 2), (3, 0, 4), channels=96),
    _universal((3, 3, 6), (5, 5, 4), (0, 5, 4), (0, 5, 3), (0, 3, 4), (0, 3, 4), channels=128),
)
# Table of MNv4-Conv-M.
MEDIUM: tuple[tuple[Row, ...], ...] = (
    (Fused(expansion=4, channels=48, stride=2),),
    _universal((3, 5, 4), (3, 3, 2), channels=80),
    _universal(*((3, 5, 6), (3, 3, 4), (3, 3, 4), (3, 5, 4), (3, 3, 4), (3, 0, 4), (0, 0, 2), (3, 0, 4)), channels=160),
    _universal(
        *((5, 5, 6), (5, 5, 4), (3, 5, 4), (3, 5, 4), (0, 0, 4), (3, 0, 4), (3, 5, 2), (5, 5, 4)),
        *((0, 0, 4), (0, 0, 4), (5, 0, 2)),
        channels=256,
    ),
)
STEM, LAST, HIDDEN = 32, 960, 1280
STYLE = Style(activation=nn.ReLU)
SOURCE = "timm 1.0.31 (parameters), counted by hand from the paper's table (multiply-adds); the paper says {}"


@dataclass(frozen=True, kw_only=True)
class MobileNetV4Config:
    """`stages` of the paper's table, the usual side of the input in pixels, and stochastic depth at the last block."""

    size: str
    stages: tuple[tuple[Row, ...], ...]
    side_px: int
    drop: float

    @property
    def name(self) -> str:
        return f"mobilenetv4-conv-{self.size}"


CONFIGS = (
    MobileNetV4Config(size="small", stages=SMALL, side_px=224, drop=0.0),
    MobileNetV4Config(size="medium", stages=MEDIUM, side_px=256, drop=0.075),
)
PUBLISHED = {  # parameters, multiply-adds, the paper's own words
    "small": (3_774_024, 186_005_568, "3.8 million, 0.2 billion"),
    "medium": (9_715_512, 1_080_244_224, "9.2 million, 1.0 billion"),
}
# What timm's files want: short side in pixels.
TIMM_RESIZE_PX = {"small": 256, "medium": 269}


class UniversalInvertedBottleneck(nn.Module):
    """Depthwise without nonlinearity, expand 1x1, depthwise, project 1x1 without nonlinearity, add where shapes agree
    (the paper's figure of UIB); either depthwise filter may be missing, and the later one carries the stride."""

    def __init__(self, row: Universal, channels_in: int, drop: float) -> None:
        super().__init__()
        inner = round_channels(channels_in * row.expansion)
        self.start: nn.Module = nn.Identity()
        if row.start:
            stride = 1 if row.middle else row.stride
            self.start = styled_convolution(channels_in, channels_in, row.start, STYLE, stride, groups=channels_in)
        self.expand = activated_convolution(channels_in, inner, 1, STYLE)
        self.middle: nn.Module = nn.Identity()
        if row.middle:
            self.middle = activated_convolution(inner, inner, row.middle, STYLE, row.stride, groups=inner)
        self.project = styled_convolution(inner, row.channels, 1, STYLE)
        self.has_shortcut = row.stride == 1 and channels_in == row.channels
        self.drop = StochasticDepth(drop)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride), rounded up."""
        projected_BCHW: torch.Tensor = self.project(self.middle(self.expand(self.start(map_BCHW))))
        return map_BCHW + self.drop(projected_BCHW) if self.has_shortcut else projected_BCHW


class MobileNetV4(ImageClassifier):
    """conv - four stages - 1x1 convolution, global average pooling, 1x1 convolution - dropout, dense."""

    def __init__(self, config: MobileNetV4Config, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = activated_convolution(spec.input_CHW[0], STEM, 3, STYLE, 2)
        self.stages = nn.Sequential()
        channels, number, num_blocks = STEM, 0, sum(map(len, config.stages))
        for stage, rows in enumerate(config.stages, start=1):
            blocks = nn.Sequential()
            for row in rows:
                blocks.append(_block(row, channels, config.drop * number / num_blocks))
                channels, number = row.channels, number + 1
            self.stages.add_module(f"stage{stage}", blocks)
        self.neck = nn.Sequential(
            OrderedDict(
                convolution=activated_convolution(channels, LAST, 1, STYLE),
                pool=nn.AdaptiveAvgPool2d(1),
                hidden=activated_convolution(LAST, HIDDEN, 1, STYLE),
                flatten=Flatten(),
            )
        )
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(0.2), fc=nn.Linear(HIDDEN, spec.num_classes)))
        initialise(self)


def _block(row: Row, channels_in: int, drop: float) -> nn.Module:
    if isinstance(row, Universal):
        return UniversalInvertedBottleneck(row, channels_in, drop)
    if isinstance(row, Convolution):
        return activated_convolution(channels_in, row.channels, row.kernel, STYLE, row.stride)
    config = InvertedResidualConfig(
        channels_in=channels_in,
        inner=channels_in * row.expansion,
        channels_out=row.channels,
        kernel_size=3,
        stride=row.stride,
        drop=drop,
    )
    return FusedInvertedResidual(config, STYLE)


TIMM_OUTSIDE = {
    "conv_stem": "stem.convolution",
    "bn1": "stem.norm",
    "conv_head": "neck.hidden.convolution",
    "norm_head": "neck.hidden.norm",
    "classifier": "head.fc",
}
TIMM_CONVOLUTION = {"conv": "convolution", "bn1": "norm"}
TIMM_FUSED = {
    "conv_exp": "expand.convolution",
    "bn1": "expand.norm",
    "conv_pwl": "project.convolution",
    "bn2": "project.norm",
}
TIMM_UNIVERSAL = {
    f"{theirs}.{layer}": f"{ours}.{ {'conv': 'convolution', 'bn': 'norm'}[layer] }"
    for theirs, ours in (("dw_start", "start"), ("pw_exp", "expand"), ("dw_mid", "middle"), ("pw_proj", "project"))
    for layer in ("conv", "bn")
}


def rename_key(config: MobileNetV4Config, key: str) -> str | None:
    """A tensor's name in timm's file as ours."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_OUTSIDE:
        return f"{TIMM_OUTSIDE[owner]}.{kind}"
    _, stage, position, layer = owner.split(".", 3)
    if int(stage) == len(config.stages):  # the convolution in front of pooling is a stage of its own there
        return f"neck.convolution.{TIMM_CONVOLUTION[layer]}.{kind}"
    row = config.stages[int(stage)][int(position)]
    kinds = {Convolution: TIMM_CONVOLUTION, Fused: TIMM_FUSED, Universal: TIMM_UNIVERSAL}
    return f"stages.stage{int(stage) + 1}.{position}.{kinds[type(row)][layer]}.{kind}"


def build(config: MobileNetV4Config, spec: ModelSpec) -> MobileNetV4:
    """A MobileNetV4 with fresh weights."""
    return MobileNetV4(config, spec)


for config in CONFIGS:
    parameters, multiply_adds, said = PUBLISHED[config.size]
    spec = ModelSpec(num_classes=1000, input_CHW=(3, config.side_px, config.side_px))
    register(
        Architecture(
            name=config.name,
            build=partial(build, config),
            summary=f"MobileNetV4, {config.size}: universal inverted bottlenecks, ReLU, no excitation",
            citation="Qin et al. 2024, arXiv:2404.10518, the tables of its appendix",
            default_spec=spec,
            references=(
                Reference(spec=spec, source=SOURCE.format(said), parameters=parameters, multiply_adds=multiply_adds),
            ),
            rename_key=partial(rename_key, config),
            public_input=PublicInput(
                whose="timm's",
                preprocessing=Preprocessing(
                    resize_px=TIMM_RESIZE_PX[config.size],
                    input_height_px=config.side_px,
                    input_width_px=config.side_px,
                    interpolation="bicubic",
                ),
            ),
        ),
        __name__,
    )
