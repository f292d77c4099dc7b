"""HEIC and HEIF, through libheif (the extra `heic`). Nothing is registered with Pillow: only what is read here is.

The primary image, upright, 8 bits a channel. libheif turns and mirrors by the file's own boxes, which come before EXIF.
"""

import importlib.util

import numpy as np

from ....core.errors import ImageError
from ...limits import refuse_declared_size, refuse_expanding_image
from .stored import StoredImage

BYTES_PER_PIXEL = 8  # planes of luma and colour, and RGB


def is_missing() -> bool:
    """Whether pillow-heif is not installed."""
    return importlib.util.find_spec("pillow_heif") is None


def read_heif(content: bytes, key: str) -> StoredImage:
    """The primary image. Raises ImageError for what is not read, ValueError and what libheif raises for damage."""
    import pillow_heif

    try:
        file = pillow_heif.HeifFile(content)
        image = file[file.primary_index]
        width_px, height_px = image.size
        refuse_declared_size(key, width_px, height_px)
        refuse_expanding_image(key, len(content), width_px * height_px * BYTES_PER_PIXEL)
        pixels = np.asarray(image)[:height_px, :width_px]
    except (RuntimeError, MemoryError, IndexError, EOFError) as error:
        raise ValueError(str(error)) from error
    if image.size != (pixels.shape[1], pixels.shape[0]):
        raise ValueError("its pixels have another size than it declares")
    if image.mode not in ("L", "RGB", "RGBA", "RGBa", "LA", "La") or pixels.dtype != np.uint8:
        raise ImageError(key, f"its pixels have mode {image.mode}; save it as JPEG or PNG.")
    return StoredImage(
        pixels=_plain(pixels, image.mode),
        mode=image.mode,
        profile=bytes(image.info.get("icc_profile") or b""),
    )


def _plain(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) with alpha not multiplied in."""
    if mode in ("L", "RGB", "RGBA"):
        return np.ascontiguousarray(pixels)
    if mode in ("LA", "La"):
        pixels = np.concatenate([pixels[:, :, :1].repeat(3, axis=2), pixels[:, :, 1:]], axis=2)
    if mode in ("RGBa", "La"):
        alpha = np.maximum(pixels[:, :, 3:].astype(np.uint16), 1)
        colour = np.minimum((pixels[:, :, :3] * np.uint16(255) + alpha // 2) // alpha, 255).astype(np.uint8)
        pixels = np.concatenate([colour, pixels[:, :, 3:]], axis=2)
    return np.ascontiguousarray(pixels)
