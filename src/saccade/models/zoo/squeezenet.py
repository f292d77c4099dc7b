"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360, Table 1) and its lighter 1.1 (the authors' release, 2016).

The head is the paper's: dropout, a 1x1 convolution to the classes, ReLU, and the mean over all positions, so the
feature is a map. Pooling rounds up, as in the authors' Caffe model.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, register
from ..fit import check_size
from ..layers import GlobalAveragePool, initialise

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
POOL = "pool"


@dataclass(frozen=True, kw_only=True)
class SqueezeNetConfig:
    """`stem` is (channels, kernel, stride) of conv1; `fires` lists (squeeze 1x1, expand 1x1 = expand 3x3) by stage."""

    version: str
    stem: tuple[int, int, int]
    fires: tuple[tuple[tuple[int, int], ...], ...]


CONFIGS = {  # Table 1: where maximum pooling stands is where one stage ends
    "1.0": SqueezeNetConfig(
        version="1.0",
        stem=(96, 7, 2),
        fires=(((16, 64), (16, 64), (32, 128)), ((32, 128), (48, 192), (48, 192), (64, 256)), ((64, 256),)),
    ),
    "1.1": SqueezeNetConfig(
        version="1.1",
        stem=(64, 3, 2),
        fires=(((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))),
    ),
}
PUBLISHED = {"1.0": (1_248_424, 818_924_576), "1.1": (1_235_496, 349_151_936)}


class Fire(nn.Module):
    """Squeeze with 1x1, expand with 1x1 and 3x3 side by side (Figure 1)."""

    def __init__(self, channels_in: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, 2 * expand, H, W)."""
        squeezed_BCHW = torch.relu(self.squeeze(map_BCHW))
        both = [torch.relu(self.expand1x1(squeezed_BCHW)), torch.relu(self.expand3x3(squeezed_BCHW))]
        return torch.cat(both, dim=1)


class SqueezeNet(ImageClassifier):
    """conv1, pool - fire modules with pooling between - conv10, global average pooling."""

    def __init__(self, config: SqueezeNetConfig, spec: ModelSpec) -> None:
        super().__init__()
        channels, kernel_size, stride = config.stem
        self.stem = nn.Sequential(
            OrderedDict(
                convolution=nn.Conv2d(spec.input_CHW[0], channels, kernel_size, stride),
                relu=nn.ReLU(),
                pool=nn.MaxPool2d(3, stride=2, ceil_mode=True),
            )
        )
        self.stages = nn.Sequential()
        for number, fires in enumerate(config.fires, start=1):
            stage = nn.Sequential()
            for position, (squeeze, expand) in enumerate(fires):
                stage.add_module(f"fire{position + 1}", Fire(channels, squeeze, expand))
                channels = 2 * expand
            if number < len(config.fires):
                stage.add_module(POOL, nn.MaxPool2d(3, stride=2, ceil_mode=True))
            self.stages.add_module(f"stage{number}", stage)
        self.neck = nn.Identity()
        self.head = nn.Sequential(
            OrderedDict(
                dropout=nn.Dropout(0.5),
                convolution=nn.Conv2d(channels, spec.num_classes, 1),
                relu=nn.ReLU(),
                pool=GlobalAveragePool(),
            )
        )
        initialise(self)
        check_size(f"squeezenet{config.version}", self, spec, enough_px=64)


def rename_key(config: SqueezeNetConfig, key: str) -> str | None:
    """A tensor's name in the public torchvision file (`features.N`, `classifier.1`) as ours."""
    if key.startswith("classifier.1."):
        return key.replace("classifier.1.", "head.convolution.")
    _, number, *rest = key.split(".")
    if number == "0":
        return "stem.convolution." + rest[-1]
    position = 3  # after conv1, its ReLU and its pooling
    for stage, fires in enumerate(config.fires, start=1):
        if int(number) < position + len(fires):
            return f"stages.stage{stage}.fire{int(number) - position + 1}.{'.'.join(rest)}"
        position += len(fires) + 1  # and the pooling behind the stage
    return None


def build(config: SqueezeNetConfig, spec: ModelSpec) -> SqueezeNet:
    """A SqueezeNet with fresh weights."""
    return SqueezeNet(config, spec)


for version, config in CONFIGS.items():
    register(
        Architecture(
            name=f"squeezenet{version}",
            build=partial(build, config),
            summary=f"SqueezeNet {version}: 1.2 million parameters in fire modules",
            citation="Iandola et al. 2016, arXiv:1602.07360, Table 1",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source="torchvision 0.28 (parameters), counted by hand from Table 1 (multiply-adds)",
                    parameters=PUBLISHED[version][0],
                    multiply_adds=PUBLISHED[version][1],
                ),
            ),
            rename_key=partial(rename_key, config),
        ),
        __name__,
    )
