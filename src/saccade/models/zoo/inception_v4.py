"""Inception-v4 and Inception-ResNet-v2 (Szegedy, Ioffe, Vanhoucke, Alemi 2016, Inception-v4, Inception-ResNet and the
impact of residual connections on learning, arXiv:1602.07261), as their public weights have them.

Inception-v4 (Figures 3 to 9) is Inception-v3 more even and deeper. Inception-ResNet-v2 adds to a map what narrower
branches compute of it, scaled down, or training breaks off (section 3.3). Deviations of the public networks:
Inception-ResNet-v2 has the stem of Inception-v3 with one more block behind it, and 10, 20 and 10 residual blocks on
320, 1088 and 2080 channels, where the paper draws 5, 10 and 5 on 384, 1154 and 2048 (Figures 16, 17, 19); its last
block is neither scaled nor cut off at 0, and a 1x1 convolution to 1536 follows. Some 1x3 and 3x1 filters stand in the
other order. The averages of 3x3 leave out the zeros around a map.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..fit import check_size
from ..layers import Residual, initialise, pooled_features
from .inception_v3 import COLUMN, POOL, ROW, Branches, Filter, Mixed, convolution_relu

FLAT, TALL, SQUARE = (1, 3), (3, 1), (3, 3)

# Inception-v4. Branches in the order of their channels; one of pooling alone halves the map, as its neighbours do.
STEM_V4: dict[str, Branches] = {
    "3a": {POOL: (), "branch3x3": (Filter(96, SQUARE, 2),)},
    "4a": {
        "branch3x3": (Filter(64), Filter(96, SQUARE, keeps_size=False)),
        "branch7x7": (Filter(64), Filter(64, ROW), Filter(64, COLUMN), Filter(96, SQUARE, keeps_size=False)),
    },
    "5a": {"branch3x3": (Filter(192, SQUARE, 2),), POOL: ()},
}
FIGURE_4: Branches = {
    "branch1x1": (Filter(96),),
    "branch3x3": (Filter(64), Filter(96, SQUARE)),
    "branch3x3dbl": (Filter(64), Filter(96, SQUARE), Filter(96, SQUARE)),
    POOL: (Filter(96),),
}
FIGURE_5: Branches = {
    "branch1x1": (Filter(384),),
    "branch7x7": (Filter(192), Filter(224, ROW), Filter(256, COLUMN)),
    "branch7x7dbl": (Filter(192), Filter(192, COLUMN), Filter(224, ROW), Filter(224, COLUMN), Filter(256, ROW)),
    POOL: (Filter(128),),
}
SPLIT = Filter(256, FLAT, beside=Filter(256, TALL))
FIGURE_6: Branches = {
    "branch1x1": (Filter(256),),
    "branch3x3": (Filter(384), SPLIT),
    "branch3x3dbl": (Filter(384), Filter(448, TALL), Filter(512, FLAT), SPLIT),
    POOL: (Filter(256),),
}


def _reduction_a(k: int, l: int, m: int, n: int) -> Branches:  # noqa: E741 - as Table 1 calls them
    """Figure 7 with the widths of Table 1."""
    return {
        "branch3x3": (Filter(n, SQUARE, 2),),
        "branch3x3dbl": (Filter(k), Filter(l, SQUARE), Filter(m, SQUARE, 2)),
        POOL: (),
    }


FIGURE_8: Branches = {
    "branch3x3": (Filter(192), Filter(192, SQUARE, 2)),
    "branch7x7x3": (Filter(256), Filter(256, ROW), Filter(320, COLUMN), Filter(320, SQUARE, 2)),
    POOL: (),
}
STAGES_V4: tuple[dict[str, Branches], ...] = (
    {f"5{letter}": FIGURE_4 for letter in "bcde"},
    {"6a": _reduction_a(192, 224, 256, 384), **{f"6{letter}": FIGURE_5 for letter in "bcdefgh"}},
    {"7a": FIGURE_8, **{f"7{letter}": FIGURE_6 for letter in "bcd"}},
)


@dataclass(frozen=True, kw_only=True)
class ResidualStage:
    """A block that changes the map, then `count` residual ones; their sum is `scale` of the branches and the map."""

    first: str
    reduction: Branches
    count: int
    scale: float
    branches: Branches


# Inception-ResNet-v2. The first block of a stage under its public name.
MIXED_5B: Branches = {
    "branch1x1": (Filter(96),),
    "branch5x5": (Filter(48), Filter(64, (5, 5))),
    "branch3x3dbl": (Filter(64), Filter(96, SQUARE), Filter(96, SQUARE)),
    POOL: (Filter(64),),
}
FIGURE_16: Branches = {
    "branch1x1": (Filter(32),),
    "branch3x3": (Filter(32), Filter(32, SQUARE)),
    "branch3x3dbl": (Filter(32), Filter(48, SQUARE), Filter(64, SQUARE)),
}
FIGURE_17: Branches = {
    "branch1x1": (Filter(192),),
    "branch7x7": (Filter(128), Filter(160, ROW), Filter(192, COLUMN)),
}
FIGURE_18: Branches = {
    "branch3x3": (Filter(256), Filter(384, SQUARE, 2)),
    "branch3x3second": (Filter(256), Filter(288, SQUARE, 2)),
    "branch3x3dbl": (Filter(256), Filter(288, SQUARE), Filter(320, SQUARE, 2)),
    POOL: (),
}
FIGURE_19: Branches = {
    "branch1x1": (Filter(192),),
    "branch3x3": (Filter(192), Filter(224, FLAT), Filter(256, TALL)),
}
STAGES_RESNET = (
    ResidualStage(first="5b", reduction=MIXED_5B, count=10, scale=0.17, branches=FIGURE_16),
    ResidualStage(first="6a", reduction=_reduction_a(256, 256, 384, 384), count=20, scale=0.1, branches=FIGURE_17),
    ResidualStage(first="7a", reduction=FIGURE_18, count=9, scale=0.2, branches=FIGURE_19),
)
FEATURES = 1536  # of both networks
DROPOUT = 0.2  # the paper keeps 0.8
SMALLEST_PX = 75

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 299, 299))
PUBLISHED = {"inception-v4": (42_679_816, 12_253_974_624), "inception-resnet-v2": (55_843_464, 13_155_794_016)}


class Scale(nn.Module):
    """A fixed factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return map_BCHW * self.factor

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"factor={self.factor:g}"


class InceptionV4(ImageClassifier):
    """Stem to 35x35 - 4 of Figure 4 - 7 of Figure 5 at 17x17 - 3 of Figure 6 at 8x8 - mean, dropout, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = _three_convolutions(spec.input_CHW[0])
        channels = _add_blocks(self.stem, 64, STEM_V4)
        self.stages = nn.Sequential()
        for number, blocks in enumerate(STAGES_V4, start=1):
            stage = nn.Sequential()
            channels = _add_blocks(stage, channels, blocks)
            self.stages.add_module(f"stage{number}", stage)
        _end(self, "inception-v4", spec)


class InceptionResNetV2(ImageClassifier):
    """Inception-v3's stem - 10 residual blocks at 35x35 - 20 at 17x17 - 10 at 8x8 - 1x1 - mean, dropout, dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = _three_convolutions(spec.input_CHW[0])
        self.stem.add_module("pool1", nn.MaxPool2d(3, 2))
        self.stem.add_module("convolution3b", convolution_relu(64, 80, (1, 1)))
        self.stem.add_module("convolution4a", convolution_relu(80, 192, SQUARE, padded=False))
        self.stem.add_module("pool2", nn.MaxPool2d(3, 2))
        self.stages = nn.Sequential()
        channels = 192
        for number, each in enumerate(STAGES_RESNET, start=1):
            stage = nn.Sequential()
            channels = _add_blocks(stage, channels, {each.first: each.reduction})
            for block in range(1, each.count + 1):
                stage.add_module(f"block{block}", _residual(channels, each.branches, each.scale, nn.ReLU()))
            self.stages.add_module(f"stage{number}", stage)
        stage.add_module(f"block{each.count + 1}", _residual(channels, each.branches, 1.0, nn.Identity()))
        stage.add_module("convolution7b", convolution_relu(channels, FEATURES, (1, 1)))
        _end(self, "inception-resnet-v2", spec)


def _three_convolutions(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution1a=convolution_relu(channels, 32, SQUARE, 2, padded=False),
            convolution2a=convolution_relu(32, 32, SQUARE, padded=False),
            convolution2b=convolution_relu(32, 64, SQUARE),
        )
    )


def _add_blocks(stage: nn.Sequential, channels: int, blocks: dict[str, Branches]) -> int:
    """Append blocks; returns the channels behind them."""
    for name, branches in blocks.items():
        block = Mixed(channels, branches, counts_zeros=False)
        stage.add_module(f"mixed{name}", block)
        channels = block.channels
    return channels


def _residual(channels: int, branches: Branches, scale: float, activation: nn.Module) -> Residual:
    mixed = Mixed(channels, branches)
    project = nn.Conv2d(mixed.channels, channels, 1)
    branch = nn.Sequential(OrderedDict(mixed=mixed, project=project, scale=Scale(scale)))
    return Residual(branch, nn.Identity(), activation)


def _end(network: InceptionV4 | InceptionResNetV2, name: str, spec: ModelSpec) -> None:
    network.neck = pooled_features()
    network.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(DROPOUT), fc=nn.Linear(FEATURES, spec.num_classes)))
    initialise(network)
    check_size(name, network, spec, enough_px=SMALLEST_PX)


KINDS = {"conv": "convolution", "bn": "norm"}
FIRST = ("convolution1a", "convolution2a", "convolution2b")
IN_STAGE = [(number, name) for number, blocks in enumerate(STAGES_V4, start=1) for name in blocks]
# The public `features.N`: where it stands here, and its branches.
PLACES_V4: list[tuple[str, Branches]] = [
    *((f"stem.{name}", {}) for name in FIRST),
    *((f"stem.mixed{name}", branches) for name, branches in STEM_V4.items()),
    *((f"stages.stage{number}.mixed{name}", STAGES_V4[number - 1][name]) for number, name in IN_STAGE),
]
REPEATED = {"repeat": 1, "repeat_1": 2, "repeat_2": 3}
TENSOR = re.compile(r"(?:(.+)\.)?(conv|bn)\.(\w+)", re.ASCII)
# `branch2.1`, `branch1` (one convolution), and in Figure 6 `branch2_3a`.
BRANCH = re.compile(r"branch(\d)(?:[._](\d)([ab]?))?", re.ASCII)


def rename_v4_key(key: str) -> str | None:
    """A tensor's name in the public file of Inception-v4 (timm's, Cadene's) as ours."""
    first, _, rest = key.partition(".")
    if first == "last_linear":
        return f"head.fc.{rest}"
    number, _, inside = rest.partition(".")
    if first != "features" or not number.isdecimal() or int(number) >= len(PLACES_V4):
        return None
    place, branches = PLACES_V4[int(number)]
    return _inside(place, branches, inside)


def rename_resnet_key(key: str) -> str | None:
    """A tensor's name in the public file of Inception-ResNet-v2 (timm's, Cadene's) as ours."""
    first, _, rest = key.partition(".")
    if first in ("classif", "last_linear"):
        return f"head.fc.{rest}"
    if match := re.fullmatch(r"conv2d_(\d[ab])", first, re.ASCII):
        return _inside(f"{'stages.stage3' if match[1] == '7b' else 'stem'}.convolution{match[1]}", {}, rest)
    if match := re.fullmatch(r"mixed_([567])([ab])", first, re.ASCII):
        stage = int(match[1]) - 4
        return _inside(f"stages.stage{stage}.mixed{match[1]}{match[2]}", STAGES_RESNET[stage - 1].reduction, rest)
    number, _, inside = rest.partition(".")
    if first == "block8":
        stage, block, inside = 3, STAGES_RESNET[2].count + 1, rest
    elif first in REPEATED and number.isdecimal():
        stage, block = REPEATED[first], int(number) + 1
    else:
        return None
    place = f"stages.stage{stage}.block{block}.branch"
    if inside.startswith("conv2d."):
        return f"{place}.project.{inside.removeprefix('conv2d.')}"
    return _inside(f"{place}.mixed", STAGES_RESNET[stage - 1].branches, inside)


def _inside(place: str, branches: Branches, name: str) -> str | None:
    """The tensor `name` of the convolution or the block that stands at `place`."""
    match = TENSOR.fullmatch(name)
    if match is None:
        return None
    tensor = f"{KINDS[match[2]]}.{match[3]}"
    if not branches:
        return None if match[1] else f"{place}.{tensor}"
    if match[1] == "conv":  # the only convolution of a block in Inception-v4's stem
        return f"{place}.branch3x3.convolution1.{tensor}"
    branch = BRANCH.fullmatch(match[1] or "")
    if branch is None or int(branch[1]) >= len(branches):
        return None
    ours = list(branches)[int(branch[1])]
    number = int(branch[2] or 0) + (0 if ours == POOL else 1)  # in front of a branch's convolutions stands its pooling
    beside = f".branches.{'ab'.index(branch[3])}" if branch[3] else ""
    return f"{place}.{ours}.convolution{number}{beside}.{tensor}"


def timms_input(crop: float) -> PublicInput:
    """Of a file that does not say: 299 pixels are `crop` of the short side, bicubic, from -1 to 1."""
    return PublicInput(
        whose="timm's",
        preprocessing=Preprocessing(
            resize_px=int(299 / crop),
            input_height_px=299,
            input_width_px=299,
            interpolation="bicubic",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
    )


def _reference(name: str) -> Reference:
    parameters, multiply_adds = PUBLISHED[name]
    return Reference(
        spec=IMAGENET,
        source="timm 1.0.31 (parameters; multiply-adds of its network by torch's counter)",
        parameters=parameters,
        multiply_adds=multiply_adds,
    )


register(
    Architecture(
        name="inception-v4",
        build=InceptionV4,
        summary="Inception-v4: more even and deeper than Inception-v3",
        citation="Szegedy et al. 2016, arXiv:1602.07261, Figures 3 to 9",
        default_spec=IMAGENET,
        references=(_reference("inception-v4"),),
        rename_key=rename_v4_key,
        public_input=timms_input(crop=0.875),
    ),
    __name__,
)
register(
    Architecture(
        name="inception-resnet-v2",
        build=InceptionResNetV2,
        summary="Inception-ResNet-v2: residual blocks of Inception's branches, scaled down",
        citation="Szegedy et al. 2016, arXiv:1602.07261, Figures 15 to 19",
        default_spec=IMAGENET,
        references=(_reference("inception-resnet-v2"),),
        rename_key=rename_resnet_key,
        public_input=timms_input(crop=0.8975),
    ),
    __name__,
)
