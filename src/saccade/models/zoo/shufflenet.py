"""ShuffleNet V2 (Ma et al. 2018, ShuffleNet V2: Practical guidelines, arXiv:1807.11164, Table 5)."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..inverted_residual import CONVOLUTION_NORM, Style, activated_convolution, styled_convolution
from ..layers import initialise, pooled_features

# Table 5: output channels of stages 2, 3 and 4 and of conv5.
WIDTHS = {
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}
UNITS = (4, 8, 4)  # of stages 2, 3 and 4; the first of each has stride 2
STEM = 24
STYLE = Style(activation=nn.ReLU)

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
SOURCE = "torchvision 0.28: parameters and, in billions, multiply-adds of its weights; Table 5 of the paper says {}"
PUBLISHED = {  # parameters, multiply-adds, the paper's own words
    "0.5": (1_366_792, 40_476_448, "1.4 and 41 million"),
    "1.0": (2_278_604, 144_907_992, "2.3 and 146 million"),
    "1.5": (3_503_624, 295_759_392, "3.5 and 299 million"),
    "2.0": (7_393_996, 583_253_464, "7.4 and 591 million"),
}
TORCHVISION_RESIZE_PX = {"0.5": 256, "1.0": 256, "1.5": 232, "2.0": 232}


@dataclass(frozen=True, kw_only=True)
class ShuffleNetConfig:
    """`width` is a key of WIDTHS."""

    width: str

    @property
    def name(self) -> str:
        return f"shufflenetv2-x{self.width}"


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half is filtered, and the two are shuffled (Figure 3 c); with stride 2 all
    channels go both ways (Figure 3 d)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.splits = stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if not self.splits:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    depthwise=styled_convolution(channels_in, channels_in, 3, STYLE, stride, groups=channels_in),
                    project=activated_convolution(channels_in, half, 1, STYLE),
                )
            )
        self.branch = nn.Sequential(
            OrderedDict(
                reduce=activated_convolution(half if self.splits else channels_in, half, 1, STYLE),
                depthwise=styled_convolution(half, half, 3, STYLE, stride, groups=half),
                project=activated_convolution(half, half, 1, STYLE),
            )
        )

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride), rounded up."""
        passed_BCHW, filtered_BCHW = map_BCHW.chunk(2, dim=1) if self.splits else (map_BCHW, map_BCHW)
        both_BCHW = torch.cat([self.shortcut(passed_BCHW), self.branch(filtered_BCHW)], dim=1)
        return both_BCHW.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)  # channels of the halves in turn


class ShuffleNetV2(ImageClassifier):
    """conv1, pool - stages 2 to 4 (here 1 to 3) - conv5, global average pooling - dense."""

    def __init__(self, config: ShuffleNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        *widths, last = WIDTHS[config.width]
        self.stem = nn.Sequential(
            OrderedDict(
                convolution=activated_convolution(spec.input_CHW[0], STEM, 3, STYLE, 2),
                pool=nn.MaxPool2d(3, stride=2, padding=1),
            )
        )
        self.stages = nn.Sequential()
        channels = STEM
        for number, (width, units) in enumerate(zip(widths, UNITS, strict=True), start=1):
            stage = nn.Sequential()
            for position in range(units):
                stage.append(ShuffleUnit(channels, width, 2 if position == 0 else 1))
                channels = width
            self.stages.add_module(f"stage{number}", stage)
        self.neck = nn.Sequential(
            OrderedDict(convolution=activated_convolution(channels, last, 1, STYLE), pool=pooled_features())
        )
        self.head = nn.Linear(last, spec.num_classes)
        initialise(self)


# torchvision counts the layers of a branch, nonlinearities included.
SHORTCUT = {"0": "depthwise.convolution", "1": "depthwise.norm", "2": "project.convolution", "3": "project.norm"}
BRANCH = {
    "0": "reduce.convolution",
    "1": "reduce.norm",
    "3": "depthwise.convolution",
    "4": "depthwise.norm",
    "5": "project.convolution",
    "6": "project.norm",
}


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision file as ours."""
    owner, *rest = key.split(".")
    if owner == "fc":
        return f"head.{rest[0]}"
    if owner in ("conv1", "conv5"):
        return f"{'stem' if owner == 'conv1' else 'neck'}.convolution.{CONVOLUTION_NORM[rest[0]]}.{rest[1]}"
    position, branch, layer, kind = rest
    inside = f"shortcut.{SHORTCUT[layer]}" if branch == "branch1" else f"branch.{BRANCH[layer]}"
    return f"stages.stage{int(owner.removeprefix('stage')) - 1}.{position}.{inside}.{kind}"


def build(config: ShuffleNetConfig, spec: ModelSpec) -> ShuffleNetV2:
    """A ShuffleNet V2 with fresh weights."""
    return ShuffleNetV2(config, spec)


for width in WIDTHS:
    config = ShuffleNetConfig(width=width)
    parameters, multiply_adds, said = PUBLISHED[width]
    register(
        Architecture(
            name=config.name,
            build=partial(build, config),
            summary=f"ShuffleNet V2, {width} times as wide: half the channels pass, then a shuffle",
            citation="Ma et al. 2018, arXiv:1807.11164, Table 5",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source=SOURCE.format(said),
                    parameters=parameters,
                    multiply_adds=multiply_adds,
                ),
            ),
            rename_key=rename_key,
            public_input=PublicInput(
                whose="torchvision's", preprocessing=Preprocessing(resize_px=TORCHVISION_RESIZE_PX[width])
            ),
        ),
        __name__,
    )
