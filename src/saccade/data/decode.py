"""From a file's bytes to pixels: one function, one explicit table of colour modes, one error."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """`image_HWC` uint8 RGB 0-255 upright; `mode` the file's colour mode; `rotated` whether EXIF turned it."""

    image_HWC: np.ndarray
    mode: str
    rotated: bool


def decode_image(content: bytes | np.ndarray, key: str, min_short_side_px: int | None = None) -> DecodedImage:
    """Decode one image. Raises ImageError naming `key`."""
    raise NotImplementedError
