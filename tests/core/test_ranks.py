"""The processes of a run: what each tells the others arrives whole, and one that is gone ends the others' waiting."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from tests.group import run_group, start_group
from tests.processes import Program

from saccade.core.errors import DataError
from saccade.core.ranks import ALONE, Ranks, current_ranks, is_launched

CHILD = Path(__file__).with_name("ranks_child.py")


def test_three_processes_hear_the_same(tmp_path: Path):
    heard = [json.loads(text) for text in run_group([CHILD, "everything", 30], 3, tmp_path)]
    host = heard[0]["one failed"][2].partition("(")[2].partition(")")[0]
    for rank, own in enumerate(heard):
        assert own["who"] == [rank, 3, rank, 3, rank == 0, False]
        assert own["current"]
        assert own["launched"]
        assert own["gathered"] == ["", "x", "xx"]
        assert own["patiently"] == ["0", "1", "2"]
        assert own["nothing"] == ["", "", ""]
        assert own["told"] == ["by 0", ""]
        assert own["rows"] == [[0.5, 0], [1.5, -1], [2.5, -2]]
        assert own["added"] == [3.0, 3.0]
    assert [own["exchanged"] for own in heard] == [
        [0, 10, 20],
        [1, 1, 11, 11, 21, 21],
        [2, 2, 2, 12, 12, 12],
    ]
    told = f"process 1 ({host}): the disk is gone\nlook at it"
    assert [own["one failed"] for own in heard] == [
        ["GroupError", 1, told],
        ["DataError", 1, "the disk is gone\nlook at it"],
        ["GroupError", 1, told],
    ]
    assert [own["two failed"] for own in heard] == [
        ["GroupError", 1, f"process 1 ({host}): 1"],
        ["DataError", 1, "1"],
        ["DataError", 1, "2"],
    ]
    assert [own["one stopped"][:2] for own in heard] == [["GroupError", 143], ["GroupError", 143], ["Stopped", 143]]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP", "SIGKILL patiently", "SIGSTOP patiently"])
def test_a_process_that_does_not_answer_is_an_error_of_the_others(tmp_path: Path, how: str):
    """A killed one closes its connections; a halted one is missed after the time that was allowed, also by those that
    would wait for it as long as it works."""
    programs = start_group([CHILD, how, 1.5], 2, tmp_path)
    done = programs[0].communicate()
    end(programs[1])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["type"], told["exit code"]) == ("NoAnswerError", 1)
    first, second, third = told["message"].split("\n")
    assert first.startswith("process 0 (")
    assert "): another process of the run does not answer: " in first
    assert second == "It was killed, ran out of memory, or its machine or the network between them failed."
    assert third == "What was saved is intact; go on with --resume, on any number of processes."


def test_a_process_may_work_for_longer_than_it_may_be_silent_and_one_that_has_ended_is_not_waited_for(tmp_path: Path):
    heard = [json.loads(text) for text in run_group([CHILD, "long", 2], 2, tmp_path)]
    assert [own["heard"] for own in heard] == [["done", "done"]] * 2
    kind, exit_code, message = heard[0]["refusal"]
    assert (kind, exit_code) == ("NoAnswerError", 1)
    assert message.split("\n")[0].endswith("): another process of the run does not answer: process 1 has ended.")


def end(program: Program) -> None:
    try:
        os.kill(program.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    program.communicate()


def test_a_process_alone_hears_itself(monkeypatch: pytest.MonkeyPatch):
    assert current_ranks() is ALONE
    assert ALONE.is_first
    assert ALONE.is_alone
    assert ALONE.gather(b"own") == (b"own",)
    assert ALONE.tell(b"own") == b"own"
    assert ALONE.gather_rows(torch.ones(3)).tolist() == [[1, 1, 1]]
    ALONE.agree(None)
    with pytest.raises(DataError, match="^mine$"):
        ALONE.agree(DataError("mine"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"WORLD_SIZE": "4", "RANK": "0"}, False),  # as Slurm and Kubernetes set them
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, True),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, False),
    ],
)
def test_only_a_whole_environment_means_a_group(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_launched() is expected
    assert Ranks(rank=1, world_size=2).is_first is False
