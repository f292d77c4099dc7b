"""RegNetY (Radosavovic, Kosaraju, Girshick, He, Dollar 2020, Designing network design spaces, arXiv:2003.13678,
section 3.3 and appendix D): networks whose widths lie on a line, found by searching for what good networks share.

A block is ResNeXt's bottleneck that does not narrow; squeeze-and-excitation, to a quarter of the block's input, stands
behind the 3x3 convolution. `-torchvision` are the wider networks that torchvision calls `regnet_y_800mf` and
`regnet_y_8gf`: it rounds widths to whole groups in another way.
"""

from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..layers import SqueezeExcitation, convolution_norm, initialise, pooled_features
from .resnet import shortcut


@dataclass(frozen=True, kw_only=True)
class RegNetConfig:
    """Block j of `depth` has the width `initial_width` + `slope` j, before it is rounded: to a power of `multiplier`
    times the initial width, to a multiple of 8, and to whole groups of `group_width`. With `rounds_up` torchvision's
    way: halves go up, and what would lose more than a tenth of its width goes up, too.
    """

    depth: int
    initial_width: int
    slope: float
    multiplier: float
    group_width: int
    rounds_up: bool = False


# The paper's (d, w0, wa, wm, g) of the RegNetY models in appendix D, as its code publishes them.
CONFIGS = {
    "400mf": RegNetConfig(depth=16, initial_width=48, slope=27.89, multiplier=2.09, group_width=8),
    "800mf": RegNetConfig(depth=14, initial_width=56, slope=38.84, multiplier=2.4, group_width=16),
    "1.6gf": RegNetConfig(depth=27, initial_width=48, slope=20.71, multiplier=2.65, group_width=24),
    "3.2gf": RegNetConfig(depth=21, initial_width=80, slope=42.63, multiplier=2.66, group_width=24),
    "8gf": RegNetConfig(depth=17, initial_width=192, slope=76.82, multiplier=2.19, group_width=56),
    "16gf": RegNetConfig(depth=18, initial_width=200, slope=106.23, multiplier=2.48, group_width=112),
    "800mf-torchvision": RegNetConfig(
        depth=14, initial_width=56, slope=38.84, multiplier=2.4, group_width=16, rounds_up=True
    ),
    "8gf-torchvision": RegNetConfig(
        depth=17, initial_width=192, slope=76.82, multiplier=2.19, group_width=56, rounds_up=True
    ),
}
STEM, QUANTUM, SQUEEZE = 32, 8, 0.25

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
TIMM_NAMES = {
    "400mf": "regnety_004",
    "800mf": "regnety_008",
    "1.6gf": "regnety_016",
    "3.2gf": "regnety_032",
    "8gf": "regnety_080",
    "16gf": "regnety_160",
    "800mf-torchvision": "regnety_008_tv",
    "8gf-torchvision": "regnety_080_tv",
}
PUBLISHED = {  # appendix D says 4.3, 6.3, 11.2, 19.4, 39.2 and 83.6 million
    "400mf": (4_344_144, 401_842_848),
    "800mf": (6_263_168, 797_176_832),
    "1.6gf": (11_202_430, 1_612_076_160),
    "3.2gf": (19_436_338, 3_176_482_752),
    "8gf": (39_180_068, 7_963_057_312),
    "16gf": (83_590_140, 15_911_510_272),
    "800mf-torchvision": (6_432_512, 833_856_256),
    "8gf-torchvision": (39_381_472, 8_473_070_592),
}


def block_widths(config: RegNetConfig) -> list[int]:
    """The width of every block (equations 2 to 4); blocks of one width are a stage."""
    widths = []
    for block in range(config.depth):
        on_the_line = config.initial_width + config.slope * block
        power = round(log(on_the_line / config.initial_width) / log(config.multiplier))
        width = round(config.initial_width * config.multiplier**power / QUANTUM) * QUANTUM
        widths.append(_in_whole_groups(width, config))
    return widths


def _in_whole_groups(width: int, config: RegNetConfig) -> int:
    group_width = min(config.group_width, width)
    if not config.rounds_up:
        return round(width / group_width) * group_width
    rounded = int(width / group_width + 0.5) * group_width
    return rounded if rounded >= 0.9 * width else rounded + group_width


class RegNetBlock(nn.Module):
    """1x1, 3x3 in groups, squeeze-and-excitation, 1x1, all of one width; the shortcut joins before the last ReLU."""

    def __init__(self, channels_in: int, width: int, stride: int, group_width: int) -> None:
        super().__init__()
        self.convolution1 = convolution_norm(channels_in, width, 1)
        self.convolution2 = convolution_norm(width, width, 3, stride, width // min(group_width, width))
        self.excitation = SqueezeExcitation(width, round(SQUEEZE * channels_in))
        self.convolution3 = convolution_norm(width, width, 1)
        self.shortcut = shortcut(channels_in, width, stride)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, width, H / stride, W / stride)."""
        filtered_BCHW = torch.relu(self.convolution2(torch.relu(self.convolution1(map_BCHW))))
        residual_BCHW = self.convolution3(self.excitation(filtered_BCHW))
        return torch.relu(residual_BCHW + self.shortcut(map_BCHW))


class RegNet(ImageClassifier):
    """3x3 convolution - four stages, each at half the size of the one before - global average pooling - dense."""

    def __init__(self, config: RegNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = convolution_norm(spec.input_CHW[0], STEM, 3, 2)
        self.stem.add_module("relu", nn.ReLU())
        self.stages = nn.Sequential()
        channels = STEM
        widths = block_widths(config)
        for number, width in enumerate(sorted(set(widths)), start=1):
            stage = nn.Sequential()
            for position in range(1, widths.count(width) + 1):
                stride = 2 if position == 1 else 1
                stage.add_module(f"block{position}", RegNetBlock(channels, width, stride, config.group_width))
                channels = width
            self.stages.add_module(f"stage{number}", stage)
        self.neck = pooled_features()
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self)


# Layers of a block in torchvision's and timm's files as ours.
BLOCK_LAYERS = {
    **{f"f.{letter}": f"convolution{number}" for number, letter in ((1, "a"), (2, "b"), (3, "c"))},
    **{f"conv{number}": f"convolution{number}" for number in (1, 2, 3)},
    "proj": "shortcut",
    "downsample": "shortcut",
}
EXCITATION = {"fc1": "reduce", "fc2": "expand"}
KINDS = {"0": "convolution", "1": "norm", "conv": "convolution", "bn": "norm"}


def rename_key(key: str) -> str | None:
    """A tensor's name in torchvision's or timm's public file as ours."""
    first, *rest = key.split(".")
    if first in ("fc", "head"):
        return f"head.{rest[-1]}"
    if first == "stem":
        return f"stem.{KINDS[rest[0]]}.{rest[1]}"
    if first == "trunk_output":  # trunk_output.block1.block1-0.f.a.0.weight
        stage, position = rest[1].removeprefix("block").split("-")
        place, rest = f"stages.stage{stage}.block{int(position) + 1}.", rest[2:]
    else:  # s1.b1.conv1.conv.weight
        place, rest = f"stages.stage{first.removeprefix('s')}.block{rest[0].removeprefix('b')}.", rest[1:]
    *layer, kind, tensor = rest
    if layer[-1:] == ["se"]:
        return f"{place}excitation.{EXCITATION[kind]}.{tensor}"
    return f"{place}{BLOCK_LAYERS['.'.join(layer)]}.{KINDS[kind]}.{tensor}"


def build(config: RegNetConfig, spec: ModelSpec) -> RegNet:
    """A RegNetY with fresh weights."""
    return RegNet(config, spec)


def _register(size: str, config: RegNetConfig) -> None:
    library = "torchvision 0.29" if size.endswith("-torchvision") else "timm 1.0.31"
    multiply_adds = size.removesuffix("-torchvision").upper().replace("F", "")
    wider = ", wider" if config.rounds_up else ""
    register(
        Architecture(
            name=f"regnety-{size}",
            build=partial(build, config),
            summary=f"RegNetY for {multiply_adds} multiply-adds{wider}: {config.depth} blocks",
            citation="Radosavovic et al. 2020, arXiv:2003.13678, section 3.3",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source=f"{library} (parameters; multiply-adds of its network by torch's counter)",
                    parameters=PUBLISHED[size][0],
                    multiply_adds=PUBLISHED[size][1],
                ),
            ),
            rename_key=rename_key,
            also_called=(TIMM_NAMES[size],),
        ),
        __name__,
    )


for size, config in CONFIGS.items():
    _register(size, config)
