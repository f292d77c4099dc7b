"""Lanes and their tree: any number of processes covers every lane once, and adds up by one bracketing."""

from itertools import pairwise

import pytest

from saccade.train.lanes import TreeSum, chunks, folded, halves, lanes_of, subtrees, usual_lanes

MOST = 64


def bracketing(node: range) -> str:
    """How a tree over these lanes is added up, written down; apart from the code under test."""
    size = len(node)
    if size == 1:
        return str(node.start)
    left = max(2**power for power in range(7) if 2**power < size)
    return f"({bracketing(node[:left])}+{bracketing(node[left:])})"


def plus(left: str, right: str) -> str:
    return f"({left}+{right})"


@pytest.mark.parametrize("num_lanes", range(1, MOST + 1))
def test_any_number_of_processes_adds_up_by_the_same_bracketing(num_lanes: int):
    root = range(num_lanes)
    expected = bracketing(root)
    for world_size in range(1, num_lanes + 1):
        found: dict[range, str] = {}
        for rank in range(world_size):
            lanes = lanes_of(rank, world_size, num_lanes)
            tree = TreeSum[str](num_lanes, plus)
            for lane in lanes:
                tree.take(lane, str(lane))
                assert len(tree.parts) <= len(lanes).bit_length() + num_lanes.bit_length()
            assert tuple(tree.parts) == subtrees(lanes, num_lanes)
            assert [lane for node in tree.parts for lane in node] == list(lanes)  # disjoint and complete
            assert not found.keys() & tree.parts.keys()
            found |= tree.parts
        assert [lane for node in found for lane in node] == list(root)
        assert folded(found, root, plus) == expected


@pytest.mark.parametrize("num_lanes", [1, 2, 3, 8, 13, 64])
def test_lanes_are_shared_out_to_neighbours_as_evenly_as_they_can_be(num_lanes: int):
    for world_size in range(1, num_lanes + 1):
        shares = [lanes_of(rank, world_size, num_lanes) for rank in range(world_size)]
        assert (shares[0].start, shares[-1].stop) == (0, num_lanes)
        assert all(left.stop == right.start for left, right in pairwise(shares))
        sizes = {len(share) for share in shares}
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1


def test_the_left_half_is_the_largest_power_of_two():
    assert halves(range(8)) == (range(4), range(4, 8))
    assert halves(range(5)) == (range(4), range(4, 5))
    assert halves(range(3, 6)) == (range(3, 5), range(5, 6))
    assert halves(range(2)) == (range(1), range(1, 2))


def test_a_lane_without_a_value_is_an_error():
    with pytest.raises(ValueError, match="lane 2 has no value"):
        folded({range(2): "a", range(3, 4): "b"}, range(4), plus)


def test_every_element_of_a_vector_has_one_process_that_adds_it_up():
    for length in (0, 1, 2, 7, 1000):
        for world_size in (1, 2, 3, 8):
            spans = chunks(length, world_size)
            assert len(spans) == world_size
            assert [place for span in spans for place in span] == list(range(length))


def test_the_usual_number_of_lanes_leaves_room_for_more_processes():
    assert [usual_lanes(world_size, 128) for world_size in (1, 2, 3, 8, 9, 16, 17)] == [1, 8, 8, 8, 16, 16, 32]
    assert usual_lanes(2, 8) == 4  # a lane has two images at least
    assert usual_lanes(3, 8) == 4
    assert usual_lanes(2, 2) == 2  # which a batch of two cannot have: the configuration says so
    assert usual_lanes(1, 1) == 1
