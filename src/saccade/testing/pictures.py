"""Pictures on which contracts are tried: smooth, so that interpolation has a value that can be told."""

import io

import numpy as np
from PIL import Image

from ..core.types import Preprocessing, Record
from ..data.images.preprocess import prepare_image
from ..data.source import DataSource


def smooth_pictures(num: int) -> list[np.ndarray]:
    """uint8 RGB images of several sizes and shapes, full of soft waves."""
    rng = np.random.default_rng(1)
    pictures = []
    for number in range(num):
        height, width = 40 + 9 * (number % 4), 72 - 11 * (number % 3)
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / 9 + phase) + np.cos(y / 8 - phase) for phase in rng.uniform(0, 6, 3)]
        pictures.append(np.rint(127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8))
    return pictures


class Pictures(DataSource):
    """Given pixels as a source of three classes, some of them as JPEG files."""

    name = "pictures"
    classes = ("a", "b", "c")
    digest = "0" * 64

    def __init__(self, pixels: list[np.ndarray], jpeg: bool) -> None:
        self.pixels = pixels
        self._jpeg = jpeg

    def __len__(self) -> int:
        return len(self.pixels)

    def record(self, index: int) -> Record:
        return Record(key=f"{index}.jpg", label=index % 3)

    def read(self, index: int) -> bytes | np.ndarray:
        if not self._jpeg or index % 3 == 0:
            pixels = self.pixels[index].view()
            pixels.setflags(write=False)  # as of a file that is mapped into memory
            return pixels
        file = io.BytesIO()
        Image.fromarray(self.pixels[index]).save(file, "JPEG", quality=95)
        return file.getvalue()


def photos(num: int = 12) -> Pictures:
    """Two thirds JPEG files, the others pixels."""
    return Pictures(smooth_pictures(num), jpeg=True)


def bitmaps(num: int = 12) -> Pictures:
    """Pixels of several sizes."""
    return Pictures(smooth_pictures(num), jpeg=False)


def input_sized(preprocessing: Preprocessing, num: int = 12, texture_levels: int = 0) -> Pictures:
    """Pixels that have the size of the input already, so that nothing but an augmentation changes them.

    `texture_levels` roughens them by up to so many levels a pixel, for what does not look between pixels.
    """
    rng = np.random.default_rng(2)
    pixels = []
    for picture in smooth_pictures(num):
        image_HWC = prepare_image(picture, preprocessing)
        if texture_levels:  # and less contrast, so that it has room to be stretched
            texture_HWC = rng.integers(-texture_levels, texture_levels + 1, image_HWC.shape)
            image_HWC = (127 + 0.7 * (image_HWC - 127.0) + texture_HWC).clip(0, 255).astype(np.uint8)
        pixels.append(image_HWC)
    return Pictures(pixels, jpeg=False)
