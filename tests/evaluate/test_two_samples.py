"""Two samples: distances held to scipy's, p-values to a uniform distribution and to a count by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from saccade.evaluate.two_samples import compare_samples, main_directions


@pytest.mark.parametrize("seed", range(6))
def test_distances_are_those_of_scipy_with_and_without_ties(seed: int):
    draw = np.random.default_rng(seed)
    first_ND, second_MD = draw.normal(size=(37, 4)), draw.normal(0.3, 1, size=(23, 4))
    if seed % 2:
        first_ND, second_MD = first_ND.round(0), second_MD.round(0)
    found = compare_samples(first_ND, second_MD, 19)
    expected = [stats.ks_2samp(first_ND[:, d], second_MD[:, d]).statistic for d in range(4)]
    np.testing.assert_allclose(found.distance_D, expected, atol=1e-12)


def test_the_p_value_of_few_images_is_that_of_all_arrangements():
    """With 4 against 3, all 35 arrangements can be counted; 20,000 drawn ones come near."""
    first_ND, second_MD = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([[3.0], [4.0], [6.0]])
    both = np.concatenate([first_ND, second_MD])[:, 0]
    own = stats.ks_2samp(first_ND[:, 0], second_MD[:, 0]).statistic
    arranged = [
        stats.ks_2samp(both[list(chosen)], np.delete(both, chosen)).statistic
        for chosen in itertools.combinations(range(7), 4)
    ]
    exact = np.mean(np.array(arranged) >= own - 1e-12)
    assert compare_samples(first_ND, second_MD, 20_000).p_value == pytest.approx(exact, abs=0.01)


def test_equal_samples_give_uniform_p_values():
    """400 pairs of random halves of one set, 12 dimensions that depend on each other: 5 % alarms, 10 % below 0.1."""
    draw = np.random.default_rng(0)
    base_ND = draw.normal(size=(300, 4)) @ draw.normal(size=(4, 12)) + 0.3 * draw.normal(size=(300, 12))
    p_values = []
    for seed in range(400):
        order = np.random.default_rng(seed).permutation(300)[:120]
        own, new = main_directions(base_ND[order[:70]], base_ND[order[70:]], 8)
        p_values.append(compare_samples(own, new, 99, seed).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.025 <= np.mean(np.array(p_values) <= 0.05) <= 0.085  # 95 % of such counts lie within 0.03 to 0.0725


def test_more_features_than_images_raise_no_false_alarm():
    """Directions of one side alone would fit it better than the other: with them most of these would be alarms."""
    alarms = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        own, new = main_directions(draw.normal(size=(40, 200)), draw.normal(size=(40, 200)), 16)
        alarms += compare_samples(own, new, 99, seed).p_value <= 0.05
    assert alarms <= 8


def test_directions_keep_what_matters_whichever_side_is_longer():
    draw = np.random.default_rng(1)
    for shape in ((30, 100), (100, 30)):
        both = draw.normal(size=shape)
        own, new = main_directions(both[:12], both[12:], 5)
        scaled = (both - both.mean(0)) / both.std(0)
        singular = np.linalg.svd(scaled, compute_uv=False)[:5]
        np.testing.assert_allclose(np.linalg.norm(np.concatenate([own, new]), axis=0), singular, rtol=1e-9)


def test_features_that_are_all_equal_show_no_difference():
    own, new = main_directions(np.ones((20, 3)), np.ones((30, 3)), 8)
    assert own.shape == (20, 0)
    found = compare_samples(np.ones((20, 2)), np.ones((30, 2)), 99)
    assert (found.p_value, found.distance_D.tolist(), found.critical) == (1.0, [0.0, 0.0], 0.0)


def test_a_shift_of_one_dimension_is_found_and_named():
    draw = np.random.default_rng(3)
    first_ND, second_MD = draw.normal(size=(80, 20)), draw.normal(size=(80, 20))
    second_MD[:, 7] += 1.2
    found = compare_samples(first_ND, second_MD)
    assert found.p_value == pytest.approx(0.001)
    assert found.distance_D.argmax() == 7
    assert (np.delete(found.p_D, 7) > 0.05).all()
    assert 0.15 < found.critical < 0.35
