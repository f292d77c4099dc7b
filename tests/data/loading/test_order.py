"""Balanced sampling and blocks of shards, each a pure function of (seed, epoch, place)."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.data.loading.test_loader import ArraySource, make, snapshot

from saccade.core.types import Record
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.loading import order
from saccade.data.loading.loader import batch_bounds, lane_share
from saccade.data.loading.order import balanced, blocks, in_order, shuffled
from saccade.data.random_numbers import keyed_permutation, permutation

LABEL_N = np.repeat([0, 2, 5], [50, 9, 1])  # 60 images: 20 places an epoch for each class


class Uneven(ArraySource):
    """40 images of one class, 5 of another, none of the third."""

    def record(self, index: int) -> Record:
        return Record(key=f"image-{index}.png", label=0 if index < 40 else 1)


def shown(epochs: int, label_N: np.ndarray = LABEL_N, seed: int = 3) -> np.ndarray:
    """The images at all places, epoch after epoch."""
    return np.concatenate([balanced(label_N, seed, epoch).position_N for epoch in range(epochs)])


def test_every_class_has_its_share_of_every_epoch():
    for epoch in range(5):
        order = balanced(LABEL_N, 3, epoch)
        assert np.bincount(LABEL_N[order.position_N]).tolist() == [20, 0, 20, 0, 0, 20]


def test_a_share_that_is_no_whole_number_is_made_up_over_the_epochs():
    """7 places, 3 classes: after any number of epochs the counts differ by one at most."""
    label_N = np.array([0, 0, 0, 0, 1, 1, 2])
    for epochs in range(1, 12):
        count_K = np.bincount(label_N[shown(epochs, label_N)])
        assert count_K.sum() == 7 * epochs
        assert count_K.max() - count_K.min() <= 1


def test_no_image_comes_again_before_all_of_its_class_have_come():
    """After 5 epochs of 20 places: two of each of 50, 11 or 12 of each of 9, 100 of the one."""
    for epochs, common, rare in ((1, {0, 1}, {2, 3}), (5, {2}, {11, 12}), (9, {3, 4}, {20})):
        count_N = np.bincount(shown(epochs), minlength=60)
        assert set(count_N[:50].tolist()) == common
        assert set(count_N[50:59].tolist()) == rare
        assert count_N[59] == 20 * epochs


def test_the_showings_of_an_image_in_an_epoch_are_told_apart():
    for epoch in range(4):
        order = balanced(LABEL_N, 3, epoch)
        drawn_N = order.draw_index(order.position_N, 60)
        assert len(np.unique(drawn_N)) == 60
        np.testing.assert_array_equal(drawn_N % 60, order.position_N)


def test_the_order_is_random_and_only_of_seed_and_epoch():
    order = balanced(LABEL_N, 3, 7)
    np.testing.assert_array_equal(balanced(LABEL_N, 3, 7).position_N, order.position_N)
    assert not np.array_equal(balanced(LABEL_N, 3, 8).position_N, order.position_N)
    assert not np.array_equal(balanced(LABEL_N, 4, 7).position_N, order.position_N)
    label_N = np.repeat([0, 1], [400, 20])
    half_E = [balanced(label_N, seed, 0).position_N[:210] for seed in range(300)]
    # Which half of an epoch a place of class 1 falls into is even; the mean of 300 halves of 210 of 420: sd 0.3.
    assert np.mean([label_N[half_N].sum() for half_N in half_E]) == pytest.approx(105, abs=1.5)
    seen_N = np.bincount(np.concatenate(half_E), minlength=420)[:400]  # each image: 300 halves of a quarter's chance
    chi_square = float(((seen_N - seen_N.mean()) ** 2 / (seen_N.mean() * 0.75)).sum())
    assert chi_square < 399 + 5 * np.sqrt(2 * 399)


def test_one_image_of_a_class_in_a_large_set_takes_no_time():
    order = balanced(np.repeat([0, 1], [200_000, 1]), 0, 3)
    assert (order.position_N == 200_000).sum() == 100_000 + (200_001 * 3 % 2 == 1)


def test_without_balance_every_image_comes_once():
    order = shuffled(60, 3, 2)
    assert np.sort(order.position_N).tolist() == list(range(60))
    assert not order.showing_N.any()


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_loader_balances_for_any_number_of_threads_and_lanes(lanes: int):
    source, augmentation = Uneven(45), AugmentConfig.parse({"crop": {"min_area": 0.3}, "mirror": {"probability": 0.5}})
    expected = None
    for threads in (1, 4):
        batches: list[list] = []
        for lane in range(lanes):
            with make(
                source,
                augmentation=augmentation,
                batch_size=9,
                sampling="balanced",
                threads=threads,
                lanes=lanes,
                first_lane=lane,
                last_lane=lane,
            ) as loader:
                batches.append(snapshot(loader.epoch(2)))
        index_N = [index for part in batches for batch in part for index in batch[0]]
        labels = [label for part in batches for batch in part for label in batch[2]]
        assert labels.count(0) in (22, 23)
        assert labels.count(1) in (22, 23)
        assert labels == [int(index >= 40) for index in index_N]
        assert expected in (None, batches)
        expected = batches


def test_an_image_that_is_shown_again_is_augmented_anew():
    augmentation = AugmentConfig.parse({"crop": {"min_area": 0.3}})
    with make(Uneven(45), augmentation=augmentation, batch_size=45, sampling="balanced") as loader:
        (batch,) = loader.epoch(0)
    pictures = {image.numpy().tobytes() for image, index in zip(batch.image_BCHW, batch.index_B) if index == 44}
    assert len(pictures) == (batch.index_B == 44).sum() >= 4


def test_evaluation_shows_every_image_once_and_in_order():
    with make(Uneven(45), batch_size=9, sampling="balanced") as loader:
        index_N = [index for batch in loader.epoch(0, shuffle=False) for index in batch.index_B.tolist()]
    assert index_N == list(range(45))


def test_a_large_set_is_shuffled_without_its_order(monkeypatch: pytest.MonkeyPatch):
    small = shuffled(1000, 7, 2).part(slice(0, 1000))
    np.testing.assert_array_equal(small.position_N, permutation(7, 2, 1000))  # as ever
    monkeypatch.setattr(order, "LARGEST_SORTED", 999)
    monkeypatch.setattr(order, "BLOCK", 96)
    large = shuffled(1000, 7, 2)
    expected_N = keyed_permutation(7, 2, 1000, np.arange(1000))
    for size in (64, 100, 1000):
        parts = [large.part(slice(start, min(start + size, 1000))) for start in range(0, 1000, size)]
        np.testing.assert_array_equal(np.concatenate([part.position_N for part in parts]), expected_N)
        assert not any(part.showing_N.any() for part in parts)
    np.testing.assert_array_equal(large.part(slice(500, 503)).position_N, expected_N[500:503])  # resumed in the middle


def test_places_of_a_billion_images_take_no_memory():
    tracemalloc.start()
    large, first = shuffled(10**9, 0, 0), in_order(10**9).part(slice(10**9 - 64, 10**9))
    part = large.part(slice(10**9 - 64, 10**9))
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert first.position_N[-1] == 10**9 - 1
    assert len(set(part.position_N.tolist())) == 64
    assert part.position_N.max() < 10**9


def lane_sizes(num: int, batch_size: int, lanes: int) -> np.ndarray:
    sizes = np.diff(batch_bounds(num, batch_size, lanes))
    return np.array([[stop - start for start, stop in (lane_share(n, v, lanes) for v in range(lanes))] for n in sizes])


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    lanes=st.integers(1, 8),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
)
def test_blocks_give_every_image_once_and_every_lane_its_share(counts: list[int], lanes: int, seed: int, epoch: int):
    shard_N = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    assume(len(shard_N) >= 2 * lanes)
    size_BV = lane_sizes(len(shard_N), max(2 * lanes, 16), lanes)
    order = blocks(shard_N, seed, epoch, size_BV)
    assert sorted(order.position_N.tolist()) == list(range(len(shard_N)))
    np.testing.assert_array_equal(blocks(shard_N, seed, epoch, size_BV).position_N, order.position_N)
    assert not order.showing_N.any()
    lane_N = np.repeat(np.tile(np.arange(lanes), len(size_BV)), size_BV.ravel())
    shards_of = [set(shard_N[order.position_N[lane_N == lane]].tolist()) for lane in range(lanes)]
    for one, other in itertools.combinations(range(lanes), 2):
        shared = shards_of[one] & shards_of[other]
        assert len(shared) <= 1  # neighbours cut one shard in two; a small run may lie within it


def test_a_lane_needs_at_most_twenty_shards_at_a_time():
    shard_N = np.repeat(np.arange(57), 40)
    order = blocks(shard_N, 3, 1, lane_sizes(len(shard_N), 64, 2))
    lane_N = np.repeat(np.tile([0, 1], len(lane_sizes(len(shard_N), 64, 2))), lane_sizes(len(shard_N), 64, 2).ravel())
    for lane in (0, 1):
        seen_N = shard_N[order.position_N[lane_N == lane]]
        first = {shard: int(np.flatnonzero(seen_N == shard)[0]) for shard in np.unique(seen_N)}
        last = {shard: int(np.flatnonzero(seen_N == shard)[-1]) for shard in np.unique(seen_N)}
        open_at = [sum(first[s] <= place <= last[s] for s in first) for place in range(len(seen_N))]
        assert 10 <= max(open_at) <= 20


def test_blocks_mix_what_lies_in_a_block_as_a_uniform_shuffle_would():
    """Of neighbours in an order, one in ten is of the same shard, as ten shards of equal size have it by chance."""
    shard_N = np.repeat(np.arange(100), 100)
    seen_N = shard_N[blocks(shard_N, 0, 0, lane_sizes(10_000, 50, 1)).position_N]
    assert np.mean(seen_N[1:] == seen_N[:-1]) == pytest.approx(99 / 999, abs=0.01)


def test_blocks_are_others_in_every_epoch_and_for_every_seed():
    shard_N, size_BV = np.repeat(np.arange(30), 10), lane_sizes(300, 50, 1)
    first = [tuple(blocks(shard_N, seed, epoch, size_BV).position_N.tolist()) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(first)) == 4
    starts = {shard_N[list(order[:100])].tobytes() for order in first}
    assert len(starts) == 4
