"""TensorFlow's padding of strided windows, as a layer; `fused_inference.py` folds it into the convolution behind it."""

import torch
from torch import nn


class SamePadding(nn.Module):
    """Zeros around a map as TensorFlow's SAME puts them in front of a strided window: ceil(H / stride) positions come
    out, and where the zeros are odd in number, one more stands below and at the right. `kernel_size` >= `stride`.
    """

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H + zeros, W + zeros)."""
        return nn.functional.pad(map_BCHW, self.around(map_BCHW))

    def around(self, map_BCHW: torch.Tensor) -> tuple[int, int, int, int]:
        """How many zeros stand at the left, at the right, above and below."""
        rows, columns = (self._zeros(size) for size in map_BCHW.shape[2:])
        return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2

    def _zeros(self, size: int) -> int:
        """So that the last of ceil(size / stride) windows ends at the last zero."""
        return (size + self.stride - 1) // self.stride * self.stride - self.stride + self.kernel_size - size

    def extra_repr(self) -> str:
        """What `print` shows between the brackets."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}"
