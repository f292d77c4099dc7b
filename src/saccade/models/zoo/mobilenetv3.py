"""MobileNetV3 (Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244, Tables 1 and 2).

Deviations: epsilon is 1e-5, as in timm's own weights, where the paper and torchvision have 1e-3: loading moves the
running variances of torchvision's files by the difference, so their answers stay the same. Padding is alike on both
sides and batch normalisation's momentum torch's 0.1 (the paper's: 0.01).
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import nn

from ...core.types import Preprocessing
from ..architecture import (
    Architecture,
    ImageClassifier,
    ModelSpec,
    PublicInput,
    Reference,
    Translation,
    register,
)
from ..inverted_residual import (
    CONVOLUTION_NORM,
    InvertedResidual,
    InvertedResidualConfig,
    Style,
    activated_convolution,
    from_timm,
    from_torchvision,
    round_channels,
)
from ..layers import initialise, pooled_features

Row = tuple[int, int, int, bool, bool, int]
# Kernel, expanded channels, output channels, squeeze-and-excitation, hard swish (else ReLU), stride.
LARGE: tuple[Row, ...] = (  # Table 1
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
SMALL: tuple[Row, ...] = (  # Table 2
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
STEM = 16
EPSILON, TORCHVISION_EPSILON = 1e-5, 1e-3
RECTIFIED = Style(activation=nn.ReLU, epsilon=EPSILON)
SWISHED = Style(activation=nn.Hardswish, epsilon=EPSILON)

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
SOURCE = "torchvision 0.28: parameters and, in billions, multiply-adds of its weights; the paper says {}"


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Config:
    """`rows` of the paper's table; `last` is the width of its last convolution, `hidden` that behind pooling."""

    name: str
    rows: tuple[Row, ...]
    last: int
    hidden: int

    @property
    def places(self) -> list[tuple[int, int]]:
        """(stage, position in it) of each row, counted from 1 and 0: a stage is a run of equal output channels."""
        places: list[tuple[int, int]] = []
        for number, row in enumerate(self.rows):
            is_same = number > 0 and row[2] == self.rows[number - 1][2]
            stage, position = places[-1] if places else (0, 0)
            places.append((stage, position + 1) if is_same else (stage + 1, 0))
        return places

    def expands(self, number: int) -> bool:
        """Whether row `number` begins with a 1x1 convolution."""
        return self.rows[number][1] != (self.rows[number - 1][2] if number else STEM)


CONFIGS = (
    MobileNetV3Config(name="mobilenetv3-large", rows=LARGE, last=960, hidden=1280),
    MobileNetV3Config(name="mobilenetv3-small", rows=SMALL, last=576, hidden=1024),
)
PUBLISHED = {  # parameters, multiply-adds, the paper's own words
    "mobilenetv3-large": (5_483_032, 216_589_760, "5.4 and 219 million"),
    "mobilenetv3-small": (2_542_856, 56_510_400, "2.5 and 56 million"),
}
TORCHVISION_RESIZE_PX = {"mobilenetv3-large": 232, "mobilenetv3-small": 256}  # large: of the second, better file


class MobileNetV3(ImageClassifier):
    """conv - inverted residuals - 1x1 convolution, global average pooling - a hidden layer, dense."""

    def __init__(self, config: MobileNetV3Config, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = activated_convolution(spec.input_CHW[0], STEM, 3, SWISHED, 2)
        num_stages = config.places[-1][0]
        self.stages = nn.Sequential(OrderedDict((f"stage{n + 1}", nn.Sequential()) for n in range(num_stages)))
        channels = STEM
        for (stage, _), row in zip(config.places, config.rows, strict=True):
            self.stages[stage - 1].append(_block(row, channels))
            channels = row[2]
        self.neck = nn.Sequential(
            OrderedDict(convolution=activated_convolution(channels, config.last, 1, SWISHED), pool=pooled_features())
        )
        self.head = nn.Sequential(
            OrderedDict(
                hidden=nn.Linear(config.last, config.hidden),
                activation=nn.Hardswish(),
                dropout=nn.Dropout(0.2),
                fc=nn.Linear(config.hidden, spec.num_classes),
            )
        )
        initialise(self)


def _block(row: Row, channels_in: int) -> InvertedResidual:
    kernel_size, inner, channels_out, excites, swishes, stride = row
    block = InvertedResidualConfig(
        channels_in=channels_in,
        inner=inner,
        channels_out=channels_out,
        kernel_size=kernel_size,
        stride=stride,
        squeezed=round_channels(inner // 4) if excites else 0,
    )
    return InvertedResidual(block, SWISHED if swishes else RECTIFIED, gate=nn.Hardsigmoid)


TIMM_OUTSIDE = {
    "conv_stem": "stem.convolution",
    "bn1": "stem.norm",
    "conv_head": "head.hidden",
    "classifier": "head.fc",
}
TORCHVISION_OUTSIDE = {"classifier.0": "head.hidden", "classifier.3": "head.fc"}


def rename_key(config: MobileNetV3Config, key: str) -> str | None:
    """A tensor's name in the public torchvision file, or in timm's, as ours."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_OUTSIDE | TORCHVISION_OUTSIDE:
        return f"{(TIMM_OUTSIDE | TORCHVISION_OUTSIDE)[owner]}.{kind}"
    family, number, rest = key.split(".", 2)
    if family == "blocks":
        return _timm_key(config, int(number), rest)
    if number in ("0", str(len(config.rows) + 1)):
        layer, kind = rest.split(".")
        return f"{'stem' if number == '0' else 'neck.convolution'}.{CONVOLUTION_NORM[layer]}.{kind}"
    row = int(number) - 1
    stage, position = config.places[row]
    inside = from_torchvision(rest.removeprefix("block."), config.expands(row), config.rows[row][3])
    return f"stages.stage{stage}.{position}.{inside}"


def _timm_key(config: MobileNetV3Config, stage: int, rest: str) -> str:
    position, rest = rest.split(".", 1)
    if stage == config.places[-1][0]:  # the convolution in front of pooling is a stage of its own there
        layer, kind = rest.split(".")
        return f"neck.convolution.{ {'conv': 'convolution', 'bn1': 'norm'}[layer] }.{kind}"
    row = config.places.index((stage + 1, int(position)))
    return f"stages.stage{stage + 1}.{position}.{from_timm(rest, config.expands(row))}"


def added_variance(key: str) -> float:
    """What torchvision's epsilon has more than ours, for a tensor of its file."""
    return TORCHVISION_EPSILON - EPSILON if "features" in key.split(".") else 0.0


def build(config: MobileNetV3Config, spec: ModelSpec) -> MobileNetV3:
    """A MobileNetV3 with fresh weights."""
    return MobileNetV3(config, spec)


for config in CONFIGS:
    parameters, multiply_adds, said = PUBLISHED[config.name]
    size = config.name.rpartition("-")[2]
    register(
        Architecture(
            name=config.name,
            build=partial(build, config),
            summary=f"MobileNetV3 {size}: found by search, hard swish, squeeze-and-excitation",
            citation="Howard et al. 2019, arXiv:1905.02244, Tables 1 and 2",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source=SOURCE.format(said),
                    parameters=parameters,
                    multiply_adds=multiply_adds,
                ),
            ),
            rename_key=Translation(rename=partial(rename_key, config), added_variance=added_variance),
            public_input=PublicInput(
                whose="torchvision's",
                preprocessing=Preprocessing(resize_px=TORCHVISION_RESIZE_PX[config.name]),
            ),
            lookalikes={f"tf_mobilenetv3_{size}_100": "pads its maps as TensorFlow does"},
        ),
        __name__,
    )
