"""From a file's bytes to pixels: one function, one explicit table of colour modes, one error.

Training, evaluation, prediction and serving all decode here. Reading is allow-listed to JPEG, PNG, WebP, BMP and the
first frame of GIF. Plain JPEG goes through simplejpeg (libjpeg-turbo, releases the interpreter lock), the rest through
Pillow.

    mode of the file            what becomes of it
    1, L                        repeated on three channels
    P                           its palette's colours
    LA, PA, RGBA, P with tRNS   composited on white
    I;16, 16 bits a channel     divided by 257 and rounded (65535 -> 255)
    RGB                         as it is
    CMYK, YCCK                  Pillow's conversion; inks are taken as inverted, as Adobe writes them
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from ..core.errors import ImageError, printable
from .limits import MAX_ASPECT, MAX_IMAGE_PIXELS, MAX_JPEG_SCANS, refuse_large_image
from .pillow_warnings import kept_warnings

MAX_WEBP_SIDE_PX = 16_383  # RFC 9649: a picture's sides have 14 bits; a canvas may claim 2^24
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # JPEG opens multi-picture files (MPO) too
BACKGROUND = 255  # what shows through transparent pixels: white, as on paper and most pages

# What Pillow and the codecs raise on damaged files, found by mutating valid ones.
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_PARTS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
BEGINNINGS = {
    "PNG": rb"\x89PNG",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "BMP": rb"BM....\0{4}",
}
BAND_PIXELS = 1 << 18  # how many are converted at a time, so that wide intermediate values stay small

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """`image_HWC` uint8 RGB 0-255 upright; `mode` the file's colour mode; `rotated` whether EXIF turned it.

    `notes` are sentences on damage beside the pixels, such as in the EXIF block that says how to turn the image.
    """

    image_HWC: np.ndarray
    mode: str
    rotated: bool
    notes: tuple[str, ...] = ()


def decode_image(content: bytes | np.ndarray, key: str, min_short_side_px: int | None = None) -> DecodedImage:
    """Decode one image: upright, RGB, uint8. Raises ImageError naming `key` and the reason.

    With `min_short_side_px`, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its short side stays at least
    that long. Pixels that are already decoded, uint8 (H, W) or (H, W, 3), pass through.
    """
    if isinstance(content, np.ndarray):
        _check_array(content, key)
        return DecodedImage(image_HWC=as_rgb(content), mode="L" if content.ndim == 2 else "RGB", rotated=False)
    if not content:
        raise ImageError(key, "the file is empty (0 bytes).")
    refuse_large_image(key, len(content))
    try:
        with kept_warnings() as warned:
            decoded = _decode(content, key, min_short_side_px)
        return replace(decoded, notes=tuple(map(_note, dict.fromkeys(warned)))) if warned else decoded
    except DECODE_ERRORS as error:
        raise ImageError(key, _reason(content, error)) from error


def decode_opened(image: Image.Image, key: str) -> np.ndarray:
    """image_HWC uint8 RGB, upright, of an image that Pillow opened or made, by the same table. Raises ImageError.

    A file and the image that Pillow makes of it give equal pixels, but for colours of 16 bits a channel, of which
    Pillow keeps the upper 8, and for `fast_decode`, which reads a smaller image from a JPEG file.
    """
    width_px, height_px = image.size
    if not 0 < width_px * height_px <= MAX_IMAGE_PIXELS:
        raise ImageError(
            key, f"the image has {width_px}x{height_px} pixels; 1 to {MAX_IMAGE_PIXELS:,} are read. Change its size."
        )
    if image.mode == "F" or (image.mode == "I" and not _has_16_bits(image)):
        raise ImageError(
            key, f"its pixels (mode {image.mode}) have no known range; convert it to L or RGB, 0 to 255, first."
        )
    try:
        with kept_warnings():
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            pixels = _to_rgb(image)
    except DECODE_ERRORS as error:
        raise ImageError(key, _reason(b"", error)) from error
    return _upright(pixels, orientation) if orientation in range(2, 9) else pixels


def _has_16_bits(image: Image.Image) -> bool:
    lowest, highest = image.getextrema()
    return 0 <= lowest and highest <= 65535  # type: ignore[operator]  # one channel, so these are numbers


def _note(text: str) -> str:
    return f"{printable(' '.join(text.split()))[:160].rstrip('. ')}."


def _check_array(pixels: np.ndarray, key: str) -> None:
    is_image = pixels.dtype == np.uint8 and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
    if not is_image or not 0 < pixels.size <= 3 * MAX_IMAGE_PIXELS:
        shape = "x".join(map(str, pixels.shape)) or "no"
        raise ImageError(key, f"its pixels are {shape} values of {pixels.dtype}, not 1 to {MAX_IMAGE_PIXELS:,} bytes.")


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """image_HWC of uint8 pixels (H, W) or (H, W, 3)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _decode(content: bytes, key: str, min_short_side_px: int | None) -> DecodedImage:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width_px, height_px = image.size
        if Image.MAX_IMAGE_PIXELS and width_px * height_px > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError  # where Pillow's alarm is only printed: filters belong to the process
        if width_px * height_px > MAX_IMAGE_PIXELS:
            raise ImageError(
                key,
                f"the image has {width_px}x{height_px} pixels; at most {MAX_IMAGE_PIXELS:,} are read. Make it smaller.",
            )
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        mode = image.mode
        pixels: np.ndarray | None = None
        if image.format == "WEBP" and max(width_px, height_px) > MAX_WEBP_SIDE_PX:
            raise ValueError(f"it declares {width_px}x{height_px} pixels; WebP pictures have at most 16,383 on a side")
        if max(width_px, height_px) > MAX_ASPECT * min(width_px, height_px):
            raise ImageError(
                key,
                f"the image has {width_px}x{height_px} pixels: one side is more than {MAX_ASPECT} times the other. "
                f"Cut it into pieces.",
            )
        is_whole = image.format != "PNG" or _check_png(content)
        if image.format in ("JPEG", "MPO") and mode in ("RGB", "L"):
            pixels = _decode_jpeg(content, min_short_side_px)
        if pixels is None and _is_16_bit_png(content):
            image.load()  # Pillow reports damage in words; OpenCV keeps all 16 bits
            if not is_whole:
                raise ValueError("a part of it runs past the end of the file")  # OpenCV would allocate that part
            pixels, mode = _decode_16_bit(content, image.info), f"{mode.partition(';')[0]};16"
        if pixels is None:
            if min_short_side_px:
                image.draft(None, (min_short_side_px, min_short_side_px))
            pixels = _to_rgb(image)
    rotated = orientation in range(2, 9)
    return DecodedImage(image_HWC=_upright(pixels, orientation) if rotated else pixels, mode=mode, rotated=rotated)


def _decode_jpeg(content: bytes, min_short_side_px: int | None) -> np.ndarray | None:
    """Strictly decoded pixels; None where the file is unusual and Pillow shall decide whether it can be used."""
    side_px = min_short_side_px or 0
    num_scans = content.count(b"\xff\xda")  # a marker: in coded pixels, ff is followed by 0 or a restart
    if num_scans > MAX_JPEG_SCANS:
        raise ValueError(f"it has {num_scans:,} scans; at most {MAX_JPEG_SCANS} are decoded")
    try:
        return simplejpeg.decode_jpeg(content, "RGB", min_height=side_px, min_width=side_px, min_factor=2)
    except ValueError:
        return None


def _check_png(content: bytes) -> bool:
    """Whether no part runs past the end. Raises ValueError where one of the pixels' parts fails its checksum."""
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, end = content[place + 4 : place + 8], place + 8 + length
        if end + 4 > len(content):
            return False  # truncated, as Pillow will find where pixels are missing
        if (
            name in PNG_PIXEL_PARTS
            and zlib.crc32(content[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]
        ):
            raise ValueError(f"the checksum of its part {name.decode()} is wrong")
        place = end + 4
    return True


def _is_16_bit_png(content: bytes) -> bool:
    return content[:8] == PNG_SIGNATURE and content[12:16] == b"IHDR" and content[24:25] == b"\x10"


def _decode_16_bit(content: bytes, info: dict[str | tuple[int, int], Any]) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("the 16-bit pixels cannot be read")
    if pixels.ndim == 2:
        return as_rgb(_grey_of_16_bits(pixels, info))
    eight_bit = _eight_bit(pixels)
    if eight_bit.shape[2] == 4:
        return _composite(cv2.cvtColor(eight_bit, cv2.COLOR_BGRA2RGBA))
    return np.ascontiguousarray(eight_bit[:, :, ::-1])


def _grey_of_16_bits(pixels: np.ndarray, info: dict[str | tuple[int, int], Any]) -> np.ndarray:
    eight_bit = _eight_bit(pixels)
    if isinstance(info.get("transparency"), int):  # OpenCV and Pillow leave the transparent grey to us
        eight_bit[pixels == info["transparency"]] = BACKGROUND
    return eight_bit


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    """uint8 of values 0-65535, divided by 257 and rounded."""
    result = np.empty(pixels.shape, np.uint8)
    for rows in bands(pixels):
        result[rows] = ((pixels[rows].astype(np.uint32) + 128) // 257).clip(0, 255)
    return result


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        return as_rgb(_grey_of_16_bits(np.asarray(image), image.info))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _composite(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _composite(image_RGBA: np.ndarray) -> np.ndarray:
    """Lay RGBA pixels on the background: (colour * alpha + background * (255 - alpha)) / 255, rounded."""
    result = np.empty((*image_RGBA.shape[:2], 3), np.uint8)
    for rows in bands(image_RGBA):
        alpha, colour = image_RGBA[rows, :, 3:].astype(np.uint32), image_RGBA[rows, :, :3].astype(np.uint32)
        result[rows] = (colour * alpha + BACKGROUND * (255 - alpha) + 127) // 255
    return result


def bands(pixels: np.ndarray) -> Iterator[slice]:
    """Runs of rows of about BAND_PIXELS pixels."""
    num_rows = max(1, BAND_PIXELS // pixels.shape[1])
    for start in range(0, pixels.shape[0], num_rows):
        yield slice(start, start + num_rows)


def _upright(image_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of 2 to 8 (Exif 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        image_HWC = image_HWC.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image_HWC = image_HWC[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image_HWC = image_HWC[::-1]
    return np.ascontiguousarray(image_HWC)


def _reason(content: bytes, error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"the image declares far more than {MAX_IMAGE_PIXELS:,} pixels; it is not opened."
    if isinstance(error, UnidentifiedImageError):
        if content[:4] == b"\x89PNG" and content[:8] != PNG_SIGNATURE:
            return "something has changed the first bytes of this PNG file, as a transfer as text does: copy it again."
        kind = next((kind for kind, start in BEGINNINGS.items() if re.match(start, content, re.DOTALL)), None)
        if kind:
            return f"it starts like a {kind} file, but its header is damaged."
        start = printable(content[:12].decode("latin-1"))
        return f"not an image that can be read (JPEG, PNG, WebP, BMP, GIF): it begins with '{start}'."
    text = printable(" ".join(str(error).split())) or type(error).__name__
    if text == "cannot load this image":
        return "it has no image data."
    is_short_webp = content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    if "truncated" in text or isinstance(error, EOFError) or is_short_webp:
        return "the image data end too early: the file is truncated."
    return f"the image data are damaged ({text.rstrip('.')[:120]})."
