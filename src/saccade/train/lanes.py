"""Lanes: the fixed parts of every batch, and the one tree along which what they give is added up.

A lane, not a process, is what is computed at a time: its images, its seed, its batch statistics. So the bits of a step
do not depend on who computes which lane, as long as sums are taken in one order. That order is a binary tree over the
lanes: nested halves, the left one the largest power of two that leaves something to the right.

Numbers alone; no torch. How a batch is cut into lanes is `lane_share` of the loader.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

FEWEST_SHARED = 8  # lanes of a run that begins on several processes: so many may go on with it later

Value = TypeVar("Value")


def usual_lanes(world_size: int, batch_size: int) -> int:
    """The lanes of a run that begins on so many processes and was asked for no number: 1 for one, else a power of two,
    8 at least, with a lane for each process; fewer where a batch would not have two images for each lane."""
    if world_size == 1:
        return 1
    lanes = max(FEWEST_SHARED, 1 << (world_size - 1).bit_length())
    while 2 * lanes > batch_size and lanes // 2 >= world_size:
        lanes //= 2
    return lanes


def lanes_of(rank: int, world_size: int, num_lanes: int) -> range:
    """The lanes that process `rank` computes, neighbours all of them."""
    return range(rank * num_lanes // world_size, (rank + 1) * num_lanes // world_size)


def halves(node: range) -> tuple[range, range]:
    """The two subtrees of a subtree of two lanes or more."""
    left = 1 << ((len(node) - 1).bit_length() - 1)
    return node[:left], node[left:]


def subtrees(lanes: range, num_lanes: int) -> tuple[range, ...]:
    """The largest subtrees that hold none but `lanes`, in order: what a process can add up by itself."""
    return _inside(range(num_lanes), lanes)


def _inside(node: range, lanes: range) -> tuple[range, ...]:
    if node.stop <= lanes.start or node.start >= lanes.stop:
        return ()
    if lanes.start <= node.start and node.stop <= lanes.stop:
        return (node,)
    left, right = halves(node)
    return _inside(left, lanes) + _inside(right, lanes)


def folded(parts: Mapping[range, Value], node: range, add: Callable[[Value, Value], Value]) -> Value:
    """The sum over the lanes of `node`, from the sums of subtrees that cover it. Raises ValueError where a lane has
    none."""
    if node in parts:
        return parts[node]
    if len(node) < 2:
        raise ValueError(f"lane {node.start} has no value")
    left, right = halves(node)
    return add(folded(parts, left, add), folded(parts, right, add))


class TreeSum(Generic[Value]):
    """Adds up what lanes give, one after the other in their order: two halves as soon as both are there.

    `parts` are the sums so far by subtree; of the lanes of a process in the end its largest subtrees, so that never
    more than log2 of them, and one, are kept.
    """

    def __init__(self, num_lanes: int, add: Callable[[Value, Value], Value]) -> None:
        self.parts: dict[range, Value] = {}
        self._add = add
        self._above = _parents(range(num_lanes))

    def take(self, lane: int, value: Value) -> None:
        """Add what `lane` gives."""
        node = range(lane, lane + 1)
        while node in self._above:
            parent, sibling = self._above[node]
            if sibling not in self.parts:
                break
            other = self.parts.pop(sibling)
            value = self._add(other, value) if sibling.start < node.start else self._add(value, other)
            node = parent
        self.parts[node] = value


def _parents(node: range) -> dict[range, tuple[range, range]]:
    """The subtree above each one below `node`, and the other half of it."""
    if len(node) < 2:
        return {}
    left, right = halves(node)
    return {left: (node, right), right: (node, left)} | _parents(left) | _parents(right)


def chunks(length: int, world_size: int) -> tuple[range, ...]:
    """The part of a vector of `length` that each process adds up for all, by rank."""
    return tuple(range(rank * length // world_size, (rank + 1) * length // world_size) for rank in range(world_size))
