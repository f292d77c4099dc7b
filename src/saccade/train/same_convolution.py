"""Convolutions of stride 1 that keep the size of their maps: which layers are, and torch's own gradients of one.

What has a weight gradient of our own is one of these (gradients.py).
"""

from typing import TypeGuard

import torch
from torch import nn


def is_trained_same_convolution(module: nn.Module, sides: tuple[int, ...]) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a trained convolution of stride 1 in one group that keeps the size of its maps by zeros
    around them, with a square filter of one of the odd `sides`."""
    return (
        type(module) is nn.Conv2d
        and module.weight.requires_grad
        and module.kernel_size in [(side, side) for side in sides]
        and module.stride == module.dilation == (1, 1)
        and module.padding == (module.kernel_size[0] // 2,) * 2
        and module.padding_mode == "zeros"
        and module.groups == 1
    )


def map_gradient(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor) -> torch.Tensor:
    """gradient_BCHW of the input, by the gradient of the output, all of one floating dtype."""
    return _backward(map_BCHW, gradient_BOHW, weight_OCHW, [True, False, False])[0]


def weight_gradient(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor) -> torch.Tensor:
    """gradient_OCHW of the weight, by the input and the gradient of the output, all of one floating dtype."""
    return _backward(map_BCHW, gradient_BOHW, weight_OCHW, [False, True, False])[1]


def _backward(
    map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor, wanted: list[bool]
) -> tuple[torch.Tensor, ...]:
    one, zero, padding = [1, 1], [0, 0], [weight_OCHW.shape[2] // 2] * 2
    found: tuple[torch.Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient_BOHW, map_BCHW, weight_OCHW, None, one, padding, one, False, zero, 1, wanted
    )
    return found
