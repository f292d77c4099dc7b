"""Equality of images is that of their pixels: encodings, comments, rotations and channel counts do not hide it."""

import hashlib
import io

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from saccade.core.types import Record
from saccade.data.images.digests import BLOCK_WORDS, pixel_digest
from saccade.data.scan import scan_source
from saccade.data.source import DataSource

DRAW = np.random.default_rng(0)
COLOUR = DRAW.integers(0, 256, (40, 30, 3), dtype=np.uint8)
GREY = DRAW.integers(0, 256, (40, 30), dtype=np.uint8)


class Listed(DataSource):
    """Contents in memory."""

    def __init__(self, contents: list[bytes | np.ndarray]) -> None:
        self.name, self.classes, self.digest, self.contents = "photos", ("cat", "dog"), "", contents

    def __len__(self) -> int:
        return len(self.contents)

    def record(self, index: int) -> Record:
        return Record(key=f"{index}", label=index % 2)

    def read(self, index: int) -> bytes | np.ndarray:
        return self.contents[index]


def encoded(pixels: np.ndarray, kind: str, comment: str = "", orientation: int = 0) -> bytes:
    stream, exif, info = io.BytesIO(), Image.Exif(), PngImagePlugin.PngInfo()
    if comment:
        info.add_text("comment", comment)
    if orientation:
        exif[0x0112] = orientation
    options = {"pnginfo": info, "exif": exif} if kind == "PNG" else {}
    Image.fromarray(pixels).save(stream, kind, lossless=True, **options)
    return stream.getvalue()


@pytest.mark.parametrize("pixels", [COLOUR, GREY, DRAW.integers(0, 256, (150, 170, 3), dtype=np.uint8)])
def test_a_picture_is_equal_to_itself_in_every_lossless_encoding(pixels: np.ndarray):
    turned = np.ascontiguousarray(np.rot90(pixels))  # orientation 6 turns it back by 90 degrees clockwise
    contents = [
        pixels,
        encoded(pixels, "PNG"),
        encoded(pixels, "BMP"),
        encoded(pixels, "WEBP"),
        encoded(pixels, "PNG", comment="hidden"),
        encoded(turned, "PNG", orientation=6),
        np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels.copy(),
    ]
    report = scan_source(Listed(contents), 2)
    assert len(np.unique(report.pixel_digest_N, axis=0)) == 1
    assert len(np.unique(report.bytes_digest_N, axis=0)) == (len(contents) if pixels.ndim == 2 else len(contents) - 1)


def test_one_pixel_by_one_step_makes_another_picture():
    for pixels in (GREY, COLOUR, DRAW.integers(0, 256, (200, 190, 3), dtype=np.uint8)):
        own = pixel_digest(pixels, False)
        for _ in range(200):
            other = pixels.copy()
            other.reshape(-1)[DRAW.integers(other.size)] ^= np.uint8(1 << DRAW.integers(8))
            assert pixel_digest(other, False) != own


def test_small_pictures_have_the_digest_of_before_and_large_ones_that_of_the_definition():
    """So that digits, Fashion-MNIST and CIFAR keep the splits that published figures are of."""
    small = hashlib.blake2b(repr(GREY.shape).encode() + GREY.tobytes(), digest_size=16).digest()
    assert pixel_digest(GREY, True) == small
    large = DRAW.integers(0, 256, (100, 120, 3), dtype=np.uint8)  # two blocks of 16 KiB and a rest
    multipliers = np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 64, BLOCK_WORDS, np.uint64).tolist()
    content = large.tobytes()
    expected = hashlib.blake2b(repr(large.shape).encode(), digest_size=16)
    for start in (0, 16384):
        words = [int.from_bytes(content[start + 4 * k : start + 4 * k + 4], "little") for k in range(BLOCK_WORDS)]
        total = sum(word * (multiplier | 1) for word, multiplier in zip(words, multipliers, strict=True)) % (1 << 64)
        expected.update(total.to_bytes(8, "little"))
    expected.update(content[32768:])
    assert pixel_digest(large, False) == expected.digest()


def test_blocks_that_differ_never_met_in_a_million_pairs():
    """Differences in single bytes of every place and size, where a weak sum would cancel."""
    base = np.zeros((1, 4 * BLOCK_WORDS), np.uint8)
    seen = set()
    for place in range(0, base.size, 29):
        for value in (1, 128, 255):
            other = base.copy()
            other[0, place] = value
            seen.add(pixel_digest(other, True))
    assert len(seen) == 3 * len(range(0, base.size, 29))


def test_a_lossy_copy_is_another_picture():
    jpeg = cv2.imencode(".jpg", COLOUR, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    report = scan_source(Listed([COLOUR, jpeg]), 1)
    assert len(np.unique(report.pixel_digest_N, axis=0)) == 2
