"""GoogLeNet (Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842, Table 1 and section 5).

`googlenet` is the paper's: 5x5 filters in the third branch, local response normalisation in the stem, no batch
normalisation. Its two side branches (section 5) work in training only, through `forward_train`, with weight 0.3.
`googlenet-bn3x3` is the variant whose public weights exist: batch normalisation everywhere, 3x3 where the paper has
5x5, no local response normalisation. Pooling rounds up, as the published map sizes require.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ...conv.geometry import Window
from ...core.types import Preprocessing
from ...kernels.response_norm import LocalResponseNorm
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..fit import check_size
from ..layers import Flatten, initialise, pooled_features
from .inception import Inception, InceptionConfig, convolution_relu

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY_BEHIND = {"4a": 512, "4d": 528}  # section 5: side branches on 4a and 4d, with their channels
AUXILIARY_WEIGHT = 0.3

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))


@dataclass(frozen=True, kw_only=True)
class GoogLeNetConfig:
    """`wide_kernel` is the third branch's filter: 5 in the paper, 3 in the public weights."""

    name: str
    normalise: bool
    wide_kernel: int


PAPER = GoogLeNetConfig(name="googlenet", normalise=False, wide_kernel=5)
PUBLIC = GoogLeNetConfig(name="googlenet-bn3x3", normalise=True, wide_kernel=3)


class GoogLeNet(ImageClassifier):
    """Stem - inception 3a, 3b - 4a to 4e - 5a, 5b - global average pooling, dropout - dense."""

    def __init__(self, config: GoogLeNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = _stem(config, spec.input_CHW[0])
        self.stages = nn.Sequential()
        channels = 192
        for number in ("3", "4", "5"):
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            for row in (row for row in TABLE_1 if row.startswith(number)):
                block = InceptionConfig(**dict(zip(_COLUMNS, TABLE_1[row], strict=True)))
                stage[f"inception{row}"] = Inception(channels, block, config.normalise, config.wide_kernel)
                channels = block.channels
            if number != "5":
                stage["pool"] = nn.MaxPool2d(3 if number == "3" or not config.normalise else 2, 2, ceil_mode=True)
            self.stages.add_module(f"stage{int(number) - 2}", nn.Sequential(stage))
        self.neck = pooled_features()
        self.head = nn.Sequential(
            OrderedDict(dropout=nn.Dropout(0.2 if config.normalise else 0.4), fc=nn.Linear(channels, spec.num_classes))
        )
        self.auxiliary = nn.ModuleDict(
            {row: side_branch(width, spec, config.normalise) for row, width in AUXILIARY_BEHIND.items()}
        )
        initialise(self)
        check_size(config.name, self, spec, enough_px=64)

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        """logits_BK, and (0.3, logits_BK) of each of the two side branches."""
        first, second, third = self.stages.children()
        map_BCHW = first(self.stem(image_BCHW))
        auxiliary = []
        for name, block in second.named_children():
            map_BCHW = block(map_BCHW)
            row = name.removeprefix("inception")
            if row in self.auxiliary:
                auxiliary.append((AUXILIARY_WEIGHT, self.auxiliary[row](map_BCHW)))
        feature_BD = self.neck(third(map_BCHW))
        return self.head(feature_BD), auxiliary


_COLUMNS = ("plain", "reduce3x3", "filter3x3", "reduce5x5", "filter5x5", "pool")


def _stem(config: GoogLeNetConfig, channels: int) -> nn.Sequential:
    layer = partial(convolution_relu, normalise=config.normalise)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        convolution1=layer(channels, 64, 7, 2), pool1=nn.MaxPool2d(3, 2, ceil_mode=True)
    )
    if not config.normalise:
        layers["norm1"] = LocalResponseNorm()
    layers |= {"reduce2": layer(64, 64, 1), "convolution2": layer(64, 192, 3)}
    if not config.normalise:
        layers["norm2"] = LocalResponseNorm()
    layers["pool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(layers)


def side_branch(channels: int, spec: ModelSpec, normalise: bool) -> nn.Sequential:
    """Section 5: average pooling f5 s3 (14x14 to 4x4), 1x1 convolution to 128, dense 1024, dropout 0.7, classes.

    The public variant pools any map to 4x4. Maps smaller than 5x5 (inputs below 80 pixels) are averaged whole.
    """
    pool: nn.Module
    rows, columns = (Window(5, 3).output_size(-(-size_px // 16)) for size_px in spec.input_CHW[1:])
    if normalise:
        rows, columns, pool = 4, 4, nn.AdaptiveAvgPool2d(4)
    elif min(rows, columns) < 1:
        rows, columns, pool = 1, 1, nn.AdaptiveAvgPool2d(1)
    else:
        pool = nn.AvgPool2d(5, stride=3)
    return nn.Sequential(
        OrderedDict(
            pool=pool,
            convolution=convolution_relu(channels, 128, 1, normalise=normalise),
            flatten=Flatten(),
            fc1=nn.Linear(128 * rows * columns, 1024),
            relu=nn.ReLU(),
            dropout=nn.Dropout(0.7),
            fc2=nn.Linear(1024, spec.num_classes),
        )
    )


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision file as ours (`googlenet-bn3x3`)."""
    owner, *rest = key.split(".")
    kinds = {"conv": "convolution", "bn": "norm"}
    if owner == "fc":
        return f"head.fc.{rest[0]}"
    if owner in ("conv1", "conv2", "conv3"):
        place = {"conv1": "convolution1", "conv2": "reduce2", "conv3": "convolution2"}[owner]
        return f"stem.{place}.{kinds[rest[0]]}.{rest[1]}"
    if owner in ("aux1", "aux2"):
        row = "4a" if owner == "aux1" else "4d"
        if rest[0] == "conv":
            return f"auxiliary.{row}.convolution.{kinds[rest[1]]}.{rest[2]}"
        return f"auxiliary.{row}.{rest[0]}.{rest[1]}"
    row = owner.removeprefix("inception")
    place = f"stages.stage{int(row[0]) - 2}.inception{row}."
    if rest[0] == "branch1":
        return f"{place}branch1.{kinds[rest[1]]}.{rest[2]}"
    if rest[0] == "branch4":
        return f"{place}branch_pool.project.{kinds[rest[2]]}.{rest[3]}"
    branch = {"branch2": "branch3", "branch3": "branch5"}[rest[0]]
    return f"{place}{branch}.{'reduce' if rest[1] == '0' else 'filter'}.{kinds[rest[2]]}.{rest[3]}"


def build(config: GoogLeNetConfig, spec: ModelSpec) -> GoogLeNet:
    """A GoogLeNet with fresh weights."""
    return GoogLeNet(config, spec)


register(
    Architecture(
        name="googlenet",
        build=partial(build, PAPER),
        summary="GoogLeNet: nine Inception blocks, two side branches in training",
        citation="Szegedy et al. 2014, arXiv:1409.4842, Table 1",
        default_spec=IMAGENET,
        references=(
            Reference(
                spec=IMAGENET,
                source="by hand from Table 1: 6,998,552 and 2 side branches (section 5) of 3,188,840 and 3,190,888; "
                "multiply-adds without them (the paper's sum is 1.5 billion)",
                parameters=13_378_280,
                multiply_adds=1_582_671_872,
            ),
        ),
    ),
    __name__,
)
register(
    Architecture(
        name="googlenet-bn3x3",
        build=partial(build, PUBLIC),
        summary="GoogLeNet as its public weights have it: batch norm, 3x3 for 5x5",
        citation="Szegedy et al. 2014, arXiv:1409.4842; torchvision 0.28",
        default_spec=IMAGENET,
        references=(
            Reference(
                spec=IMAGENET,
                source="torchvision 0.28, side branches in the parameters, not in the multiply-adds",
                parameters=13_004_888,
                multiply_adds=1_498_376_192,
            ),
        ),
        rename_key=rename_key,
        # torchvision normalises GoogLeNet's input twice (models/googlenet.py, _transform_input), which together is this
        public_input=PublicInput(
            whose="torchvision's",
            preprocessing=Preprocessing(resize_px=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        ),
    ),
    __name__,
)
