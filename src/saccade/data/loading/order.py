"""The order of an epoch: every image once, or every class equally often. A pure function of (seed, epoch).

Where shards do not all fit on this machine, `blocks` is the order that needs few of them at a time.

Of more than ten million images no order is kept: what stands at some places is computed when they are asked for.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..random_numbers import keyed_permutation, permutation, random_words

LARGEST_SORTED = 10_000_000  # images whose order is made by sorting: 16 bytes each while an epoch runs
BLOCK = 65_536  # places of a larger one that are computed at once and kept: 1 MB
BLOCK_SHARDS = 10
_HALF = np.uint64(32)
_NUM_DRAWS = 2**32  # sample indices of `draws` are below it


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which image stands at each of the N places of an epoch: `position_N` int64, counted within the set.

    `showing_N` int64 tells the showings of one image in the epoch apart, so that each is augmented in its own way.
    """

    position_N: np.ndarray
    showing_N: np.ndarray

    def part(self, places: slice) -> "Order":
        """Some of the places."""
        return Order(position_N=self.position_N[places], showing_N=self.showing_N[places])

    def draw_index(self, index_N: np.ndarray, num_indices: int) -> np.ndarray:
        """The sample index that is drawn by, int64: an image's own `index_N` (below `num_indices`) at showing 0."""
        return (index_N + self.showing_N * num_indices) % _NUM_DRAWS


class EpochOrder(Protocol):
    """What gives any places of an epoch: an `Order`, or what computes it."""

    def part(self, places: slice) -> Order:
        """Some of the places."""


@dataclass(frozen=True, kw_only=True)
class InOrder:
    """0 to num - 1."""

    num: int

    def part(self, places: slice) -> Order:
        """Some of the places."""
        return _once(np.arange(*places.indices(self.num)))


@dataclass(kw_only=True)
class KeyedOrder:
    """Every image once, in the random order of `keyed_permutation`; the block of places that was asked for last is
    kept."""

    num: int
    seed: int
    epoch: int
    _start: int = field(default=0, init=False)
    _block_B: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), init=False)

    def part(self, places: slice) -> Order:
        """Some of the places."""
        start, stop, _ = places.indices(self.num)
        if not self._start <= start <= stop <= self._start + len(self._block_B):
            place_B = np.arange(start, min(self.num, max(stop, start + BLOCK)))
            self._start, self._block_B = start, keyed_permutation(self.seed, self.epoch, self.num, place_B)
        return _once(self._block_B[start - self._start : stop - self._start])


def in_order(num: int) -> EpochOrder:
    """0 to num - 1."""
    return InOrder(num=num)


def shuffled(num: int, seed: int, epoch: int) -> EpochOrder:
    """Every image once, in random order."""
    if num > LARGEST_SORTED:
        return KeyedOrder(num=num, seed=seed, epoch=epoch)
    return _once(permutation(seed, epoch, num))


def balanced(label_N: np.ndarray, seed: int, epoch: int) -> Order:
    """As many places as images, dealt evenly to the K classes that have images, in random order.

    Place p of the whole run, epochs one behind the other, is of class p modulo K, and is its place j = p // K. A class
    of n images goes through all of them, in an order of its own, in every n of its places: none comes again before all
    have been shown.
    """
    num, classes = len(label_N), np.unique(label_N)
    position_N, showing_N = np.empty(num, np.int64), np.empty(num, np.int64)
    first = epoch * num
    for number, label in enumerate(classes.tolist()):
        places = np.arange((number - first) % len(classes), num, len(classes))
        own_M = np.flatnonzero(label_N == label)
        place_P = (first + places) // len(classes)
        if len(places):
            round_P = place_P // len(own_M)
            order_RM = _orders(len(own_M), int(round_P[0]), int(round_P[-1]), f"balanced {label}", seed)
            position_N[places] = own_M[order_RM[round_P - round_P[0], place_P % len(own_M)]]
            showing_N[places] = round_P - round_P[0]
    order_N = permutation(seed, epoch, num)
    return Order(position_N=position_N[order_N], showing_N=showing_N[order_N])


def blocks(shard_N: np.ndarray, seed: int, epoch: int, size_BV: np.ndarray) -> Order:
    """Every image once, so that only some shards are open at a time: `shard_N` says in which each of them lies.

    Shards in random order, their images laid end to end, are cut into V runs, one a lane. Inside a run images are
    permuted in blocks of 10 shards (the last of a run: 10 to 19, or all that there are). Lane v takes the next
    `size_BV[b, v]` images of its run in batch b: so lanes are as large as is asked for, whatever the shards are.
    """
    num, num_lanes = len(shard_N), size_BV.shape[1]
    _, shard_N = np.unique(shard_N, return_inverse=True)
    rank_S = np.argsort(permutation(seed, epoch, int(shard_N.max(initial=-1)) + 1))
    line_N = np.argsort(rank_S[shard_N], kind="stable")
    lane_N = np.repeat(np.arange(num_lanes), size_BV.sum(axis=0))
    block_N = _blocks_of_runs(rank_S[shard_N][line_N], lane_N)
    word_N2 = random_words(seed, epoch, "blocks", np.arange(num), 2)
    key_N = ((word_N2[:, 0] << _HALF) | word_N2[:, 1])[line_N]
    run_N = line_N[np.lexsort((key_N, block_N))]
    size_P = size_BV.ravel()  # the parts of all batches, one behind the other
    start_V = np.cumsum(size_BV.sum(axis=0)) - size_BV.sum(axis=0)
    taken_P = (start_V + np.cumsum(size_BV, axis=0) - size_BV).ravel()
    place_N = np.arange(num) + np.repeat(taken_P - (np.cumsum(size_P) - size_P), size_P)
    return _once(run_N[place_N])


def _blocks_of_runs(rank_N: np.ndarray, lane_N: np.ndarray) -> np.ndarray:
    """The block of each image on the line, int64 (N,), rising: 10 shards of one lane, and what is left over."""
    block_N = np.zeros(len(rank_N), np.int64)
    first = 0
    for lane in np.unique(lane_N):
        own_M = np.flatnonzero(lane_N == lane)
        shard_M = np.cumsum(np.diff(rank_N[own_M], prepend=rank_N[own_M[0]]) != 0)
        num_blocks = max(1, (int(shard_M[-1]) + 1) // BLOCK_SHARDS)
        block_N[own_M] = first + np.minimum(shard_M // BLOCK_SHARDS, num_blocks - 1)
        first += num_blocks
    return block_N


def _once(position_N: np.ndarray) -> Order:
    return Order(position_N=position_N, showing_N=np.zeros(len(position_N), np.int64))


def _orders(num: int, first_round: int, last_round: int, stream: str, seed: int) -> np.ndarray:
    """A random order of 0 to num - 1 for each round, int64 (R, num)."""
    index_N = np.arange(first_round * num, (last_round + 1) * num) % _NUM_DRAWS
    word_N2 = random_words(seed, 0, stream, index_N, 2)
    key_RM = ((word_N2[:, 0] << _HALF) | word_N2[:, 1]).reshape(-1, num)
    return np.argsort(key_RM, axis=1, kind="stable")
