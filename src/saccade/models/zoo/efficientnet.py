"""EfficientNet (Tan and Le 2019, EfficientNet: Rethinking model scaling, arXiv:1905.11946, Table 1), B0 to B4, and the
authors' EfficientNet-Lite 0 to 4 (github.com/tensorflow/tpu, models/official/efficientnet/lite, 2020).

The Lite networks have no squeeze-and-excitation, ReLU6 for SiLU, and the same stem, head, first and last stage at every
scale. B0 to B4 pad both sides alike, with an epsilon of 1e-5, as torchvision's and timm's own weights do; the Lite
networks pad as TensorFlow's SAME, with 1e-3, as the authors' weights do. Batch normalisation's momentum is torch's 0.1
(the authors': 0.01). Stochastic depth rises from 0 to 0.2 over the blocks.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil

from torch import nn

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..inverted_residual import (
    CONVOLUTION_NORM,
    TIMM_OUTSIDE,
    InvertedResidual,
    InvertedResidualConfig,
    Style,
    activated_convolution,
    from_timm,
    from_torchvision,
    round_channels,
)
from ..layers import initialise, pooled_features

# Table 1, stages 2 to 8: expansion, kernel, output channels, repeats, stride of the first repeat.
BLOCKS = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
STEM, LAST = 32, 1280
LAST_DROP = 0.2  # of stochastic depth, which the authors divide by the number of blocks
# The authors' scales: width, depth, side of the input in pixels, dropout.
SCALES = {
    "b0": (1.0, 1.0, 224, 0.2),
    "b1": (1.0, 1.1, 240, 0.2),
    "b2": (1.1, 1.2, 260, 0.3),
    "b3": (1.2, 1.4, 300, 0.3),
    "b4": (1.4, 1.8, 380, 0.4),
    "lite0": (1.0, 1.0, 224, 0.2),
    "lite1": (1.0, 1.1, 240, 0.2),
    "lite2": (1.1, 1.2, 260, 0.3),
    "lite3": (1.2, 1.4, 280, 0.3),
    "lite4": (1.4, 1.8, 300, 0.3),
}
PUBLISHED = {  # parameters, multiply-adds, the side of the input they are counted at
    "b0": (5_288_548, 385_814_752, 224),
    "b1": (7_794_184, 686_802_832, 240),
    "b2": (9_109_994, 1_087_529_456, 288),
    "b3": (12_233_232, 1_827_141_392, 300),
    "b4": (19_341_616, 4_393_771_024, 380),
    "lite0": (4_652_008, 385_187_552, 224),
    "lite1": (5_416_680, 600_185_232, 240),
    "lite2": (6_092_072, 859_736_272, 260),
    "lite3": (8_197_096, 1_383_321_872, 280),
    "lite4": (13_006_568, 2_553_034_336, 300),
}
SOURCE = "torchvision 0.28: parameters and, in billions, multiply-adds of its weights; Table 2 of the paper says {}"
LITE_SOURCE = "timm 1.0.31 (parameters), counted by hand from Table 1 and the scales (multiply-adds)"
SAID = {  # Table 2: parameters in millions, multiply-adds in billions
    "b0": "5.3 million, 0.39 billion",
    "b1": "7.8 million, 0.70 billion",
    "b2": "9.2 million, 1.0 billion at 260 pixels",
    "b3": "12 million, 1.8 billion",
    "b4": "19 million, 4.2 billion",
}
# What torchvision's files want: short side and side of the centre in pixels.
TORCHVISION_PX = {"b0": (256, 224), "b1": (256, 240), "b2": (288, 288), "b3": (320, 300), "b4": (384, 380)}
PADS_BOTH = "pads both sides of its maps alike"
PADS_LATE = "pads its maps as TensorFlow does"


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """`scale` is a key of SCALES."""

    scale: str

    @property
    def is_lite(self) -> bool:
        return self.scale.startswith("lite")

    @property
    def name(self) -> str:
        return f"efficientnet-{self.scale}"

    @property
    def style(self) -> Style:
        if self.is_lite:
            return Style(activation=nn.ReLU6, epsilon=1e-3, same_padding=True)
        return Style(activation=nn.SiLU)

    def width(self, channels: int, is_end: bool = False) -> int:
        """`channels` of B0 at this scale; at the ends, stem and head, the Lite networks keep them."""
        return channels if self.is_lite and is_end else round_channels(channels * SCALES[self.scale][0])

    def repeats(self) -> list[int]:
        """Blocks in each stage; the Lite networks keep the first and the last stage as they are."""
        depth = SCALES[self.scale][1]
        counts = [ceil(count * depth) for _, _, _, count, _ in BLOCKS]
        return [1, *counts[1:-1], 1] if self.is_lite else counts

    def blocks(self) -> Iterator[tuple[int, InvertedResidualConfig]]:
        """(number of the stage, block) in order."""
        channels, counts, number = self.width(STEM, is_end=True), self.repeats(), 0
        for stage, (expansion, kernel_size, width, _, stride) in enumerate(BLOCKS):
            for position in range(counts[stage]):
                yield (
                    stage + 1,
                    InvertedResidualConfig(
                        channels_in=channels,
                        inner=channels * expansion,
                        channels_out=self.width(width),
                        kernel_size=kernel_size,
                        stride=stride if position == 0 else 1,
                        squeezed=0 if self.is_lite else channels // 4,
                        drop=LAST_DROP * number / sum(counts),
                    ),
                )
                channels, number = self.width(width), number + 1


class EfficientNet(ImageClassifier):
    """conv - seven stages of inverted residuals - 1x1 convolution, global average pooling - dropout, dense."""

    def __init__(self, config: EfficientNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        style, dropout = config.style, SCALES[config.scale][3]
        self.stem = activated_convolution(spec.input_CHW[0], config.width(STEM, is_end=True), 3, style, 2)
        stages = [nn.Sequential() for _ in BLOCKS]
        for number, block in config.blocks():
            stages[number - 1].append(InvertedResidual(block, style, inside=nn.SiLU))
        self.stages = nn.Sequential(OrderedDict((f"stage{number}", stage) for number, stage in enumerate(stages, 1)))
        last = config.width(LAST, is_end=True)
        self.neck = nn.Sequential(
            OrderedDict(
                convolution=activated_convolution(config.width(BLOCKS[-1][2]), last, 1, style), pool=pooled_features()
            )
        )
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(dropout), fc=nn.Linear(last, spec.num_classes)))
        initialise(self)


# What the layers outside the blocks are called in files of the "efficientnet-pytorch" family, and inside them.
FAMILY_OUTSIDE = {
    "_conv_stem": "stem.convolution",
    "_bn0": "stem.norm",
    "_conv_head": "neck.convolution.convolution",
    "_bn1": "neck.convolution.norm",
    "_fc": "head.fc",
}
FAMILY_BLOCK = {
    "_expand_conv": "expand.convolution",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.convolution",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.convolution",
    "_bn2": "project.norm",
}


def rename_key(config: EfficientNetConfig, key: str) -> str | None:
    """A tensor's name in timm's file as ours; in torchvision's for B0 to B4, in the authors' family's for Lite."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_OUTSIDE:
        return f"{TIMM_OUTSIDE[owner]}.{kind}"
    if key.startswith("blocks."):
        _, stage, position, rest = key.split(".", 3)
        return f"stages.stage{int(stage) + 1}.{position}.{from_timm(rest, BLOCKS[int(stage)][0] > 1)}"
    return _family_key(config, key) if config.is_lite else _torchvision_key(key)


def _family_key(config: EfficientNetConfig, key: str) -> str:
    owner, _, kind = key.rpartition(".")
    if owner in FAMILY_OUTSIDE:
        return f"{FAMILY_OUTSIDE[owner]}.{kind}"
    _, number, layer, kind = key.split(".")
    stages = [stage for stage, _ in config.blocks()]
    stage = stages[int(number)]
    return f"stages.stage{stage}.{int(number) - stages.index(stage)}.{FAMILY_BLOCK[layer]}.{kind}"


def _torchvision_key(key: str) -> str:
    if key.startswith("classifier.1."):
        return key.replace("classifier.1.", "head.fc.")
    _, number, rest = key.split(".", 2)
    if number in ("0", str(len(BLOCKS) + 1)):
        layer, kind = rest.split(".")
        return f"{'stem' if number == '0' else 'neck.convolution'}.{CONVOLUTION_NORM[layer]}.{kind}"
    position, _, rest = rest.split(".", 2)
    expands = BLOCKS[int(number) - 1][0] > 1
    return f"stages.stage{number}.{position}.{from_torchvision(rest, expands, excites=True)}"


def public_input(config: EfficientNetConfig) -> PublicInput:
    """Torchvision's for B0 to B4; the authors' for Lite: the centre of 32 pixels more, (x - 127) / 128."""
    if not config.is_lite:
        resize_px, side_px = TORCHVISION_PX[config.scale]
        return PublicInput(whose="torchvision's", preprocessing=_bicubic(resize_px, side_px, Preprocessing()))
    mean, deviation = 127 / 255, 128 / 255
    scaled = Preprocessing(mean=(mean, mean, mean), std=(deviation, deviation, deviation))
    side_px = SCALES[config.scale][2]
    return PublicInput(whose="Google's", preprocessing=_bicubic(side_px + 32, side_px, scaled))


def _bicubic(resize_px: int, side_px: int, scaled: Preprocessing) -> Preprocessing:
    return Preprocessing(
        resize_px=resize_px,
        input_height_px=side_px,
        input_width_px=side_px,
        interpolation="bicubic",
        mean=scaled.mean,
        std=scaled.std,
    )


def lookalikes(config: EfficientNetConfig) -> dict[str, str]:
    """Timm's networks of the same tensors that pad in the other way, with another epsilon."""
    if config.is_lite:
        return {f"efficientnet_{config.scale}": PADS_BOTH}
    return {f"tf_efficientnet_{config.scale}": PADS_LATE}


def reference(config: EfficientNetConfig) -> Reference:
    """The published figures, at the input at which they were counted."""
    parameters, multiply_adds, side_px = PUBLISHED[config.scale]
    return Reference(
        spec=ModelSpec(num_classes=1000, input_CHW=(3, side_px, side_px)),
        source=LITE_SOURCE if config.is_lite else SOURCE.format(SAID[config.scale]),
        parameters=parameters,
        multiply_adds=multiply_adds,
    )


def build(config: EfficientNetConfig, spec: ModelSpec) -> EfficientNet:
    """An EfficientNet with fresh weights."""
    return EfficientNet(config, spec)


for scale, (_, _, side_px, _) in SCALES.items():
    config = EfficientNetConfig(scale=scale)
    register(
        Architecture(
            name=config.name,
            build=partial(build, config),
            summary=(
                f"EfficientNet-Lite{scale[-1]}: the same without excitation, for small devices"
                if config.is_lite
                else f"EfficientNet-{scale.upper()}: width, depth and input scaled together"
            ),
            citation="Tan and Le 2019, arXiv:1905.11946, Table 1",
            default_spec=ModelSpec(num_classes=1000, input_CHW=(3, side_px, side_px)),
            references=(reference(config),),
            rename_key=partial(rename_key, config),
            public_input=public_input(config),
            lookalikes=lookalikes(config),
            also_called=(f"tf_efficientnet_{scale}",) if config.is_lite else (),
        ),
        __name__,
    )
