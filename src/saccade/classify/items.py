"""What a caller gives as images, one or many: files, arrays, images of Pillow, or a source; each with its name."""

import io
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.errors import DataError
from ..core.given import text_of
from ..core.types import AnyPath
from ..data.images.decode import decode_opened, opened_16_bit
from ..data.left_out import PassedOver
from ..data.source import DataSource
from ..data.sources.in_memory import GivenImages, HeldImage, as_source, checked_image
from .stream import items_of_source, list_images, read_file

_decoding = threading.Lock()  # Pillow reads an opened file once, on one thread: the same image may come twice
NO_IMAGES = (bytes, bytearray, memoryview, io.IOBase)  # Python goes through them by bytes or lines
GivenImage = AnyPath | Image.Image | np.ndarray | HeldImage
ManyImages = GivenImages | np.ndarray | Iterable[GivenImage]


def is_single(images: Any, num_channels: int = 3) -> bool:
    """Whether `images` is one image. An array of three sizes is one where the last is 1, 3 or 4 channels, or the
    `num_channels` of the network; one without a size is no list, and refused as an image."""
    if isinstance(images, str | os.PathLike | Image.Image | HeldImage):
        return True
    if not hasattr(images, "__array__"):
        return False
    shape = np.shape(images)  # of a tensor of torch too
    return len(shape) in (0, 2) or (len(shape) == 3 and shape[2] in (1, 3, 4, num_channels))


def item_of(image: Any, name: str) -> HeldImage:
    """One image, read or decoded when its turn comes. Raises DataError for what is no image."""
    if isinstance(image, HeldImage):
        return image
    if isinstance(image, str | os.PathLike):
        text = text_of(image)
        return HeldImage(text, partial(read_file, Path(text)))
    if isinstance(image, Image.Image):
        key = os.fsdecode(getattr(image, "filename", "") or "") or name
        return HeldImage(key, partial(_decode, image, key))
    if not hasattr(image, "__array__"):
        raise DataError(
            f"{name} is a value of type {type(image).__name__}.\n"
            f"Give the path of a file, an image of Pillow, or a uint8 array (height, width[, 3])."
        )
    return HeldImage(name, partial(_same, checked_image(name, image)), is_array=True)


def refuse_no_images(images: ManyImages | GivenImage) -> None:
    """Raise DataError for what is no image in a list, before the first of them is read."""
    given: Any = images
    if not isinstance(given, Iterable | DataSource) or isinstance(given, NO_IMAGES):
        item_of(given, "what is given as images")
    if is_single(given) or isinstance(given, Sequence | np.ndarray) and not _are_labelled(given):
        for number, image in enumerate([given] if is_single(given) else given):
            item_of(image, f"image {number}")


def items_of(
    images: ManyImages | GivenImage, passed_over: PassedOver | None = None, num_channels: int = 3
) -> Iterator[HeldImage]:
    """Files, those of folders, images of Pillow, arrays and the images of a source, each with a key.

    `passed_over` counts the files of folders that are no images; `num_channels` are those of the network.
    """
    given: Any = images
    if _are_labelled(given):
        given = as_source(given)
    if isinstance(given, DataSource):
        yield from items_of_source(given, np.arange(len(given)))
        return
    for number, image in enumerate([given] if is_single(given, num_channels) else given):
        if isinstance(image, str | os.PathLike):
            yield from list_images([Path(text_of(image))], passed_over)
        else:
            yield item_of(image, f"image {number}")


def _decode(image: Image.Image, key: str) -> np.ndarray:
    with _decoding:
        pixels = decode_opened(image, key)
        deep = opened_16_bit(image)
        return pixels if deep is None else deep


def _are_labelled(images: Any) -> bool:
    """Whether they come with labels, which prediction does not need: (images, labels), or [(path, label), ...]."""
    if isinstance(images, tuple) and len(images) == 2 and _is_one_of_many(images[1]):
        return np.ndim(images[1]) == 1
    return isinstance(images, list) and bool(images) and isinstance(images[0], tuple)


def _is_one_of_many(labels: Any) -> bool:
    return not isinstance(labels, str | os.PathLike | Image.Image)


def _same(pixels: np.ndarray) -> np.ndarray:
    return pixels
