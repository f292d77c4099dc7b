"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556, Table 1, configurations A, B, D and E).

Left out: configuration C (1x1 convolutions) and A-LRN, which the paper finds no better than A. Variants `-bn` put batch
normalisation behind every convolution (Ioffe and Szegedy 2015), which the paper did not have: they train without its
staged initialisation. Weights start as in He et al. 2015.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import Flatten, initialise

# Table 1: how many 3x3 convolutions stand before each 2x2 maximum pooling.
CONFIGURATIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
CHANNELS = (64, 128, 256, 512, 512)
DENSE = 4096

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
# torchvision 0.28; Table 2 has the parameters in millions. Multiply-adds: by hand from Table 1, sum over groups of
# positions x 9 x channels in x channels out, and the dense layers; torchvision states them in billions.
PARAMETERS = {
    11: 132_863_336,
    13: 133_047_848,
    16: 138_357_544,
    19: 143_667_240,
}
PARAMETERS_BN = {11: 132_868_840, 13: 133_053_736, 16: 138_365_992, 19: 143_678_248}
MULTIPLY_ADDS = {11: 7_609_090_048, 13: 11_308_466_176, 16: 15_470_264_320, 19: 19_632_062_464}


@dataclass(frozen=True, kw_only=True)
class VGGConfig:
    """`depth` counts layers with weights, a key of CONFIGURATIONS."""

    depth: int
    batch_norm: bool = False

    @property
    def name(self) -> str:
        return f"vgg{self.depth}{'-bn' if self.batch_norm else ''}"


class VGG(ImageClassifier):
    """Five groups of 3x3 convolutions, each followed by maximum pooling, then three dense layers.

    The first group is the stem, the other four are the stages.
    """

    def __init__(self, config: VGGConfig, spec: ModelSpec) -> None:
        super().__init__()
        channels, height_px, width_px = spec.input_CHW
        counts = CONFIGURATIONS[config.depth]
        groups = []
        for count, width in zip(counts, CHANNELS, strict=True):
            groups.append(_group(channels, width, count, config.batch_norm))
            channels = width
        self.stem = groups[0]
        self.stages = nn.Sequential(OrderedDict((f"stage{n}", group) for n, group in enumerate(groups[1:], start=1)))
        self.neck = Flatten()
        self.head = nn.Identity()
        check_size(config.name, self, spec, enough_px=32)
        self.head = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(channels * (height_px // 32) * (width_px // 32), DENSE),
                relu6=nn.ReLU(),
                dropout6=nn.Dropout(0.5),
                fc7=nn.Linear(DENSE, DENSE),
                relu7=nn.ReLU(),
                dropout7=nn.Dropout(0.5),
                fc8=nn.Linear(DENSE, spec.num_classes),
            )
        )
        initialise(self)


def _group(channels_in: int, channels_out: int, count: int, batch_norm: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, count + 1):
        layers[f"convolution{number}"] = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(channels_out)
        layers[f"relu{number}"] = nn.ReLU()
        channels_in = channels_out
    layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def public_names(config: VGGConfig) -> dict[str, str]:
    """Our layers by their names in the public files: torchvision numbers all of them, timm names the dense ones."""
    names = {"classifier.0": "head.fc6", "classifier.3": "head.fc7", "classifier.6": "head.fc8"}
    names |= {"pre_logits.fc1": "head.fc6", "pre_logits.fc2": "head.fc7", "head.fc": "head.fc8"}
    position = 0
    for group, count in enumerate(CONFIGURATIONS[config.depth]):
        place = f"stages.stage{group}" if group else "stem"
        for number in range(1, count + 1):
            names[f"features.{position}"] = f"{place}.convolution{number}"
            if config.batch_norm:
                names[f"features.{position + 1}"] = f"{place}.norm{number}"
            position += 3 if config.batch_norm else 2
        position += 1  # the pooling
    return names


def rename_key(config: VGGConfig, key: str) -> str | None:
    """A tensor's name in the public torchvision file, or in timm's, as ours.

    timm keeps fc6 and fc7 as convolutions of 7x7 and 1x1, whose weights are our matrices flattened.
    """
    owner, _, kind = key.rpartition(".")
    ours = public_names(config).get(owner)
    return f"{ours}.{kind}" if ours else None


for depth in CONFIGURATIONS:
    for batch_norm in (False, True):
        config = VGGConfig(depth=depth, batch_norm=batch_norm)
        register(
            Architecture(
                name=config.name,
                build=partial(VGG, config),
                summary=f"VGG of {depth} layers{', with batch normalisation' if batch_norm else ''}",
                citation="Simonyan and Zisserman 2014, arXiv:1409.1556, Table 1",
                default_spec=IMAGENET,
                references=(
                    Reference(
                        spec=IMAGENET,
                        source="torchvision 0.28; the paper's Table 2 in millions",
                        parameters=(PARAMETERS_BN if batch_norm else PARAMETERS)[depth],
                        multiply_adds=MULTIPLY_ADDS[depth],
                    ),
                ),
                rename_key=partial(rename_key, config),
            ),
            __name__,
        )
