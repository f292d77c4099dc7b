"""Layers that several papers share, each by the name of what it does."""

from collections import OrderedDict

import torch
from torch import nn

from ..core.errors import ModelError
from ..kernels.same_padding import SamePadding as SamePadding
from .architecture import flatten_maps


class Flatten(nn.Module):
    """feature_BD of map_BCHW, D = C * H * W."""

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C * H * W), channel by channel."""
        return flatten_maps(map_BCHW)


class GlobalAveragePool(nn.Module):
    """The mean over all positions: map_BCHW to feature_BD, D = C (Lin et al. 2013, arXiv:1312.4400, section 3.2)."""

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C)."""
        return map_BCHW.mean(dim=(2, 3))


class Residual(nn.Module):
    """activation(branch(x) + shortcut(x)); the shortcut is the identity, or a 1x1 projection where shapes differ."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.activation = branch, shortcut, activation

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to what the branch leaves."""
        output_BCHW: torch.Tensor = self.activation(self.branch(map_BCHW) + self.shortcut(map_BCHW))
        return output_BCHW


class SqueezeExcitation(nn.Module):
    """Weighs each channel by what all channels hold on average (Hu et al. 2017, arXiv:1709.01507, Figure 3):
    x * gate(expand(activation(reduce(mean of x)))), where `reduce` and `expand` are dense layers, written as 1x1
    convolutions with bias, as the public weights have them. `squeezed` is the width between the two.
    """

    def __init__(
        self, channels: int, squeezed: int, activation: nn.Module | None = None, gate: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation or nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate or nn.Sigmoid()

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        weight_BC11: torch.Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(map_BCHW)))))
        return map_BCHW * weight_BC11


class StochasticDepth(nn.Module):
    """Leaves a residual branch out of some images of a batch while training (Huang et al. 2016, arXiv:1603.09382).

    It stands at the end of a branch, in front of the addition: with `probability` an image's branch becomes 0, and what
    stays is divided by 1 - probability, so that the mean is what evaluation gives, where nothing changes. It draws,
    like `nn.Dropout`, from torch's generator, which a training seeds by (seed, step): a step repeated is the same step.
    Raises ModelError for a probability outside 0 to below 1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.set_probability(probability)

    def set_probability(self, probability: float) -> None:
        """Leave the branch out of an image with `probability`. Raises ModelError outside 0 to below 1."""
        if not 0 <= probability < 1:
            raise ModelError(f"Stochastic depth takes a probability from 0 to below 1, got {probability}.")
        self.probability = probability

    def forward(self, branch_BCHW: torch.Tensor) -> torch.Tensor:
        """The same shape; one draw an image, whatever the other axes."""
        if not self.training or self.probability == 0:
            return branch_BCHW
        kept = 1 - self.probability
        kept_B = branch_BCHW.new_empty((branch_BCHW.shape[0], *[1] * (branch_BCHW.ndim - 1))).bernoulli_(kept)
        return branch_BCHW * kept_B.div_(kept)

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"probability={self.probability:g}"


def set_stochastic_depth(network: nn.Module, last: float) -> bool:
    """Let the probability of stochastic depth rise evenly from 0 at the first block of `network` to `last` at its last
    one (Huang et al. 2016, section 3, linear decay). False where no block of it can be left out.

    Raises ModelError for a probability outside 0 to below 1.
    """
    blocks = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    for number, block in enumerate(blocks):
        block.set_probability(last * number / max(1, len(blocks) - 1))
    return bool(blocks)


class Concatenation(nn.Module):
    """Branches side by side on the same map, their channels concatenated."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, sum of the branches, H, W)."""
        return torch.cat([branch(map_BCHW) for branch in self.branches], dim=1)


def convolution_norm(
    channels_in: int, channels_out: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A `same` convolution of odd kernel without bias, then batch normalisation, whose shift is the bias."""
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(
                channels_in, channels_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
            ),
            norm=nn.BatchNorm2d(channels_out),
        )
    )


def pooled_features() -> nn.Module:
    """The neck of networks that end in global average pooling."""
    return GlobalAveragePool()


def initialise(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852, equation 10): normal, variance 2 / fan-in, so that signals keep their size
    however deep the network; biases 0. Dense layers that give logits: 0.01, so that no class is preferred at first.
    """
    dense = [module for module in network.modules() if isinstance(module, nn.Linear)]
    num_classes = dense[-1].out_features if dense else 0  # the last dense layer of head or side branch
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in dense:
        if module.out_features == num_classes:
            nn.init.normal_(module.weight, std=0.01)
