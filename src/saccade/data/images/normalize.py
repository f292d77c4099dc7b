"""Prepared pixels become the numbers that a network takes, on its device."""

from functools import lru_cache

import torch

from ...core.types import Preprocessing


def normalize(image_BCHW: torch.Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> torch.Tensor:
    """(pixel / full scale - mean) / std of prepared images, in `dtype`, on its device, in channels-last memory.

    The arithmetic is float32, as one multiplication and one addition a pixel; only the result is rounded to `dtype`.
    """
    scale_C11, shift_C11 = _kept(preprocessing.mean, preprocessing.std, preprocessing.full_scale, image_BCHW.device)
    wide_BCHW = image_BCHW.to(memory_format=torch.channels_last, dtype=torch.float32)
    return torch.addcmul(shift_C11, wide_BCHW, scale_C11).to(dtype).contiguous(memory_format=torch.channels_last)


def scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], full_scale: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale_C11, shift_C11) float32: what a pixel of 0 to `full_scale` is multiplied by, then what is added to it."""
    std_C, mean_C = (torch.tensor(values, dtype=torch.float64) for values in (std, mean))
    return (1 / (full_scale * std_C)).float()[:, None, None], (-mean_C / std_C).float()[:, None, None]


@lru_cache(maxsize=64)
def _kept(
    mean: tuple[float, ...], std: tuple[float, ...], full_scale: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """`scale_and_shift` on `device`. Kept, because a copy to a GPU waits for all that runs there."""
    with torch.inference_mode(False):
        scale_C11, shift_C11 = scale_and_shift(mean, std, full_scale)
        return scale_C11.to(device), shift_C11.to(device)
