"""Corruptions of more channels than colours and of 16 bits, held to NumPy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from saccade.evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt, generator_of, kinds_of

RANDOM = np.random.default_rng(4)
DEEP_HWC = RANDOM.integers(0, 4096, (32, 48, 5)).astype(np.uint16)
FULL = 4095


def corrupted(name: str, strength: int, image_HWC: np.ndarray = DEEP_HWC, full: int = FULL) -> np.ndarray:
    return corrupt(image_HWC, name, strength, generator_of(1, 2, name, strength), full)


def test_jpeg_alone_is_left_out():
    assert kinds_of(has_bands=False) == tuple(CORRUPTIONS)
    assert set(CORRUPTIONS) - set(kinds_of(has_bands=True)) == {"jpeg"}


@pytest.mark.parametrize("name", kinds_of(has_bands=True))
def test_type_shape_and_range_stay(name: str):
    for strength in STRENGTHS:
        found = corrupted(name, strength)
        assert (found.dtype, found.shape) == (np.uint16, DEEP_HWC.shape)
        assert found.max() <= FULL
    assert not np.array_equal(found, DEEP_HWC)  # the weakest blur is none for small images


def test_the_largest_value_of_the_set_counts_as_one():
    value_HWC = DEEP_HWC / FULL
    noise_HWC = generator_of(1, 2, "gaussian-noise", 3).normal(0, 0.18, DEEP_HWC.shape)
    wanted = np.rint(np.clip(value_HWC + noise_HWC, 0, 1) * FULL)
    np.testing.assert_array_equal(corrupted("gaussian-noise", 3), wanted)
    faded = (value_HWC - value_HWC.mean(axis=(0, 1))) * 0.3 + value_HWC.mean(axis=(0, 1))
    np.testing.assert_array_equal(corrupted("contrast", 2), np.rint(np.clip(faded, 0, 1) * FULL))


def test_each_band_is_blurred_by_itself():
    deviation_px = 2 * 32 / 224
    wanted_HWC = np.stack(
        [gaussian_filter(DEEP_HWC[..., band] / FULL, deviation_px, mode="nearest") for band in range(5)], axis=2
    )
    np.testing.assert_allclose(corrupted("gaussian-blur", 2) / FULL, wanted_HWC, atol=0.51 / FULL)


def test_boxes_are_means_that_keep_16_bits():
    found = corrupted("pixelate", 2)  # a half: boxes of two by two
    means = DEEP_HWC.reshape(16, 2, 24, 2, 5).mean(axis=(1, 3))
    wanted = np.repeat(np.repeat(means, 2, axis=0), 2, axis=1)
    assert np.abs(found - wanted).max() <= 0.501
    assert len(np.unique(found)) > 256
    three = DEEP_HWC[..., :3].copy()
    np.testing.assert_array_equal(corrupted("pixelate", 2, three), found[..., :3])


def test_brightness_keeps_the_ratios_of_a_pixels_bands():
    image_HWC = np.clip(DEEP_HWC, 100, 1500).astype(np.uint16)
    found = corrupted("brightness", 1, image_HWC) / FULL
    largest = image_HWC.max(axis=2) / FULL
    np.testing.assert_allclose(found.max(axis=2), largest + 0.1, atol=1 / FULL)
    ratio = found / found.max(axis=2, keepdims=True)
    np.testing.assert_allclose(ratio, image_HWC / image_HWC.max(axis=2, keepdims=True), atol=2e-3)
