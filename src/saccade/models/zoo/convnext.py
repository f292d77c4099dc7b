"""ConvNeXt (Liu, Mao, Wu, Feichtenhofer, Darrell, Xie 2022, A ConvNet for the 2020s, arXiv:2201.03545, section 3 and
Figure 4): a residual network with the habits of vision transformers.

`convnext-tiny`, `-small` and `-base` are the paper's, with its rates of stochastic depth for ImageNet (Table 5); atto,
femto, pico and nano are smaller ones of timm's (Wightman 2022), whose rate is 0. Dense layers on every position are
written as 1x1 convolutions. Weights start normal with deviation 0.02, truncated (appendix A.1).
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, register
from ..fit import check_size
from ..layers import StochasticDepth, pooled_features


@dataclass(frozen=True, kw_only=True)
class ConvNeXtConfig:
    """Blocks and channels of the four stages; `stochastic_depth` is the rate of the last block, the first has 0."""

    name: str
    blocks: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    stochastic_depth: float


CONFIGS = (
    ConvNeXtConfig(name="atto", blocks=(2, 2, 6, 2), channels=(40, 80, 160, 320), stochastic_depth=0),
    ConvNeXtConfig(name="femto", blocks=(2, 2, 6, 2), channels=(48, 96, 192, 384), stochastic_depth=0),
    ConvNeXtConfig(name="pico", blocks=(2, 2, 6, 2), channels=(64, 128, 256, 512), stochastic_depth=0),
    ConvNeXtConfig(name="nano", blocks=(2, 2, 8, 2), channels=(80, 160, 320, 640), stochastic_depth=0),
    ConvNeXtConfig(name="tiny", blocks=(3, 3, 9, 3), channels=(96, 192, 384, 768), stochastic_depth=0.1),
    ConvNeXtConfig(name="small", blocks=(3, 3, 27, 3), channels=(96, 192, 384, 768), stochastic_depth=0.4),
    ConvNeXtConfig(name="base", blocks=(3, 3, 27, 3), channels=(128, 256, 512, 1024), stochastic_depth=0.5),
)
PATCH, EXPANSION = 4, 4
PUBLIC_RESIZE_PX = {"tiny": 236, "small": 230, "base": 232}  # the short side of photos for torchvision's files
LAYER_SCALE = 1e-6  # what every residual branch is multiplied by at first (Touvron et al. 2021, arXiv:2103.17239)
EPSILON = 1e-6  # of layer normalisation

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
PUBLISHED = {  # the paper says 29, 50 and 89 million and 4.5, 8.7 and 15.4 billion for tiny, small and base (Table 1)
    "atto": (3_695_520, 547_332_480),
    "femto": (5_217_784, 779_629_824),
    "pico": (9_045_672, 1_367_055_360),
    "nano": (15_593_560, 2_445_528_320),
    "tiny": (28_589_128, 4_455_531_264),
    "small": (50_223_688, 8_683_712_256),
    "base": (88_591_464, 15_354_729_472),
}


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape; what a position has at other positions plays no part."""
        map_BHWC = map_BCHW.permute(0, 2, 3, 1)
        return functional.layer_norm(map_BHWC, self.weight.shape, self.weight, self.bias, EPSILON).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """A learned factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return map_BCHW * self.factor[:, None, None]


class Block(nn.Module):
    """7x7 depthwise, normalisation, 1x1 to 4 times the channels, GELU, 1x1 back (Figure 4, right)."""

    def __init__(self, channels: int, stochastic_depth: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            OrderedDict(
                depthwise=nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
                norm=ChannelNorm(channels),
                expand=nn.Conv2d(channels, EXPANSION * channels, 1),
                gelu=nn.GELU(),
                project=nn.Conv2d(EXPANSION * channels, channels, 1),
                scale=LayerScale(channels),
                stochastic_depth=StochasticDepth(stochastic_depth),
            )
        )

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        changed_BCHW: torch.Tensor = self.branch(map_BCHW)
        return map_BCHW + changed_BCHW


class ConvNeXt(ImageClassifier):
    """4x4 patches - four stages of blocks, 2x2 convolutions between - global average pooling, normalisation - dense."""

    def __init__(self, config: ConvNeXtConfig, spec: ModelSpec) -> None:
        super().__init__()
        channels = config.channels[0]
        self.stem = nn.Sequential(
            OrderedDict(
                convolution=nn.Conv2d(spec.input_CHW[0], channels, PATCH, PATCH),
                norm=ChannelNorm(channels),
            )
        )
        rates = iter(stochastic_depth_rates(config))
        self.stages = nn.Sequential()
        for number, (count, width) in enumerate(zip(config.blocks, config.channels, strict=True), start=1):
            stage = nn.Sequential()
            if number > 1:
                stage.add_module("norm", ChannelNorm(channels))
                stage.add_module("downsample", nn.Conv2d(channels, width, 2, 2))
                channels = width
            for position in range(1, count + 1):
                stage.add_module(f"block{position}", Block(channels, next(rates)))
            self.stages.add_module(f"stage{number}", stage)
        self.neck = nn.Sequential(
            OrderedDict(pool=pooled_features(), norm=nn.LayerNorm(channels, EPSILON)),
        )
        self.head = nn.Linear(channels, spec.num_classes)
        _initialise(self)
        check_size(f"convnext-{config.name}", self, spec, enough_px=32)


def stochastic_depth_rates(config: ConvNeXtConfig) -> list[float]:
    """The probability that a block's branch is left out, from 0 at the first block evenly to the last."""
    last = sum(config.blocks) - 1
    return [config.stochastic_depth * block / last for block in range(last + 1)]


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


# Layers of a block in torchvision's, timm's and the authors' files as ours.
BLOCK_LAYERS = {
    "block.0": "depthwise",
    "block.2": "norm",
    "block.3": "expand",
    "block.5": "project",
    "conv_dw": "depthwise",
    "mlp.fc1": "expand",
    "mlp.fc2": "project",
    "dwconv": "depthwise",
    "norm": "norm",
    "pwconv1": "expand",
    "pwconv2": "project",
}
OUTSIDE = {
    "features.0.0": "stem.convolution",
    "features.0.1": "stem.norm",
    "stem.0": "stem.convolution",
    "stem.1": "stem.norm",
    "downsample_layers.0.0": "stem.convolution",
    "downsample_layers.0.1": "stem.norm",
    "classifier.0": "neck.norm",
    "head.norm": "neck.norm",
    "norm": "neck.norm",
    "classifier.2": "head",
    "head.fc": "head",
}
DOWNSAMPLING = {"0": "norm", "1": "downsample"}


def rename_key(key: str) -> str | None:
    """A tensor's name in torchvision's, timm's or the authors' public file as ours."""
    owner, _, tensor = key.rpartition(".")
    if owner in OUTSIDE:
        return f"{OUTSIDE[owner]}.{tensor}"
    first, number, *rest = key.split(".")
    if first == "downsample_layers":
        return f"stages.stage{int(number) + 1}.{DOWNSAMPLING[rest[0]]}.{tensor}"
    if first == "features" and int(number) % 2 == 0:  # stages and what is between them take turns
        return f"stages.stage{int(number) // 2 + 1}.{DOWNSAMPLING[rest[0]]}.{tensor}"
    if rest[0] == "downsample":
        return f"stages.stage{int(number) + 1}.{DOWNSAMPLING[rest[1]]}.{tensor}"
    stage = (int(number) - 1) // 2 if first == "features" else int(number)
    position, *inside = rest[1:] if rest[0] == "blocks" else rest
    place = f"stages.stage{stage + 1}.block{int(position) + 1}.branch."
    if tensor in ("gamma", "layer_scale"):
        return f"{place}scale.factor"
    return f"{place}{BLOCK_LAYERS['.'.join(inside[:-1])]}.{tensor}"


def build(config: ConvNeXtConfig, spec: ModelSpec) -> ConvNeXt:
    """A ConvNeXt with fresh weights."""
    return ConvNeXt(config, spec)


def torchvisions_input(resize_px: int) -> PublicInput:
    """Of a file that does not say: as torchvision's, whose sizes differ from network to network."""
    return PublicInput(whose="torchvision's", preprocessing=Preprocessing(resize_px=resize_px))


def _register(config: ConvNeXtConfig) -> None:
    is_timms = config.name in ("atto", "femto", "pico", "nano")
    library = "timm 1.0.31" if is_timms else "torchvision 0.29"
    register(
        Architecture(
            name=f"convnext-{config.name}",
            build=partial(build, config),
            summary=f"ConvNeXt {config.name}: 7x7 depthwise filters, layer normalisation",
            citation=f"Liu et al. 2022, arXiv:2201.03545{'; this size: timm' if is_timms else ', section 3'}",
            default_spec=IMAGENET,
            references=(
                Reference(
                    spec=IMAGENET,
                    source=f"{library} (parameters; multiply-adds of its network by torch's counter)",
                    parameters=PUBLISHED[config.name][0],
                    multiply_adds=PUBLISHED[config.name][1],
                ),
            ),
            rename_key=rename_key,
            public_input=None if is_timms else torchvisions_input(PUBLIC_RESIZE_PX[config.name]),
        ),
        __name__,
    )


for config in CONFIGS:
    _register(config)
