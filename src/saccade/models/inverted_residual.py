"""Inverted residuals with what papers after MobileNetV2 gave them: squeeze-and-excitation, other nonlinearities,
stochastic depth, TensorFlow's padding; and what public files call their parts.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .layers import SamePadding, SqueezeExcitation, StochasticDepth


@dataclass(frozen=True, kw_only=True)
class Style:
    """What all layers of a network share: the nonlinearity, batch normalisation's epsilon, and whether strided
    convolutions pad as TensorFlow's SAME does (`layers.SamePadding`)."""

    activation: Callable[[], nn.Module]
    epsilon: float = 1e-5
    same_padding: bool = False


@dataclass(frozen=True, kw_only=True)
class InvertedResidualConfig:
    """One block: `channels_in` to `inner` (1x1), filtered channel by channel, to `channels_out` (1x1).

    Without expansion `inner` is `channels_in`. `squeezed` is the width inside squeeze-and-excitation, 0 for none;
    `drop` the probability of stochastic depth.
    """

    channels_in: int
    inner: int
    channels_out: int
    kernel_size: int
    stride: int
    squeezed: int = 0
    drop: float = 0.0


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least one, and never less than 90 % of `channels`: the rule by which the
    authors of MobileNetV2 and all that follow scale widths."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def styled_convolution(
    channels_in: int, channels_out: int, kernel_size: int, style: Style, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A `same` convolution of odd kernel without bias, batch normalisation, and no nonlinearity."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    padding = kernel_size // 2
    if style.same_padding and stride > 1:
        layers["pad"], padding = SamePadding(kernel_size, stride), 0
    layers["convolution"] = nn.Conv2d(
        channels_in, channels_out, kernel_size, stride, padding, groups=groups, bias=False
    )
    layers["norm"] = nn.BatchNorm2d(channels_out, eps=style.epsilon)
    return nn.Sequential(layers)


def activated_convolution(
    channels_in: int, channels_out: int, kernel_size: int, style: Style, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """`styled_convolution`, then the style's nonlinearity."""
    layer = styled_convolution(channels_in, channels_out, kernel_size, style, stride, groups)
    layer.add_module("activation", style.activation())
    return layer


class InvertedResidual(nn.Module):
    """Expand 1x1, filter channel by channel, excite, project 1x1 without nonlinearity, add where shapes agree.

    `gate` makes the nonlinearity of squeeze-and-excitation that weighs the channels, `inside` the one in its middle.
    """

    def __init__(
        self,
        config: InvertedResidualConfig,
        style: Style,
        inside: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        inner = config.inner
        self.expand: nn.Module = nn.Identity()
        if inner != config.channels_in:
            self.expand = activated_convolution(config.channels_in, inner, 1, style)
        self.depthwise = activated_convolution(inner, inner, config.kernel_size, style, config.stride, groups=inner)
        self.excitation: nn.Module = nn.Identity()
        if config.squeezed:
            self.excitation = SqueezeExcitation(inner, config.squeezed, inside(), gate())
        self.project = styled_convolution(inner, config.channels_out, 1, style)
        self.has_shortcut = config.stride == 1 and config.channels_in == config.channels_out
        self.drop = StochasticDepth(config.drop)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride), rounded up."""
        projected_BCHW: torch.Tensor = self.project(self.excitation(self.depthwise(self.expand(map_BCHW))))
        return map_BCHW + self.drop(projected_BCHW) if self.has_shortcut else projected_BCHW


class FusedInvertedResidual(nn.Module):
    """Filter and expand in one convolution, project 1x1 without nonlinearity (Tan and Le 2021, arXiv:2104.00298,
    Figure 2). Without expansion the one convolution is all, and has a nonlinearity."""

    def __init__(self, config: InvertedResidualConfig, style: Style) -> None:
        super().__init__()
        self.expand = activated_convolution(config.channels_in, config.inner, config.kernel_size, style, config.stride)
        self.project: nn.Module = nn.Identity()
        if config.inner != config.channels_in:
            self.project = styled_convolution(config.inner, config.channels_out, 1, style)
        self.has_shortcut = config.stride == 1 and config.channels_in == config.channels_out
        self.drop = StochasticDepth(config.drop)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, channels_out, H / stride, W / stride), rounded up."""
        projected_BCHW: torch.Tensor = self.project(self.expand(map_BCHW))
        return map_BCHW + self.drop(projected_BCHW) if self.has_shortcut else projected_BCHW


# timm's names of the layers outside the blocks, where a 1x1 convolution and a dense layer come after them.
TIMM_OUTSIDE = {
    "conv_stem": "stem.convolution",
    "bn1": "stem.norm",
    "conv_head": "neck.convolution.convolution",
    "bn2": "neck.convolution.norm",
    "classifier": "head.fc",
}
# timm's names of the parts of a block that does not and of one that does expand, and of its squeeze-and-excitation.
TIMM_SEPARABLE = {
    "conv_dw": "depthwise.convolution",
    "bn1": "depthwise.norm",
    "conv_pw": "project.convolution",
    "bn2": "project.norm",
}
TIMM_INVERTED = {
    "conv_pw": "expand.convolution",
    "bn1": "expand.norm",
    "conv_dw": "depthwise.convolution",
    "bn2": "depthwise.norm",
    "conv_pwl": "project.convolution",
    "bn3": "project.norm",
}
TIMM_EXCITATION = {"se.conv_reduce": "excitation.reduce", "se.conv_expand": "excitation.expand"}
TORCHVISION_EXCITATION = {"fc1": "excitation.reduce", "fc2": "excitation.expand"}
CONVOLUTION_NORM = {"0": "convolution", "1": "norm"}


def from_timm(key: str, expands: bool) -> str:
    """`conv_pw.weight` and the like inside one of timm's blocks as ours. Raises KeyError for other names."""
    owner, _, kind = key.rpartition(".")
    names = TIMM_EXCITATION | (TIMM_INVERTED if expands else TIMM_SEPARABLE)
    return f"{names[owner]}.{kind}"


def from_torchvision(key: str, expands: bool, excites: bool) -> str:
    """`0.1.weight` and the like (part, layer, tensor) in torchvision's blocks as ours. Raises LookupError."""
    position, layer, kind = key.split(".")
    parts = ["expand"] * expands + ["depthwise"] + ["excitation"] * excites + ["project"]
    part = parts[int(position)]
    if part == "excitation":
        return f"{TORCHVISION_EXCITATION[layer]}.{kind}"
    return f"{part}.{CONVOLUTION_NORM[layer]}.{kind}"
