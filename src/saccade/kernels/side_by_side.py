"""Weight gradients of convolutions on small maps for processors with bfloat16 matrix units.

oneDNN's kernel for this gradient walks along the rows of one image. On maps of 7x7 it reaches half of the rate that it
has on wide ones, on 3x3 a seventh (docs/decisions.md). The gradient is a sum over positions and images, so it does not
care how images lie: several are laid side by side in one wide map, a column of zeros between them, and the same kernel
runs along rows that are long. For 1x1 filters all images are one matrix each, and the gradient is one product.
"""

import torch
from torch import nn

from . import same_convolution

LARGEST_MAP = 8  # sides in pixels; at 7 it is faster, at 14 nothing is gained
ROW = 32  # positions along a wide row, about
TILES = 64  # channels that fill the matrix units of a product: with fewer, or a rest, torch's kernel is faster


def weight_gradient(
    map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, weight_OCHW: torch.Tensor
) -> torch.Tensor | None:
    """gradient_OCHW of `weight_OCHW` (3x3, stride 1, padding 1; or 1x1, stride 1, no padding), channels last.

    By the input of the convolution and the gradient of its output, all of one floating dtype. Other sums are taken in
    another order than torch's, each rounded once. None where nothing is gained over torch's own.
    """
    if weight_OCHW.shape[2:] == (1, 1):
        return _pointwise(map_BCHW, gradient_BOHW)
    together = _images_a_row(map_BCHW.shape[0], map_BCHW.shape[3]) if max(map_BCHW.shape[2:]) <= LARGEST_MAP else 1
    if together == 1:
        return None
    wide_BCHW, wide_BOHW = (side_by_side(maps, together) for maps in (map_BCHW, gradient_BOHW))
    return same_convolution.gradients(wide_BCHW, wide_BOHW, weight_OCHW, (False, True, False))[1]


def side_by_side(map_BCHW: torch.Tensor, together: int) -> torch.Tensor:
    """`together` images in each row of maps: (B / together, C, H + 1, together * (W + 1)), channels last.

    A row of zeros below and a column of zeros after each image keep a 3x3 filter from seeing two at once.
    """
    num_images, channels, height, width = map_BCHW.shape
    rows = num_images // together
    wide = map_BCHW.new_empty(rows, height + 1, together, width + 1, channels)
    images = map_BCHW.permute(0, 2, 3, 1).reshape(rows, together, height, width, channels)
    wide[:, :height, :, :width] = images.transpose(1, 2)
    wide[:, height] = 0
    wide[:, :height, :, width] = 0
    return wide.view(rows, height + 1, together * (width + 1), channels).permute(0, 3, 1, 2)


def suits(module: nn.Module) -> bool:
    """Whether a module is a trained convolution of stride 1 that keeps the size of its maps, 3x3, or 1x1 of as many
    channels as a product likes."""
    if not same_convolution.is_trained_same_convolution(module, (1, 3)):
        return False
    return module.kernel_size == (3, 3) or module.in_channels % TILES == 0


def _images_a_row(num_images: int, width: int) -> int:
    """The divisor of `num_images` that comes nearest to rows of `ROW` positions."""
    wanted = max(1, ROW // (width + 1))
    divisors = (number for number in range(1, num_images + 1) if num_images % number == 0)
    return min(divisors, key=lambda divisor: (abs(divisor - wanted), divisor))


def _pointwise(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor) -> torch.Tensor:
    map_NC, gradient_NO = (maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]) for maps in (map_BCHW, gradient_BOHW))
    return (gradient_NO.T @ map_NC)[:, None, None, :].permute(0, 3, 1, 2)
