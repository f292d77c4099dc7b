"""Weight gradients of 3x3 convolutions with a quarter of the multiplications, for processors that compute in float32.

Lavin and Gray 2015, arXiv:1509.09308, section 4.3: y = A^T [(G w G^T) * (B^T d B)] A gives 4x4 outputs of a 3x3
filter from 6x6 inputs with 36 products instead of 144. The derivative by w is G^T [(A dy A^T) * (B^T d B)] G, summed
over tiles and images: 36 matrix products. Only this gradient is computed so; outputs and input gradients stay torch's
own, which come near the processor's peak, while torch's weight gradient reaches half of it (docs/results.md).
"""

import math
from functools import cache

import torch
from torch import nn
from torch.nn import functional

from .same_convolution import is_trained_same_convolution

SIDE, STEP, TAPS = 6, 4, 3  # input tile, output tile, filter
FEWEST_CHANNELS = 64  # with fewer the transforms cost more than they save
CHUNK_BYTES = 2**23  # of transformed input: what is computed together stays in the processor's cache

INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)  # B^T
FILTER = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)  # G
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))  # A^T


@cache
def _both_ways(matrix: tuple[tuple[float, ...], ...], transpose: bool, dtype: torch.dtype) -> torch.Tensor:
    """The matrix applied to rows and columns at once: its Kronecker product with itself."""
    values = torch.tensor(matrix, dtype=torch.float64)
    values = values.T if transpose else values
    return torch.kron(values, values).to(dtype)


def weight_gradient(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor) -> torch.Tensor:
    """gradient_OC33 of a 3x3 convolution with stride 1 and padding 1, by its input and the gradient of its output.

    Float32 or float64, best channels last; the result is channels last. Float32 differs from the exact gradient by
    about 1e-5 of its largest value, several times what a direct sum does.
    """
    num_images, channels_in, height, width = map_BCHW.shape
    channels_out = gradient_BOHW.shape[1]
    rows, columns = math.ceil(height / STEP), math.ceil(width / STEP)
    image_bytes = SIDE * SIDE * rows * columns * max(channels_in, channels_out) * map_BCHW.element_size()
    chunk = max(1, CHUNK_BYTES // image_bytes)
    product_TOC = map_BCHW.new_zeros(SIDE * SIDE, channels_out, channels_in)
    for start in range(0, num_images, chunk):
        part = slice(start, start + chunk)
        input_TNC = _input_tiles(map_BCHW[part].permute(0, 2, 3, 1), rows, columns)
        output_TNO = _output_tiles(gradient_BOHW[part].permute(0, 2, 3, 1), rows, columns)
        product_TOC.baddbmm_(output_TNO.transpose(1, 2), input_TNC)
    filters = _both_ways(FILTER, True, map_BCHW.dtype) @ product_TOC.flatten(1)
    filter_OHWC = filters.view(TAPS, TAPS, channels_out, channels_in).permute(2, 0, 1, 3).contiguous()
    return filter_OHWC.permute(0, 3, 1, 2)


def _input_tiles(map_BHWC: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """B^T d B of every 6x6 tile, of which neighbours share two rows or columns: (36, images * tiles, C)."""
    num_images, height, width, channels = map_BHWC.shape
    padded = map_BHWC.new_zeros(num_images, STEP * rows + 2, STEP * columns + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = map_BHWC
    image, row, column, channel = padded.stride()
    tiles = padded.as_strided(
        (SIDE, SIDE, num_images, rows, columns, channels), (row, column, image, STEP * row, STEP * column, channel)
    ).reshape(SIDE * SIDE, -1)
    return (_both_ways(INPUT, False, tiles.dtype) @ tiles).view(SIDE * SIDE, -1, channels)


def _output_tiles(gradient_BHWO: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A dy A^T of every 4x4 tile: (36, images * tiles, O)."""
    num_images, height, width, channels = gradient_BHWO.shape
    if (height, width) != (STEP * rows, STEP * columns):
        gradient_BHWO = functional.pad(gradient_BHWO, (0, 0, 0, STEP * columns - width, 0, STEP * rows - height))
    tiles = gradient_BHWO.reshape(num_images, rows, STEP, columns, STEP, channels)
    tiles = tiles.permute(2, 4, 0, 1, 3, 5).reshape(STEP * STEP, -1)
    return (_both_ways(OUTPUT, True, tiles.dtype) @ tiles).view(SIDE * SIDE, -1, channels)


def suits(module: nn.Module) -> bool:
    """Whether a module is a trained 3x3 convolution of stride 1 and padding 1, in one group, with enough channels."""
    return (
        is_trained_same_convolution(module, (TAPS,)) and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )
