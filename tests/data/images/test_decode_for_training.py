"""Source pixels for resampling: those of `decode_image`, nearly, for every kind of file, and scaled where it pays."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import ImageError
from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import get_policy
from saccade.data.augmenter import Augmenter
from saccade.data.images import decode_for_training as pixels_module
from saccade.data.images.decode import decode_image
from saccade.data.images.decode_for_training import as_luma, jpeg_header, read_rgbx


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
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_mutated_files_are_read_or_refused_with_one_error(name: str, share: float):
    rng = np.random.default_rng(5)
    for _ in range(150):
        content = bytearray(FILES[name])
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        try:
            pixels = read_rgbx(bytes(content), "x", whole, lambda height, width: int(share * height))
        except ImageError:
            continue
        assert pixels.dtype == np.uint8


TALL = {
    "4:2:0": encoded(photo(301, 90), quality=90),
    "4:2:2": encoded(photo(301, 90), quality=90, subsampling="4:2:2"),
    "4:4:4": encoded(photo(301, 90), quality=90, subsampling=0),
    "grey": encoded(photo(301, 90).convert("L"), quality=90),
    "exif": encoded(photo(301, 90), quality=90, exif=exif(1)),
    "progressive": encoded(photo(301, 90), quality=90, progressive=True),
    "restarts": encoded(photo(301, 90), quality=90, restart_marker_rows=1),
    "turned": encoded(photo(301, 90), quality=90, exif=exif(6)),
}


@pytest.mark.parametrize("name", TALL)
@pytest.mark.parametrize("shrink", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.8, 1.0])
def test_the_upper_rows_alone_have_the_bits_of_the_whole_image(name: str, shrink: float, share: float):
    whole_HWC = read_rgbx(TALL[name], name, lambda height, width: shrink)
    upper_HWC = read_rgbx(TALL[name], name, lambda height, width: shrink, lambda height, width: int(share * height))
    num_rows = int(share * len(whole_HWC))
    assert upper_HWC.shape == whole_HWC.shape
    assert (upper_HWC[:num_rows, :, :3] == whole_HWC[:num_rows, :, :3]).all()


@pytest.mark.parametrize("name", ["4:2:0", "4:2:2", "4:4:4", "grey", "exif"])
def test_rows_that_are_not_seen_are_not_decoded(name: str, monkeypatch: pytest.MonkeyPatch):
    heights = []
    decode = pixels_module.simplejpeg.decode_jpeg
    monkeypatch.setattr(
        pixels_module.simplejpeg,
        "decode_jpeg",
        lambda content, *rest, **options: (
            heights.append(jpeg_header(content).size_HW[0]) or decode(content, *rest, **options)
        ),
    )
    read_rgbx(TALL[name], name, whole, lambda height, width: 70)
    assert heights == [96]


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("place", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("damage", [b"", b"\xff\xd9", b"\xff\xd0", b"\xff\xff\xff"])
def test_damage_in_the_rows_that_are_seen_is_never_passed_over(damage: bytes, place: float, share: float):
    content, num_rows = TALL["4:2:0"], int(share * 301)
    at = int(place * len(content))
    broken = content[:at] + damage + (content[at + 40 :] if damage else b"")
    sound_HWC = read_rgbx(content, "x", whole)[:num_rows, :, :3]
    outcomes = []
    for num in (301, num_rows):
        try:
            outcomes.append(
                read_rgbx(broken, "x", whole, lambda height, width, num=num: num)[:num_rows, :, :3].tobytes()
            )
        except ImageError as error:
            outcomes.append(str(error))
    of_whole, of_upper = outcomes
    assert of_upper in (of_whole, sound_HWC.tobytes())
    assert of_upper == of_whole or place > share  # else the damage lies among the rows that are seen


@pytest.mark.parametrize("policy", ["photo", "photo-light", "alexnet", "handwriting", "trivial-wide", "augmix"])
@pytest.mark.parametrize("size_px", [60, 20])
def test_what_is_shown_of_a_file_does_not_depend_on_how_much_of_it_is_decoded(policy: str, size_px: int):
    preprocessing = Preprocessing(input_height_px=size_px, input_width_px=size_px, resize_px=size_px + 8)
    config = get_policy(policy).config
    components = {"eigenvalues": (0.1, 0.02, 0.01), "eigenvectors": ((0.6, 0.6, 0.5), (0.7, -0.7, 0), (0.4, 0.4, -0.8))}
    config = config.model_copy(update={"pca_colour": config.pca_colour.model_copy(update=components)})
    augmenter = Augmenter(config, preprocessing, seed=2)
    plan = augmenter.plan(0, np.arange(40))
    for row in range(40):
        shown = np.empty((2, size_px, size_px, 3), np.uint8)
        whole_HWC = read_rgbx(
            TALL["4:2:0"], "x", lambda height, width, row=row: augmenter._shrink(plan, row, (301, 90))
        )
        augmenter.render(augmenter.read(TALL["4:2:0"], "x", plan, row), plan, row, shown[0])
        augmenter.render(whole_HWC, plan, row, shown[1])
        assert (shown[0] == shown[1]).all()
