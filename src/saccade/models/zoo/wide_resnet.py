"""Wide ResNet for photos (Zagoruyko, Komodakis 2016, Wide residual networks, arXiv:1605.07146, Table 8): ResNet-50 with
bottlenecks twice as wide inside.

The paper's WRN-50-2-bottleneck, whose outer channels stay those of ResNet-50. Deviations: those of `resnet.py`.
"""

from functools import partial

from ..architecture import Architecture, Reference, register
from .resnet import IMAGENET, WIDTHS, ResNetConfig, build, rename_key

WIDENING = 2

register(
    Architecture(
        name="wide-resnet50-2",
        build=partial(build, ResNetConfig(depth=50, group_width=WIDENING * WIDTHS[0])),
        summary="ResNet-50 with bottlenecks twice as wide inside",
        citation="Zagoruyko, Komodakis 2016, arXiv:1605.07146, Table 8",
        default_spec=IMAGENET,
        references=(
            Reference(
                spec=IMAGENET,
                source="torchvision 0.29 (parameters; multiply-adds of its network by torch's counter); "
                "Table 8 says 68.9 million",
                parameters=68_883_240,
                multiply_adds=11_398_021_120,
            ),
        ),
        rename_key=rename_key,
    ),
    __name__,
)
