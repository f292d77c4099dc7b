"""AlexNet (Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks, NIPS
25, section 3 and Figure 2) and its one-tower successor (Krizhevsky 2014, arXiv:1404.5997), whose public weights exist.

`alexnet` is the paper's: 227x227 input, local response normalisation, the two-GPU split as grouped convolutions (conv2,
conv4, conv5), overlapping pooling, dropout. `alexnet-one-tower` has neither groups nor normalisation, and other widths.
"""

from collections import OrderedDict
from functools import partial

from torch import nn

from .base import Architecture, ImageClassifier, ModelSpec, Reference, register
from .fit import check_size
from .layers import Flatten, LocalResponseNorm, initialise

# Figure 2: output channels, kernel, stride, padding, groups of the five convolutions.
TWO_TOWERS = ((96, 11, 4, 0, 1), (256, 5, 1, 2, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2))
ONE_TOWER = ((64, 11, 4, 2, 1), (192, 5, 1, 2, 1), (384, 3, 1, 1, 1), (256, 3, 1, 1, 1), (256, 3, 1, 1, 1))
DENSE = 4096

PAPER = ModelSpec(num_classes=1000, input_CHW=(3, 227, 227))
PUBLIC = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))

Row = tuple[int, int, int, int, int]


class AlexNet(ImageClassifier):
    """conv1 - conv2 - conv3, conv4, conv5 - fc6, fc7, fc8; pooling behind conv1, conv2 and conv5."""

    def __init__(self, name: str, rows: tuple[Row, ...], normalise: bool, spec: ModelSpec) -> None:
        super().__init__()
        channels, height_px, width_px = spec.input_CHW
        convolutions = []
        for row in rows:
            convolutions.append(_convolution(channels, row))
            channels = row[0]
        self.stem = _pooled(convolutions[0], 1, normalise)
        last = OrderedDict[str, nn.Module]()
        for number, convolution in enumerate(convolutions[2:], start=3):
            last |= {f"convolution{number}": convolution, f"relu{number}": nn.ReLU()}
        last["pool5"] = nn.MaxPool2d(3, stride=2)
        self.stages = nn.Sequential(
            OrderedDict(stage1=_pooled(convolutions[1], 2, normalise), stage2=nn.Sequential(last))
        )
        self.neck = Flatten()
        self.head = nn.Identity()
        check_size(name, self, spec, enough_px=128)
        self.head = _dense(channels * _positions(height_px, rows) * _positions(width_px, rows), spec.num_classes)
        initialise(self)


def _convolution(channels_in: int, row: Row) -> nn.Conv2d:
    channels_out, kernel_size, stride, padding, groups = row
    if channels_in % groups:
        groups = 1
    return nn.Conv2d(channels_in, channels_out, kernel_size, stride, padding, groups=groups)


def _pooled(convolution: nn.Conv2d, number: int, normalise: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"convolution{number}"] = convolution
    layers[f"relu{number}"] = nn.ReLU()
    if normalise:
        layers[f"norm{number}"] = LocalResponseNorm()
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


def _positions(size_px: int, rows: tuple[Row, ...]) -> int:
    """Rows or columns of the map behind pool5."""
    for number, (_, kernel_size, stride, padding, _) in enumerate(rows, start=1):
        size_px = (size_px + 2 * padding - kernel_size) // stride + 1
        if number in (1, 2, 5):
            size_px = (size_px - 3) // 2 + 1
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


def build(name: str, rows: tuple[Row, ...], normalise: bool, spec: ModelSpec) -> AlexNet:
    """An AlexNet with fresh weights."""
    return AlexNet(name, rows, normalise, spec)


register(
    Architecture(
        name="alexnet",
        build=partial(build, "alexnet", TWO_TOWERS, True),
        summary="AlexNet as published: grouped convolutions, local response norm",
        citation="Krizhevsky et al. 2012, NIPS 25, section 3",
        default_spec=PAPER,
        references=(
            Reference(
                spec=PAPER,
                source="Figure 2: 60 million; 60,965,224 with 227x227 inputs as in the authors' code",
                parameters=60_965_224,
            ),
        ),
    ),
    __name__,
)
register(
    Architecture(
        name="alexnet-one-tower",
        build=partial(build, "alexnet-one-tower", ONE_TOWER, False),
        summary="AlexNet on one processor, as its public weights have it",
        citation="Krizhevsky 2014, arXiv:1404.5997",
        default_spec=PUBLIC,
        references=(Reference(spec=PUBLIC, source="torchvision 0.28", parameters=61_100_840),),
        rename_key=rename_key,
    ),
    __name__,
)
