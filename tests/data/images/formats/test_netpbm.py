"""PBM, PGM and PPM: pixels by hand and by Pillow, what the header declares, damage in words."""

import io

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import ImageError
from saccade.data.images.decode import DecodedImage, decode_image
from saccade.data.images.formats.netpbm import read_netpbm

NOISE_HWC = np.random.default_rng(0).integers(0, 256, (5, 11, 3), dtype=np.uint8)
DEEP_HW = np.random.default_rng(1).integers(0, 65_536, (5, 11), dtype=np.uint16)


def decoded(content: bytes) -> DecodedImage:
    return decode_image(content, "a")


def grey(content: bytes) -> list[list[int]]:
    return decoded(content).image_HWC[:, :, 1].tolist()


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_what_pillow_writes_has_its_pixels(mode: str):
    image = Image.fromarray(NOISE_HWC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PPM")
    found = decoded(buffer.getvalue())
    assert np.array_equal(found.image_HWC, np.asarray(image.convert("RGB")))
    assert found.mode == ("RGB" if mode == "RGB" else "L")
    assert found.notes == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"P1 # a comment\n3 2\n1 0 1\n# another 9\n001", [[0, 255, 0], [255, 255, 0]]),
        (b"P4\n3 2\n\xa0\x20", [[0, 255, 0], [255, 255, 0]]),
        (b"P2\n2 2 100\n0 50\n100 25\n", [[0, 128], [255, 64]]),  # 127.5 and 63.75, rounded
        (b"P5 2 2 100\n\x00\x32\x64\x19", [[0, 128], [255, 64]]),
        (b"P2\r\n2 1\r\n255\r\n7 200", [[7, 200]]),
        (b"P3 1 1 3 0 1 3", [[85]]),
        (b"P6 1 1 3\n\0\1\3", [[85]]),
        (b"P5 2 1 65535\n\x01\x01\xff\xff", [[1, 255]]),
    ],
)
def test_values_are_scaled_by_the_largest_that_the_header_allows(content: bytes, expected: list[list[int]]):
    assert grey(content) == expected


def test_sixteen_bits_are_kept():
    stored = read_netpbm(b"P5\n11 5\n65535\n" + DEEP_HW.astype(">u2").tobytes(), "a")
    assert stored.mode == "I;16"
    assert np.array_equal(stored.pixels, DEEP_HW)
    colours = read_netpbm(b"P6 1 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes(), "a")
    assert colours.mode == "RGB;16"
    assert colours.pixels.tolist() == [[[0, 32_768, 65_535]]]  # 32,767.5, rounded


def test_of_several_images_in_a_file_the_first_is_read_and_that_is_said():
    one = b"P5 2 1 255\n\x07\x09"
    found = decoded(one + b"P5 2 1 255\n\x01\x02")
    assert found.image_HWC[0, :, 0].tolist() == [7, 9]
    assert found.notes == ("it holds further images; the first one is read.",)
    assert decoded(one + b"\n").notes == ()


CUT = "a: the image data end too early: the file is truncated."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"P5 4 4 255\n1234", CUT),
        (b"P4 9 2\n123", CUT),
        (b"P2 2 2 255\n1 2 3", CUT),
        (b"P1 2 2\n011", CUT),
        (b"P3 2 2 255\n", CUT),
        (b"P6 60000 60000 255\n", "a: the image has 60000x60000 pixels; at most 50,000,000 are read. Make it smaller."),
        (b"P3 7000 7000 255\n1 2 3", CUT),
        (b"P5 0 4 255\n", "a: the image has 0x4 pixels."),
        (b"P5 1 1 65536\n12", "a: its values go to 65,536; 1 to 65,535 are read."),
        (b"P5 1 1 0\n1", "a: its values go to 0; 1 to 65,535 are read."),
        (b"P5\n# no end", "a: the image data are damaged (its header does not say its size)."),
        (b"P2 1 1 9\n-4", "a: the image data are damaged (its values are no whole numbers)."),
        (b"P1 1 1\n2", "a: the image data are damaged (a value is above 1, the largest that its header allows)."),
        (b"P5 1 1 9\n\x0a", "a: the image data are damaged (a value is above 9, the largest that its header allows)."),
        (
            b"P2 1 1 9\n99999999999999999999999999",
            "a: the image data are damaged (a value is above 9, the largest that its header allows).",
        ),
    ],
)
def test_damage_is_told_in_words(content: bytes, reason: str):
    with pytest.raises(ImageError) as caught:
        decoded(content)
    assert caught.value.message == reason
