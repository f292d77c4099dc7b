"""Source pixels in the layout that resampling is fastest in: four bytes a pixel for colour (the fourth is not used).

libjpeg-turbo, torch's antialiased filter and OpenCV's warp all take 15 to 60 % less time for RGBX than for RGB, with
the same bits. JPEG is decoded with the fast inverse transform and chroma upsampling, one or two levels away on average
from what `decode_image` gives: for training pixels that are changed far more than that, never for evaluation.

Of a baseline JPEG only the rows down to the last one that is seen are decoded: libjpeg-turbo is given a header that
says so, and complains of what is left over. Any other complaint sends the file to the strict decoder, as it is.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from ...core.types import MAX_16_BIT
from ..limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from .decode import decode_image
from .formats.profiles import is_converted

JPEG_FACTORS = (8, 4, 2)  # scales that libjpeg-turbo decodes faster than the whole
_ORIENTATION_TAG = 0x0112
_START_OF_SCAN = b"\xda"
_FRAMES = (b"\xc0", b"\xc1", b"\xc2")  # baseline, extended, progressive
_RESTART_INTERVAL = b"\xdd"
_BASELINE = (b"\xc0", b"\xc1")
_LEFT_OVER = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9")  # the end-of-image marker
_ROW_STEP = 32  # rows of the tallest unit that a JPEG is coded in
Shrink = Callable[[int, int], float]  # (height, width) in pixels -> source pixels per output pixel
NumRows = Callable[[int, int], int]  # (height, width) in pixels -> how many rows from the top are seen


@dataclass(frozen=True, kw_only=True)
class JpegHeader:
    """Height and width as stored. `is_plain`: grey or YCbCr, of a usual size, upright as it is stored, and in
    sRGB.

    `height_at`: where in the file a baseline image coded in one run says its height, two bytes; 0 for any other.
    """

    size_HW: tuple[int, int]
    is_plain: bool
    height_at: int


def read_rgbx(
    content: bytes | np.ndarray,
    key: str,
    shrink: Shrink,
    num_rows: NumRows = lambda height, width: height,
    white: int = MAX_16_BIT,
) -> np.ndarray:
    """Decode to uint8 RGBX (H, W, 4); a JPEG at 1/2, 1/4 or 1/8 scale where it will be shrunk at least so much.

    What lies below the first `num_rows(H, W)` rows is undefined, and damage there may be overlooked. Raises ImageError
    naming `key`, as `decode_image` does, which reads everything that is not a plain JPEG, with `white`.
    """
    header = jpeg_header(content) if isinstance(content, bytes) else None
    if isinstance(content, bytes) and header and header.is_plain:
        factor = _factor(shrink(*header.size_HW))
        pixels = _decode_upper(content, header, factor, num_rows) if header.height_at else None
        if pixels is None:
            pixels = _decode_plain(content, header.size_HW, factor)
        if pixels is not None:
            return pixels
    short_side_px = None
    if header:
        # How the image will be turned upright is not known here, so both ways count.
        factor = _factor(min(shrink(*header.size_HW), shrink(*header.size_HW[::-1])))
        short_side_px = min(header.size_HW) // factor if factor > 1 else None
    return as_rgbx(decode_image(content, key, short_side_px, white).image_HWC)


def as_rgbx(image_HWC: np.ndarray) -> np.ndarray:
    """RGB pixels (H, W, 3) with a fourth byte each."""
    return cv2.cvtColor(image_HWC, cv2.COLOR_RGB2RGBA)


def as_luma(image_HWC: np.ndarray) -> np.ndarray:
    """RGB pixels as the grey (H, W, 1) that evaluation computes."""
    return np.asarray(Image.fromarray(image_HWC).convert("L"))[:, :, None]


def jpeg_header(content: bytes) -> JpegHeader | None:
    """What the segments before the image data say (ITU-T T.81, annex B); None where they are not quite regular."""
    place, is_plain, size_HW = 2, content[:2] == b"\xff\xd8" and len(content) <= MAX_IMAGE_BYTES, (0, 0)
    height_at, has_restarts = 0, False
    profile: list[bytes] = []
    while content[place : place + 1] == b"\xff":
        marker, end = content[place + 1 : place + 2], place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        segment = content[place + 4 : end]
        if marker == _START_OF_SCAN:
            height_at = 0 if has_restarts else height_at
            is_plain = is_plain and not is_converted(b"".join(part[14:] for part in sorted(profile)))
            return JpegHeader(size_HW=size_HW, is_plain=is_plain, height_at=height_at) if min(size_HW) > 0 else None
        if marker in _FRAMES:
            size_HW = (int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"))
            is_usual = (
                segment[0] == 8 and segment[6::3] in (b"\1", b"\1\2\3") and size_HW[0] * size_HW[1] <= MAX_IMAGE_PIXELS
            )
            is_plain = is_plain and is_usual
            height_at = place + 5 if marker in _BASELINE else 0
        elif marker == _RESTART_INTERVAL:
            has_restarts = True
        elif marker == b"\xe1" and not _is_upright(segment):
            is_plain = False
        elif marker == b"\xe2" and segment[:12] == b"ICC_PROFILE\0":
            profile.append(segment)
        elif marker == b"\xee" and segment[:5] == b"Adobe" and segment[11:12] != b"\1":
            is_plain = False  # not YCbCr
        place = end
    return None


def _is_upright(segment: bytes) -> bool:
    """Whether an APP1 segment leaves the image as it is stored; False where that is not quite clear."""
    if not segment.startswith(b"Exif\0\0"):
        return b"tiff:Orientation" not in segment
    tiff = segment[6:]
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    place = int.from_bytes(tiff[4:8], order)
    num_entries = int.from_bytes(tiff[place : place + 2], order)
    entries = [tiff[at : at + 12] for at in range(place + 2, place + 2 + 12 * num_entries, 12)]
    found = [entry for entry in entries if int.from_bytes(entry[:2], order) == _ORIENTATION_TAG]
    return not found or [int.from_bytes(entry[8:10], order) for entry in found] == [1]


def _factor(shrink: float) -> int:
    return next((factor for factor in JPEG_FACTORS if shrink >= factor), 1)


def _decode_upper(content: bytes, header: JpegHeader, factor: int, num_rows: NumRows) -> np.ndarray | None:
    """An image of the whole size of which only the upper rows are decoded; None where all are needed, or it fails."""
    (height, width), place = header.size_HW, header.height_at
    height_px, width_px = -(-height // factor), -(-width // factor)
    coded_rows = -(-num_rows(height_px, width_px) * factor // _ROW_STEP) * _ROW_STEP
    if coded_rows > height - _ROW_STEP:
        return None
    shortened = content[:place] + coded_rows.to_bytes(2, "big") + content[place + 2 :]
    pixels = np.empty((height_px, width_px, 4), np.uint8)
    try:
        _decode_rgbx(shortened, (coded_rows // factor, width_px), factor, pixels[: coded_rows // factor])
    except ValueError as error:
        if not _LEFT_OVER.fullmatch(str(error)):
            return None
    return pixels


def _decode_plain(content: bytes, size_HW: tuple[int, int], factor: int) -> np.ndarray | None:
    """None where the file is unusual and `decode_image` shall decide whether it can be used."""
    try:
        return _decode_rgbx(content, (-(-size_HW[0] // factor), -(-size_HW[1] // factor)), factor, None)
    except ValueError:
        return None


def _decode_rgbx(content: bytes, size_HW: tuple[int, int], factor: int, buffer: np.ndarray | None) -> np.ndarray:
    return simplejpeg.decode_jpeg(
        content,
        "RGBX",
        fastdct=True,
        fastupsample=True,
        min_height=size_HW[0],
        min_width=size_HW[1],
        min_factor=factor,
        buffer=buffer,
    )
