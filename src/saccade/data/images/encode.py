"""Images as the content of a file."""

import base64
import io

import numpy as np
from PIL import Image


def file_content(content: np.ndarray | bytes) -> bytes:
    """An image as the content of a file: pixels that are no file, uint8 (H, W), (H, W, 1) or (H, W, 3), are written as
    PNG, which loses nothing; those of more channels or bits as .npy."""
    if isinstance(content, bytes):
        return content
    stream = io.BytesIO()
    pixels = content[:, :, 0] if content.ndim == 3 and content.shape[2] == 1 else content
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] != 3):
        np.save(stream, pixels, allow_pickle=False)
        return stream.getvalue()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def picture_address(image_HWC: np.ndarray) -> str:
    """A `data:` address that holds the image as PNG."""
    return "data:image/png;base64," + base64.b64encode(file_content(image_HWC)).decode("ascii")
