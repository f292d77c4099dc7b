"""How pictures of another shape become inputs, held to an antialiased triangle filter in float64."""

import hashlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.core.errors import ConfigError, ImageError
from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.normalize import normalize
from saccade.data.images.preprocess import (
    decoded_short_side_px,
    fit_words,
    place_on_input,
    prepare_image,
    refuse_large_resize,
)

MEAN = (0.5, 0.25, 0.75)
SIDES = st.integers(1, 90)


def preprocessing(fit: str, height: int, width: int, resize_px: int | None = None, grey: bool = False) -> Preprocessing:
    values = {"fit": fit, "resize_px": resize_px, "input_height_px": height, "input_width_px": width, "mean": MEAN}
    grey_values = {"channels": "grey", "mean": (0.5,), "std": (0.2,)} if grey else {}
    return Preprocessing.parse(values | grey_values)


def triangle_weights(size: int, output: int) -> np.ndarray:
    """float64 (output, size): what every source pixel adds to every output pixel."""
    scale = size / output
    reach = max(1.0, scale)
    middle_O1 = (np.arange(output)[:, None] + 0.5) * scale
    weight_OS = np.maximum(0, 1 - np.abs(np.arange(size)[None] + 0.5 - middle_O1) / reach)
    return weight_OS / weight_OS.sum(axis=1, keepdims=True)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = triangle_weights(image.shape[0], height), triangle_weights(image.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, image.astype(np.float64), columns)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=80)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(4, 40))
def test_pad_shows_all_of_a_picture_in_its_shape_and_the_mean_colour_around_it(height, width, input_h, input_w):
    image, wanted = noise(height, width), preprocessing("pad", input_h, input_w)
    shown = prepare_image(image, wanted)
    factor = min(input_h / height, input_w / width)
    (new_h, new_w), (top, left) = place_on_input((height, width), wanted)
    assert abs(new_h - max(1, height * factor)) <= 0.5
    assert abs(new_w - max(1, width * factor)) <= 0.5
    assert new_h == input_h or new_w == input_w
    top, left = -top, -left
    assert (top, left) == ((input_h - new_h) // 2, (input_w - new_w) // 2)
    expected = np.empty((input_h, input_w, 3))
    expected[...] = np.rint(255 * np.array(MEAN))
    expected[top : top + new_h, left : left + new_w] = resized(image, new_h, new_w)
    assert np.abs(shown - expected).max() <= 1.05  # rounded after each of the two directions


def test_padding_is_zero_for_the_network_and_grey_pictures_are_padded_with_grey():
    import torch

    wanted = preprocessing("pad", 10, 10, grey=True)
    shown = prepare_image(np.full((4, 8, 3), 255, np.uint8), wanted)
    assert shown.shape == (10, 10, 1)
    assert set(shown[:2].ravel()) == {128}
    assert set(shown[3:7].ravel()) == {255}
    zero = normalize(torch.from_numpy(shown).permute(2, 0, 1)[None], wanted, torch.float32)[0, 0, 0]
    assert zero.abs().max() <= 0.5 / 255 / 0.2 + 1e-6  # the mean, rounded to a level


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.integers(4, 40), st.integers(4, 40))
def test_squash_brings_both_sides_to_the_input(height, width, input_h, input_w):
    image = noise(height, width)
    shown = prepare_image(image, preprocessing("squash", input_h, input_w))
    assert np.abs(shown - resized(image, input_h, input_w)).max() <= 1.05
    same = prepare_image(image, preprocessing("crop", input_h, input_w))
    assert np.array_equal(shown, same)  # what images of one small size always had


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.integers(8, 30), st.integers(8, 30), st.floats(1, 1.5))
def test_cover_cuts_the_middle_out_of_a_picture_that_covers_the_input(height, width, input_h, input_w, margin):
    short_px = round(min(input_h, input_w) * margin)
    wanted = preprocessing("cover", input_h, input_w, short_px)
    image = noise(height, width)
    box_h, box_w = (round(side * short_px / min(input_h, input_w)) for side in (input_h, input_w))
    factor = max(box_h / height, box_w / width)
    (new_h, new_w), (top, left) = place_on_input((height, width), wanted)
    assert 0 <= height * factor - new_h < 1 + 1e-9
    assert 0 <= width * factor - new_w < 1 + 1e-9
    assert new_h >= box_h >= input_h
    assert new_w >= box_w >= input_w
    assert abs(top - (new_h - input_h) / 2) <= 0.5
    assert abs(left - (new_w - input_w) / 2) <= 0.5
    expected = resized(image, new_h, new_w)[top : top + input_h, left : left + input_w]
    assert np.abs(prepare_image(image, wanted) - expected).max() <= 1.05


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.integers(1, 40), st.integers(0, 20))
def test_a_square_crop_is_what_torchvision_cuts(height, width, side, more):
    resize_px = side + more
    image = Image.fromarray(noise(height, width))
    size = (resize_px, int(resize_px * height / width)) if width <= height else (
        int(resize_px * width / height), resize_px
    )  # fmt: skip
    left, top = round((size[0] - side) / 2.0), round((size[1] - side) / 2.0)
    expected = np.asarray(image.resize(size, Image.Resampling.BILINEAR))[top : top + side, left : left + side]
    assert np.array_equal(prepare_image(np.asarray(image), preprocessing("crop", side, side, resize_px)), expected)
    covering = preprocessing("cover", side, side, resize_px)
    assert place_on_input((height, width), covering)[0] == place_on_input(
        (height, width), preprocessing("crop", side, side, resize_px)
    )[0]  # fmt: skip


def test_what_is_stored_of_a_crop_is_what_was_stored_before_there_were_fits():
    stored = Preprocessing(resize_px=256).model_dump(mode="json")
    assert "fit" not in stored
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"))
    assert Preprocessing(resize_px=256).digest() == hashlib.sha256(text.encode()).hexdigest()
    padded = Preprocessing(fit="pad")
    assert padded.model_dump(mode="json")["fit"] == "pad"
    assert Preprocessing.parse(padded.model_dump(mode="json")) == padded
    digests = {Preprocessing(fit=fit).digest() for fit in ("crop", "pad", "squash")}
    assert len(digests) == 3  # features of one are never taken for those of another


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fit": "pad", "resize_px": 256}, "card: fit pad cuts nothing, so it takes no resize_px, got 256."),
        ({"fit": "cover"}, "card: fit cover needs resize_px, the short side of the box that the picture covers."),
        (
            {"fit": "stretch"},
            "card: 'fit' must be one of: crop, cover, pad, squash; not 'stretch'.",
        ),
        (
            {"fit": "cover", "resize_px": 100, "input_height_px": 120},
            "card: resize_px 100 is smaller than the input 120x224 that is cut out of it.",
        ),
    ],
)
def test_a_fit_that_cannot_be_is_refused(values: dict, message: str):
    with pytest.raises(ConfigError) as error:
        Preprocessing.parse(values, "card")
    assert str(error.value) == message


def test_long_pictures_stay_within_the_input_or_are_refused():
    wanted = preprocessing("pad", 64, 64)
    shown = prepare_image(noise(1, 200), wanted)
    assert (shown[31] != shown[0]).any()
    assert (shown[:31] == shown[0, 0]).all()
    assert (shown[32:] == shown[0, 0]).all()
    refuse_large_resize("photo", (1, 200), wanted)  # never: nothing grows beyond the input
    buffer = io.BytesIO()
    Image.new("L", (20_000, 1)).save(buffer, "PNG")
    with pytest.raises(ImageError) as error:
        decode_image(buffer.getvalue(), "strip.png")
    assert str(error.value) == (
        "strip.png: the image has 20000x1 pixels: one side is more than 200 times the other. Cut it into pieces."
    )
    with pytest.raises(ImageError) as error:
        refuse_large_resize("strip", (100, 20_000), preprocessing("cover", 1024, 768, 768))
    assert str(error.value) == (
        "strip: the image has 20000x100 pixels; with a short side of 768 it becomes 204800x1024, more than "
        "50,000,000. Cut it into pieces."
    )


def test_a_fast_decoded_file_is_never_smaller_than_what_is_made_of_it():
    for fit, resize_px in (("pad", None), ("squash", None), ("cover", 30)):
        wanted = preprocessing(fit, 24, 40, resize_px).model_copy(update={"fast_decode": True})
        short_px = decoded_short_side_px(wanted)
        assert short_px is not None
        for size_HW in ((100, 300), (300, 100), (100, 100)):
            decoded = [side * short_px / 100 for side in size_HW]
            assert all(a >= b for a, b in zip(decoded, place_on_input(size_HW, wanted)[0]))


def test_every_fit_is_told_in_words():
    told = [
        fit_words(preprocessing(fit, 24, 32, resize_px))
        for fit, resize_px in (("crop", None), ("squash", None), ("pad", None), ("cover", 30), ("crop", 40))
    ]
    assert told == [
        "resized to 32x24 (width x height)",
        "resized to 32x24 (width x height), whatever its shape",
        "fitted whole into 32x24 (width x height), the mean colour around it",
        "resized to cover 40x30, centre 32x24 (width x height) cut out",
        "short side to 40 px, centre 32x24 (width x height) cut out",
    ]
