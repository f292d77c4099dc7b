"""Generated pictures by which an export is compared with its run: the same everywhere, and nobody's own.

Three smooth colour fields with hard-edged shapes on them, of three proportions, larger than any usual input, so that
resizing, cutting and the order of the channels all show in the answer. For bands as many channels, at half the size.
"""

import io

import numpy as np

from ..core.types import Preprocessing
from ..data.images.bands import scaled
from ..data.images.encode import file_content

SIZES_HW = ((480, 640), (600, 400), (512, 512))


def check_image(number: int, num_channels: int = 3) -> np.ndarray:
    """image_HWC uint8 of `number`, from 0 to 2: RGB, or of so many channels."""
    height_px, width_px = SIZES_HW[number]
    draw = np.random.Generator(np.random.PCG64(7 + number))
    y_H1, x_1W = np.linspace(0, 1, height_px)[:, None], np.linspace(0, 1, width_px)[None]
    image_HWC = np.empty((height_px, width_px, num_channels))
    for channel in range(num_channels):
        rate_y, rate_x, phase = draw.uniform(1, 5), draw.uniform(1, 5), draw.uniform(0, 6.28)
        image_HWC[..., channel] = 128 + 90 * np.sin(rate_y * 3 * y_H1 + rate_x * 4 * x_1W + phase)
    for _ in range(6):
        top, left = draw.integers(0, height_px - 60), draw.integers(0, width_px - 60)
        bottom, right = top + draw.integers(20, 200), left + draw.integers(20, 200)
        image_HWC[top:bottom, left:right] = draw.uniform(0, 255, num_channels)
    return np.clip(np.rint(image_HWC), 0, 255).astype(np.uint8)


def check_pixels(number: int, preprocessing: Preprocessing) -> np.ndarray:
    """What `prepare_image` takes of the picture `number`: uint8 RGB, or of bands all of them, as deep as the
    network's."""
    if not preprocessing.has_bands:
        return check_image(number)
    band_HWC = np.ascontiguousarray(check_image(number, preprocessing.num_channels)[::2, ::2])
    if preprocessing.depth_bits == 16:
        return scaled(band_HWC, 255, preprocessing.full_scale, np.uint16)
    return band_HWC


def check_name(number: int, preprocessing: Preprocessing) -> str:
    """Where the picture `number` lies in an export."""
    return f"check/image-{number + 1}.{'npy' if preprocessing.has_bands else 'png'}"


def check_file(number: int, preprocessing: Preprocessing) -> bytes:
    """The content of its file: PNG, of bands NumPy's."""
    pixels = check_pixels(number, preprocessing)
    if not preprocessing.has_bands:
        return file_content(pixels)
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()
