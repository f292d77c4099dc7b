"""Pixels become inputs here and nowhere else: resize, crop, channels; `normalize.py` does the rest on the device.

torch is not imported: the server of models prepares images here, too.
"""

import numpy as np
from PIL import Image

from ...core.errors import ImageError
from ...core.types import MAX_16_BIT, Preprocessing
from ..limits import MAX_IMAGE_PIXELS

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def prepare_image(image_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """image_HWC uint8 RGB of any size as uint8 (H, W, C) at the input size of `preprocessing`; of bands what
    `network_pixels` gives, with its bits.

    `place_on_input` says to which size it is resized and where the input lies on it. What the picture leaves free with
    fit pad is the mean colour, which becomes zero. Grey is ITU-R 601 luma. Crop is what the public ImageNet weights
    were evaluated with (torchvision's Resize and CenterCrop on Pillow images).
    """
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    if preprocessing.has_bands:
        return _prepared_bands(image_HWC, preprocessing)
    image = Image.fromarray(image_HWC)
    if preprocessing.channels == "grey":
        image = image.convert("L")
    resized_HW, (top, left) = place_on_input((image.height, image.width), preprocessing)
    size = resized_HW[::-1]
    if image.size != size:
        image = image.resize(size, _FILTERS[preprocessing.interpolation])
    if preprocessing.fit == "pad":
        return _padded(np.asarray(image), (-top, -left), preprocessing)
    pixels = np.asarray(image)[top : top + height_px, left : left + width_px]
    return np.ascontiguousarray(pixels).reshape(height_px, width_px, preprocessing.num_channels)


def _prepared_bands(band_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Each band by itself, as a colour would be; with 16 bits Pillow resizes in float32, rounded to whole values."""
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    resized_HW, (top, left) = place_on_input(band_HWC.shape[:2], preprocessing)
    if band_HWC.shape[:2] != resized_HW:
        filter_ = _FILTERS[preprocessing.interpolation]
        band_HWC = np.stack([_resized(plane_HW, resized_HW, filter_) for plane_HW in np.moveaxis(band_HWC, 2, 0)], 2)
    if preprocessing.fit == "pad":
        return _padded(band_HWC, (-top, -left), preprocessing)
    return np.ascontiguousarray(band_HWC[top : top + height_px, left : left + width_px])


def _resized(plane_HW: np.ndarray, size_HW: tuple[int, int], filter_: Image.Resampling) -> np.ndarray:
    is_deep = plane_HW.dtype == np.uint16
    image = Image.fromarray(plane_HW.astype(np.float32) if is_deep else np.ascontiguousarray(plane_HW))
    resized_HW = np.asarray(image.resize(size_HW[::-1], filter_))
    return np.rint(resized_HW).clip(0, MAX_16_BIT).astype(np.uint16) if is_deep else resized_HW


def _padded(pixels: np.ndarray, place: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """The pixels at (top, left) of an input of the mean colour."""
    height_px, width_px = pixels.shape[:2]
    num_channels, *input_HW = preprocessing.input_CHW
    out_HWC = np.empty((*input_HW, num_channels), preprocessing.pixel_type)
    out_HWC[...] = mean_levels(preprocessing)
    rows, columns = slice(place[0], place[0] + height_px), slice(place[1], place[1] + width_px)
    out_HWC[rows, columns] = pixels.reshape(height_px, width_px, num_channels)
    return out_HWC


def mean_levels(preprocessing: Preprocessing) -> np.ndarray:
    """The preprocessing's mean as a prepared pixel (C,): it becomes zero when it is normalised."""
    full = preprocessing.full_scale
    return np.rint(np.asarray(preprocessing.mean) * full).clip(0, full).astype(preprocessing.pixel_type)


def place_on_input(
    size_HW: tuple[int, int], preprocessing: Preprocessing, scale: float = 1.0
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height and width after resizing, row and column of it at which the input starts) of a picture of `size_HW`.

    The start is negative where the input has room around the picture. Sides that follow from another one are cut to
    whole pixels; with fit pad they are rounded, so that the picture keeps its shape best. `scale` enlarges `resize_px`.
    """
    input_HW = (preprocessing.input_height_px, preprocessing.input_width_px)
    if preprocessing.fit == "pad":
        resized_HW = _inside(size_HW, input_HW)
        return resized_HW, (-((input_HW[0] - resized_HW[0]) // 2), -((input_HW[1] - resized_HW[1]) // 2))
    if preprocessing.resize_px is None:
        return input_HW, (0, 0)
    short_px = round(preprocessing.resize_px * scale)
    if preprocessing.fit == "cover":
        resized_HW = _covering(size_HW, covered_box(preprocessing, short_px))
    else:
        width_px, height_px = resized_size((size_HW[1], size_HW[0]), short_px)
        resized_HW = height_px, width_px
    top, left = (round((resized - side) / 2.0) for resized, side in zip(resized_HW, input_HW))
    return resized_HW, (top, left)


def covered_box(preprocessing: Preprocessing, short_px: int) -> tuple[int, int]:
    """(height, width) of the box of the input's shape whose short side is `short_px`: what fit cover covers."""
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    short_side = min(height_px, width_px)
    return round(height_px * short_px / short_side), round(width_px * short_px / short_side)


def _covering(size_HW: tuple[int, int], box_HW: tuple[int, int]) -> tuple[int, int]:
    (height_px, width_px), (box_height, box_width) = size_HW, box_HW
    if box_height * width_px >= box_width * height_px:
        return box_height, box_height * width_px // height_px
    return box_width * height_px // width_px, box_width


def _inside(size_HW: tuple[int, int], input_HW: tuple[int, int]) -> tuple[int, int]:
    (height_px, width_px), (input_height, input_width) = size_HW, input_HW
    if input_width * height_px <= input_height * width_px:
        return max(1, (2 * input_width * height_px + width_px) // (2 * width_px)), input_width
    return input_height, max(1, (2 * input_height * width_px + height_px) // (2 * height_px))


def fit_words(preprocessing: Preprocessing) -> str:
    """What becomes of a picture's size and shape, in words; sizes are width x height, said where that matters."""
    is_square = preprocessing.input_width_px == preprocessing.input_height_px
    size = f"{preprocessing.input_width_px}x{preprocessing.input_height_px}{'' if is_square else ' (width x height)'}"
    if preprocessing.fit == "pad":
        return f"fitted whole into {size}, the mean colour around it"
    if preprocessing.resize_px is None:
        return f"resized to {size}" + (", whatever its shape" if preprocessing.fit == "squash" else "")
    if preprocessing.fit == "cover":
        height_px, width_px = covered_box(preprocessing, preprocessing.resize_px)
        return f"resized to cover {width_px}x{height_px}, centre {size} cut out"
    return f"short side to {preprocessing.resize_px} px, centre {size} cut out"


def resized_size(size: tuple[int, int], short_side_px: int) -> tuple[int, int]:
    """(width, height) after the short side became `short_side_px` and the long side kept its proportion."""
    width_px, height_px = size
    if width_px <= height_px:
        return short_side_px, int(short_side_px * height_px / width_px)
    return int(short_side_px * width_px / height_px), short_side_px


def refuse_large_resize(key: str, size_HW: tuple[int, int], preprocessing: Preprocessing, scale: float = 1.0) -> None:
    """Raise ImageError where resizing before the cut would make an image of more pixels than any that is read."""
    if preprocessing.resize_px is None:
        return
    short_px = round(preprocessing.resize_px * scale)
    (height_px, width_px), _ = place_on_input(size_HW, preprocessing, scale)
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
    if preprocessing.fit == "cover" and preprocessing.resize_px:
        return max(covered_box(preprocessing, preprocessing.resize_px))
    return preprocessing.resize_px or max(preprocessing.input_height_px, preprocessing.input_width_px)
