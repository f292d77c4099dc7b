"""ResNeXt (Xie, Girshick, Dollar, Tu, He 2016, Aggregated residual transformations for deep neural networks,
arXiv:1611.05431, Table 1): the bottleneck's 3x3 convolution in 32 groups.

`32x4d` is the cardinality and the channels of one group in conv2_x. The 101 layers of 32x8d are those of the public
weights; the paper has 32x4d and 64x4d of that depth. Deviations: those of `resnet.py`.
"""

from functools import partial

from ..architecture import Architecture, Reference, register
from .resnet import IMAGENET, ResNetConfig, build, rename_key

CONFIGS = {
    "resnext50-32x4d": ResNetConfig(depth=50, groups=32, group_width=4),
    "resnext101-32x8d": ResNetConfig(depth=101, groups=32, group_width=8),
}
PUBLISHED = {  # Table 1 says 25.0 million and 4.2 billion for 50 (32x4d)
    "resnext50-32x4d": (25_028_904, 4_230_479_872),
    "resnext101-32x8d": (88_791_336, 16_414_015_488),
}

for name, config in CONFIGS.items():
    register(
        Architecture(
            name=name,
            build=partial(build, config),
            summary=f"ResNeXt of {config.depth} layers: bottlenecks in 32 groups of {config.group_width} channels",
            citation="Xie et al. 2016, arXiv:1611.05431, Table 1",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source="torchvision 0.29 (parameters; multiply-adds of its network by torch's counter)",
                    parameters=PUBLISHED[name][0],
                    multiply_adds=PUBLISHED[name][1],
                ),
            ),
            rename_key=rename_key,
        ),
        __name__,
    )
