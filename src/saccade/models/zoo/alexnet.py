"""AlexNet (Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks, NIPS
25, section 3 and Figure 2) and its one-tower successor (Krizhevsky 2014, arXiv:1404.5997), whose public weights exist.

`alexnet` is the paper's: 227x227 input, local response normalisation, the two-GPU split as grouped convolutions (conv2,
conv4, conv5), overlapping pooling, dropout. `alexnet-one-tower` has neither groups nor normalisation, and other widths.

Deviations: the paper prints 224x224 inputs, but its 55x55 maps need 227; normalisation runs across the border between
the two halves of the maps, as the formula of section 3.3 says, where the authors' program normalised each processor's
own; weights start as in He et al. 2015 and biases at 0 instead of a normal of 0.01 and, in part, 1. The same network
on two devices is in `alexnet_two_devices`.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import nn

from ...conv.geometry import Window
from ...kernels.response_norm import LocalResponseNorm
from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import Flatten, initialise

Row = tuple[int, int, int, int, int]

# Figure 2: output channels, kernel, stride, padding, groups of the five convolutions.
TWO_TOWERS: tuple[Row, ...] = (
    (96, 11, 4, 0, 1),
    (256, 5, 1, 2, 2),
    (384, 3, 1, 1, 1),
    (384, 3, 1, 1, 2),
    (256, 3, 1, 1, 2),
)
# Krizhevsky 2014, as the public weights have it.
ONE_TOWER: tuple[Row, ...] = (
    (64, 11, 4, 2, 1),
    (192, 5, 1, 2, 1),
    (384, 3, 1, 1, 1),
    (256, 3, 1, 1, 1),
    (256, 3, 1, 1, 1),
)
POOLED = (1, 2, 5)  # the convolutions with overlapping pooling, f3 s2, behind them (section 3.4)
DENSE = 4096

PAPER = ModelSpec(num_classes=1000, input_CHW=(3, 227, 227))
PUBLIC = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """`rows` are the five convolutions; `normalise` puts local response normalisation behind the first two."""

    name: str
    rows: tuple[Row, ...]
    normalise: bool


class AlexNet(ImageClassifier):
    """conv1 - conv2 - conv3, conv4, conv5 - fc6, fc7, fc8; pooling behind conv1, conv2 and conv5."""

    def __init__(self, config: AlexNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        channels = spec.input_CHW[0]
        layers = []
        for number, row in enumerate(config.rows, start=1):
            layers.append(_layer(number, channels, row, config.normalise and number <= 2))
            channels = row[0]
        first, second, *others = layers
        last = OrderedDict((name, module) for layer in others for name, module in layer.named_children())
        self.stem = first
        self.stages = nn.Sequential(OrderedDict(stage1=second, stage2=nn.Sequential(last)))
        self.neck = Flatten()
        self.head = nn.Identity()
        check_size(config.name, self, spec, enough_px=67)
        rows, columns = (_after_pool5(size_px, config.rows) for size_px in spec.input_CHW[1:])
        self.head = _dense(channels * rows * columns, spec.num_classes)
        initialise(self)


def _layer(number: int, channels_in: int, row: Row, normalise: bool) -> nn.Sequential:
    channels_out, kernel_size, stride, padding, groups = row
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"convolution{number}"] = nn.Conv2d(channels_in, channels_out, kernel_size, stride, padding, groups=groups)
    layers[f"relu{number}"] = nn.ReLU()
    if normalise:
        layers[f"norm{number}"] = LocalResponseNorm()
    if number in POOLED:
        layers[f"pool{number}"] = nn.MaxPool2d(3, stride=2)
    return nn.Sequential(layers)


def _dense(num_features: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            dropout6=nn.Dropout(0.5),
            fc6=nn.Linear(num_features, DENSE),
            relu6=nn.ReLU(),
            dropout7=nn.Dropout(0.5),
            fc7=nn.Linear(DENSE, DENSE),
            relu7=nn.ReLU(),
            fc8=nn.Linear(DENSE, num_classes),
        )
    )


def _after_pool5(size_px: int, rows: tuple[Row, ...]) -> int:
    """Rows or columns of the map behind pool5."""
    for number, (_, kernel_size, stride, padding, _) in enumerate(rows, start=1):
        size_px = Window(kernel_size, stride, padding).output_size(size_px)
        if number in POOLED:
            size_px = Window(3, 2).output_size(size_px)
    return size_px


def rename_key(key: str) -> str | None:
    """A tensor's name in the public torchvision file of the one-tower network as ours."""
    places = {
        "features.0": "stem.convolution1",
        "features.3": "stages.stage1.convolution2",
        "features.6": "stages.stage2.convolution3",
        "features.8": "stages.stage2.convolution4",
        "features.10": "stages.stage2.convolution5",
        "classifier.1": "head.fc6",
        "classifier.4": "head.fc7",
        "classifier.6": "head.fc8",
    }
    owner, _, kind = key.rpartition(".")
    return f"{places[owner]}.{kind}" if owner in places else None


register(
    Architecture(
        name="alexnet",
        build=partial(AlexNet, AlexNetConfig(name="alexnet", rows=TWO_TOWERS, normalise=True)),
        summary="AlexNet as published: grouped convolutions, local response norm",
        citation="Krizhevsky et al. 2012, NIPS 25, section 3",
        default_spec=PAPER,
        references=(
            Reference(
                spec=PAPER,
                source="Figure 2 by hand (60 million in the abstract); multiply-adds also Sze et al. 2017, "
                "arXiv:1703.09039, Table II (724 million)",
                parameters=60_965_224,
                multiply_adds=724_406_816,
            ),
        ),
    ),
    __name__,
)
register(
    Architecture(
        name="alexnet-one-tower",
        build=partial(AlexNet, AlexNetConfig(name="alexnet-one-tower", rows=ONE_TOWER, normalise=False)),
        summary="AlexNet on one processor, as its public weights have it",
        citation="Krizhevsky 2014, arXiv:1404.5997",
        default_spec=PUBLIC,
        references=(
            Reference(spec=PUBLIC, source="torchvision 0.28", parameters=61_100_840, multiply_adds=714_188_480),
        ),
        rename_key=rename_key,
    ),
    __name__,
)
