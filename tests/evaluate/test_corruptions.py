"""Each corruption against an independent computation by its definition; seeded, for grey and colour, at any size."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.morphology import disk as disk_of_ones
from skimage.transform import AffineTransform, warp

from saccade.evaluate import corruptions as own
from saccade.evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt, generator_of, plasma


def picture(height: int = 224, width: int = 224, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Blurred noise, uint8."""
    rough = np.random.default_rng(seed).integers(0, 256, (12, 12, channels), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)


def floats(image_HWC: np.ndarray) -> np.ndarray:
    return image_HWC.astype(np.float64) / 255


def draw() -> np.random.Generator:
    return np.random.default_rng(7)


def test_there_are_all_kinds_in_five_strengths():
    assert set(CORRUPTIONS) == {
        *("gaussian-noise", "shot-noise", "impulse-noise", "defocus-blur", "gaussian-blur", "motion-blur", "zoom-blur"),
        *("fog", "brightness", "contrast", "jpeg", "pixelate"),
    }
    assert STRENGTHS == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("height", "width", "channels"), [(224, 224, 3), (28, 28, 1), (32, 48, 3), (8, 8, 1)])
def test_any_image_is_corrupted_by_its_seed_alone(name: str, height: int, width: int, channels: int):
    image_HWC = picture(height, width, channels)
    before = image_HWC.copy()
    for strength in STRENGTHS:
        first, again = (corrupt(image_HWC, name, strength, generator_of(3, 11, name, strength)) for _ in range(2))
        assert first.shape == image_HWC.shape
        assert first.dtype == np.uint8
        assert (first == again).all()
    assert (image_HWC == before).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_larger_strength_changes_more(name: str):
    image_HWC = picture(seed=2)
    changes = [
        np.abs(corrupt(image_HWC, name, strength, generator_of(0, 0, name, strength)).astype(int) - image_HWC).mean()
        for strength in STRENGTHS
    ]
    assert changes[0] > 0
    assert changes[-1] > changes[0]


def test_two_images_or_strengths_never_draw_alike():
    draws = {generator_of(seed, index, name, strength).random() for seed in (0, 1) for index in range(5)
             for name in CORRUPTIONS for strength in STRENGTHS}  # fmt: skip
    assert len(draws) == 2 * 5 * 12 * 5


@pytest.mark.parametrize(("level", "deviation"), list(enumerate((0.08, 0.12, 0.18, 0.26, 0.38))))
def test_gaussian_noise_is_normal_with_its_deviation(level: int, deviation: float):
    noise = own.gaussian_noise(np.full((300, 300, 3), 0.5), level, draw()) - 0.5
    assert noise.mean() == pytest.approx(0, abs=4 * deviation / np.sqrt(noise.size))
    assert noise.std() == pytest.approx(deviation, rel=0.01)
    assert np.quantile(noise, 0.975) == pytest.approx(1.96 * deviation, rel=0.02)


@pytest.mark.parametrize(("level", "photons"), list(enumerate((60, 25, 12, 5, 3))))
def test_shot_noise_counts_photons(level: int, photons: int):
    counts = own.shot_noise(np.full((300, 300, 3), 0.4), level, draw()) * photons
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert counts.mean() == pytest.approx(0.4 * photons, rel=0.01)
    assert counts.var() == pytest.approx(0.4 * photons, rel=0.02)


@pytest.mark.parametrize(("level", "share"), list(enumerate((0.03, 0.06, 0.09, 0.17, 0.27))))
def test_impulse_noise_makes_its_share_black_or_white(level: int, share: float):
    value = own.impulse_noise(np.full((300, 300, 3), 0.4), level, draw())
    assert set(np.unique(value)) == {0.0, 0.4, 1.0}
    for end in (0.0, 1.0):
        assert (value == end).mean() == pytest.approx(share / 2, rel=0.05)


@pytest.mark.parametrize(
    ("level", "radius", "softening"), [(0, 3, 0.1), (1, 4, 0.5), (2, 6, 0.5), (3, 8, 0.5), (4, 10, 0.5)]
)
def test_defocus_is_a_softened_disk(level: int, radius: int, softening: float):
    image_HWC = floats(picture())
    kernel = disk_of_ones(radius).astype(float)
    kernel = np.pad(kernel / kernel.sum(), max(8, radius) - radius)
    kernel = ndimage.gaussian_filter(kernel, softening, radius=1 if radius <= 8 else 2, mode="mirror")
    wanted = np.stack(
        [ndimage.convolve(image_HWC[..., c], kernel / kernel.sum(), mode="mirror") for c in range(3)], axis=-1
    )
    np.testing.assert_allclose(own.defocus_blur(image_HWC, level, draw()), wanted, atol=2e-4)


@pytest.mark.parametrize(("level", "deviation"), list(enumerate((1, 2, 3, 4, 6))))
def test_gaussian_blur_is_scikit_images(level: int, deviation: float):
    image_HWC = floats(picture())
    wanted = gaussian(image_HWC, sigma=deviation, channel_axis=-1, mode="nearest")
    np.testing.assert_allclose(own.gaussian_blur(image_HWC, level, draw()), wanted, atol=1e-9)


@pytest.mark.parametrize(("level", "radius", "deviation"), [(0, 10, 3), (2, 15, 8), (4, 20, 15)])
def test_motion_blur_is_half_a_normal_kernel_along_its_direction(level: int, radius: int, deviation: float):
    image_HWC = floats(picture())
    angle = np.radians(draw().uniform(-45, 45))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2)) / np.exp(-(steps**2) / (2 * deviation**2)).sum()
    wanted = np.zeros_like(image_HWC)
    for channel in range(3):
        for step, weight in zip(steps, weights, strict=True):
            offset = (-round(step * np.sin(angle)), -round(step * np.cos(angle)))
            wanted[..., channel] += weight * ndimage.shift(image_HWC[..., channel], offset, order=0, mode="nearest")
    np.testing.assert_allclose(own.motion_blur(image_HWC, level, draw()), wanted, atol=1e-9)


def test_zoom_blur_is_the_mean_of_enlargements():
    image_HWC = floats(picture())
    factors = np.arange(1, 1.16, 0.01)
    total = image_HWC.copy()
    for factor in factors:
        centre = 111.5
        matrix = AffineTransform(scale=1 / factor, translation=(centre - centre / factor,) * 2)
        total += warp(image_HWC, matrix, order=1, mode="edge")
    np.testing.assert_allclose(own.zoom_blur(image_HWC, 1, draw()), total / (len(factors) + 1), atol=1e-9)


def test_clouds_are_made_square_by_square_and_diamond_by_diamond():
    """Pixel by pixel on a torus, with the numbers drawn in the same order."""
    size, decay, random = 16, 1.7, draw()
    grid, step, roughness = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half = step // 2
        corners = [(i, j) for i in range(0, size, step) for j in range(0, size, step)]
        for shift, neighbours in (
            ((half, half), [(-half, -half), (-half, half), (half, -half), (half, half)]),
            ((0, half), [(-half, 0), (half, 0), (0, -half), (0, half)]),
            ((half, 0), [(-half, 0), (half, 0), (0, -half), (0, half)]),
        ):
            values = random.uniform(-roughness, roughness, len(corners))
            for (i, j), value in zip(corners, values, strict=True):
                row, column = i + shift[0], j + shift[1]
                around = [grid[(row + a) % size, (column + b) % size] for a, b in neighbours]
                grid[row, column] = np.mean(around) + roughness * value
        step, roughness = half, roughness / decay
    wanted = (grid - grid.min()) / (grid.max() - grid.min())
    np.testing.assert_allclose(plasma(16, decay, draw()), wanted, atol=1e-12)


@pytest.mark.parametrize(("level", "amount", "decay"), [(0, 1.5, 2.0), (4, 3.0, 1.4)])
def test_fog_lays_clouds_over_the_image_and_keeps_its_brightest_value(level: int, amount: float, decay: float):
    image_HWC = floats(picture())
    cloud = plasma(256, decay, draw())[:224, :224, None]
    wanted = (image_HWC + amount * cloud) * image_HWC.max() / (image_HWC.max() + amount)
    np.testing.assert_allclose(own.fog(image_HWC, level, draw()), wanted, atol=1e-12)


@pytest.mark.parametrize(("level", "amount"), list(enumerate((0.1, 0.2, 0.3, 0.4, 0.5))))
def test_brightness_raises_the_value_of_hue_saturation_value(level: int, amount: float):
    image_HWC = floats(picture())
    image_HWC[:5, :5] = 0  # black has no hue
    hsv = rgb2hsv(image_HWC)
    hsv[..., 2] = np.clip(hsv[..., 2] + amount, 0, 1)
    np.testing.assert_allclose(own.brightness(image_HWC, level, draw()), hsv2rgb(hsv), atol=1e-9)


@pytest.mark.parametrize(("level", "factor"), list(enumerate((0.4, 0.3, 0.2, 0.1, 0.05))))
def test_contrast_moves_values_to_the_mean_of_their_channel(level: int, factor: float):
    image_HWC = floats(picture())
    wanted = np.stack(
        [(image_HWC[..., c] - image_HWC[..., c].mean()) * factor + image_HWC[..., c].mean() for c in range(3)], -1
    )
    np.testing.assert_allclose(own.contrast(image_HWC, level, draw()), wanted, atol=1e-12)


@pytest.mark.parametrize(("strength", "quality"), list(enumerate((25, 18, 15, 10, 7), start=1)))
def test_jpeg_is_what_another_encoder_of_that_quality_gives(strength: int, quality: int):
    image_HWC = picture()
    file = cv2.imencode(".jpg", image_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    wanted = cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    found = corrupt(image_HWC, "jpeg", strength, draw())
    assert np.abs(found - wanted).mean() < 1
    assert np.abs(found.astype(int) - image_HWC).mean() > 1


def test_pixelate_gives_means_of_boxes():
    image_HWC = picture(40, 80)
    means = image_HWC.reshape(10, 4, 20, 4, 3).mean(axis=(1, 3))
    wanted = np.repeat(np.repeat(means, 4, axis=0), 4, axis=1)
    assert np.abs(corrupt(image_HWC, "pixelate", 5, draw()) - wanted).max() <= 1.01  # Pillow rounds rows and columns


def test_lengths_are_scaled_to_the_input():
    small = floats(picture(32, 32))
    wanted = gaussian(small, sigma=6 * 32 / 224, channel_axis=-1, mode="nearest")
    np.testing.assert_allclose(own.gaussian_blur(small, 4, draw()), wanted, atol=1e-9)
