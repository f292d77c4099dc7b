"""What goes wrong in one process of a run is known in all of them within the step, and nobody has taken it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.group import run_group

CHILD = Path(__file__).with_name("lane_errors_child.py")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of three processes of one group has seen."""
    return [json.loads(text) for text in run_group([CHILD], 3, tmp_path_factory.mktemp("group"))]


def test_what_fails_in_one_process_is_said_by_all_with_its_number(heard: list[dict[str, Any]]):
    host = heard[0]["error"][1].partition("(")[2].partition(")")[0]
    told = ["GroupError", f"process 1 ({host}): ZeroDivisionError: no\\nreason"]
    assert [own["error"] for own in heard] == [told, ["ZeroDivisionError", "no\nreason"], told]
    memory = (
        "Memory ran out in a step of 2 to 3 images of 8x8 pixels at a time: DefaultCPUAllocator: can't allocate "
        "memory.\nWhat was saved is intact. Free memory and run again with --resume, or start a new run with a smaller "
        "network or --set input.size_px=32."
    )
    told = ["GroupError", f"process 2 ({host}): {memory}"]
    assert [own["no memory at all"] for own in heard] == [told, told, ["TrainingError", memory]]
    read = "'a.png' is cut off.\nRepair it."
    told = ["GroupError", f"process 2 ({host}): {read}"]
    assert [own["reading"] for own in heard] == [told, told, ["DataError", read]]
    assert all(own["untouched"] for own in heard)


def test_signals_and_memory_that_runs_out_are_known_to_all(heard: list[dict[str, Any]]):
    assert [own["signals"] for own in heard] == [[["done", True], [143, 1]]] * 3  # the largest of each, everywhere
    assert [own["memory"] for own in heard] == [[["done", True], 12, [0, 0]]] * 3  # six lanes in two parts, everywhere


def test_the_fastest_order_adds_up_the_same_numbers(heard: list[dict[str, Any]]):
    assert all(own["exact"] == heard[0]["exact"] and own["fast"] == heard[0]["fast"] for own in heard)
    assert heard[0]["fast"] == pytest.approx(heard[0]["exact"], rel=1e-4, abs=1e-6)
