"""Source pixels for resampling: those of `decode_image`, nearly, for every kind of file, and scaled where it pays."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import ImageError
from saccade.data.decode import decode_image
from saccade.data.pixels import as_luma, jpeg_header, read_rgbx


def photo(height: int = 120, width: int = 90) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (25 + k)) + np.cos(y / (21 - k) + k) for k in range(3)]
    return Image.fromarray(np.rint(127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def whole(height: int, width: int) -> float:
    return 1.0


def exif(orientation: int) -> Image.Exif:
    values = Image.Exif()
    values[0x0112] = orientation
    values[0x010F] = "a camera"
    return values


FILES = {
    "plain": encoded(photo(), quality=90),
    "progressive": encoded(photo(), quality=90, progressive=True),
    "not subsampled": encoded(photo(), quality=90, subsampling=0),
    "grey": encoded(photo().convert("L"), quality=90),
    "cmyk": encoded(photo().convert("CMYK"), quality=90),
    "rgb": encoded(photo(), quality=90, keep_rgb=True),
    "png": encoded(photo(), "PNG"),
    "webp": encoded(photo(), "WEBP", quality=90),
    **{f"exif {number}": encoded(photo(), quality=90, exif=exif(number)) for number in range(1, 9)},
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_the_decoder_to_about_a_level(name: str):
    expected = decode_image(FILES[name], name).image_HWC.astype(int)
    pixels = read_rgbx(FILES[name], name, whole)
    assert pixels.shape == (*expected.shape[:2], 4)
    assert np.abs(pixels[:, :, :3] - expected).mean() < 2
    plain = name in ("plain", "progressive", "not subsampled", "grey", "exif 1")
    header = jpeg_header(FILES[name])
    assert (header is not None) == (name not in ("png", "webp"))
    assert (header is not None and header.is_plain) == plain
    if header:
        assert header.size_HW == Image.open(io.BytesIO(FILES[name])).size[::-1]
    if not plain:
        assert (pixels[:, :, :3] == expected).all()


def test_the_orientation_files_look_alike(shared: Callable[[str], Path]):
    folder = shared("data/bad-images/exif-orientation")
    for shape in ("Landscape", "Portrait"):
        images = [read_rgbx((folder / f"{shape}_{n}.jpg").read_bytes(), "x", lambda h, w: 4.0) for n in range(9)]
        assert len({image.shape for image in images}) == 1
        for image in images[1:]:
            assert np.abs(image.astype(int) - images[0]).mean() < 6


@pytest.mark.parametrize("name", ["plain", "exif 6", "cmyk", "png"])
@pytest.mark.parametrize(("shrink", "factor"), [(1.9, 1), (2.0, 2), (3.9, 2), (4.0, 4), (9.0, 8)])
def test_jpeg_is_decoded_at_the_scale_it_is_shown_at(name: str, shrink: float, factor: int):
    height, width = decode_image(FILES[name], name).image_HWC.shape[:2]
    pixels = read_rgbx(FILES[name], name, lambda height, width: shrink)
    if name == "png":
        assert pixels.shape == (height, width, 4)
    else:
        assert pixels.shape == (-(-height // factor), -(-width // factor), 4)
    reduced = Image.fromarray(decode_image(FILES[name], name).image_HWC).resize(
        pixels.shape[1::-1], Image.Resampling.BOX
    )
    assert np.abs(pixels[:, :, :3].astype(int) - np.asarray(reduced)).mean() < 5


def test_both_orientations_count_where_the_header_does_not_say():
    asked = []

    def shrink(height: int, width: int) -> float:
        asked.append((height, width))
        return 5.0 if height > width else 2.5

    assert read_rgbx(FILES["exif 6"], "x", shrink).shape == (45, 60, 4)
    assert asked == [(120, 90), (90, 120)]


def test_pixels_that_are_decoded_pass_through():
    image_HWC = np.asarray(photo())
    assert (read_rgbx(image_HWC, "x", whole)[:, :, :3] == image_HWC).all()
    assert (as_luma(image_HWC)[:, :, 0] == np.asarray(photo().convert("L"))).all()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1", FILES["plain"][:-300], b"Exif\0\0"])
def test_what_cannot_be_read_is_named(content: bytes):
    with pytest.raises(ImageError) as ours:
        read_rgbx(content, "broken.jpg", whole)
    with pytest.raises(ImageError) as reference:
        decode_image(content, "broken.jpg")
    assert str(ours.value) == str(reference.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged EXIF
@pytest.mark.parametrize("name", ["plain", "exif 1"])
def test_mutated_files_are_read_or_refused_with_one_error(name: str):
    rng = np.random.default_rng(5)
    for _ in range(150):
        content = bytearray(FILES[name])
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        try:
            pixels = read_rgbx(bytes(content), "x", whole)
        except ImageError:
            continue
        assert pixels.dtype == np.uint8
