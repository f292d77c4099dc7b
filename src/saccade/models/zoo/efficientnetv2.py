"""EfficientNetV2-S (Tan and Le 2021, EfficientNetV2: Smaller models and faster training, arXiv:2104.00298, Table 4).

Padding is alike on both sides, epsilon 1e-3, the last width 1280: as torchvision's weights have it. Batch
normalisation's momentum is torch's 0.1. Stochastic depth rises from 0 to 0.2 over the blocks.
"""

from collections import OrderedDict

from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..inverted_residual import (
    CONVOLUTION_NORM,
    FusedInvertedResidual,
    InvertedResidual,
    InvertedResidualConfig,
    Style,
    activated_convolution,
    from_torchvision,
)
from ..layers import initialise, pooled_features

# Table 4, stages 1 to 6: fused, expansion, output channels, layers, stride of the first; all filters are 3x3.
BLOCKS = (
    (True, 1, 24, 2, 1),
    (True, 4, 48, 4, 2),
    (True, 4, 64, 4, 2),
    (False, 4, 128, 6, 2),
    (False, 6, 160, 9, 1),
    (False, 6, 256, 15, 2),
)
STEM, LAST = 24, 1280
LAST_DROP = 0.2
STYLE = Style(activation=nn.SiLU, epsilon=1e-3)

PHOTO = ModelSpec(num_classes=1000, input_CHW=(3, 384, 384))
REFERENCES = (
    Reference(
        spec=PHOTO,
        source="torchvision 0.28: parameters and, in billions, multiply-adds of its weights; Table 7 of the paper says "
        "22 million and 8.8 billion",
        parameters=21_458_488,
        multiply_adds=8_365_617_152,
    ),
)


class EfficientNetV2(ImageClassifier):
    """conv - three fused stages, three of inverted residuals - 1x1 convolution, global average pooling - dense."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = activated_convolution(spec.input_CHW[0], STEM, 3, STYLE, 2)
        self.stages = nn.Sequential()
        channels, number, num_blocks = STEM, 0, sum(row[3] for row in BLOCKS)
        for stage, (is_fused, expansion, width, layers, stride) in enumerate(BLOCKS, start=1):
            blocks = nn.Sequential()
            for position in range(layers):
                block = InvertedResidualConfig(
                    channels_in=channels,
                    inner=channels * expansion,
                    channels_out=width,
                    kernel_size=3,
                    stride=stride if position == 0 else 1,
                    squeezed=0 if is_fused else channels // 4,
                    drop=LAST_DROP * number / num_blocks,
                )
                blocks.append(
                    FusedInvertedResidual(block, STYLE) if is_fused else InvertedResidual(block, STYLE, inside=nn.SiLU)
                )
                channels, number = width, number + 1
            self.stages.add_module(f"stage{stage}", blocks)
        self.neck = nn.Sequential(
            OrderedDict(convolution=activated_convolution(channels, LAST, 1, STYLE), pool=pooled_features())
        )
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(0.2), fc=nn.Linear(LAST, spec.num_classes)))
        initialise(self)


FUSED = {"0": "expand", "1": "project"}


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision file as ours."""
    if key.startswith("classifier.1."):
        return key.replace("classifier.1.", "head.fc.")
    _, number, rest = key.split(".", 2)
    if number in ("0", str(len(BLOCKS) + 1)):
        layer, kind = rest.split(".")
        return f"{'stem' if number == '0' else 'neck.convolution'}.{CONVOLUTION_NORM[layer]}.{kind}"
    position, _, rest = rest.split(".", 2)
    if BLOCKS[int(number) - 1][0]:
        part, layer, kind = rest.split(".")
        inside = f"{FUSED[part]}.{CONVOLUTION_NORM[layer]}.{kind}"
    else:
        inside = from_torchvision(rest, expands=True, excites=True)
    return f"stages.stage{number}.{position}.{inside}"


register(
    Architecture(
        name="efficientnetv2-s",
        build=EfficientNetV2,
        summary="EfficientNetV2-S: whole convolutions early, depthwise ones late",
        citation="Tan and Le 2021, arXiv:2104.00298, Table 4",
        default_spec=PHOTO,
        references=REFERENCES,
        rename_key=rename_key,
        public_input=PublicInput(
            whose="torchvision's",
            preprocessing=Preprocessing(resize_px=384, input_height_px=384, input_width_px=384),
        ),
    ),
    __name__,
)
