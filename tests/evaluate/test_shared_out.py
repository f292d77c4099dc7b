"""Several processes judge each image once, and say of it, and of all, the same to the last bit."""

import json
from pathlib import Path
from typing import Any

from tests.group import run_group

CHILD = Path(__file__).with_name("shared_child.py")


def test_one_two_and_three_processes_judge_alike_and_each_image_once(tmp_path: Path):
    alone, two, three = (
        [json.loads(text) for text in run_group([CHILD, number - 1], number, tmp_path)] for number in (1, 2, 3)
    )
    for number in ("1", "2", "7", "101"):
        expected = without_own(alone[0][number])
        assert expected["index"] == [3 * place for place in range(int(number))]
        for group in (alone, two, three):
            assert [without_own(said[number]) for said in group] == [expected] * len(group)
            assert sum(said[number]["own"] for said in group) == int(number)
    assert [said["101"]["own"] for said in three] == [32, 32, 37]  # of 13 batches of 8, the last of 5: whole ones


def test_who_is_stopped_while_judging_stops_all(tmp_path: Path):
    """Nobody waits for a process that has given up, and all of them save and end as it does."""
    assert [json.loads(text)["stopped"] for text in run_group([CHILD, 1], 2, tmp_path)] == [["Stopped", 143, ""]] * 2


def without_own(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name != "own"}
