"""Inception-v3 (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2015, Rethinking the Inception architecture for computer
vision, arXiv:1512.00567, Table 1 and Figures 5 to 7 and 10), as its public weights have it.

Large filters are taken apart: 5x5 into two 3x3, 7x7 into 1x7 and 7x1, and the last blocks put 1x3 and 3x1 side by side.
Deviations of the public network: behind the first pooling the stem has a 1x1 convolution to 80 channels, a 3x3 to 192
and pooling; the first three blocks keep a 5x5. The side branch (section 4) works in training only, through
`forward_train`.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from ...conv.geometry import Window
from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..fit import check_size
from ..layers import Concatenation, GlobalAveragePool, initialise, pooled_features


@dataclass(frozen=True)
class Filter:
    """One convolution: its channels, its (height, width), and its stride, where 2 goes without padding.

    `beside` is a second one on the same map, whose channels go behind; without `keeps_size` there is no padding either.
    """

    channels: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    beside: "Filter | None" = None
    keeps_size: bool = True


ROW, COLUMN = (1, 7), (7, 1)
SPLIT = Filter(384, (1, 3), beside=Filter(384, (3, 1)))
Branches = dict[str, tuple[Filter, ...]]
POOL = "branch_pool"


def _figure_5(pool: int) -> Branches:
    return {
        "branch1x1": (Filter(64),),
        "branch5x5": (Filter(48), Filter(64, (5, 5))),
        "branch3x3dbl": (Filter(64), Filter(96, (3, 3)), Filter(96, (3, 3))),
        POOL: (Filter(pool),),
    }


def _figure_6(width: int) -> Branches:
    inside = (Filter(width, COLUMN), Filter(width, ROW), Filter(width, COLUMN))
    return {
        "branch1x1": (Filter(192),),
        "branch7x7": (Filter(width), Filter(width, ROW), Filter(192, COLUMN)),
        "branch7x7dbl": (Filter(width), *inside, Filter(192, ROW)),
        POOL: (Filter(192),),
    }


FIGURE_7: Branches = {
    "branch1x1": (Filter(320),),
    "branch3x3": (Filter(384), SPLIT),
    "branch3x3dbl": (Filter(448), Filter(384, (3, 3)), SPLIT),
    POOL: (Filter(192),),
}
# Blocks under their public names. A branch of pooling alone halves the map, as its neighbours do (Figure 10).
STAGES: tuple[dict[str, Branches], ...] = (
    {"5b": _figure_5(32), "5c": _figure_5(64), "5d": _figure_5(64)},
    {
        "6a": {
            "branch3x3": (Filter(384, (3, 3), 2),),
            "branch3x3dbl": (Filter(64), Filter(96, (3, 3)), Filter(96, (3, 3), 2)),
            POOL: (),
        },
        "6b": _figure_6(128),
        "6c": _figure_6(160),
        "6d": _figure_6(160),
        "6e": _figure_6(192),
    },
    {
        "7a": {
            "branch3x3": (Filter(192), Filter(320, (3, 3), 2)),
            "branch7x7x3": (Filter(192), Filter(192, ROW), Filter(192, COLUMN), Filter(192, (3, 3), 2)),
            POOL: (),
        },
        "7b": FIGURE_7,
        "7c": FIGURE_7,
    },
)
STEM_WINDOWS = (Window(3, 2), Window(3), Window(3, 2), Window(3), Window(3, 2))  # those that change the size of a map
AUXILIARY_WEIGHT = 0.4  # as in the public training code; the paper does not say
AUXILIARY_PX = 5  # the side of the map that the side branch's last filter covers

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 299, 299))
REFERENCES = (
    Reference(
        spec=IMAGENET,
        source="torchvision 0.29, side branch in the parameters, not in the multiply-adds (by torch's counter)",
        parameters=27_161_264,
        multiply_adds=5_713_216_096,
    ),
)


def convolution_relu(
    channels_in: int, channels_out: int, size: tuple[int, int], stride: int = 1, padded: bool = True
) -> nn.Sequential:
    """A convolution without bias, batch normalisation, ReLU; `padded` keeps the size of the map."""
    padding = (size[0] // 2, size[1] // 2) if padded else 0
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(channels_in, channels_out, size, stride, padding, bias=False),
            norm=nn.BatchNorm2d(channels_out, eps=1e-3),
            relu=nn.ReLU(),
        )
    )


class Mixed(nn.Module):
    """Branches side by side on the same map, their channels concatenated.

    The average pooling in front of a branch counts the zeros around the map, or leaves them out.
    """

    def __init__(self, channels_in: int, branches: Branches, counts_zeros: bool = True) -> None:
        super().__init__()
        self.channels = 0
        for name, filters in branches.items():
            branch, channels = _branch(channels_in, filters, name == POOL, counts_zeros)
            self.add_module(name, branch)
            self.channels += channels

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, sum of the branches, H, W), or of half the size."""
        return torch.cat([branch(map_BCHW) for branch in self.children()], dim=1)


def _branch(channels: int, filters: tuple[Filter, ...], pools: bool, counts_zeros: bool) -> tuple[nn.Sequential, int]:
    """A branch and the channels it gives."""
    branch = nn.Sequential()
    if pools:
        average = nn.AvgPool2d(3, 1, 1, count_include_pad=counts_zeros)
        branch.add_module("pool", average if filters else nn.MaxPool2d(3, 2))
    for number, each in enumerate(filters, start=1):
        layers: list[nn.Module] = [_layer(channels, each)]
        if each.beside is not None:
            layers.append(_layer(channels, each.beside))
        branch.add_module(f"convolution{number}", Concatenation(layers) if each.beside else layers[0])
        channels = each.channels + (each.beside.channels if each.beside else 0)
    return branch, channels


def _layer(channels: int, each: Filter) -> nn.Sequential:
    return convolution_relu(
        channels, each.channels, each.size, each.stride, padded=each.stride == 1 and each.keeps_size
    )


class InceptionV3(ImageClassifier):
    """Stem - Figure 5 at 35x35 - Figure 6 at 17x17 - Figure 7 at 8x8 - global average pooling, dropout - dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = _stem(spec.input_CHW[0])
        self.stages = nn.Sequential()
        channels, before = 192, []
        for number, blocks in enumerate(STAGES, start=1):
            stage = nn.Sequential()
            for name, branches in blocks.items():
                block = Mixed(channels, branches)
                stage.add_module(f"mixed{name}", block)
                channels = block.channels
            self.stages.add_module(f"stage{number}", stage)
            before.append(channels)
        self.neck = pooled_features()
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(0.5), fc=nn.Linear(channels, spec.num_classes)))
        self.auxiliary = side_branch(before[1], spec)
        initialise(self)
        check_size("inception-v3", self, spec, enough_px=75)

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        """logits_BK, and (0.4, logits_BK) of the side branch behind the second stage."""
        first, second, third = self.stages.children()
        map_BCHW = second(first(self.stem(image_BCHW)))
        auxiliary_BK = self.auxiliary(map_BCHW)
        return self.head(self.neck(third(map_BCHW))), [(AUXILIARY_WEIGHT, auxiliary_BK)]


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution1a=convolution_relu(channels, 32, (3, 3), 2, padded=False),
            convolution2a=convolution_relu(32, 32, (3, 3), padded=False),
            convolution2b=convolution_relu(32, 64, (3, 3)),
            pool1=nn.MaxPool2d(3, 2),
            convolution3b=convolution_relu(64, 80, (1, 1)),
            convolution4a=convolution_relu(80, 192, (3, 3), padded=False),
            pool2=nn.MaxPool2d(3, 2),
        )
    )


def side_branch(channels: int, spec: ModelSpec) -> nn.Sequential:
    """Average pooling f5 s3 (17x17 to 5x5), 1x1 to 128, 5x5 to 768, mean, dense.

    Where that pooling would leave less than 5x5 (inputs below 299 pixels), the map is pooled to 5x5 in even bins.
    """
    left_px = min(_after_stage_2(side_px) for side_px in spec.input_CHW[1:])
    is_large = Window(AUXILIARY_PX, 3).output_size(left_px) >= AUXILIARY_PX
    return nn.Sequential(
        OrderedDict(
            pool=nn.AvgPool2d(AUXILIARY_PX, 3) if is_large else nn.AdaptiveAvgPool2d(AUXILIARY_PX),
            convolution0=convolution_relu(channels, 128, (1, 1)),
            convolution1=convolution_relu(128, 768, (AUXILIARY_PX, AUXILIARY_PX), padded=False),
            mean=GlobalAveragePool(),
            fc=nn.Linear(768, spec.num_classes),
        )
    )


def _after_stage_2(side_px: int) -> int:
    for window in (*STEM_WINDOWS, Window(3, 2)):
        side_px = window.output_size(side_px)
    return side_px


KINDS = {"conv": "convolution", "bn": "norm"}
STEM_LAYER = re.compile(r"Conv2d_(\d[ab])_\dx\d\.(conv|bn)\.(\w+)", re.ASCII)
BLOCK_LAYER = re.compile(
    r"Mixed_(\d[a-e])\.(branch_pool|branch[\dx]+(?:dbl)?)(?:_(\d)([ab]?))?\.(conv|bn)\.(\w+)", re.ASCII
)


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision and timm files as ours."""
    if match := STEM_LAYER.fullmatch(key):
        return f"stem.convolution{match[1]}.{KINDS[match[2]]}.{match[3]}"
    if match := BLOCK_LAYER.fullmatch(key):
        name, branch, number, half, kind, tensor = match.groups()
        beside = f"branches.{'ab'.index(half)}." if half else ""
        stage = int(name[0]) - 4
        place = f"stages.stage{stage}.mixed{name}.{branch}.convolution{number or 1}.{beside}"
        return f"{place}{KINDS[kind]}.{tensor}"
    first, *rest = key.split(".")
    if first == "fc":
        return f"head.fc.{rest[0]}"
    if first != "AuxLogits":
        return None
    if rest[0] == "fc":
        return f"auxiliary.fc.{rest[1]}"
    return f"auxiliary.{rest[0].replace('conv', 'convolution')}.{KINDS[rest[1]]}.{rest[2]}"


register(
    Architecture(
        name="inception-v3",
        build=InceptionV3,
        summary="Inception-v3: large filters taken apart, one side branch in training",
        citation="Szegedy et al. 2015, arXiv:1512.00567, Table 1",
        default_spec=IMAGENET,
        references=REFERENCES,
        rename_key=rename_key,
        # Torchvision's network normalises its input once more (`transform_input`), which together is this.
        public_input=PublicInput(
            whose="torchvision's",
            preprocessing=Preprocessing(
                resize_px=342, input_height_px=299, input_width_px=299, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
            ),
        ),
    ),
    __name__,
)
