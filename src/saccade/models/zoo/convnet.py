"""The two worked examples by which convolutional networks are taught: sizes shrink, channels grow, dense layers hold
most parameters (Ng 2017, Convolutional neural networks, deeplearning.ai, week 1; B is modelled on LeCun et al. 1998).

`convnet-a`: 39x39x3 -[f3 s1, 10]-> 37x37x10 -[f5 s2, 20]-> 17x17x20 -[f5 s2, 40]-> 7x7x40 -> 1960 -> classes.
`convnet-b`: CONV1 f5 8, POOL1, CONV2 f5 16, POOL2, FC3 120, FC4 84, softmax; a pooling belongs to the layer before it.
"""

from collections import OrderedDict

from torch import nn

from ...conv.geometry import Window
from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import Flatten, initialise

# Channels, kernel, stride of the three layers of network A.
LAYERS_A = ((10, 3, 1), (20, 5, 2), (40, 5, 2))
# Channels of CONV1 and CONV2 (f5 s1, then pooling f2 s2), units of FC3 and FC4.
CHANNELS_B, DENSE_B = (8, 16), (120, 84)
# Activation shape, activation size, parameters of network B, row by row.
TABLE_B = (
    ("input", (3, 32, 32), 3072, 0),
    ("CONV1", (8, 28, 28), 6272, 608),
    ("POOL1", (8, 14, 14), 1568, 0),
    ("CONV2", (16, 10, 10), 1600, 3216),
    ("POOL2", (16, 5, 5), 400, 0),
    ("FC3", (120,), 120, 48_120),
    ("FC4", (84,), 84, 10_164),
    ("softmax", (10,), 10, 850),
)

INPUT_A = ModelSpec(num_classes=10, input_CHW=(3, 39, 39))
INPUT_B = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))


class ConvNetA(ImageClassifier):
    """Three convolutions and a softmax on the flattened map."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels = spec.input_CHW[0]
        layers = []
        for width, kernel_size, stride in LAYERS_A:
            convolution = nn.Conv2d(channels, width, kernel_size, stride)
            layers.append(nn.Sequential(OrderedDict(convolution=convolution, relu=nn.ReLU())))
            channels = width
        self.stem = layers[0]
        self.stages = nn.Sequential(OrderedDict(stage1=layers[1], stage2=layers[2]))
        self.neck = Flatten()
        self.head = nn.Identity()
        check_size("convnet-a", self, spec, enough_px=39)
        windows = [Window(kernel, stride) for _, kernel, stride in LAYERS_A]
        self.head = nn.Linear(channels * _positions(spec, windows), spec.num_classes)
        initialise(self)


class ConvNetB(ImageClassifier):
    """CONV1, POOL1 - CONV2, POOL2 - FC3, FC4, softmax."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        first, second = CHANNELS_B
        self.stem = _convolution_pool(spec.input_CHW[0], first, 1)
        self.stages = nn.Sequential(OrderedDict(stage1=_convolution_pool(first, second, 2)))
        self.neck = Flatten()
        self.head = nn.Identity()
        check_size("convnet-b", self, spec, enough_px=32)
        num_features = second * _positions(spec, [Window(5), Window(2, 2)] * 2)
        self.head = nn.Sequential(
            OrderedDict(
                fc3=nn.Linear(num_features, DENSE_B[0]),
                relu3=nn.ReLU(),
                fc4=nn.Linear(DENSE_B[0], DENSE_B[1]),
                relu4=nn.ReLU(),
                softmax=nn.Linear(DENSE_B[1], spec.num_classes),
            )
        )
        initialise(self)


def _convolution_pool(channels_in: int, channels_out: int, number: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            [
                (f"conv{number}", nn.Conv2d(channels_in, channels_out, 5)),
                (f"relu{number}", nn.ReLU()),
                (f"pool{number}", nn.MaxPool2d(2)),
            ]
        )
    )


def _positions(spec: ModelSpec, windows: list[Window]) -> int:
    """Rows times columns of the map behind `windows`."""
    _, rows, columns = spec.input_CHW
    for window in windows:
        rows, columns = window.output_size(rows), window.output_size(columns)
    return rows * columns


def _register(name: str, build: type[ConvNetA] | type[ConvNetB], summary: str, reference: Reference) -> None:
    register(
        Architecture(
            name=name,
            build=build,
            summary=summary,
            citation="Ng 2017, Convolutional neural networks, deeplearning.ai, week 1",
            default_spec=reference.spec,
            references=(reference,),
        ),
        __name__,
    )


_register(
    "convnet-a",
    ConvNetA,
    "first worked example: three convolutions and a softmax",
    Reference(
        spec=INPUT_A,
        source="by hand: 280 + 5,020 + 20,040 + 19,610 parameters; "
        "369,630 + 1,445,000 + 980,000 + 19,600 multiply-adds",
        parameters=44_950,
        multiply_adds=2_814_230,
    ),
)
_register(
    "convnet-b",
    ConvNetB,
    "second worked example, LeNet-5-like: two conv-pool layers, three dense",
    Reference(
        spec=INPUT_B,
        source="TABLE_B: 608 + 3,216 + 48,120 + 10,164 + 850; by hand: 470,400 + 320,000 + 48,000 + 10,080 + 840",
        parameters=62_958,
        multiply_adds=849_320,
    ),
)
