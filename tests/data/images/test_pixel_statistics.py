"""Statistics of pixels against those of definitions in float64, of one picture and of many."""

import numpy as np
import pytest

from saccade.data.images.pixel_statistics import statistics_of, statistics_of_many

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (600, 900, 3), (3, 300_000), (130, 1)])
def test_statistics_of_a_picture_are_those_of_their_definitions(shape: tuple[int, ...]):
    pixels = DRAW.integers(0, 256, shape, dtype=np.uint8)
    is_grey, mean_C, square_C = statistics_of(pixels)
    value_PC = pixels.reshape(shape[0] * shape[1], -1) / 255
    assert bool(is_grey) == (len(shape) == 2)
    assert np.allclose(mean_C, value_PC.mean(axis=0), rtol=1e-9)
    assert np.allclose(square_C, (value_PC**2).mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize("shape", [(9, 28, 28), (5, 32, 31, 3), (2, 256, 256), (1, 1, 1, 3)])
def test_statistics_of_many_pictures_are_those_of_each(shape: tuple[int, ...]):
    image_NHWC = DRAW.integers(0, 256, shape, dtype=np.uint8)
    image_NHWC[-1] = 255  # the largest sums
    is_grey_N, mean_NC, square_NC = statistics_of_many(image_NHWC)
    for place, pixels in enumerate(image_NHWC):
        is_grey, mean_C, square_C = statistics_of(pixels)
        assert is_grey_N[place] == is_grey
        assert np.allclose(mean_NC[place], mean_C, rtol=1e-9)
        assert np.allclose(square_NC[place], square_C, rtol=1e-9)


def test_one_coloured_pixel_anywhere_makes_a_picture_no_grey_one():
    grey = np.repeat(DRAW.integers(0, 256, (700, 500, 1), dtype=np.uint8), 3, axis=2)
    assert statistics_of(grey)[0]
    for row, channel in ((0, 0), (699, 1), (350, 2)):
        other = grey.copy()
        other[row, 499, channel] ^= 1
        assert not statistics_of(other)[0]
        assert not statistics_of_many(other[None, max(0, row - 50) : row + 50])[0][0]
