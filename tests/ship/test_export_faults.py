"""Exports that are killed, find the disk full, or meet in one folder: what stood there stays whole, and nothing half is
left beside it."""

import errno
import os
import signal
from pathlib import Path

import pytest
from tests.processes import run_python
from tests.ship.untrained import PIXELS, untrained_run

from saccade import api
from saccade.core import atomic
from saccade.core.errors import StorageError
from saccade.ship import hub
from saccade.ship.bundle import read_bundle

TOGETHER = """
import sys, threading
from pathlib import Path
from saccade import api
from saccade.ship import hub

hub._timm = lambda: (None, "timm is not installed")
threads = [threading.Thread(target=api.export, args=(Path(run), Path(sys.argv[1]), ["hub"])) for run in sys.argv[2:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from saccade import api
from saccade.core import atomic
from saccade.ship import export, hub

hub._timm = lambda: (None, "timm is not installed")

def end(*arguments, **others):
    os.kill(os.getpid(), signal.SIGKILL)

rename, calls = os.rename, []

def rename_until(*paths):
    calls.append(paths)
    return end() if len(calls) == int(sys.argv[3]) else rename(*paths)

if sys.argv[3] != "int8":
    atomic.os.rename = rename_until
    api.export(Path(sys.argv[1]), Path(sys.argv[2]), ["hub"])
else:
    export.require_nncf, export.quantized = lambda: None, end
    api.export(Path(sys.argv[1]), Path(sys.argv[2]), ["openvino"], int8=api.AskedInt8())
"""


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("faults") / "run")


@pytest.fixture(autouse=True)
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_timm", lambda: (None, "timm is not installed"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_leaves_the_export_that_was_there(own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    api.export(own_run, tmp_path / "out", formats=["hub"])
    before = contents(tmp_path)
    real, calls = atomic.write_bytes, []

    def full(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "write_bytes", full)
        with pytest.raises(StorageError, match=f"^The disk is full: cannot write {tmp_path / 'out'}\\.\n"):
            api.export(own_run, tmp_path / "out", formats=["hub"])
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("rename", "where"), [(1, "out"), (2, "out.previous.saccade-tmp")])
def test_killed_while_it_is_put_in_place_the_one_before_stays_whole_and_the_next_one_clears_up(
    own_run: Path, tmp_path: Path, rename: int, where: str
):
    out = api.export(own_run, tmp_path / "out", formats=["hub"]).folder
    before = contents(out)
    done = run_python(["-c", KILLED, own_run, out, str(rename)], tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert contents(tmp_path / where) == before
    assert contents(tmp_path / "out.saccade-tmp") == before
    api.export(own_run, out, formats=["hub"])
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_in_the_middle_of_8_bits_nothing_is_left(run: Path, tmp_path: Path):
    pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    done = run_python(["-c", KILLED, run, tmp_path / "out", "int8"], tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_exports_into_one_folder_at_once_are_written_one_after_the_other(own_run: Path, tmp_path: Path):
    other = untrained_run(tmp_path / "other", preprocessing=PIXELS, classes=("a", "b"))
    done = run_python(["-c", TOGETHER, tmp_path / "out", *[own_run, other] * 2], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_bundle(tmp_path / "out").classes) in (2, 4)  # the one that came last, every file of it
    assert {path.name for path in tmp_path.iterdir()} == {"other", "out"}


def test_a_folder_of_somebody_else_beside_the_export_is_not_touched(own_run: Path, tmp_path: Path):
    (tmp_path / "out.previous").mkdir()
    (tmp_path / "out.previous" / "saccade.json").write_text("a copy that somebody made of an export")
    for _ in range(2):
        api.export(own_run, tmp_path / "out", formats=["hub"])
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.previous"}
    assert contents(tmp_path / "out.previous") == {"saccade.json": b"a copy that somebody made of an export"}
