"""Which convolutions are trained with a gradient of our own, by what the machine computes in.

Outputs and the other gradients stay torch's, parameters and their names too, and evaluation does not change. What each
gradient is worth stands in its own file, and for whole networks in docs/results.md (training throughput).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..core.runtime import Runtime
from . import same_convolution, side_by_side, strided_depthwise, winograd

WeightGradient = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor | None]


class _Convolve(torch.autograd.Function):
    """torch's convolution of stride 1 that keeps the size of its maps, with another weight gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        map_BCHW: torch.Tensor,
        weight_OCHW: torch.Tensor,
        bias_O: torch.Tensor | None,
        weight_gradient: WeightGradient,
    ) -> torch.Tensor:
        ctx.save_for_backward(map_BCHW, weight_OCHW)
        ctx.weight_gradient = weight_gradient
        return functional.conv2d(map_BCHW, weight_OCHW, bias_O, padding=weight_OCHW.shape[2] // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        map_BCHW, weight_OCHW = ctx.saved_tensors
        (gradient_BOHW,) = gradients
        own = ctx.weight_gradient(map_BCHW, gradient_BOHW, weight_OCHW) if ctx.needs_input_grad[1] else None
        if own is None:  # torch's kernels for the three share their work
            return *same_convolution.gradients(map_BCHW, gradient_BOHW, weight_OCHW, ctx.needs_input_grad[:3]), None
        map_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            map_gradient = same_convolution.map_gradient(map_BCHW, gradient_BOHW, weight_OCHW)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient_BOHW.sum((0, 2, 3))
        return map_gradient, own, bias_gradient, None


class FastGradientConvolution(nn.Conv2d):
    """A convolution that is trained with the gradients of its class, and is torch's own otherwise."""

    def convolve(self, map_BCHW: torch.Tensor, weight_OIHW: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        """(B, C, H, W) to (B, O, H, W), all of one floating dtype, by the function whose gradients these are."""
        raise NotImplementedError

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """(B, C, H, W) to (B, O, H, W)."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(input)
        weight_OIHW, bias_O = self.weight, self.bias
        if torch.is_autocast_enabled(input.device.type):  # which does not look into functions that are not torch's
            dtype = torch.get_autocast_dtype(input.device.type)
            input, weight_OIHW = input.to(dtype), weight_OIHW.to(dtype)  # noqa: A001 - torch's name
            bias_O = None if bias_O is None else bias_O.to(dtype)
        elif input.dtype != weight_OIHW.dtype:
            return super().forward(input)
        return self.convolve(input, weight_OIHW, bias_O)


class FastWeightConvolution(FastGradientConvolution):
    """One of stride 1 that keeps the size of its maps, with the weight gradient of its class."""

    @staticmethod
    def weight_gradient(
        map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor
    ) -> torch.Tensor | None:
        """gradient_OCHW of the weight, in its memory layout; None where torch's own is at least as fast."""
        raise NotImplementedError

    def convolve(self, map_BCHW: torch.Tensor, weight_OCHW: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        """See the base."""
        output_BOHW: torch.Tensor = _Convolve.apply(map_BCHW, weight_OCHW, bias_O, type(self).weight_gradient)  # type: ignore[no-untyped-call]
        return output_BOHW


class WinogradConvolution(FastWeightConvolution):
    """3x3 in float32: a quarter of the multiplications."""

    @staticmethod
    def weight_gradient(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor) -> torch.Tensor:
        """See winograd.py."""
        return winograd.weight_gradient(map_BCHW, gradient_BOHW)


class SideBySideConvolution(FastWeightConvolution):
    """1x1 and 3x3 in bfloat16: shapes that matrix units like."""

    @staticmethod
    def weight_gradient(
        map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor
    ) -> torch.Tensor | None:
        """See side_by_side.py."""
        return side_by_side.weight_gradient(map_BCHW, gradient_BOHW, weight_OCHW)


class StridedDepthwiseConvolution(FastGradientConvolution):
    """Depthwise with a stride, in bfloat16: its input gradient in float32."""

    def convolve(self, map_BCHW: torch.Tensor, weight_CIHW: torch.Tensor, bias_C: torch.Tensor | None) -> torch.Tensor:
        """See strided_depthwise.py."""
        output_BCHW: torch.Tensor = strided_depthwise.Convolve.apply(  # type: ignore[no-untyped-call]
            map_BCHW, weight_CIHW, bias_C, self.stride, self.padding
        )
        return output_BCHW


def use_fast_gradients(network: nn.Module, runtime: Runtime) -> int:
    """Train the convolutions of `network` with the gradient measured to be faster on this machine; how many do."""
    if runtime.computes_in_avx2:
        return replace(network, WinogradConvolution, winograd.suits)
    if runtime.device.type != "cpu" or runtime.precision != torch.bfloat16:
        return 0
    count = replace(network, StridedDepthwiseConvolution, strided_depthwise.suits)
    if runtime.computes_in_matrix_units:
        count += replace(network, SideBySideConvolution, side_by_side.suits)
    return count


def replace(network: nn.Module, kind: type[FastGradientConvolution], suits: Callable[[nn.Module], bool]) -> int:
    """Make every module that `suits` one of `kind`, in place; returns how many."""
    suitable = [module for module in network.modules() if suits(module)]
    for module in suitable:
        module.__class__ = kind
    return len(suitable)
