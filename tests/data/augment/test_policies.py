"""TrivialAugment, RandAugment and AugMix: what they draw, against the papers, and how it reaches the pixels."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from saccade.core.types import Preprocessing
from saccade.data.augment import augmix, rand_augment, trivial_augment
from saccade.data.augment.shared import geometry
from saccade.data.augmentation import AUGMENTATIONS, Choosing, Drawn, Scene
from saccade.data.augmentation_policy import AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter
from saccade.data.random_numbers import uniform

SCENE = Scene(preprocessing=Preprocessing(input_height_px=32, input_width_px=48), epoch=0)
NUM = 28_000


def drawn_by(name: str, num: int = NUM, **strengths: float) -> Drawn:
    entry = AUGMENTATIONS.get(name)
    config = entry.strengths.parse(strengths)
    return entry.draw(config, uniform(4, 2, name, np.arange(num), entry.num_draws(config, SCENE)), SCENE)


def values_by_operation(table: tuple, drawn: Drawn) -> dict[str, np.ndarray]:
    places, values = drawn["operation"].ravel(), drawn["value"].ravel()
    return {choice.operation: values[places == place] for place, choice in enumerate(table)}


# Müller and Hutter 2021, wide space: the values of the weakest and of the strongest of 31 levels; signed ones twice.
WIDE = {
    "identity": (0, 0),
    "autocontrast": (0, 0),
    "equalize": (0, 0),
    "rotate": (-135, 135),
    "solarize": (256, 0),
    "colour": (0.01, 2),
    "posterize": (8, 2),
    "contrast": (0.01, 2),
    "brightness": (0.01, 2),
    "sharpness": (0.01, 2),
    "shear-x": (-0.99, 0.99),
    "shear-y": (-0.99, 0.99),
    "translate-x-px": (-32, 32),
    "translate-y-px": (-32, 32),
}


def test_trivial_augment_draws_one_of_14_operations_at_one_of_31_levels():
    drawn = drawn_by("trivial_augment", probability=1)
    assert drawn["operation"].shape == (NUM, 1)
    found = values_by_operation(trivial_augment.TABLE, drawn)
    assert set(found) == set(WIDE)
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 1e-4
    for name, (weakest, strongest) in WIDE.items():
        if weakest == strongest:
            assert (found[name] == 0).all()
            continue
        is_signed = weakest == -strongest
        levels = np.linspace(0 if is_signed else weakest, strongest, 31)
        expected = np.unique(np.concatenate([levels, -levels])) if is_signed else np.sort(levels)
        values, counts = np.unique(found[name].round(9), return_counts=True)
        assert values == pytest.approx(expected.round(9), abs=1e-8)
        if is_signed:
            counts = counts.astype(float)
            counts[len(counts) // 2] /= 2  # level 0 has no sign
        assert stats.chisquare(counts * (len(counts) / counts.sum()) * 20).pvalue > 1e-4


def test_trivial_augment_happens_as_often_as_asked():
    drawn = drawn_by("trivial_augment", probability=0.4)
    assert abs((drawn["operation"] > 0).mean() - 0.4 * 13 / 14) < 0.01


# Cubuk et al. 2019, table 6: the largest strengths, which are magnitude 10.
AUTOAUGMENT = {
    "rotate": 30,
    "shear-x": 0.3,
    "shear-y": 0.3,
    "translate-x": 150 / 331,
    "translate-y": 150 / 331,
}


@pytest.mark.parametrize("magnitude", [0, 9, 10, 30])
def test_rand_augment_draws_n_of_14_operations_at_its_magnitude(magnitude: float):
    drawn = drawn_by("rand_augment", 9000, num_operations=3, magnitude=magnitude)
    assert drawn["operation"].shape == (9000, 3)
    found = values_by_operation(rand_augment.TABLE, drawn)
    assert len(found) == 14
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 1e-4
    share = magnitude / 10
    for name, largest in AUTOAUGMENT.items():
        assert np.abs(found[name]) == pytest.approx(share * largest)
        assert magnitude == 0 or abs((found[name] < 0).mean() - 0.5) < 0.06
    for name in ("colour", "contrast", "brightness", "sharpness"):
        assert set(found[name].round(9)) == {round(1 + 0.9 * share, 9), round(max(0, 1 - 0.9 * share), 9)}
    assert set(found["posterize"].round(9)) == {round(8 - 4 * share, 9)}
    assert set(found["solarize"].round(9)) == {round(256 - 256 * share, 9)}
    first, second = drawn["operation"][:, 0], drawn["operation"][:, 1]
    assert stats.chi2_contingency(np.histogram2d(first, second, bins=14)[0]).pvalue > 1e-4  # independent


def test_rand_augment_at_magnitude_zero_changes_nothing_but_histograms():
    config = AugmentConfig(rand_augment={"num_operations": 1, "magnitude": 0})
    augmenter = Augmenter(config, SCENE.preprocessing, 0)
    rough_HWC = np.random.default_rng(0).integers(30, 220, (32, 48, 3), dtype=np.uint8)
    plan = augmenter.plan(0, np.arange(60))
    out_HWC = np.empty_like(rough_HWC)
    for row in range(60):
        augmenter.render(augmenter.read(rough_HWC, "x", plan, row), plan, row, out_HWC)
        name = rand_augment.TABLE[plan.drawn["rand_augment"]["operation"][row, 0]].operation
        assert np.array_equal(out_HWC, rough_HWC) or name in ("autocontrast", "equalize")


def test_augmix_weighs_chains_by_dirichlet_and_the_image_by_beta():
    drawn = drawn_by("augmix", 20_000, severity=3, alpha=2)
    assert drawn["chain_weight"].sum(axis=1) == pytest.approx(np.ones(20_000))
    for chain in range(3):  # a component of Dirichlet(2, 2, 2) is Beta(2, 4)
        assert stats.kstest(drawn["chain_weight"][:, chain], stats.beta(2, 4).cdf).pvalue > 1e-4
    assert stats.kstest(drawn["own_weight"], stats.beta(2, 2).cdf).pvalue > 1e-4
    depth_BW = (drawn["operation"] >= 0).sum(axis=2)
    counts = Counter(depth_BW.ravel().tolist())
    assert sorted(counts) == [1, 2, 3]
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4
    assert np.array_equal(drawn["operation"] >= 0, np.arange(3) < depth_BW[:, :, None])  # a chain has no gap


@pytest.mark.parametrize("severity", [0.05, 3, 10])
def test_augmix_draws_levels_up_to_its_severity(severity: float):
    drawn = drawn_by("augmix", 20_000, severity=severity)
    found = values_by_operation(augmix.TABLE, drawn)
    assert len(found) == 9
    low, high = min(0.1, severity) / 10, severity / 10
    # The public code: degrees of 30, shears of 0.3, a third of the side, 4 bits less, thresholds below 256.
    for name, largest in (("rotate", 30), ("shear-x", 0.3), ("translate-y", 1 / 3)):
        level_N = np.abs(found[name]) / largest
        assert level_N.min() >= low - 1e-9
        assert level_N.max() <= high + 1e-9
        if severity > 0.1:
            assert stats.kstest(level_N, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    assert (4 - found["posterize"]).max() <= 4 * high + 1e-9
    assert (256 - found["solarize"]).max() <= 256 * high + 1e-9


def test_the_geometry_of_a_policy_joins_the_one_resample(monkeypatch: pytest.MonkeyPatch):
    calls = []
    resample = geometry.resample
    monkeypatch.setattr(geometry, "resample", lambda *arguments: calls.append(1) or resample(*arguments))
    photo_HWC = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for policy in ("trivial-wide", "rand-augment"):
        augmenter = Augmenter(get_policy(policy).config, SCENE.preprocessing, 0)
        plan = augmenter.plan(0, np.arange(50))
        out_HWC = np.empty((32, 48, 3), np.uint8)
        calls.clear()
        for row in range(50):
            augmenter.render(augmenter.read(photo_HWC, "x", plan, row), plan, row, out_HWC)
        assert len(calls) == 50


def test_two_rotations_of_one_image_add_up_in_one_resample():
    entry = AUGMENTATIONS.get("rand_augment")
    assert isinstance(entry, Choosing)
    place = [choice.operation for choice in rand_augment.TABLE].index("rotate")
    augmenter = Augmenter(AugmentConfig(rand_augment={"num_operations": 2}), SCENE.preprocessing, 0)
    plan = augmenter.plan(0, np.arange(4000))
    operation_BN, value_BN = plan.drawn["rand_augment"]["operation"], plan.drawn["rand_augment"]["value"]
    rows = np.flatnonzero((operation_BN == place).all(axis=1))
    assert len(rows) > 5
    for row in rows:
        angle = math.radians(value_BN[row].sum())
        expected = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        assert plan.geometry_B33[row, :2, :2] == pytest.approx(np.array(expected))


@pytest.mark.parametrize("policy", ["trivial-wide", "rand-augment", "augmix"])
def test_a_run_that_resumes_or_has_other_batches_draws_the_same(policy: str):
    index_B = np.array([3, 77, 12, 900])
    augmenter = Augmenter(get_policy(policy).config, SCENE.preprocessing, 7)
    whole = augmenter.plan(5, index_B)
    again = Augmenter(get_policy(policy).config, SCENE.preprocessing, 7)
    again.plan(4, np.arange(100))
    for row in range(4):
        alone = again.plan(5, index_B[[row]])
        assert np.array_equal(alone.geometry_B33[0], whole.geometry_B33[row])
        for name, values in alone.drawn.items():
            assert all(np.array_equal(value[0], whole.drawn[name][key][row]) for key, value in values.items())


def test_the_words_name_the_operations_in_their_order():
    drawn = {"operation": np.array([[3, 6]]), "value": np.array([[-27.0, 4.4]])}
    assert rand_augment.words(drawn, 0) == "rotate -27°, posterize to 5 bits"
    drawn = {
        "own_weight": np.array([0.5]),
        "chain_weight": np.array([[0.5, 0.3, 0.2]]),
        "operation": np.array([[[0, -1, -1], [3, 1, -1], [8, -1, -1]]]),
        "value": np.array([[[0.0, 0, 0], [9.0, 0, 0], [-0.1, 0, 0]]]),
    }
    assert augmix.words(drawn, 0) == "50 % own, 25 % autocontrast, 15 % rotate 9°, equalize, 10 % translate-y -10 %"
