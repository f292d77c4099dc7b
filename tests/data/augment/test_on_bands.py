"""Augmentation of channels that are not colours: each as it would be alone, and nothing that needs colours."""

import numpy as np
import pytest

from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter, left_out_of_bands

RANDOM = np.random.default_rng(2)
SIZE_HW = (24, 20)
OTHERS = {
    "crop": {"min_area": 0.4},
    "mirror": {"probability": 0.5},
    "rotation": {"max_degrees": 20},
    "elastic": {"max_px": 1.5, "spacing_px": 7},
    "gaussian_blur": {"max_deviation_px": 1.0},
    "sharpness": {"max_change": 0.5},
    "cutout": {"size_px": 6},
    "mixup": {"alpha": 0.5},
    "cutmix": {"alpha": 1.0},
}
COLOURS = {
    "brightness": {"max_change": 0.4},
    "hue": {"max_degrees": 20},
    "invert": {"probability": 0.5},
    "jpeg": {"min_quality": 30, "probability": 0.5},
    "equalize": {"probability": 0.5},
}


def pixels_of(mean: tuple[float, ...], depth: int = 8) -> Preprocessing:
    size = {"input_height_px": SIZE_HW[0], "input_width_px": SIZE_HW[1]}
    return Preprocessing(channels="bands", depth_bits=depth, mean=mean, std=(0.2,) * len(mean), **size)


def batch_of(augmenter: Augmenter, images: list[np.ndarray], epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    plan = augmenter.plan(epoch, np.arange(len(images)))
    channels = augmenter.preprocessing.num_channels
    image_BHWC = np.empty((len(images), *SIZE_HW, channels), augmenter.preprocessing.pixel_type)
    for row, image_HWC in enumerate(images):
        if augmenter.sees_source:
            augmenter.render(augmenter.read(image_HWC, "a", plan, row), plan, row, image_BHWC[row])
        else:
            image_BHWC[row] = image_HWC
    return augmenter.finish(plan, image_BHWC, np.arange(len(images)) % 2, 2)


def images_of(dtype: type, size_HW: tuple[int, int] = (40, 50)) -> list[np.ndarray]:
    coarse = [RANDOM.integers(0, np.iinfo(dtype).max, (5, 5, 5), dtype=dtype) for _ in range(4)]
    down, right = size_HW[0] // 5, size_HW[1] // 5
    return [np.ascontiguousarray(image.repeat(down, axis=0).repeat(right, axis=1)) for image in coarse]


@pytest.mark.parametrize(("dtype", "depth"), [(np.uint8, 8), (np.uint16, 16)])
@pytest.mark.parametrize("name", list(OTHERS))
def test_every_band_is_changed_as_it_would_be_alone(name: str, dtype: type, depth: int):
    means = (0.1, 0.3, 0.5, 0.7, 0.9)
    config = AugmentConfig.parse({name: OTHERS[name], "border": "mean"})
    images = images_of(dtype)
    if not Augmenter(config, pixels_of(means, depth), seed=4).sees_source:
        images = images_of(dtype, (25, 20))
        images = [image_HWC[: SIZE_HW[0]] for image_HWC in images]
    together_BHWC, target = batch_of(Augmenter(config, pixels_of(means, depth), seed=4), images)
    assert together_BHWC.dtype == dtype
    for band, mean in enumerate(means):
        alone = [np.ascontiguousarray(image_HWC[:, :, [band]]) for image_HWC in images]
        alone_BHWC, own_target = batch_of(Augmenter(config, pixels_of((mean,), depth), seed=4), alone)
        assert np.array_equal(together_BHWC[..., band], alone_BHWC[..., 0])
        assert np.array_equal(target, own_target)


def test_what_changes_colours_is_left_out_and_named():
    config = AugmentConfig.parse(COLOURS | {"mirror": {"probability": 0.5}})
    assert left_out_of_bands(config) == ["brightness", "equalize", "hue", "invert", "jpeg"]
    images = [image_HWC[: SIZE_HW[0]] for image_HWC in images_of(np.uint8, (25, 20))]
    pixels = pixels_of((0.5,) * 5)
    mirrored = AugmentConfig.parse({"mirror": {"probability": 0.5}})
    found_BHWC, _ = batch_of(Augmenter(config, pixels, seed=1), images)
    assert np.array_equal(found_BHWC, batch_of(Augmenter(mirrored, pixels, seed=1), images)[0])


@pytest.mark.parametrize("name", ["trivial-wide", "rand-augment"])
def test_of_a_policy_the_operations_that_bands_have_are_kept(name: str):
    config = get_policy(name).config
    augmenter = Augmenter(config, pixels_of((0.5,) * 5, 16), seed=3)
    plan = augmenter.plan(0, np.arange(500))
    (choosing,) = [entry for entry in config.active() if hasattr(entry, "operations")]
    assert left_out_of_bands(config) == [f"{choosing.name} (those of its operations that change colours)"]
    done = {choosing.operations[k].augmentation for k in np.unique(plan.drawn[choosing.name]["operation"]) if k >= 0}
    assert done <= {"", "shear", "translation", "rotation", "sharpness"}
    assert {"shear", "translation", "rotation"} <= done
    image_BHWC, _ = batch_of(augmenter, images_of(np.uint16))
    assert image_BHWC.dtype == np.uint16


@pytest.mark.parametrize(("depth", "full"), [(8, 255), (16, 65_535)])
def test_noise_has_the_same_part_of_the_range_at_both_depths(depth: int, full: int):
    config = AugmentConfig.parse({"gaussian_noise": {"max_deviation_levels": 20}})
    augmenter = Augmenter(config, pixels_of((0.5,) * 5, depth), seed=3)
    grey_HWC = np.full((*SIZE_HW, 5), full // 2, augmenter.preprocessing.pixel_type)
    noisy_BHWC, _ = batch_of(augmenter, [grey_HWC] * 40)
    drawn_B = augmenter.plan(0, np.arange(40)).drawn["gaussian_noise"]["deviation_levels"] / 255
    part_B = (noisy_BHWC / full).std(axis=(1, 2, 3))
    assert part_B == pytest.approx(drawn_B, rel=0.1, abs=0.003)


def test_a_covered_box_shows_the_mean_of_each_band():
    config = AugmentConfig.parse({"random_erasing": {"probability": 1.0, "min_area": 0.2}})
    means = (0.1, 0.3, 0.5, 0.7, 0.9)
    image_BHWC, _ = batch_of(Augmenter(config, pixels_of(means, 16), seed=3), [np.zeros((*SIZE_HW, 5), np.uint16)] * 3)
    covered = np.rint(np.array(means) * 65_535)
    for image_HWC in image_BHWC:
        is_covered_HW = (image_HWC == covered).all(axis=2)
        assert is_covered_HW.mean() > 0.1
        assert not image_HWC[~is_covered_HW].any()
