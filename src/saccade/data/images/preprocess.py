"""Pixels become inputs here and nowhere else: resize, crop, channels, and normalisation on the device."""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from ...core.errors import ImageError
from ...core.types import Preprocessing
from ..limits import MAX_IMAGE_PIXELS

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def prepare_image(image_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """image_HWC uint8 RGB of any size as uint8 (H, W, C) at the input size of `preprocessing`.

    With `resize_px` the short side is resized to it, the long side to its proportional length cut to whole pixels,
    and the centre is cut out; without, both sides are resized straight to the input. Grey is ITU-R 601 luma. This is
    what the public ImageNet weights were evaluated with (torchvision's Resize and CenterCrop on Pillow images).
    """
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    image = Image.fromarray(image_HWC)
    if preprocessing.channels == "grey":
        image = image.convert("L")
    left = top = 0
    size = (width_px, height_px)
    if preprocessing.resize_px is not None:
        size = resized_size(image.size, preprocessing.resize_px)
        left, top = round((size[0] - width_px) / 2.0), round((size[1] - height_px) / 2.0)
    if image.size != size:
        image = image.resize(size, _FILTERS[preprocessing.interpolation])
    pixels = np.asarray(image)[top : top + height_px, left : left + width_px]
    return np.ascontiguousarray(pixels).reshape(height_px, width_px, preprocessing.num_channels)


def resized_size(size: tuple[int, int], short_side_px: int) -> tuple[int, int]:
    """(width, height) after the short side became `short_side_px` and the long side kept its proportion."""
    width_px, height_px = size
    if width_px <= height_px:
        return short_side_px, int(short_side_px * height_px / width_px)
    return int(short_side_px * width_px / height_px), short_side_px


def refuse_large_resize(key: str, size_HW: tuple[int, int], preprocessing: Preprocessing, scale: float = 1.0) -> None:
    """Raise ImageError where the short side, resized, would make an image of more pixels than any that is read."""
    if preprocessing.resize_px is None:
        return
    short_px = round(preprocessing.resize_px * scale)
    width_px, height_px = resized_size((size_HW[1], size_HW[0]), short_px)
    if width_px * height_px > MAX_IMAGE_PIXELS and width_px * height_px > size_HW[0] * size_HW[1]:
        raise ImageError(
            key,
            f"the image has {size_HW[1]}x{size_HW[0]} pixels; with a short side of {short_px} it becomes "
            f"{width_px}x{height_px}, more than {MAX_IMAGE_PIXELS:,}. Cut it into pieces.",
        )


def decoded_short_side_px(preprocessing: Preprocessing) -> int | None:
    """How long the short side of a JPEG must at least be decoded for `prepare_image`; None: full size."""
    if not preprocessing.fast_decode:
        return None
    return preprocessing.resize_px or max(preprocessing.input_height_px, preprocessing.input_width_px)


def normalize(image_BCHW: torch.Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> torch.Tensor:
    """(pixel / 255 - mean) / std of uint8 images, in `dtype`, on the tensor's device, in channels-last memory.

    The arithmetic is float32, as one multiplication and one addition a pixel; only the result is rounded to `dtype`.
    """
    scale_C11, shift_C11 = _scale_and_shift(preprocessing.mean, preprocessing.std, image_BCHW.device)
    wide_BCHW = image_BCHW.to(memory_format=torch.channels_last, dtype=torch.float32)
    return torch.addcmul(shift_C11, wide_BCHW, scale_C11).to(dtype).contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=64)
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale_C11, shift_C11) float32 on `device`. Kept, because a copy to a GPU waits for all that runs there."""
    with torch.inference_mode(False):
        std_C, mean_C = (torch.tensor(values, dtype=torch.float64) for values in (std, mean))
        scale_C, shift_C = ((1 / (255 * std_C)).float(), (-mean_C / std_C).float())
        return scale_C.to(device)[:, None, None], shift_C.to(device)[:, None, None]
