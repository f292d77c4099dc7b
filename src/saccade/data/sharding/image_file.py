"""What becomes of one image in a shard: its file as it is, or its picture made smaller."""

import io

import numpy as np
from PIL import Image

from ...core.errors import ImageError
from ..images.decode import DecodedImage, decode_image
from ..images.formats.table import format_of
from ..images.pixel_statistics import are_equal
from ..images.preprocess import resized_size

KEPT = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "BMP": "bmp", "GIF": "gif"}  # what a shard may hold
JPEG_QUALITY = 95


def image_file(content: bytes | np.ndarray, key: str, short_side_px: int) -> tuple[str, bytes]:
    """(ending, content) of the file for an image. Raises ImageError where none can hold it.

    A file of a usual format is kept to the byte; what is no file, or one of another format, becomes a PNG of the same
    pixels. A picture whose short side is longer than `short_side_px` (0: any) is resized to it and becomes a JPEG.
    """
    found = format_of(content) if isinstance(content, bytes) else None
    ending = KEPT.get(found.name, "") if found is not None else ""
    if ending and not short_side_px and isinstance(content, bytes):
        return ending, content
    decoded = decode_image(content, key)
    height_px, width_px = decoded.image_HWC.shape[:2]
    is_smaller = bool(short_side_px) and min(height_px, width_px) > short_side_px
    if ending and not is_smaller and isinstance(content, bytes):
        return ending, content
    _refuse_loss(decoded, key)
    image = _picture(decoded.image_HWC)
    stream = io.BytesIO()
    if is_smaller:
        image.resize(resized_size(image.size, short_side_px), Image.Resampling.BICUBIC).save(
            stream, "JPEG", quality=JPEG_QUALITY
        )
        return "jpg", stream.getvalue()
    image.save(stream, "PNG")
    return "png", stream.getvalue()


def _refuse_loss(decoded: DecodedImage, key: str) -> None:
    if decoded.is_bands or decoded.largest_16_bit:
        what = "bands that are not colours" if decoded.is_bands else "16 bits a channel"
        raise ImageError(key, f"it has {what}, which would be lost in a shard. Leave such images where they are.")


def _picture(image_HWC: np.ndarray) -> Image.Image:
    """The picture; with one channel where it is grey."""
    is_grey = are_equal([image_HWC[:, :, channel] for channel in range(3)])
    return Image.fromarray(np.ascontiguousarray(image_HWC[:, :, 0]) if is_grey else image_HWC)
