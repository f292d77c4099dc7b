"""Iterative stratification: every label gets its share in every part, groups stay whole, nothing depends on chance."""

import numpy as np
import pytest

from saccade.data.stratify import iterative_stratification, stratified_parts


def labels(num: int, seed: int = 0) -> np.ndarray:
    """label_NK with frequent and rare labels, some together, and images without any."""
    generator = np.random.default_rng(seed)
    label_NK = (generator.random((num, 6)) < (0.5, 0.3, 0.1, 0.05, 0.02, 0.02)).astype(np.float64)
    label_NK[:, 5] = np.maximum(label_NK[:, 5], label_NK[:, 4] * (generator.random(num) < 0.5))
    return label_NK


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.2,) * 5])
def test_every_part_has_its_share_of_every_label_to_an_image_or_two(shares: tuple[float, ...]):
    label_NK = labels(1000)
    part_N = iterative_stratification(label_NK, np.ones(1000, np.int64), shares)
    for part, share in enumerate(shares):
        own_K = label_NK[part_N == part].sum(axis=0)
        assert np.abs(own_K - share * label_NK.sum(axis=0)).max() <= 2
        without = (label_NK.sum(axis=1) == 0) & (part_N == part)
        assert abs(without.sum() - share * (label_NK.sum(axis=1) == 0).sum()) <= 1
        assert abs((part_N == part).sum() - share * 1000) <= 10


def test_it_is_nearer_to_the_shares_than_chance_is():
    """The point of the paper's figure 2: rare labels, which chance leaves out of a part."""
    label_NK = labels(300, seed=3)
    part_N = iterative_stratification(label_NK, np.ones(300, np.int64), (0.8, 0.2))
    wanted_K = 0.2 * label_NK.sum(axis=0)
    own = np.abs(label_NK[part_N == 1].sum(axis=0) - wanted_K).sum()
    generator = np.random.default_rng(4)
    by_chance = [np.abs(label_NK[generator.random(300) < 0.2].sum(axis=0) - wanted_K).sum() for _ in range(50)]
    assert own < min(by_chance)


def test_the_keeper_has_an_image_of_every_label_while_one_is_left():
    count_GK = np.array([[1, 0], [0, 1], [0, 1], [0, 1]])
    for shares in ((0.01, 0.99), (0.5, 0.5)):
        part_G = iterative_stratification(count_GK, np.ones(4, np.int64), shares, keeper=0)
        assert (count_GK[part_G == 0].sum(axis=0) > 0).all()


def test_groups_stay_whole_and_ties_follow_the_order():
    label_NK, group_N = labels(200), np.arange(200) // 4
    order_N = np.random.default_rng(5).permutation(200)
    part_N = stratified_parts(label_NK, group_N, (0.5, 0.3, 0.2), order_N)
    assert all(len(set(part_N[group_N == group])) == 1 for group in range(50))
    assert np.array_equal(part_N, stratified_parts(label_NK, group_N, (0.5, 0.3, 0.2), order_N))
    other_N = stratified_parts(label_NK, group_N, (0.5, 0.3, 0.2), order_N[::-1])
    assert not np.array_equal(part_N, other_N)
