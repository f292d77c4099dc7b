"""Of several machines each adds up what its processes give before it sends anything to the others."""

import json
from pathlib import Path

from tests.group import run_group

CHILD = Path(__file__).with_name("machines_child.py")
STRETCHES = (400, 801)


def chunk(length: int, place: int, num: int) -> int:
    return (place + 1) * length // num - place * length // num


def sent_to_others(length: int, place: int, num: int) -> int:
    """Their parts of the one sum that a process has, and to each of them the part that was added up here."""
    return length - chunk(length, place, num) + (num - 1) * chunk(length, place, num)


def test_two_machines_of_two_processes_send_each_sum_once_and_keep_the_bits(tmp_path: Path):
    heard = [json.loads(text) for text in run_group([CHILD], 4, tmp_path, {"LOCAL_WORLD_SIZE": "2"})]
    assert all(own["machines"] for own in heard)
    for rank, own in enumerate(heard):
        assert all(case["equal"] for how in ("levels", "flat") for case in own[how].values())
        machine, place = divmod(rank, 2)
        within = sum(sent_to_others(length, place, 2) for length in STRETCHES)
        between = sum(sent_to_others(chunk(length, place, 2), machine, 2) for length in STRETCHES)
        flat = sum(sent_to_others(length, rank, 4) for length in STRETCHES)
        for num_lanes in ("4", "8"):  # five and thirteen make several subtrees of a process, or of a machine
            assert own["levels"][num_lanes]["sent"] == [within, between]
            assert own["flat"][num_lanes]["sent"] == [flat]
