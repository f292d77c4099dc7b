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
    if content.dtype == np.uint8 and (content.ndim == 2 or content.shape[2] in (1, 3)):
        return picture_content(content)
    stream = io.BytesIO()
    np.save(stream, content, allow_pickle=False)
    return stream.getvalue()


def picture_content(image_HWC: np.ndarray) -> bytes:
    """A picture for people as PNG: uint8 (H, W), (H, W, 1), (H, W, 3), or (H, W, 4) with its opacity."""
    stream = io.BytesIO()
    Image.fromarray(image_HWC[:, :, 0] if image_HWC.shape[2:] == (1,) else image_HWC).save(stream, "PNG")
    return stream.getvalue()


def picture_address(image_HWC: np.ndarray) -> str:
    """A `data:` address that holds the image as PNG."""
    return "data:image/png;base64," + base64.b64encode(picture_content(image_HWC)).decode("ascii")
