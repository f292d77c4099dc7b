"""DenseNet (Huang, Liu, van der Maaten, Weinberger 2016, Densely connected convolutional networks, arXiv:1608.06993,
Table 1): every layer of a block sees the maps of all layers before it.

These are the DenseNet-BC of the paper's ImageNet experiments: growth rate 32, 1x1 bottlenecks of 4 times that, and
transitions that halve the channels. Normalisation and ReLU stand in front of a convolution, not behind it; a stage is a
dense block with the transition behind it, and the last normalisation belongs to the neck.
"""

import re
from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import convolution_norm, initialise, pooled_features

# Table 1: layers in each of the four dense blocks.
BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
STEM, GROWTH, BOTTLENECK = 64, 32, 4

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
PUBLISHED = {  # torchvision states 2.83, 3.36 and 4.29 billion
    121: (7_978_856, 2_834_161_664),
    169: (14_149_480, 3_359_843_328),
    201: (20_013_928, 4_291_365_888),
}


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 to 128 channels; norm, ReLU, 3x3 to 32 new channels, put behind those that came (section 3)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        inner = BOTTLENECK * GROWTH
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.convolution1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.convolution2 = nn.Conv2d(inner, GROWTH, 3, padding=1, bias=False)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C + 32, H, W), the first C channels as they came."""
        narrow_BCHW = self.convolution1(torch.relu(self.norm1(map_BCHW)))
        new_BCHW = self.convolution2(torch.relu(self.norm2(narrow_BCHW)))
        return torch.cat((map_BCHW, new_BCHW), dim=1)


def transition(channels: int) -> nn.Sequential:
    """Norm, ReLU, 1x1 to half of the channels, means of 2x2 positions (section 3, compression 0.5)."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            convolution=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(ImageClassifier):
    """conv, pool - four dense blocks with transitions between - norm, ReLU, global average pooling - dense."""

    def __init__(self, depth: int, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = convolution_norm(spec.input_CHW[0], STEM, 7, 2)
        self.stem.add_module("relu", nn.ReLU())
        self.stem.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.Sequential()
        channels = STEM
        for number, count in enumerate(BLOCKS[depth], start=1):
            stage = nn.Sequential()
            for position in range(1, count + 1):
                stage.add_module(f"layer{position}", DenseLayer(channels))
                channels += GROWTH
            if number < len(BLOCKS[depth]):
                stage.add_module("transition", transition(channels))
                channels //= 2
            self.stages.add_module(f"stage{number}", stage)
        self.neck = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels), relu=nn.ReLU(), pool=pooled_features()))
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self)
        check_size(f"densenet{depth}", self, spec, enough_px=32)


# The public names of layers; files written before 2018 have `norm.1` where later ones have `norm1`.
OUTSIDE = {"conv0": "stem.convolution", "norm0": "stem.norm", "norm5": "neck.norm"}
KINDS = {"conv": "convolution", "norm": "norm"}
LAYER = re.compile(r"denseblock(\d+)\.denselayer(\d+)\.(conv|norm)\.?([12])\.(\w+)", re.ASCII)
TRANSITION = re.compile(r"transition(\d+)\.(conv|norm)\.(\w+)", re.ASCII)


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision and timm files as ours."""
    if key.startswith("classifier."):
        return key.replace("classifier.", "head.")
    inside = key.removeprefix("features.")
    if match := LAYER.fullmatch(inside):
        stage, position, kind, number, tensor = match.groups()
        return f"stages.stage{stage}.layer{position}.{KINDS[kind]}{number}.{tensor}"
    if match := TRANSITION.fullmatch(inside):
        stage, kind, tensor = match.groups()
        return f"stages.stage{stage}.transition.{KINDS[kind]}.{tensor}"
    owner, _, tensor = inside.partition(".")
    return f"{OUTSIDE[owner]}.{tensor}"


def build(depth: int, spec: ModelSpec) -> DenseNet:
    """A DenseNet with fresh weights."""
    return DenseNet(depth, spec)


for depth in BLOCKS:
    register(
        Architecture(
            name=f"densenet{depth}",
            build=partial(build, depth),
            summary=f"DenseNet of {depth} layers, each of which sees all before it in its block",
            citation="Huang et al. 2016, arXiv:1608.06993, Table 1",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source="torchvision 0.29 (parameters; multiply-adds of its network by torch's counter)",
                    parameters=PUBLISHED[depth][0],
                    multiply_adds=PUBLISHED[depth][1],
                ),
            ),
            rename_key=rename_key,
        ),
        __name__,
    )
