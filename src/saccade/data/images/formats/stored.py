"""What a file holds, before it becomes upright RGB of eight bits."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """`pixels` uint8 or uint16: (H, W) grey, (H, W, 3) RGB, or (H, W, 4) RGBA with alpha not multiplied in.

    `orientation` is what EXIF says of how to turn them, 1 to 8; `rotated` whether the decoder has turned them
    already. `profile` is the embedded colour profile; `notes` are sentences on the file.
    """

    pixels: np.ndarray | Image.Image
    mode: str
    orientation: int = 1
    rotated: bool = False
    profile: bytes = b""
    notes: tuple[str, ...] = ()
