"""The values of each augmentation: what is drawn, and what the drawn numbers do, against figures computed otherwise."""

import math
import random

import cv2
import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import BSpline
from skimage import color
from sklearn.decomposition import PCA

from saccade.core.errors import ConfigError, UnknownNameError
from saccade.core.types import Preprocessing, Record
from saccade.data.augment import crop, elastic, pca_colour
from saccade.data.augment.shared.colour import compose, recolour
from saccade.data.augment.shared.lossless import fold, move_pixels
from saccade.data.augment.shared.mixing import partners
from saccade.data.augmentation import AUGMENTATIONS, Colouring, Drawn, Framing, Geometric, Scene, normal
from saccade.data.augmentation_policy import AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter, measure_colours
from saccade.data.random_numbers import uniform
from saccade.data.source import DataSource

SCENE = Scene(preprocessing=Preprocessing(input_height_px=32, input_width_px=32), epoch=0)
PIXELS = np.random.default_rng(0).integers(0, 256, (500, 1, 3), dtype=np.uint8)


def drawn_by(name: str, num: int = 20_000, scene: Scene = SCENE, **strengths: float) -> Drawn:
    entry = AUGMENTATIONS.get(name)
    config = entry.strengths.parse(strengths)
    return entry.draw(config, uniform(4, 2, name, np.arange(num), entry.num_draws(config, scene)), scene)


def geometric(name: str, **drawn: float) -> np.ndarray:
    entry = AUGMENTATIONS.get(name)
    assert isinstance(entry, Geometric)
    return entry.matrices({key: np.array([value]) for key, value in drawn.items()}, SCENE)[0]


def coloured(name: str, pixels: np.ndarray, **drawn: float) -> np.ndarray:
    entry = AUGMENTATIONS.get(name)
    assert isinstance(entry, Colouring)
    matrix = entry.matrices({key: np.array([value]) for key, value in drawn.items()}, SCENE)[0]
    return recolour(pixels.astype(np.uint8).reshape(-1, 1, 3), matrix).reshape(-1, 3).astype(int)


def looks_at(matrix_33: np.ndarray, x: float, y: float) -> list[float]:
    return [round(float(value), 6) for value in (matrix_33 @ [x, y, 1])[:2]]


def test_geometric_matrices_look_at_the_right_places():
    assert looks_at(geometric("mirror", mirrored=True), 3, 5) == [-3, 5]
    assert looks_at(geometric("shift", right_px=2, down_px=-1), 3, 5) == [1, 6]
    assert looks_at(geometric("translation", right_fraction=0.25, down_fraction=0), 3, 5) == [-5, 5]
    # Turned clockwise by a right angle, what was at the top is at the right: the right looks at the top (y = -4).
    assert looks_at(geometric("rotation", angle_degrees=90), 4, 0) == [0, -4]
    assert looks_at(geometric("rotation", angle_degrees=45), math.sqrt(2), 0) == [1, -1]
    assert looks_at(geometric("shear", horizontal_degrees=45, vertical_degrees=0), 1, 3) == [4, 3]
    assert looks_at(geometric("shear", horizontal_degrees=0, vertical_degrees=-45), 1, 3) == [1, 2]


def test_a_perspective_looks_at_the_moved_corners_and_leaves_the_rest_straight():
    move_42 = np.array([[0.1, 0.05], [-0.2, 0.15], [0.0, -0.1], [0.12, 0.2]])
    matrix = geometric("perspective", corner_fractions=move_42)
    for (x, y), (right, down) in zip([(-16, -16), (16, -16), (16, 16), (-16, 16)], move_42):
        place = matrix @ [x, y, 1]
        assert place[:2] / place[2] == pytest.approx([x + 32 * right, y + 32 * down])
    corner_42 = np.array([(-16, -16), (16, -16), (16, 16), (-16, 16)], np.float32)
    wanted = cv2.getPerspectiveTransform(corner_42, (corner_42 + 32 * move_42).astype(np.float32))
    assert matrix == pytest.approx(wanted, abs=1e-5)
    drawn = drawn_by("perspective", 3000, max_fraction=0.2)
    assert stats.kstest(drawn["corner_fractions"].ravel(), stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-4


def test_perspective_acts_nearest_to_the_output_whatever_else_is_on():
    config = AugmentConfig(
        perspective={"max_fraction": 0.2},
        rotation={"max_degrees": 180},
        translation={"max_fraction": 0.5},
        trivial_augment={"probability": 1},
    )
    plan = Augmenter(config, SCENE.preprocessing, 0).plan(0, np.arange(2000))
    corner_43 = np.array([[x, y, 1] for x in (-16, 16) for y in (-16, 16)])
    depth_B4 = (corner_43 @ plan.geometry_B33.transpose(0, 2, 1))[:, :, 2]
    assert depth_B4.min() > 0.05


def test_a_turn_by_a_right_angle_equals_rot90():
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    augmenter = Augmenter(AugmentConfig(rotation={"max_degrees": 90}), SCENE.preprocessing, 0)
    plan = augmenter.plan(0, np.arange(1))
    plan.geometry_B33[0] = geometric("rotation", angle_degrees=90)
    out = np.empty_like(image)
    augmenter.render(augmenter.read(image, "x", plan, 0), plan, 0, out)
    assert np.abs(out.astype(int) - np.rot90(image, -1)).max() <= 1


@pytest.mark.parametrize("border", ["reflect", "edge", "black", "mean"])
def test_lossless_moves_equal_padding_and_slicing(border: str):
    rng = np.random.default_rng(2)
    image_BHWC = rng.integers(0, 256, (40, 9, 7, 3), dtype=np.uint8)
    right_B, down_B, mirrored_B = rng.integers(-5, 6, 40), rng.integers(-5, 6, 40), rng.random(40) < 0.5
    shift, mirror = AUGMENTATIONS.get("shift"), AUGMENTATIONS.get("mirror")
    matrix_B33 = mirror.matrices({"mirrored": mirrored_B}, SCENE) @ shift.matrices(
        {"right_px": right_B.astype(float), "down_px": down_B.astype(float)}, SCENE
    )
    fill_C = np.array([9, 8, 7], np.uint8)
    moved_BHWC = move_pixels(image_BHWC, matrix_B33, border, fill_C)
    for row, image_HWC in enumerate(image_BHWC):
        mirrored = image_HWC[:, ::-1] if mirrored_B[row] else image_HWC
        mode = {"reflect": "reflect", "edge": "edge"}.get(border, "constant")
        planes = []
        for channel in range(3):
            constant = {"constant_values": fill_C[channel]} if mode == "constant" else {}
            planes.append(np.pad(mirrored[:, :, channel], 5, mode=mode, **constant))
        top, left = 5 - down_B[row], 5 - right_B[row]
        expected = np.stack(planes, axis=-1)[top : top + 9, left : left + 7]
        assert (moved_BHWC[row] == expected).all()


def test_positions_fold_back_into_the_image():
    assert fold(np.arange(-5, 9), 4, "reflect").tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert fold(np.arange(-3, 4), 1, "reflect").tolist() == [0] * 7
    assert fold(np.arange(-2, 6), 4, "edge").tolist() == [0, 0, 0, 1, 2, 3, 3, 3]


def test_shifts_are_whole_and_equally_likely():
    drawn = drawn_by("shift", max_px=2)
    values, counts = np.unique(drawn["right_px"], return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert stats.chisquare(counts).pvalue > 1e-4
    assert abs(np.corrcoef(drawn["right_px"], drawn["down_px"])[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("name", "strengths", "parameter", "low", "high"),
    [
        ("rotation", {"max_degrees": 30}, "angle_degrees", -30, 30),
        ("shear", {"max_horizontal_degrees": 20}, "horizontal_degrees", -20, 20),
        ("shear", {"max_vertical_degrees": 20}, "vertical_degrees", -20, 20),
        ("translation", {"max_fraction": 0.1}, "down_fraction", -0.1, 0.1),
        ("window", {"reach": 0.5}, "across_fraction", -0.5, 0.5),
        ("brightness", {"max_change": 0.4}, "factor", 0.6, 1.4),
        ("contrast", {"max_change": 0.4}, "factor", 0.6, 1.4),
        ("saturation", {"max_change": 0.4}, "factor", 0.6, 1.4),
        ("hue", {"max_degrees": 18}, "turn_degrees", -18, 18),
        ("colour_shift", {"max_levels": 20}, "green_levels", -20, 20),
    ],
)
def test_parameters_are_uniform_between_their_limits(name, strengths, parameter, low, high):
    values = drawn_by(name, **strengths)[parameter]
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


def test_mirrors_happen_as_often_as_asked():
    assert abs(drawn_by("mirror", probability=0.3)["mirrored"].mean() - 0.3) < 0.015


def test_alternating_mirrors_show_both_sides_in_every_pair_of_epochs():
    config = AugmentConfig(alternating_mirror={"enabled": True})
    augmenter = Augmenter(config, SCENE.preprocessing, 0)
    epochs = [augmenter.plan(epoch, np.arange(2000)).drawn["alternating_mirror"]["mirrored"] for epoch in range(4)]
    assert abs(epochs[0].mean() - 0.5) < 0.05
    assert (epochs[0] != epochs[1]).all()
    assert (epochs[0] == epochs[2]).all()
    assert (epochs[1] == epochs[3]).all()


def box_by_rejection(height: int, width: int, chance: random.Random) -> tuple[int, int]:
    """Height and width of a random resized crop as the Inception recipe is commonly written, with Python's random."""
    for _ in range(10):
        area = height * width * chance.uniform(0.08, 1.0)
        aspect = math.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return h, w
    if width / height > 4 / 3:
        return height, round(height * 4 / 3)
    return (round(width * 4 / 3), width) if width / height < 3 / 4 else (height, width)


@pytest.mark.parametrize("source_HW", [(400, 400), (533, 400), (200, 900)])
def test_random_crops_have_the_published_distribution(source_HW: tuple[int, int]):
    drawn = drawn_by("crop", num=4000, min_area=0.08)
    ours = np.array([crop.box_size(drawn, row, source_HW) for row in range(4000)])
    chance = random.Random(5)
    theirs = np.array([box_by_rejection(*source_HW, chance) for _ in range(4000)])
    for measure in (lambda box: box[:, 0] * box[:, 1], lambda box: box[:, 1] / box[:, 0]):
        assert stats.ks_2samp(measure(ours), measure(theirs)).pvalue > 1e-4
    assert (ours.max(axis=0) <= source_HW).all()


def frames(name: str, source_HW: tuple[int, int], scene: Scene, **strengths: float) -> np.ndarray:
    """left, right, top, bottom of what is seen, in source pixels, for many draws."""
    entry = AUGMENTATIONS.get(name)
    assert isinstance(entry, Framing)
    drawn = drawn_by(name, 3000, scene, **strengths)
    matrix_B33 = np.stack([entry.frame(drawn, row, source_HW, scene) for row in range(3000)])
    edges = []
    for axis, size, output in ((0, source_HW[1], scene.size_HW[1]), (1, source_HW[0], scene.size_HW[0])):
        middle, half = matrix_B33[:, axis, 2] + size / 2, matrix_B33[:, axis, axis] * output / 2
        edges += [middle - half, middle + half]
    return np.stack(edges, axis=1)


def test_framings_show_whole_pixels_inside_the_image_and_reach_all_of_it():
    scene = Scene(preprocessing=Preprocessing(input_height_px=224, input_width_px=224, resize_px=256), epoch=0)
    for name, strengths in (("crop", {"min_area": 0.08}), ("window", {"reach": 1})):
        edge_B4 = frames(name, (533, 400), scene, **strengths)
        assert np.abs(edge_B4 - np.rint(edge_B4)).max() < 1e-9
        assert np.rint(edge_B4).min(axis=0).tolist()[::2] == [0, 0]
        assert np.rint(edge_B4).max(axis=0).tolist()[1::2] == [400, 533]
    widths = edge_B4[:, 1] - edge_B4[:, 0]
    assert (widths == 350).all()  # 224 of 256 pixels of a side of 400
    assert stats.kstest(edge_B4[:, 0] + 0.5, stats.uniform(0, 51).cdf).statistic < 0.04


def test_elastic_moves_follow_the_spline_of_scipy_and_stay_within_their_limit():
    drawn = drawn_by("elastic", 3, max_px=4, spacing_px=7)
    num = elastic.num_points(32, 7)
    assert drawn["move_px"].shape == (3, 2, num, num)
    knots = np.arange(-3, num + 1) * 7.0
    for row in range(3):
        displacement_HW2 = elastic.displacement(drawn, row, SCENE)
        assert displacement_HW2.dtype == np.float32
        assert np.abs(displacement_HW2).max() <= 4
        for axis in range(2):
            columns = BSpline(knots, drawn["move_px"][row, axis], 3)(np.arange(32))
            expected_HW = BSpline(knots, columns.T, 3)(np.arange(32)).T
            assert np.abs(displacement_HW2[:, :, axis] - expected_HW).max() < 1e-5


def test_colour_matrices_do_what_their_names_say():
    pixels = np.array([[10, 20, 30], [100, 150, 200], [77, 77, 77]])
    assert coloured("brightness", pixels, factor=1.2).tolist() == [[12, 24, 36], [120, 180, 240], [92, 92, 92]]
    assert coloured("brightness", pixels, factor=1.5)[1].tolist() == [150, 225, 255]
    shifted = coloured("colour_shift", pixels, red_levels=20, green_levels=-20, blue_levels=20)
    assert shifted.tolist() == [[30, 0, 50], [120, 130, 220], [97, 57, 97]]
    assert coloured("saturation", pixels, factor=0).tolist() == [[18] * 3, [141] * 3, [77] * 3]
    middle = 255 * (0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406)
    assert coloured("contrast", pixels, factor=0).tolist() == [[round(middle)] * 3] * 3
    assert coloured("contrast", pixels, factor=2)[1].tolist() == [
        min(255, round(middle + 2 * (value - middle))) for value in (100, 150, 200)
    ]


def test_hue_turns_in_the_colour_plane_of_skimage():
    inner = 64 + PIXELS.reshape(-1, 3) // 2  # far enough from the limits that nothing is clipped
    for degrees in (-90, -17, 8, 60, 180):
        yiq = color.rgb2yiq(inner / 255)
        turn = np.exp(1j * np.deg2rad(degrees)) * (yiq[:, 1] + 1j * yiq[:, 2])
        expected = 255 * color.yiq2rgb(np.stack([yiq[:, 0], turn.real, turn.imag], axis=1))
        inside = ((expected > 1) & (expected < 254)).all(axis=1)
        assert inside.mean() > 0.5
        assert np.abs(coloured("hue", inner, turn_degrees=degrees) - expected)[inside].max() <= 1
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    assert np.abs(coloured("hue", greys, turn_degrees=100) - greys).max() <= 1


def test_one_matrix_equals_the_chain_in_float64_where_nothing_is_clipped():
    rng = np.random.default_rng(7)
    image = rng.integers(90, 160, (30, 30, 3), dtype=np.uint8)
    chain = image / 255
    matrix_B34 = np.eye(3, 4)[None]
    for name in ("brightness", "colour_shift", "contrast", "hue", "saturation"):
        entry = AUGMENTATIONS.get(name)
        parameters = {
            key: value[:1]
            for key, value in drawn_by(
                name, 1, **{"colour_shift": {"max_levels": 9}, "hue": {"max_degrees": 9}}.get(name, {"max_change": 0.1})
            ).items()
        }
        step_B34 = entry.matrices(parameters, SCENE)
        chain = chain @ step_B34[0, :, :3].T + step_B34[0, :, 3]
        matrix_B34 = compose(matrix_B34, step_B34)
    assert np.abs(recolour(image, matrix_B34[0]) - 255 * chain).max() <= 1.0


def test_grey_images_are_recoloured_as_the_luma_of_their_colours():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    matrix_34 = np.array([[0.9, 0.1, 0.0, 0.02], [0.1, 1.1, -0.1, -0.05], [0.0, 0.0, 0.7, 0.1]])
    rgb = np.repeat(grey, 3, axis=2) / 255 @ matrix_34[:, :3].T + matrix_34[:, 3]
    expected = (255 * rgb @ [0.299, 0.587, 0.114]).clip(0, 255)
    assert np.abs(recolour(grey, matrix_34)[:, :, 0] - expected).max() <= 0.5 + 1e-9


def test_normal_numbers_are_normal():
    assert stats.kstest(normal(uniform(0, 0, "x", np.arange(20_000), 2))[:, 0], "norm").pvalue > 1e-4


class Sunset(DataSource):
    """Much red and blue, little green."""

    name = "sunset"
    classes = ("all",)
    digest = "0" * 64

    def __len__(self) -> int:
        return 40

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=0)

    def read(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        common = rng.normal(0, 30, (16, 16, 1)) * [1.0, 0.2, 0.9]
        return (120 + common + rng.normal(0, 5, (16, 16, 3))).clip(0, 255).astype(np.uint8)


def test_principal_colours_are_those_of_scikit_learn_and_shifts_follow_them():
    source = Sunset()
    asked = AugmentConfig(pca_colour={"deviation": 0.1})
    config = measure_colours(asked, source, np.arange(30), seed=3)
    pixels = np.concatenate([source.read(index).reshape(-1, 3) for index in range(30)]) / 255
    reference = PCA().fit(pixels)
    np.testing.assert_allclose(config.pca_colour.eigenvalues, reference.explained_variance_, rtol=1e-3)
    for ours, theirs in zip(config.pca_colour.eigenvectors, reference.components_):
        assert abs(np.dot(ours, theirs)) == pytest.approx(1, abs=1e-6)
    assert AugmentConfig.parse(config.model_dump(mode="json")) == config
    assert measure_colours(config, source, np.arange(30), seed=4) is config
    drawn = drawn_by("pca_colour", **config.pca_colour.model_dump())
    shift_N3 = np.stack([drawn["red_levels"], drawn["green_levels"], drawn["blue_levels"]], axis=1) / 255
    expected_33 = sum(
        (0.1 * value) ** 2 * np.outer(vector, vector)
        for value, vector in zip(reference.explained_variance_, reference.components_)
    )
    assert np.abs(np.cov(shift_N3, rowvar=False) - expected_33).max() < 0.05 * expected_33.max()
    assert np.abs(shift_N3[:, 1]).mean() < 0.4 * np.abs(shift_N3[:, 0]).mean()


def test_principal_colours_that_were_not_measured_are_asked_for():
    with pytest.raises(ConfigError) as error:
        Augmenter(AugmentConfig(pca_colour={"deviation": 0.1}), SCENE.preprocessing, 0).plan(0, np.arange(2))
    assert str(error.value) == (
        "pca_colour needs the principal colours of the training set, and they have not been measured.\n"
        "Training and preview measure them; in Python call saccade.data.augmenter.measure_colours first."
    )
    assert pca_colour.PcaColourStrengths().eigenvalues == ()


def test_cutout_covers_the_part_of_a_square_inside_the_image_with_the_mean_colour():
    config = AugmentConfig(cutout={"size_px": 8, "probability": 0.75})
    augmenter = Augmenter(config, SCENE.preprocessing, 1)
    plan = augmenter.plan(0, np.arange(4000))
    image_BHWC = np.zeros((4000, 32, 32, 3), np.uint8)
    image_BHWC, _ = augmenter.finish(plan, image_BHWC, np.zeros(4000, np.int64), 2)
    covered_BHW = (image_BHWC == np.rint(255 * np.array([0.485, 0.456, 0.406]))).all(axis=-1)
    area_B = covered_BHW.sum(axis=(1, 2))
    assert abs((area_B > 0).mean() - 0.75) < 0.03
    assert area_B.max() == 64
    assert 16 <= area_B[area_B > 0].min() <= 25  # a centre near the corner leaves a quarter of the square
    share_HW = covered_BHW.mean(axis=0)
    assert share_HW[16, 16] == pytest.approx(0.75 * 64 / 1024, abs=0.015)
    assert share_HW[0, 0] == pytest.approx(0.75 * 25 / 1024, abs=0.009)  # centres up to 4 pixels away


def test_pairs_are_mixed_with_each_other():
    assert partners(6).tolist() == [1, 0, 3, 2, 5, 4]
    assert partners(5).tolist() == [1, 0, 3, 2, 3]
    assert partners(1).tolist() == [0]
    assert partners(3, 2, 1).tolist() == [1, 0, 1, 4, 3, 5]  # each lane by itself


def mixed(config: AugmentConfig, num: int = 600) -> tuple[Drawn, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    augmenter = Augmenter(config, SCENE.preprocessing, 8)
    plan = augmenter.plan(0, np.arange(num))
    before_BHWC = np.random.default_rng(0).integers(0, 256, (num, 32, 32, 3), dtype=np.uint8)
    label_B = np.arange(num) % 7
    after_BHWC, target_BK = augmenter.finish(plan, before_BHWC.copy(), label_B, 7)
    assert target_BK.dtype == np.float32
    assert np.abs(target_BK.sum(axis=1) - 1).max() < 1e-6
    return next(iter(plan.drawn.values())), before_BHWC, after_BHWC, label_B, target_BK


def test_mixup_fades_pixels_and_targets_by_the_same_beta_distributed_weight():
    drawn, before_BHWC, after_BHWC, label_B, target_BK = mixed(AugmentConfig(mixup={"alpha": 0.4}))
    weight_B, partner_B = drawn["own_weight"], np.arange(600) ^ 1
    expected = weight_B[:, None, None, None] * before_BHWC
    expected = expected + (1 - weight_B)[:, None, None, None] * before_BHWC[partner_B]
    assert np.abs(after_BHWC - expected).max() <= 0.5 + 1e-3
    for row in range(600):
        own = weight_B[row] * (np.arange(7) == label_B[row])
        other = (1 - weight_B[row]) * (np.arange(7) == label_B[partner_B[row]])
        assert np.abs(target_BK[row] - own - other).max() < 1e-6
    assert stats.kstest(drawn_by("mixup", alpha=0.4)["own_weight"], stats.beta(0.4, 0.4).cdf).pvalue > 1e-4
    assert abs((drawn_by("mixup", alpha=1, probability=0.25)["own_weight"] < 1).mean() - 0.25) < 0.015


def test_cutmix_replaces_a_box_and_the_targets_count_its_pixels():
    drawn, before_BHWC, after_BHWC, label_B, target_BK = mixed(AugmentConfig(cutmix={"alpha": 1.0}))
    partner_B = np.arange(600) ^ 1
    for row in range(600):
        box = np.zeros((32, 32, 1), bool)
        box[drawn["top"][row] : drawn["bottom"][row], drawn["left"][row] : drawn["right"][row]] = True
        expected = np.where(box, before_BHWC[partner_B[row]], before_BHWC[row])
        assert (after_BHWC[row] == expected).all()
        share = 1 - box.mean()
        assert target_BK[row, label_B[row]] == pytest.approx(share, abs=1e-6)
        assert target_BK[row, label_B[partner_B[row]]] == pytest.approx(1 - share, abs=1e-6)
    # Where the box is not cut off by the border, its area is uniform (Beta(1, 1)), but for whole pixels.
    drawn = drawn_by("cutmix", alpha=1)
    sides = np.stack([drawn["right"] - drawn["left"], drawn["bottom"] - drawn["top"]])
    inside = (drawn["left"] > 0) & (drawn["right"] < 32) & (drawn["top"] > 0) & (drawn["bottom"] < 32)
    assert (sides[0] == sides[1])[inside].all()
    assert sides.max() <= 32
    assert sides.min() >= 0


def test_mixing_needs_no_partner_from_another_process():
    config = AugmentConfig(mixup={"alpha": 1.0}, cutmix={"alpha": 1.0, "probability": 0.5})
    augmenter = Augmenter(config, SCENE.preprocessing, 8)
    image_BHWC = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    label_B = np.arange(11) % 7
    whole = augmenter.finish(augmenter.plan(0, np.arange(11)), image_BHWC.copy(), label_B, 7)
    parts = [
        augmenter.finish(augmenter.plan(0, np.arange(11)[part]), image_BHWC[part].copy(), label_B[part], 7)
        for part in (slice(0, 4), slice(4, 11))
    ]
    for index in range(2):
        assert (np.concatenate([part[index] for part in parts]) == whole[index]).all()


def test_two_framings_and_unknown_names_are_refused():
    with pytest.raises(ConfigError) as error:
        AugmentConfig.parse({"crop": {"min_area": 0.5}, "window": {"reach": 1}})
    assert str(error.value) == ("configuration: crop and window both choose what is seen of an image; use one of them.")
    with pytest.raises(ConfigError) as unknown:
        AugmentConfig().with_overrides(["rotation.max_degree=3"])
    assert str(unknown.value) == "Unknown key 'rotation.max_degree'. Did you mean 'rotation.max_degrees'?"
    with pytest.raises(UnknownNameError) as policy:
        get_policy("foto")
    assert str(policy.value) == (
        "Unknown augmentation policy 'foto'. Did you mean 'photo'? Policies: none, shift-flip, airbench, cutout, "
        "handwriting, photo-light, photo, alexnet, photo-mixed, trivial-wide, rand-augment, augmix."
    )
