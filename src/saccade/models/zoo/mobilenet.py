"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, Table 2)."""

from collections import OrderedDict

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..inverted_residual import CONVOLUTION_NORM, TIMM_OUTSIDE, from_timm, from_torchvision
from ..layers import convolution_norm, initialise, pooled_features

# Table 2: expansion, output channels, repeats, stride of the first repeat.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
REFERENCES = (
    Reference(
        spec=IMAGENET,
        source="torchvision 0.28 (parameters); Table 4 of the paper says 3.4 and 300 million",
        parameters=3_504_872,
        multiply_adds=300_774_272,
    ),
)


def convolution_relu6(channels_in: int, channels_out: int, kernel_size: int, stride: int, groups: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU6."""
    layer = convolution_norm(channels_in, channels_out, kernel_size, stride, groups)
    layer.add_module("relu6", nn.ReLU6())
    return layer


class InvertedResidual(nn.Module):
    """Expand 1x1, filter 3x3 channel by channel, project 1x1 without nonlinearity (Figure 4)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = convolution_relu6(channels_in, inner, 1, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = convolution_relu6(inner, inner, 3, stride, inner)
        self.project = convolution_norm(inner, channels_out, 1)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride)."""
        projected_BCHW: torch.Tensor = self.project(self.depthwise(self.expand(map_BCHW)))
        return map_BCHW + projected_BCHW if self.has_shortcut else projected_BCHW


class MobileNetV2(ImageClassifier):
    """conv - seven stages of inverted residuals - 1x1 convolution, global average pooling - dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = convolution_relu6(spec.input_CHW[0], STEM, 3, 2, 1)
        self.stages = nn.Sequential()
        channels = STEM
        for number, (expansion, width, repeats, stride) in enumerate(BLOCKS, start=1):
            blocks = nn.Sequential()
            for position in range(repeats):
                blocks.append(InvertedResidual(channels, width, stride if position == 0 else 1, expansion))
                channels = width
            self.stages.add_module(f"stage{number}", blocks)
        self.neck = nn.Sequential(
            OrderedDict(convolution=convolution_relu6(channels, LAST, 1, 1, 1), pool=pooled_features())
        )
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(0.2), fc=nn.Linear(LAST, spec.num_classes)))
        initialise(self)


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision file, or in timm's, as ours."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_OUTSIDE:
        return f"{TIMM_OUTSIDE[owner]}.{kind}"
    if key.startswith("blocks."):
        _, number, position, rest = key.split(".", 3)
        return f"stages.stage{int(number) + 1}.{position}.{from_timm(rest, BLOCKS[int(number)][0] > 1)}"
    if key.startswith("classifier.1."):
        return key.replace("classifier.1.", "head.fc.")
    _, number, rest = key.split(".", 2)
    first = 1
    for stage, (expansion, _, repeats, _) in enumerate(BLOCKS, start=1):
        if first <= int(number) < first + repeats:
            return f"stages.stage{stage}.{int(number) - first}.{_block_key(rest.removeprefix('conv.'), expansion > 1)}"
        first += repeats
    layer, kind = rest.split(".")
    return f"{'stem' if number == '0' else 'neck.convolution'}.{CONVOLUTION_NORM[layer]}.{kind}"


def _block_key(rest: str, expands: bool) -> str:
    """As `from_torchvision`, but the projection's two layers stand beside the other parts, not in one of their own."""
    position, _, layer_and_kind = rest.partition(".")
    num_parts = 1 + expands
    if int(position) >= num_parts:
        rest = f"{num_parts}.{int(position) - num_parts}.{layer_and_kind}"
    return from_torchvision(rest, expands, excites=False)


register(
    Architecture(
        name="mobilenetv2",
        build=MobileNetV2,
        summary="MobileNetV2: inverted residuals, small and quick",
        citation="Sandler et al. 2018, arXiv:1801.04381, Table 2",
        default_spec=IMAGENET,
        references=REFERENCES,
        rename_key=rename_key,
        also_called=("mobilenetv2_100",),
    ),
    __name__,
)
