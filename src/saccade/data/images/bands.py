"""Images whose channels are not colours, or keep their 16 bits: what a network gets of them, and what a person sees."""

import numpy as np

from ...core.errors import ImageError
from ...core.types import MAX_16_BIT, Preprocessing
from .decode import DecodedImage, bands
from .digests import pixel_digest
from .formats.stored import shown_bands
from .pixel_statistics import are_equal


def network_pixels(decoded: DecodedImage, key: str, preprocessing: Preprocessing) -> np.ndarray:
    """What `prepare_image` takes of a decoded image: uint8 RGB, or of bands all of them, as deep as the network's.

    Raises ImageError naming `key` where an image has another number of channels than the network.
    """
    if not preprocessing.has_bands:
        return decoded.image_HWC
    band_HWC, wanted = decoded.band_HWC, preprocessing.num_channels
    if band_HWC.shape[2] != wanted:
        raise ImageError(key, f"it has {channel_words(band_HWC.shape[2])}, and the network takes {wanted}.")
    return at_depth(band_HWC, preprocessing)


def picture_digest(decoded: DecodedImage) -> bytes:
    """The `pixel_digest` of an image: of bands that of all of them, else of what is shown."""
    if decoded.is_bands:
        return pixel_digest(decoded.band_HWC, False)
    image_HWC = decoded.image_HWC
    return pixel_digest(image_HWC, are_equal([image_HWC[:, :, channel] for channel in range(3)]))


def channel_words(num: int) -> str:
    """`1 channel`, `5 channels`."""
    return f"{num:,} channel{'' if num == 1 else 's'}"


def at_depth(band_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Bands of 8 or 16 bits with the bits of `preprocessing`, of which `full_scale` is 1; what is above it is cut."""
    white = preprocessing.white_16_bit
    if preprocessing.depth_bits == 16:
        if band_HWC.dtype == np.uint16:
            return np.minimum(band_HWC, np.uint16(white)) if white < MAX_16_BIT else band_HWC
        return scaled(band_HWC, 255, white, np.uint16)
    return scaled(band_HWC, white, 255, np.uint8) if band_HWC.dtype == np.uint16 else band_HWC


def scaled(value_HWC: np.ndarray, full: int, new_full: int, dtype: type[np.uint8] | type[np.uint16]) -> np.ndarray:
    """Values of 0 to `full` as the nearest ones of 0 to `new_full`; greater ones are cut."""
    out_HWC = np.empty(value_HWC.shape, dtype)
    for rows in bands(value_HWC):
        part = value_HWC[rows].astype(np.uint32)
        out_HWC[rows] = np.minimum((part * np.uint32(new_full) + full // 2) // full, new_full)
    return out_HWC


def as_picture(prepared_HWC: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """What a person is shown of a prepared image: uint8 RGB (H, W, 3) or grey (H, W, 1)."""
    if not preprocessing.has_bands:
        return prepared_HWC
    shown = shown_bands(prepared_HWC)
    shown_HWC = shown if shown.ndim == 3 else shown[:, :, None]
    return scaled(shown_HWC, preprocessing.full_scale, 255, np.uint8) if preprocessing.depth_bits == 16 else shown_HWC


def bands_words(preprocessing: Preprocessing) -> str:
    """`5 channels of 16 bits; shown: the first three as red, green and blue`."""
    num = preprocessing.num_channels
    shown = "the first three as red, green and blue" if num >= 3 else "the first as grey"
    return f"{channel_words(num)} of {preprocessing.depth_bits} bits; shown: {shown}"
