"""A run directory has one holder; a log has only the lines that belong to committed steps."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.core import lock
from saccade.core.atomic import storage_errors
from saccade.core.errors import RunInUseError, StorageError
from saccade.runs.log import MetricsLog, read_events

HOLD = """
import sys, pathlib
from saccade.core import lock
with lock.exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_second_process_is_told_who_holds_the_run(tmp_path: Path):
    with start_holder(tmp_path) as holder:
        since = json.loads((tmp_path / lock.LOCK_NAME).read_text())["since"]
        with pytest.raises(RunInUseError) as error, lock.exclusive(tmp_path):
            pass
        holder.kill()
    assert error.value.message == (
        f"The run {tmp_path} is in use by process {holder.pid} since {since}.\n"
        "Wait until it ends, stop it, or choose another place with --out."
    )


def test_a_killed_holder_blocks_nobody(tmp_path: Path):
    with start_holder(tmp_path) as holder:
        holder.kill()
    with lock.exclusive(tmp_path):
        assert json.loads((tmp_path / lock.LOCK_NAME).read_text())["pid"] == multiprocessing.current_process().pid


def test_events_come_back_in_order(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("epoch", {"epoch": 1, "loss": 0.5})
    log.write("result", {"top1": 0.9})
    log.close()
    assert list(read_events(tmp_path / "metrics.jsonl")) == [
        {"event": "epoch", "epoch": 1, "loss": 0.5},
        {"event": "result", "top1": 0.9},
    ]


def test_lines_after_the_last_checkpoint_are_cut_on_resume(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write("epoch", {"epoch": 1})
    committed = log.committed_bytes
    log.write("epoch", {"epoch": 2})
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"event": "ep')
    resumed = MetricsLog(path, committed)
    resumed.write("epoch", {"epoch": 2})
    resumed.close()
    assert [event["epoch"] for event in read_events(path)] == [1, 2]


def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "epoch", "epoch": 1}\n{"event": "epo')
    assert [event["epoch"] for event in read_events(path)] == [1]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path):
    assert list(read_events(tmp_path / "metrics.jsonl")) == []


@pytest.mark.parametrize("take", [lambda folder: lock.exclusive(folder).__enter__(), lock.refuse_held])
def test_a_disk_that_knows_no_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: Callable):
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / lock.LOCK_NAME).touch()
    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(StorageError) as error:
        take(tmp_path)
    assert error.value.message == (
        f"Cannot write {tmp_path / lock.LOCK_NAME}: No locks available.\n"
        f"What was saved before is intact; check the disk."
    )


def test_a_folder_that_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path):
    path = tmp_path / "new" / "labels.csv"
    with pytest.raises(StorageError) as error, storage_errors(path):
        path.write_text("")
    assert error.value.message == (
        f"Cannot write {path}: the folder {tmp_path / 'new'} is not there.\nMake it: mkdir -p {tmp_path / 'new'}"
    )


WRITE = """
import sys, pathlib
from saccade.core import lock
path = pathlib.Path(sys.argv[1])
for turn in range(20):
    with lock.exclusive_place(path):
        with open(path.with_name("inside"), "x"):
            pass
        path.with_name("inside").unlink()
"""


def test_two_processes_hold_a_place_by_turns_and_leave_nothing_beside_it(tmp_path: Path):
    """Each makes a file that must not be there, so the second one inside would fail."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / "out")]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_stays_held_is_told_with_its_holder(tmp_path: Path):
    with lock.exclusive_place(tmp_path / "out"):
        since = json.loads((tmp_path / ".out.saccade-lock").read_text())["since"]
        with pytest.raises(RunInUseError) as error, lock.exclusive_place(tmp_path / "out", patience_s=0.0):
            pass
    assert error.value.message == (
        f"{tmp_path / 'out'} is being written by process {os.getpid()} since {since}.\n"
        "Wait until that ends, stop it, or choose another place with --out."
    )
