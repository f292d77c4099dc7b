"""Network in Network (Lin, Chen, Yan 2013, arXiv:1312.4400, sections 3 and 4.2): convolutions followed by 1x1
convolutions, a small dense network slid over every position, and global average pooling in place of dense layers.

The widths are those of the authors' CIFAR-10 network (their Caffe definition), which the paper does not print.
"""

from collections import OrderedDict

from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import GlobalAveragePool, initialise

# kernel of the first convolution, its channels and those of the two 1x1 convolutions; None: the number of classes.
BLOCKS: tuple[tuple[int, tuple[int, int, int | None]], ...] = (
    (5, (192, 160, 96)),
    (5, (192, 192, 192)),
    (3, (192, 192, None)),
)

CIFAR = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
REFERENCES = (
    Reference(
        spec=CIFAR,
        source="by hand from the authors' definition: 14,592 + 30,880 + 15,456 + 460,992 + 2 * 37,056 + 331,968 + "
        "37,056 + 1,930; multiply-adds by the positions of each, 32x32, 16x16 and 8x8",
        parameters=966_986,
        multiply_adds=222_486_528,
    ),
)


class NetworkInNetwork(ImageClassifier):
    """Three mlpconv blocks; maximum, then average pooling between, each with dropout; one map for each class."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        first, second, third = BLOCKS
        channels = spec.input_CHW[0]
        self.stem = _mlpconv(channels, first, spec.num_classes)
        self.stem.add_module("pool", nn.MaxPool2d(3, 2, ceil_mode=True))
        self.stem.add_module("dropout", nn.Dropout(0.5))
        stage1 = _mlpconv(first[1][2] or spec.num_classes, second, spec.num_classes)
        stage1.add_module("pool", nn.AvgPool2d(3, 2, ceil_mode=True))
        stage1.add_module("dropout", nn.Dropout(0.5))
        self.stages = nn.Sequential(OrderedDict(stage1=stage1))
        self.neck = nn.Identity()
        self.head = _mlpconv(second[1][2] or spec.num_classes, third, spec.num_classes)
        self.head.add_module("pool", GlobalAveragePool())
        initialise(self)
        check_size("nin", self, spec, enough_px=16)


def _mlpconv(channels_in: int, block: tuple[int, tuple[int, int, int | None]], num_classes: int) -> nn.Sequential:
    kernel_size, widths = block
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(widths, start=1):
        kernel = kernel_size if number == 1 else 1
        channels_out = width or num_classes
        layers[f"convolution{number}"] = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        layers[f"relu{number}"] = nn.ReLU()
        channels_in = channels_out
    return nn.Sequential(layers)


register(
    Architecture(
        name="nin",
        build=NetworkInNetwork,
        summary="Network in Network: 1x1 convolutions, one map for each class",
        citation="Lin et al. 2013, arXiv:1312.4400, section 4.2",
        default_spec=CIFAR,
        references=REFERENCES,
    ),
    __name__,
)
