"""MobileNet (Howard et al. 2017, MobileNets: Efficient convolutional neural networks, arXiv:1704.04861, Table 1).

Deviations: ReLU6 for ReLU, as in the authors' release and in the public weights; the last depthwise convolution has
stride 1, where Table 1 says 2 and its map sizes say 1.
"""

from collections import OrderedDict

import torch
from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..inverted_residual import Style, activated_convolution
from ..layers import initialise, pooled_features

# Table 1, rows of equal width together: output channels, layers, stride of the first.
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
STEM = 32
STYLE = Style(activation=nn.ReLU6)

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
REFERENCES = (
    Reference(
        spec=IMAGENET,
        source="timm 1.0.31 (parameters), counted by hand from Table 1 (multiply-adds); Table 4: 4.2 and 569 million",
        parameters=4_231_976,
        multiply_adds=568_740_352,
    ),
)


class DepthwiseSeparable(nn.Module):
    """3x3 channel by channel, then 1x1, each with batch normalisation and a nonlinearity (Figure 3, right)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = activated_convolution(channels_in, channels_in, 3, STYLE, stride, groups=channels_in)
        self.pointwise = activated_convolution(channels_in, channels_out, 1, STYLE)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride), rounded up."""
        filtered_BCHW: torch.Tensor = self.pointwise(self.depthwise(map_BCHW))
        return filtered_BCHW


class MobileNetV1(ImageClassifier):
    """conv - five stages of depthwise separable convolutions - global average pooling - dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = activated_convolution(spec.input_CHW[0], STEM, 3, STYLE, 2)
        self.stages = nn.Sequential(OrderedDict((f"stage{n + 1}", nn.Sequential()) for n in range(len(STAGES))))
        channels = STEM
        for stage, (width, layers, stride) in zip(self.stages.children(), STAGES, strict=True):
            for position in range(layers):
                stage.append(DepthwiseSeparable(channels, width, stride if position == 0 else 1))  # type: ignore[operator]
                channels = width
        self.neck = pooled_features()
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self)


TIMM_OUTSIDE = {"conv_stem": "stem.convolution", "bn1": "stem.norm", "classifier": "head"}
TIMM_BLOCK = {
    "conv_dw": "depthwise.convolution",
    "bn1": "depthwise.norm",
    "conv_pw": "pointwise.convolution",
    "bn2": "pointwise.norm",
}


def rename_key(key: str) -> str | None:
    """A tensor's name in timm's file as ours."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_OUTSIDE:
        return f"{TIMM_OUTSIDE[owner]}.{kind}"
    _, stage, position, layer = owner.split(".")
    return f"stages.stage{int(stage) + 1}.{position}.{TIMM_BLOCK[layer]}.{kind}"


register(
    Architecture(
        name="mobilenetv1",
        build=MobileNetV1,
        summary="MobileNet: depthwise separable convolutions and nothing else",
        citation="Howard et al. 2017, arXiv:1704.04861, Table 1",
        default_spec=IMAGENET,
        references=REFERENCES,
        rename_key=rename_key,
        public_input=PublicInput(
            whose="timm's",
            preprocessing=Preprocessing(
                resize_px=256, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
            ),
        ),
    ),
    __name__,
)
