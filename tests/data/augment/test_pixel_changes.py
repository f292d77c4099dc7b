"""Noise, blur, JPEG and their like: what is drawn, grey images, borders, and where they stand in the chain."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import fft, ndimage, stats

from saccade.core.types import Preprocessing
from saccade.data.augment import autocontrast, equalize, gaussian_blur, jpeg, random_erasing
from saccade.data.augment.shared.noise import normal_values, seeds, uniform_levels
from saccade.data.augmentation import AUGMENTATIONS, Colouring, Drawn, Pixel, Scene
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.augmenter import Augmenter
from saccade.data.random_numbers import uniform

SCENE = Scene(preprocessing=Preprocessing(input_height_px=32, input_width_px=48), epoch=0)
ROUGH_HWC = np.random.default_rng(0).integers(30, 220, (32, 48, 3), dtype=np.uint8)


def drawn_by(name: str, num: int = 20_000, **strengths: object) -> Drawn:
    entry = AUGMENTATIONS.get(name)
    config = entry.strengths.parse(strengths)
    return entry.draw(config, uniform(4, 2, name, np.arange(num), entry.num_draws(config, SCENE)), SCENE)


def changed(name: str, image_HWC: np.ndarray, **drawn: object) -> np.ndarray:
    entry = AUGMENTATIONS.get(name)
    assert isinstance(entry, Pixel)
    return entry.change({key: np.array([value]) for key, value in drawn.items()}, 0, image_HWC, SCENE)


@pytest.mark.parametrize(
    ("name", "strengths", "parameter", "low", "high"),
    [
        ("gaussian_noise", {"max_deviation_levels": 30}, "deviation_levels", 0, 30),
        ("gaussian_blur", {"max_deviation_px": 2.5}, "deviation_px", 0, 2.5),
        ("solarize", {"min_threshold_levels": 100}, "threshold_levels", 100, 256),
        ("sharpness", {"max_change": 0.6}, "factor", 0.4, 1.6),
    ],
)
def test_strengths_are_drawn_uniformly_between_their_limits(name, strengths, parameter, low, high):
    values = drawn_by(name, **strengths)[parameter]
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    if name != "sharpness":
        often = drawn_by(name, **strengths, probability=0.3)[parameter]
        unchanged = 256 if name == "solarize" else 0
        assert abs((often != unchanged).mean() - 0.3) < 0.015


@pytest.mark.parametrize(("name", "key", "low", "high"), [("posterize", "bits", 3, 8), ("jpeg", "quality", 40, 100)])
def test_whole_numbers_are_equally_likely(name: str, key: str, low: int, high: int):
    values, counts = np.unique(drawn_by(name, **{f"min_{key}": low})[key], return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    assert stats.chisquare(counts).pvalue > 1e-4
    is_changed_B = drawn_by(name, **{f"min_{key}": low}, probability=0.25)[key] < high
    assert abs(is_changed_B.mean() / (1 - 1 / len(values)) - 0.25) < 0.015


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "greyscale", "invert"])
def test_what_is_on_or_off_is_on_as_often_as_asked(name: str):
    assert abs(drawn_by(name, probability=0.3)["applied"].mean() - 0.3) < 0.015
    assert abs(drawn_by("vertical_mirror", probability=0.3)["mirrored"].mean() - 0.3) < 0.015


def philox_4x64(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Salmon et al. 2011, section 3.3, with Python's own whole numbers."""
    word, (left, right) = counter, key
    for _ in range(10):
        products = (0xD2E7470EE14C6C93 * word[0], 0xCA5A826395121157 * word[2])
        word = (
            (products[1] >> 64) ^ word[1] ^ left,
            products[1] % 2**64,
            (products[0] >> 64) ^ word[3] ^ right,
            products[0] % 2**64,
        )
        left, right = (left + 0x9E3779B97F4A7C15) % 2**64, (right + 0xBB67AE8584CAA73B) % 2**64
    return word


def test_noise_is_a_function_of_its_seed_and_the_same_on_every_machine():
    seed_B = seeds(uniform(1, 2, "noise", np.arange(3), 2))
    assert len(set(seed_B.tolist())) == 3
    for seed in (1, 2**63 + 5):
        bits = struct.pack("<4Q", *philox_4x64((1, 0, 0, 0), (seed, 0)))
        assert uniform_levels(np.uint64(seed), 32).tolist() == list(bits)
        quantiles = [(word + 0.5) / 65536 for word in struct.unpack("<16H", bits)]
        assert normal_values(np.uint64(seed), 16) == pytest.approx(stats.norm.ppf(quantiles), abs=1e-6)
    assert np.array_equal(normal_values(seed_B[0], 100), normal_values(seed_B[0], 1000)[:100])
    assert not np.array_equal(normal_values(seed_B[0], 100), normal_values(seed_B[1], 100))


def test_noise_has_the_distribution_that_it_is_named_after():
    assert stats.kstest(normal_values(np.uint64(5), 50_000), "norm").pvalue > 1e-4
    counts = np.bincount(uniform_levels(np.uint64(5), 100_000), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4
    grey_HWC = np.full((64, 64, 3), 128, np.uint8)
    noise_HWC = changed("gaussian_noise", grey_HWC, deviation_levels=12.0, seed=np.uint64(9)) - 128.0
    assert noise_HWC.std() == pytest.approx(12, rel=0.03)
    for other in (np.roll(noise_HWC, 1, axis=axis) for axis in range(3)):  # no pixel or channel tells its neighbour's
        assert abs(np.corrcoef(noise_HWC.ravel(), other.ravel())[0, 1]) < 0.04


GREY_CASES = {
    "autocontrast": {"applied": True},
    "equalize": {"applied": True},
    "gaussian_blur": {"deviation_px": 1.3},
    "posterize": {"bits": 3},
    "sharpness": {"factor": 1.7},
    "solarize": {"threshold_levels": 90.0},
}


@pytest.mark.parametrize("name", GREY_CASES)
def test_a_grey_image_changes_as_each_channel_of_a_colour_image_does(name: str):
    colour_HWC = changed(name, ROUGH_HWC, **GREY_CASES[name])
    for channel in range(3):
        grey_HWC = changed(name, np.ascontiguousarray(ROUGH_HWC[:, :, [channel]]), **GREY_CASES[name])
        assert grey_HWC.shape == (32, 48, 1)
        assert np.array_equal(grey_HWC[:, :, 0], colour_HWC[:, :, channel])


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if isinstance(AUGMENTATIONS.get(name), Pixel)])
@pytest.mark.parametrize("shape_HWC", [(1, 1, 3), (1, 5, 1), (2, 2, 3), (7, 1, 3)])
def test_images_of_a_few_pixels_are_taken(name: str, shape_HWC: tuple[int, int, int]):
    height, width, channels = shape_HWC
    kind = {"channels": "grey", "mean": (0.4,), "std": (0.2,)} if channels == 1 else {}
    scene = Scene(preprocessing=Preprocessing(input_height_px=height, input_width_px=width, **kind), epoch=0)
    entry = AUGMENTATIONS.get(name)
    assert isinstance(entry, Pixel)
    strong = {"severity": 10, "max_deviation_px": 5, "max_deviation_levels": 30, "min_quality": 5, "min_bits": 1}
    strong |= {"min_threshold_levels": 0, "max_change": 1, "probability": 1}
    fields = entry.strengths.model_fields
    config = entry.strengths.parse({key: value for key, value in strong.items() if key in fields})
    drawn = entry.draw(config, uniform(0, 0, name, np.arange(20), entry.num_draws(config, scene)), scene)
    image_HWC = np.random.default_rng(1).integers(0, 256, shape_HWC, dtype=np.uint8)
    for row in range(20):
        assert entry.change(drawn, row, image_HWC, scene).shape == shape_HWC


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_flat_image_stays_flat(level: int):
    flat_HWC = np.full((20, 30, 3), level, np.uint8)
    assert np.array_equal(changed("autocontrast", flat_HWC, applied=True), flat_HWC)
    assert np.array_equal(changed("equalize", flat_HWC, applied=True), flat_HWC)
    assert np.array_equal(changed("gaussian_blur", flat_HWC, deviation_px=2.2), flat_HWC)
    assert np.array_equal(changed("sharpness", flat_HWC, factor=2.0), flat_HWC)


@pytest.mark.parametrize("seed", range(12))
def test_equalize_and_autocontrast_equal_pillow(seed: int):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 60, 2)
    spread = rng.integers(1, 255)
    image_HWC = rng.integers(0, spread + 1, (*size, 3)).astype(np.uint8)
    image = Image.fromarray(image_HWC)
    assert np.array_equal(changed("equalize", image_HWC, applied=True), np.asarray(ImageOps.equalize(image)))
    pillow_HWC = np.asarray(ImageOps.autocontrast(image)).astype(int)  # Pillow cuts where we round
    assert np.abs(changed("autocontrast", image_HWC, applied=True) - pillow_HWC).max() <= 1


@pytest.mark.parametrize("deviation_px", [0.2, 0.7, 3.0, 20.0])
def test_the_blur_keeps_to_three_deviations_and_reflects_at_the_border(deviation_px: float):
    kernel_K = gaussian_blur.gaussian_kernel(deviation_px)
    assert len(kernel_K) == 2 * max(1, int(np.ceil(3 * deviation_px))) + 1
    assert kernel_K.sum() == pytest.approx(1)
    expected_HWC = ROUGH_HWC.astype(float)
    for axis in (0, 1):
        expected_HWC = ndimage.convolve1d(expected_HWC, kernel_K, axis=axis, mode="mirror")
    assert np.abs(changed("gaussian_blur", ROUGH_HWC, deviation_px=deviation_px) - expected_HWC).max() <= 0.51


LUMINANCE_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@pytest.mark.parametrize("quality", [10, 35, 50, 75, 95])
def test_a_grey_jpeg_is_the_quantized_cosine_transform_of_the_standard(quality: int):
    """ITU-T T.81, annexes A.3 and K.1, the table scaled as libjpeg scales it; in float64 by SciPy."""
    grey_HW1 = ROUGH_HWC[:, :, :1].copy()
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = ((LUMINANCE_TABLE * scale + 50) // 100).clip(1, 255)
    blocks = grey_HW1[:, :, 0].reshape(4, 8, 6, 8).transpose(0, 2, 1, 3) - 128.0
    coefficients = np.rint(fft.dctn(blocks, axes=(2, 3), norm="ortho") / table) * table
    pixels = fft.idctn(coefficients, axes=(2, 3), norm="ortho") + 128
    expected_HW = np.rint(pixels).clip(0, 255).transpose(0, 2, 1, 3).reshape(32, 48)
    difference_HW = np.abs(changed("jpeg", grey_HW1, quality=quality)[:, :, 0] - expected_HW)
    # A coefficient between two steps may be rounded to either: some blocks of noise differ, the others by rounding.
    assert (difference_HW > 1).mean() < 0.25
    assert np.median(difference_HW) == 0
    assert np.abs(changed("jpeg", grey_HW1, quality=100) - grey_HW1.astype(int)).max() == 0
    assert jpeg.words({"quality": np.array([quality])}, 0) == f"quality {quality}"


def test_colours_of_a_jpeg_do_not_change_places():
    red_HWC = np.zeros((32, 48, 3), np.uint8)
    red_HWC[:, :, 0] = 200
    mean_C = changed("jpeg", red_HWC, quality=90).mean(axis=(0, 1))
    assert np.abs(mean_C - [200, 0, 0]).max() < 3


def test_random_erasing_has_the_published_areas_aspects_and_shares():
    drawn = drawn_by("random_erasing", probability=0.5)
    height_B, width_B = drawn["bottom"] - drawn["top"], drawn["right"] - drawn["left"]
    has_box_B = height_B > 0
    assert abs(has_box_B.mean() - 0.5) < 0.015
    area_B = (height_B * width_B / (32 * 48))[has_box_B]
    aspect_B = height_B[has_box_B] / width_B[has_box_B]
    assert area_B.min() > 0.01
    assert area_B.max() < 0.42  # whole pixels
    assert aspect_B.min() > 0.2
    assert aspect_B.max() < 4.5
    # Zhong et al., algorithm 1, with Python's own random numbers: the first box that fits.
    rng = np.random.default_rng(8)
    areas = []
    while len(areas) < 4000:
        area, aspect = rng.uniform(0.02, 0.4) * 32 * 48, rng.uniform(0.3, 1 / 0.3)
        box = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if box[0] <= 32 and box[1] <= 48:
            areas.append(box[0] * box[1] / (32 * 48))
    assert stats.ks_2samp(area_B[:4000], areas).pvalue > 1e-4
    for start_B, stop_B, size in ((drawn["top"], drawn["bottom"], 32), (drawn["left"], drawn["right"], 48)):
        assert start_B.min() == 0
        assert stop_B.max() == size
        free_B = (size - (stop_B - start_B))[has_box_B]
        share_B = ((start_B[has_box_B] + 0.5) / (free_B + 1))[free_B > 8]
        assert abs(share_B.mean() - 0.5) < 0.02


@pytest.mark.parametrize("fill", ["noise", "colour", "mean"])
def test_random_erasing_fills_the_box_as_asked_and_nothing_else(fill: str):
    config = AugmentConfig(random_erasing={"probability": 1, "fill": fill})
    augmenter = Augmenter(config, SCENE.preprocessing, 1)
    assert not augmenter.moves_whole_pixels  # a device that keeps the set cannot make these pixels
    plan = augmenter.plan(0, np.arange(300))
    image_BHWC = np.broadcast_to(ROUGH_HWC, (300, 32, 48, 3)).copy()
    image_BHWC, _ = augmenter.finish(plan, image_BHWC, np.zeros(300, np.int64), 2)
    colours = set()
    for row, (top, bottom, left, right) in enumerate(augmenter.boxes(plan)[0].tolist()):
        box_HWC = image_BHWC[row, top:bottom, left:right].copy()
        image_BHWC[row, top:bottom, left:right] = ROUGH_HWC[top:bottom, left:right]
        if fill != "noise":
            assert (box_HWC == box_HWC[0, 0]).all()
            colours.add(tuple(box_HWC[0, 0].tolist()))
        elif box_HWC.size > 1000:
            assert stats.kstest(box_HWC.ravel() + 0.5, stats.uniform(0, 256).cdf).pvalue > 1e-6
    assert (image_BHWC == ROUGH_HWC).all()
    if fill == "mean":
        assert colours == {(124, 116, 104)}
    if fill == "colour":
        assert len(colours) > 290
        assert stats.kstest(np.array(sorted(colours))[:, 1] + 0.5, stats.uniform(0, 256).cdf).pvalue > 1e-4


def test_colours_come_first_then_pixels_in_the_order_of_the_alphabet():
    config = AugmentConfig(
        brightness={"max_change": 0.5},
        posterize={"min_bits": 2},
        equalize={"probability": 1},
        invert={"probability": 1},
    )
    augmenter = Augmenter(config, SCENE.preprocessing, 1)
    plan = augmenter.plan(0, np.arange(8))
    image_BHWC, _ = augmenter.finish(plan, np.stack([ROUGH_HWC] * 8), np.zeros(8, np.int64), 2)
    for row in range(8):
        factor, bits = plan.drawn["brightness"]["factor"][row], int(plan.drawn["posterize"]["bits"][row])
        coloured = np.rint(255 - ROUGH_HWC * factor).clip(0, 255).astype(np.uint8)
        expected = np.asarray(ImageOps.posterize(ImageOps.equalize(Image.fromarray(coloured)), bits))
        assert (np.abs(image_BHWC[row].astype(int) - expected) > 1).mean() < 0.01


def test_greyscale_and_invert_are_matrices_and_cost_no_pass_of_their_own():
    for name in ("greyscale", "invert"):
        assert isinstance(AUGMENTATIONS.get(name), Colouring)
    assert isinstance(AUGMENTATIONS.get("equalize"), Pixel)
    assert autocontrast.draw is not equalize.draw
    assert random_erasing.NUM_ATTEMPTS == 10
