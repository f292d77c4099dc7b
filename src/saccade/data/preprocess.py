"""Pixels become inputs here and nowhere else: resize, crop, channels, and normalisation on the device."""

import numpy as np
import torch
from PIL import Image

from ..core.types import Preprocessing

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def prepare_image(image_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """image_HWC uint8 RGB of any size as uint8 (H, W, C) at the input size of `preprocessing`.

    With `resize_px` the short side becomes that long, the long side in proportion (rounded down), and the centre is
    cut out; without it both sides are resized straight to the input. The filter is Pillow's.
    """
    image = Image.fromarray(np.ascontiguousarray(image_HWC))
    if preprocessing.channels == "grey":
        image = image.convert("L")
    height, width = preprocessing.input_height_px, preprocessing.input_width_px
    resized_width, resized_height = width, height
    if preprocessing.resize_px is not None:
        short = min(image.size)
        resized_width, resized_height = (int(preprocessing.resize_px * side / short) for side in image.size)
    if image.size != (resized_width, resized_height):
        image = image.resize((resized_width, resized_height), _FILTERS[preprocessing.interpolation])
    left, top = round((resized_width - width) / 2.0), round((resized_height - height) / 2.0)
    pixels = np.asarray(image)[top : top + height, left : left + width]
    return pixels.reshape(height, width, preprocessing.num_channels)


def normalize(image_BCHW: torch.Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> torch.Tensor:
    """uint8 pixels as (pixel / 255 - mean) / std in `dtype`, on the device and in the memory format they are in."""
    mean_C = torch.tensor(preprocessing.mean, device=image_BCHW.device)
    std_C = torch.tensor(preprocessing.std, device=image_BCHW.device)
    scale_C11, offset_C11 = (1 / (255 * std_C))[:, None, None], (-mean_C / std_C)[:, None, None]
    return (image_BCHW.float() * scale_C11 + offset_C11).to(dtype)
