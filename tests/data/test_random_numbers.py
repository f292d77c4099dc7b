"""The random numbers: published test vectors, independence of order and number, uniformity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from saccade.data.random_numbers import keyed_permutation, permutation, philox_words, random_words, uniform

# Random123 1.14.0, examples/kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: list[int], key: tuple[int, int], expected: list[int]):
    words = philox_words(tuple(np.array([word], np.uint64) for word in counter), key)
    assert words[:, 0].tolist() == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=9))
def test_a_sample_draws_the_same_whatever_else_is_drawn(seed: int, epoch: int, others: list[int]):
    alone = uniform(seed, epoch, "mirror", np.array([77]), 3)
    together = uniform(seed, epoch, "mirror", np.array([*others, 77]), 7)
    assert (together[-1, :3] == alone[0]).all()
    assert ((together > 0) & (together < 1)).all()


def test_no_two_equal_draws_over_samples_epochs_streams_and_seeds():
    blocks = [
        tuple(row)
        for seed in (0, 1, 2**32)
        for epoch in range(8)
        for stream in ("mirror", "shift")
        for row in random_words(seed, epoch, stream, np.arange(500), 4).tolist()
    ]
    assert len(set(blocks)) == len(blocks) == 3 * 8 * 2 * 500


def test_draws_are_uniform_and_uncorrelated():
    drawn = uniform(3, 1, "mirror", np.arange(100_000), 2)
    counts = np.histogram(drawn[:, 0], bins=100, range=(0, 1))[0]
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 52 < chi_square < 165  # 99 degrees of freedom: outside with probability 1e-4
    neighbours = [(drawn[:, 0], drawn[:, 1]), (drawn[1:, 0], drawn[:-1, 0])]
    later = uniform(3, 2, "mirror", np.arange(100_000), 1)[:, 0]
    for left, right in [*neighbours, (drawn[:, 0], later)]:
        assert abs(np.corrcoef(left, right)[0, 1]) < 4 / np.sqrt(100_000)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**63), st.integers(0, 1000), st.integers(0, 300))
def test_a_permutation_holds_every_sample_once(seed: int, epoch: int, num: int):
    assert sorted(permutation(seed, epoch, num).tolist()) == list(range(num))


def test_permutations_differ_between_epochs_and_every_order_is_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(6000):
        order = tuple(permutation(9, epoch, 3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 4 * np.sqrt(6000 * 5 / 36)


@pytest.mark.parametrize("seed", [0, 2**40 + 7])
def test_a_keyed_permutation_holds_every_sample_once(seed: int):
    for num in [*range(1, 200), 255, 256, 257, 1023, 4095, 65_537, 100_003]:
        found_N = keyed_permutation(seed, 3, num, np.arange(num))
        assert found_N.dtype == np.int64
        np.testing.assert_array_equal(np.sort(found_N), np.arange(num), err_msg=str(num))


def test_a_place_of_a_keyed_permutation_does_not_depend_on_what_else_is_asked_for():
    num = 10**12 + 39  # nobody could keep it
    place_B = np.array([0, 1, num // 2, num - 1])
    found_B = keyed_permutation(5, 1, num, place_B)
    assert len(set(found_B.tolist())) == 4
    assert ((found_B >= 0) & (found_B < num)).all()
    for place, found in zip(place_B, found_B, strict=True):
        assert keyed_permutation(5, 1, num, np.array([place])).tolist() == [found]
    assert (found_B != keyed_permutation(5, 2, num, place_B)).all()
    assert (found_B != keyed_permutation(6, 1, num, place_B)).all()


def test_no_statistic_tells_keyed_permutations_from_uniform_ones():
    """Against what is known of uniform ones, within 4 standard deviations each."""
    num, count = 1009, 400
    order_CN = np.stack([keyed_permutation(seed, 0, num, np.arange(num)) for seed in range(count)])
    fixed_C = (order_CN == np.arange(num)).sum(axis=1)  # Poisson: mean 1, variance 1
    assert abs(fixed_C.mean() - 1) < 4 / np.sqrt(count)
    descents_C = (np.diff(order_CN, axis=1) < 0).sum(axis=1)  # mean (n - 1) / 2, variance (n + 1) / 12
    assert abs(descents_C.mean() - (num - 1) / 2) < 4 * np.sqrt((num + 1) / 12 / count)
    assert 0.7 < descents_C.var() / ((num + 1) / 12) < 1.4
    next_C = (np.diff(order_CN, axis=1) == 1).sum(axis=1)  # neighbours that stay neighbours: Poisson, mean 1
    assert abs(next_C.mean() - 1) < 4 / np.sqrt(count)
    inversions_C = np.array([kendalltau(np.arange(num), order_N).statistic for order_N in order_CN[:100]])
    deviation = np.sqrt(2 * (2 * num + 5) / (9 * num * (num - 1)))
    assert abs(inversions_C.mean()) < 4 * deviation / 10
    assert 0.6 < inversions_C.std() / deviation < 1.5
    # Which tenth of the images stands in which tenth of the places, over all orders: chi-square, 81 degrees of freedom
    count_1010 = np.zeros((10, 10))
    np.add.at(count_1010, (np.broadcast_to(np.arange(num) * 10 // num, order_CN.shape), order_CN * 10 // num), 1)
    expected_1010 = np.outer(count_1010.sum(axis=1), count_1010.sum(axis=0)) / count_1010.sum()
    assert ((count_1010 - expected_1010) ** 2 / expected_1010).sum() < 81 + 4 * np.sqrt(2 * 81)
    # The rows of the grid inside: images of one row are spread over the places as all others are
    width = -(-num // (int(np.sqrt(num - 1)) + 1))
    place_CN = np.argsort(order_CN, axis=1)
    gap_CR = np.abs(np.diff(place_CN[:, : width * (num // width)].reshape(count, -1, width), axis=2)).mean(axis=(1, 2))
    assert abs(gap_CR.mean() - (num + 1) / 3) < 4 * gap_CR.std() / np.sqrt(count)
