"""From a file's bytes to pixels: one function, one explicit table of colour modes, one error."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..core.errors import ImageError


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """`image_HWC` uint8 RGB 0-255 upright; `mode` the file's colour mode; `rotated` whether EXIF turned it."""

    image_HWC: np.ndarray
    mode: str
    rotated: bool


def decode_image(content: bytes | np.ndarray, key: str, min_short_side_px: int | None = None) -> DecodedImage:
    """Decode one image; pixels (H, W) or (H, W, 3) pass through as RGB. Raises ImageError naming `key`."""
    if isinstance(content, np.ndarray):
        grey = content.ndim == 2
        image_HWC = np.repeat(content[:, :, None], 3, axis=2) if grey else content
        return DecodedImage(image_HWC=image_HWC, mode="L" if grey else "RGB", rotated=False)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP", "BMP", "GIF")) as file:
            mode = file.mode
            if min_short_side_px is not None:
                file.draft("RGB", (min_short_side_px, min_short_side_px))
            upright = ImageOps.exif_transpose(file)
            rotated = upright is not file and file.getexif().get(0x0112, 1) != 1
            return DecodedImage(image_HWC=np.asarray(upright.convert("RGB")), mode=mode, rotated=rotated)
    except UnidentifiedImageError:
        raise ImageError(key, "is not an image in a format that Saccade reads") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(key, f"cannot be decoded: {error}") from error
