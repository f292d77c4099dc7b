"""Layers that several papers share, each by the name of what it does."""

from collections import OrderedDict

import torch
from torch import nn

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
