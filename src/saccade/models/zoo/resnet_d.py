"""ResNet-50-D (He, Zhang, Zhang, Zhang, Xie, Li 2018, Bag of tricks for image classification with convolutional neural
networks, arXiv:1812.01187, Figure 2 and Table 5): a stem of three 3x3 convolutions, shortcuts that average before they
project. The third tweak, the stride in the 3x3 convolution (ResNet-B), all our ResNets have.

A map of odd size has a last row whose means are of one position; the paper's maps are all even.
"""

from functools import partial

from ..architecture import Architecture, Reference, register
from .resnet import IMAGENET, ResNetConfig, build
from .resnet import rename_key as rename_resnet_key

# timm's layers of the stem, and the projection behind the averaging, as ours.
TIMM_STEM = {
    "conv1.0": "convolution1.convolution",
    "conv1.1": "convolution1.norm",
    "conv1.3": "convolution2.convolution",
    "conv1.4": "convolution2.norm",
    "conv1.6": "convolution3.convolution",
    "bn1": "convolution3.norm",
}
TIMM_PROJECTION = {"1": "convolution", "2": "norm"}


def rename_key(key: str) -> str | None:
    """A tensor's name in timm's `resnet50d` as ours."""
    owner, _, kind = key.rpartition(".")
    if owner in TIMM_STEM:
        return f"stem.{TIMM_STEM[owner]}.{kind}"
    block, is_shortcut, number = owner.partition(".downsample.")
    if not is_shortcut:
        return rename_resnet_key(key)
    stage, position = block.removeprefix("layer").split(".")
    project = "project." if stage != "1" else ""  # stage 1 keeps the size of its maps, so nothing is averaged
    return f"stages.stage{stage}.{position}.shortcut.{project}{TIMM_PROJECTION[number]}.{kind}"


register(
    Architecture(
        name="resnet50-d",
        build=partial(build, ResNetConfig(depth=50, deep_stem=True, pooled_shortcuts=True)),
        summary="ResNet-50 with a stem of three convolutions and averaging shortcuts",
        citation="He et al. 2018, arXiv:1812.01187, Figure 2",
        default_spec=IMAGENET,
        references=(
            Reference(
                spec=IMAGENET,
                source="timm 1.0.31 (parameters; multiply-adds of its network by torch's counter); "
                "Table 5 says 4.3 billion",
                parameters=25_576_264,
                multiply_adds=4_328_824_832,
            ),
        ),
        rename_key=rename_key,
    ),
    __name__,
)
