"""Crops, mirrors and scales: where they are cut, that the centre is ordinary evaluation, what is averaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.classify.crops import CENTRE, Look, looks, prepare_looks
from saccade.core.errors import UsageError
from saccade.core.types import Preprocessing
from saccade.data.images.preprocess import prepare_image

PHOTO = Preprocessing(resize_px=40, input_height_px=32, input_width_px=32)
SMALL = Preprocessing(channels="grey", input_height_px=16, input_width_px=16, mean=(0.5,), std=(0.5,))


def noise(height_px, width_px, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 90), st.integers(20, 90), st.sampled_from(["rgb", "grey"]), st.booleans())
def test_the_centre_look_is_ordinary_evaluation_bit_for_bit(height_px, width_px, channels, is_whole):
    mean = (0.5,) * (1 if channels == "grey" else 3)
    preprocessing = Preprocessing(
        channels=channels,
        resize_px=None if is_whole else 40,
        input_height_px=31,
        input_width_px=28,
        mean=mean,
        std=mean,
    )
    image_HWC = noise(height_px, width_px)
    expected = prepare_image(image_HWC, preprocessing)
    np.testing.assert_array_equal(prepare_looks(image_HWC, preprocessing, looks(1))[0], expected)
    np.testing.assert_array_equal(prepare_looks(image_HWC, preprocessing, looks(5))[4], expected)  # cut out of more


def test_ten_crops_are_corners_centre_and_mirrors_cut_from_the_resized_image():
    image_HWC = noise(80, 120)
    resized = np.asarray(Image.fromarray(image_HWC).resize((60, 40), Image.Resampling.BILINEAR))
    corners = [(0, 0), (0, 28), (8, 0), (8, 28), (4, 14)]
    expected = [resized[top : top + 32, left : left + 32] for top, left in corners]
    expected += [crop[:, ::-1] for crop in expected]
    np.testing.assert_array_equal(prepare_looks(image_HWC, PHOTO, looks(10)), np.stack(expected))
    np.testing.assert_array_equal(prepare_looks(image_HWC, PHOTO, looks(5)), np.stack(expected[:5]))


def test_small_images_used_whole_are_shifted_with_their_edges_repeated():
    image_HWC = noise(16, 16)
    grey = prepare_image(image_HWC, SMALL)
    crops = prepare_looks(image_HWC, SMALL, looks(5))
    np.testing.assert_array_equal(crops[4], grey)
    np.testing.assert_array_equal(crops[0][1:, 1:], grey[:-1, :-1])
    np.testing.assert_array_equal(crops[0][0, 1:], grey[0, :-1])


def test_a_grid_covers_both_ends_and_scales_enlarge():
    grid = looks(18, (1.0, 1.5))
    assert len(grid) == 36
    assert {(look.down, look.right) for look in grid} == {(a, b) for a in (0, 0.5, 1) for b in (0, 0.5, 1)}
    assert sum(look.mirror for look in grid) == 18
    image_HWC = noise(40, 40)
    enlarged = np.asarray(Image.fromarray(image_HWC).resize((60, 60), Image.Resampling.BILINEAR))
    prepared = prepare_looks(image_HWC, PHOTO, [Look(scale=1.5, down=1, right=1)])
    np.testing.assert_array_equal(prepared[0], enlarged[28:, 28:])
    assert prepare_looks(image_HWC, SMALL, [Look(scale=2.0, down=0, right=0)]).shape == (1, 16, 16, 1)


def test_numbers_and_scales_that_make_no_sense_are_refused():
    with pytest.raises(UsageError) as error:
        looks(7)
    assert str(error.value) == (
        "--crops takes 1, 2, 5, 10 or a grid such as 9 (3x3) or 18 (3x3 and their mirrors), got 7.\n"
        "The nearest that work are 5 and 8."
    )
    with pytest.raises(UsageError) as error:
        looks(10, (0.5, 1.0))
    assert str(error.value) == "Scales of crops lie in 1 to 4, where 1 is the run's own; got 0.5, 1."
    assert looks(1) == (CENTRE,)
