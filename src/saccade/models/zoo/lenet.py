"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition, Proc. IEEE
86(11), section II.B).

Deviations of the modern reading `lenet5`: ReLU for the scaled tanh, max pooling for the trainable subsampling, C3
connected to every map of S2 for the table of partial connections, a linear layer with softmax for the RBF output.
Inputs of 28x28 are padded by 2 as the paper padded its digits to 32x32.
"""

from collections import OrderedDict

from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, does_not_fit, register
from ..layers import Flatten

CHANNELS = (6, 16)  # C1, C3
DENSE = (120, 84)  # C5, F6
KERNEL = 5
SMALLEST_PX = 12  # C1 and S2 leave (n - 4) / 2, C3 and S4 leave one position from 12 on

REFERENCES = (
    Reference(
        spec=ModelSpec(num_classes=10, input_CHW=(1, 32, 32)),
        source="section II.B with full connections in C3: 156 + 2,416 + 48,120 + 10,164 + 850",
        parameters=61_706,
        multiply_adds=416_520,
    ),
)


class LeNet5(ImageClassifier):
    """C1 - S2 - C3 - S4 - C5 - F6 - output, with ReLU and max pooling."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height_px, width_px = spec.input_CHW
        padding = 2 if height_px <= 28 and width_px <= 28 else 0
        self.stem = _stage(channels, CHANNELS[0], padding)
        self.stages = nn.Sequential(OrderedDict(stage1=_stage(CHANNELS[0], CHANNELS[1], 0)))
        self.neck = Flatten()
        rows, columns = (_after_pools(size_px + 2 * padding) for size_px in (height_px, width_px))
        if rows < 1 or columns < 1:
            does_not_fit(
                "lenet5",
                "stages.stage1.convolution",
                spec,
                f"after C1 and S2 the map is smaller than its {KERNEL}x{KERNEL} window",
                f"Use images of at least {SMALLEST_PX}x{SMALLEST_PX} pixels, or --set input.size_px=32 to train.",
            )
        self.head = nn.Sequential(
            OrderedDict(
                c5=nn.Linear(CHANNELS[1] * rows * columns, DENSE[0]),
                relu5=nn.ReLU(),
                f6=nn.Linear(DENSE[0], DENSE[1]),
                relu6=nn.ReLU(),
                output=nn.Linear(DENSE[1], spec.num_classes),
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _stage(channels_in: int, channels_out: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(channels_in, channels_out, KERNEL, padding=padding),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),
        )
    )


def _after_pools(size_px: int) -> int:
    return ((size_px - KERNEL + 1) // 2 - KERNEL + 1) // 2


register(
    Architecture(
        name="lenet5",
        build=LeNet5,
        summary="LeNet-5 read today: ReLU, max pooling, softmax",
        citation="LeCun et al. 1998, Proc. IEEE 86(11), section II.B",
        default_spec=REFERENCES[0].spec,
        references=REFERENCES,
    ),
    __name__,
)
