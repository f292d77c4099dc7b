"""SE-ResNet-50 (Hu, Shen, Albanie, Sun, Wu 2017, Squeeze-and-excitation networks, arXiv:1709.01507, Table 1): every
bottleneck weighs its channels before the shortcut joins (Figure 3), with a reduction of 16.

Deviations: those of `resnet.py`; the paper's has the stride in the first 1x1 convolution.
"""

from functools import partial

from ..architecture import Architecture, Reference, register
from .resnet import IMAGENET, ResNetConfig, build
from .resnet import rename_key as rename_resnet_key

REDUCTION = 16
TIMM_LAYERS = {"fc1": "reduce", "fc2": "expand"}


def rename_key(key: str) -> str | None:
    """A tensor's name in timm's `seresnet50` as ours."""
    block, is_excitation, inside = key.partition(".se.")
    if not is_excitation:
        return rename_resnet_key(key)
    stage, position = block.removeprefix("layer").split(".")
    layer, tensor = inside.split(".")
    return f"stages.stage{stage}.{position}.excitation.{TIMM_LAYERS[layer]}.{tensor}"


register(
    Architecture(
        name="se-resnet50",
        build=partial(build, ResNetConfig(depth=50, squeeze=REDUCTION)),
        summary="ResNet-50 whose blocks weigh their channels: squeeze-and-excitation",
        citation="Hu et al. 2017, arXiv:1709.01507, Table 1",
        default_spec=IMAGENET,
        references=(
            Reference(
                spec=IMAGENET,
                source="timm 1.0.31 (parameters; multiply-adds of its network by torch's counter)",
                parameters=28_088_024,
                multiply_adds=4_091_699_200,
            ),
        ),
        rename_key=rename_key,
    ),
    __name__,
)
