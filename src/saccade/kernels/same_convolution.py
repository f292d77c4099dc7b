"""Convolutions of stride 1 that keep the size of their maps: which layers are, and torch's own gradients of one.

What has a weight gradient of our own is one of these (gradients.py).
"""

from typing import TypeGuard

import torch
from torch import nn

from ..core import torch_private


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


def map_gradient(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor) -> torch.Tensor | None:
    """gradient_BCHW of the input, by the gradient of the output, all of one floating dtype."""
    return gradients(map_BCHW, gradient_BOHW, weight_OCHW, (True, False, False))[0]


def gradients(
    map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    """Those `wanted` of the gradients of input, weight and bias, by torch's kernels, None for the others."""
    one, zero, padding = [1, 1], [0, 0], [weight_OCHW.shape[2] // 2] * 2
    bias_shape = [weight_OCHW.shape[0]] if wanted[2] else None
    found = torch_private.convolution_backward(
        gradient_BOHW, map_BCHW, weight_OCHW, bias_shape, one, padding, one, False, zero, 1, list(wanted)
    )
    one_by_one = zip(found, wanted, strict=True)
    first, second, third = (tensor if is_wanted else None for tensor, is_wanted in one_by_one)
    return first, second, third
