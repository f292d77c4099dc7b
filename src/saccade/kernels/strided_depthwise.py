"""Input gradients of depthwise convolutions with a stride, for processors that train in bfloat16.

oneDNN has no fast kernel for this gradient in bfloat16: on MobileNetV2's four such layers it takes 6 to 30 times as
long as in float32 (docs/decisions.md). So it is computed in float32, as torch's kernel sums it too, and rounded once;
some images at a time, for the wide maps to stay in the cache.
"""

from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn import functional

from ..core import torch_private

IMAGES_AT_ONCE = 4


class Convolve(torch.autograd.Function):
    """torch's convolution (B, C, H, W) to (B, C, H', W') with filters (C, 1, kh, kw), another gradient of its input."""

    @staticmethod
    def forward(
        ctx: Any,
        map_BCHW: torch.Tensor,
        weight_CIHW: torch.Tensor,
        bias_C: torch.Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> torch.Tensor:
        ctx.save_for_backward(map_BCHW, weight_CIHW)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(map_BCHW, weight_CIHW, bias_C, stride, padding, groups=len(weight_CIHW))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_BCHW: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        map_BCHW, weight_CIHW = ctx.saved_tensors
        where, wanted = (ctx.stride, ctx.padding), ctx.needs_input_grad
        first = input_gradient(map_BCHW, gradient_BCHW, weight_CIHW, *where) if wanted[0] else None
        second = third = None
        if wanted[1] or wanted[2]:
            _, second, third = _gradients(map_BCHW, gradient_BCHW, weight_CIHW, *where, (False, True, wanted[2]))
        return first, second if wanted[1] else None, third if wanted[2] else None, None, None


def suits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a depthwise convolution with a stride, whatever of it is trained."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and max(module.stride) > 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and isinstance(module.padding, tuple)
    )


def input_gradient(
    map_BCHW: torch.Tensor,
    gradient_BCHW: torch.Tensor,
    weight_CIHW: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> torch.Tensor:
    """gradient_BCHW of the input, in its dtype and channels last, by the gradient of the output."""
    found_BCHW = torch.empty_like(map_BCHW, memory_format=torch.channels_last)
    wide_CIHW = weight_CIHW.float() if weight_CIHW.dtype == torch.bfloat16 else weight_CIHW
    parts = (tensor.split(IMAGES_AT_ONCE) for tensor in (map_BCHW, gradient_BCHW, found_BCHW))
    for part_BCHW, given_BCHW, result_BCHW in zip(*parts, strict=True):
        shape_like_BCHW = torch.empty_like(part_BCHW, dtype=wide_CIHW.dtype)  # a gradient asks for no value of it
        given_BCHW = given_BCHW.to(wide_CIHW.dtype)
        own = _gradients(shape_like_BCHW, given_BCHW, wide_CIHW, stride, padding, (True, False, False))[0]
        result_BCHW.copy_(own)
    return found_BCHW


def _gradients(
    map_BCHW: torch.Tensor,
    gradient_BCHW: torch.Tensor,
    weight_CIHW: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: tuple[bool, bool, bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    num_channels = len(weight_CIHW)
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = torch_private.convolution_backward(
        gradient_BCHW,
        map_BCHW,
        weight_CIHW,
        [num_channels],
        stride,
        padding,
        [1, 1],
        False,
        [0, 0],
        num_channels,
        wanted,
    )
    return found
