"""A small run of the storage campaign: disks that are full, over quota, failing, read-only."""

import errno
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.processes import Program, run_python

from saccade.runs.checkpoint import open_checkpoint

REPOSITORY = Path(__file__).parent.parent.parent


def test_failing_disks_lose_nothing_and_are_told_with_path_needed_and_free_bytes():
    done = run_python(["-m", "campaigns.storage_faults", "--budgets", "7", "--calls", "2"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["struck"] == result["trials"] == 13


@pytest.mark.parametrize("num_bytes", [0, 700, 45_000])
def test_the_command_on_a_full_disk_ends_with_one_message(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_bytes: int
):
    monkeypatch.syspath_prepend(REPOSITORY)
    from campaigns.faulty_disk import FaultyDisk
    from campaigns.small_training import COMMON, MODEL

    settings = [word for setting in COMMON for word in ("--set", setting)]
    run = tmp_path / "run"
    with FaultyDisk(tmp_path, errno.ENOSPC, num_bytes=num_bytes).failing():
        finished = saccade("train", "digits", "--model", MODEL, "--out", run, "--quiet", "--epochs", 2, *settings)
    assert finished.status == 1
    assert finished.output == ""
    pattern = (
        rf"error: The disk is full: cannot write {re.escape(str(run))}\S*\.\n"
        r"[\d,]+ bytes are needed, [\d,]+ are free\. What was saved before is intact\.\n"
        r"Free some space, or choose another place\.\n"
        rf"(Go on with: saccade train --resume --out {re.escape(str(run))}\n)?"
    )
    assert re.fullmatch(pattern, finished.errors), finished.errors
    if num_bytes == 45_000:
        assert open_checkpoint(run / "checkpoint-last", check_content=True).manifest.step > 0
        assert saccade("train", "--resume", "--out", run, "--quiet").status == 0


def test_of_several_starters_in_one_folder_one_wins_and_the_others_are_told(tmp_path: Path):
    small = ["--epochs", "1", "--model", "gap | fc 10", "--set", "input.size_px=12"]
    command = ["-m", "saccade", "train", "digits", "--out", "run", "--quiet", *small]
    starters = [Program(command, tmp_path) for _ in range(3)]
    ended = [starter.communicate() for starter in starters]
    winners = [done.stdout for done in ended if done.returncode == 0]
    assert len(winners) == 1
    assert "held-out images correct" in winners[0]
    for done in ended:
        if done.returncode:
            assert done.returncode == 1
            holder = r"process \d+ since \d{4}-\d\d-\d\d [\d:]+|another process, which has just started"
            wait = r"Wait until it ends, stop it, or choose another place with --out\."
            in_use = rf"error: The run run is in use by ({holder})\.\n{wait}\n"
            too_late = (
                r"error: run already holds a run\.\nGo on with it by --resume, or choose another place with --out\.\n"
            )
            assert re.fullmatch(f"{in_use}|{too_late}", done.stderr), done.stderr
