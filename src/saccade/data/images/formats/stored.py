"""What a file holds, before it becomes upright RGB of eight bits."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """`pixels` uint8 or uint16: (H, W) grey, (H, W, 3) RGB, or (H, W, 4) RGBA with alpha not multiplied in.

    `orientation` is what EXIF says of how to turn them, 1 to 8; `rotated` whether the decoder has turned them
    already. `profile` is the embedded colour profile; `notes` are sentences on the file.

    `bands_HWC` are all channels, uint8 or uint16 (H, W, C), of a file whose channels are not grey or colours alone, and
    None of others; `pixels` are then what is shown of them, and `view_note` says so.
    """

    pixels: np.ndarray | Image.Image
    mode: str
    orientation: int = 1
    rotated: bool = False
    profile: bytes = b""
    notes: tuple[str, ...] = ()
    bands_HWC: np.ndarray | None = None
    view_note: str = ""


def stored_array(pixels: np.ndarray) -> StoredImage:
    """uint8 or uint16 (H, W) grey, (H, W, 1) the same, (H, W, 3) RGB, or (H, W, C) bands."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    is_deep = pixels.dtype == np.uint16
    if pixels.ndim == 2:
        return StoredImage(pixels=pixels, mode="I;16" if is_deep else "L")
    if pixels.shape[2] == 3:
        return StoredImage(pixels=pixels, mode="RGB;16" if is_deep else "RGB")
    return stored_bands(pixels)


def stored_bands(band_HWC: np.ndarray) -> StoredImage:
    """An image of bands, of which the first three are shown as red, green and blue; of two the first as grey."""
    num = band_HWC.shape[2]
    shown = "the first three are read" if num >= 3 else "the first one is read"
    return StoredImage(
        pixels=shown_bands(band_HWC),
        mode=f"{num} bands{';16' if band_HWC.dtype == np.uint16 else ''}",
        bands_HWC=band_HWC,
        view_note=f"it has {num} channels; {shown}.",
    )


def shown_bands(band_HWC: np.ndarray) -> np.ndarray:
    """What a person is shown of bands (H, W, C): the first three as RGB (H, W, 3), of two the first, grey (H, W)."""
    return np.ascontiguousarray(band_HWC[:, :, :3] if band_HWC.shape[2] >= 3 else band_HWC[:, :, 0])
