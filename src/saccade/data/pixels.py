"""Source pixels in the layout that resampling is fastest in: four bytes a pixel for colour (the fourth is not used).

libjpeg-turbo, torch's antialiased filter and OpenCV's warp all take 15 to 60 % less time for RGBX than for RGB, with
the same bits. JPEG is decoded with the fast inverse transform and chroma upsampling, one or two levels away on average
from what `decode_image` gives: for training pixels that are changed far more than that, never for evaluation.
"""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from .decode import MAX_BYTES, MAX_PIXELS, decode_image

JPEG_FACTORS = (8, 4, 2)  # scales that libjpeg-turbo decodes faster than the whole
_ORIENTATION_TAG = 0x0112
Shrink = Callable[[int, int], float]  # (height, width) in pixels -> source pixels per output pixel


def read_rgbx(content: bytes | np.ndarray, key: str, shrink: Shrink) -> np.ndarray:
    """Decode to uint8 RGBX (H, W, 4); a JPEG at 1/2, 1/4 or 1/8 scale where it will be shrunk at least so much.

    Raises ImageError naming `key`, as `decode_image` does, which reads everything that is not a plain JPEG.
    """
    size_HW = jpeg_size(content)
    if isinstance(content, bytes) and size_HW is not None and is_plain(content, size_HW):
        pixels = _decode_plain(content, size_HW, _factor(shrink(*size_HW)))
        if pixels is not None:
            return pixels
    short_side_px = None
    if size_HW is not None:
        # The header does not say how the image will be turned upright, so both ways count.
        factor = _factor(min(shrink(*size_HW), shrink(*size_HW[::-1])))
        short_side_px = min(size_HW) // factor if factor > 1 else None
    return as_rgbx(decode_image(content, key, short_side_px).image_HWC)


def as_rgbx(image_HWC: np.ndarray) -> np.ndarray:
    """RGB pixels (H, W, 3) with a fourth byte each."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2RGBA)


def as_luma(image_HWC: np.ndarray) -> np.ndarray:
    """RGB pixels as the grey (H, W, 1) that evaluation computes."""
    return np.asarray(Image.fromarray(image_HWC).convert("L"))[:, :, None]


def jpeg_size(content: bytes | np.ndarray) -> tuple[int, int] | None:
    """Height and width of a JPEG as its header gives them; None for everything else."""
    if not isinstance(content, bytes) or content[:2] != b"\xff\xd8":
        return None
    try:
        height, width = simplejpeg.decode_jpeg_header(content)[:2]
    except ValueError:
        return None  # whether the file can be used at all, decoding finds out
    return height, width


def is_plain(content: bytes, size_HW: tuple[int, int]) -> bool:
    """Whether a JPEG is grey or YCbCr, of a usual size, and upright as it is stored."""
    if len(content) > MAX_BYTES or size_HW[0] * size_HW[1] > MAX_PIXELS or b"tiff:Orientation" in content:
        return False
    return simplejpeg.decode_jpeg_header(content)[2] in ("YCbCr", "Gray") and _is_upright(content)


def _is_upright(content: bytes) -> bool:
    """Whether the EXIF segment, if there is one, says so; False where it is not quite regular."""
    start = content.find(b"Exif\0\0")
    if start < 0:
        return True
    tiff = content[start + 6 : start - 2 + int.from_bytes(content[start - 2 : start], "big")]
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    regular = content[start - 4 : start - 2] == b"\xff\xe1" and tiff[:4] in (b"II*\0", b"MM\0*")
    if not regular or content.find(b"Exif\0\0", start + 6) >= 0:
        return False
    place = int.from_bytes(tiff[4:8], order)
    num_entries = int.from_bytes(tiff[place : place + 2], order)
    entries = [tiff[at : at + 12] for at in range(place + 2, place + 2 + 12 * num_entries, 12)]
    found = [entry for entry in entries if int.from_bytes(entry[:2], order) == _ORIENTATION_TAG]
    return not found or [int.from_bytes(entry[8:10], order) for entry in found] == [1]


def _factor(shrink: float) -> int:
    return next((factor for factor in JPEG_FACTORS if shrink >= factor), 1)


def _decode_plain(content: bytes, size_HW: tuple[int, int], factor: int) -> np.ndarray | None:
    """None where the file is unusual and `decode_image` shall decide whether it can be used."""
    height, width = (-(-size // factor) for size in size_HW)
    try:
        return simplejpeg.decode_jpeg(
            content, "RGBX", fastdct=True, fastupsample=True, min_height=height, min_width=width, min_factor=factor
        )
    except ValueError:
        return None
