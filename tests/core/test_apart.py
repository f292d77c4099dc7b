"""Each process works by itself for as long as it takes: nobody waits in vain, and what ends one ends all."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.group import run_group, start_group

from saccade.core.apart import apart, first_apart, one_of_each_machine
from saccade.core.ranks import ALONE

CHILD = Path(__file__).with_name("apart_child.py")
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")


def said(scene: str, folder: Path, world_size: int = 2) -> list[object]:
    return [json.loads(text) for text in run_group([CHILD, scene], world_size, folder)]


def test_work_may_take_longer_than_a_call_of_the_group(tmp_path: Path):
    assert said("long", tmp_path) == [0, 1]


def test_what_the_first_makes_all_have(tmp_path: Path):
    assert said("first alone", tmp_path, 3) == ["made by 0"] * 3


def test_one_process_of_a_machine_goes_ahead(tmp_path: Path):
    first, *others = said("machine", tmp_path, 3)
    assert all(first < other for other in others)  # type: ignore[operator]


@pytest.mark.parametrize("scene", ["error", "no check"])
def test_an_error_of_one_is_one_of_all(tmp_path: Path, scene: str):
    cause = ["GroupError", 1, True, "process 1 (HOST): a.png: cut off"]
    assert said(scene, tmp_path, 3) == [cause, ["DataError", 1, True, "a.png: cut off"], cause]


def test_a_bug_of_one_ends_all_and_is_told(tmp_path: Path):
    text = "process 1 (HOST): ZeroDivisionError: division by zero"
    assert said("bug", tmp_path) == [["GroupError", 1, True, text], "a bug of its own"]


def test_who_waits_and_is_stopped_stops_who_works(tmp_path: Path):
    assert said("stopped", tmp_path) == [["Stopped", 143, True, ""]] * 2


@pytest.mark.parametrize("scene", ["killed", "halted"])
def test_a_process_that_does_not_answer_ends_the_work(tmp_path: Path, scene: str):
    programs = start_group([CHILD, scene], 2, tmp_path)
    first = json.loads(programs[0].communicate().stdout)
    if scene == "halted":
        os.kill(programs[1].pid, signal.SIGKILL)
    assert programs[1].communicate().returncode == -signal.SIGKILL
    assert first[:3] == ["NoAnswerError", 1, False]
    assert first[3].startswith("process 0 (HOST): another process of the run does not answer: ")


def test_alone_nothing_is_waited_for():
    asked: list[int] = []
    assert apart(ALONE, lambda check: check() or 3, lambda: asked.append(1)) == 3
    assert first_apart(ALONE, lambda check: b"made") == b"made"
    assert one_of_each_machine(ALONE, lambda: "made") == "made"
    assert asked == [1]
