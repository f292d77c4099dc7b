"""What `saccade convert` puts around a pickle holds and is told as it is; disks that fail are named, not the pickle."""

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.processes import PATIENCE_S
from tests.weights.test_convert import MODEL, network, refused

from saccade.core import atomic
from saccade.core.errors import StorageError
from saccade.weights import convert as convert_module
from saccade.weights import convert_child
from saccade.weights.convert import ConvertRequest, convert

WALLS = """
import importlib.util, json, os, socket, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
def tries(what):
    try:
        what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "worked"
def grow_file():
    with open(os.path.join(sys.argv[3], "large"), "wb") as file:
        file.write(bytes(2000))
words = child.shut_in()
words += child.limit_resources({"processor_s": 5, "max_bytes": 1000, "max_memory_bytes": 1 << 28})
print(json.dumps([words, {
    "network": tries(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2)),
    "memory": tries(lambda: bytearray(1 << 30)),
    "file size": tries(grow_file),
    "no new processes": tries(os.fork) if "no new processes" in words else "not claimed",
    "open files": tries(lambda: [os.dup(0) for _ in range(100)]),
}]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")
def test_the_walls_that_are_named_hold(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(convert_child.__file__), str(server.getsockname()[1]), str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-c", WALLS, *arguments], capture_output=True, text=True, timeout=PATIENCE_S
        )
    words, tried = json.loads(done.stdout)
    assert {"no new privileges", "memory", "processor time", "file size", "open files"} <= set(words)
    assert tried.pop("memory") == "MemoryError"
    assert tried.pop("no new processes") == ("not claimed" if os.getuid() == 0 else "BlockingIOError")
    assert (tried.pop("open files"), tried.pop("file size")) == ("OSError", "OSError")
    can_unshare = [
        subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode for flags in ("-n", "-rn")
    ]
    if 0 in can_unshare:
        assert "no network" in words
    assert (tried["network"] != "worked") == ("no network" in words)


def test_a_network_within_reach_is_said(tmp_path: Path):
    torch.save(network().state_dict(), tmp_path / "w.pth")
    request = ConvertRequest(path=tmp_path / "w.pth", model=MODEL, out=tmp_path / "w.safetensors")
    converted = convert(request)
    assert replace(converted, enforced=("memory",)).walls == "memory; not enforced: no network"
    assert replace(converted, enforced=("memory", "no network")).walls == "memory, no network"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "The disk is full: cannot write {out}.\n"),
        (errno.EROFS, "Cannot write {out}: it is on a read-only file system.\n"),
    ],
)
def test_a_disk_that_refuses_the_new_file_is_named_and_not_that_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
):
    torch.save(network().state_dict(), tmp_path / "w.pth")
    out = tmp_path / "w.safetensors"

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "sync_file", fail)
    with pytest.raises(StorageError) as error:
        convert(ConvertRequest(path=tmp_path / "w.pth", model=MODEL, out=out))
    assert error.value.message.startswith(message.format(out=out))
    assert not out.exists()


def test_too_little_room_for_temporary_files_is_said_before_the_pickle_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "w.pth"
    torch.save(network().state_dict(), path)
    monkeypatch.setattr(atomic, "free_bytes", lambda folder: 1000)
    with pytest.raises(StorageError) as error:
        convert(ConvertRequest(path=path, model=MODEL, out=tmp_path / "w.safetensors"))
    assert error.value.message == (
        f"The folder for temporary files, {tempfile.gettempdir()}, has 1,000 bytes free; converting needs "
        f"{2 * path.stat().st_size:,}.\nFree some space, or set TMPDIR to another folder."
    )


@pytest.mark.parametrize("fault", ["save", "result"])
def test_a_disk_that_fills_up_in_the_child_is_no_damaged_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    """A child whose disk is full, first for the tensors, then even for its result."""
    child = tmp_path / "child.py"
    full = "raise OSError(28, 'No space left on device')"
    lines = Path(convert_child.__file__).read_text().splitlines()
    place = "save_file(tensors" if fault == "save" else "json.dump(result, file)"
    lines = [
        line[: len(line) - len(line.lstrip())] + full if line.lstrip().startswith(place) else line for line in lines
    ]
    assert sum(full in line for line in lines) == 1
    child.write_text("\n".join(lines))
    monkeypatch.setattr(convert_child, "__file__", str(child))
    torch.save(network().state_dict(), tmp_path / "w.pth")
    with pytest.raises(StorageError) as error:
        convert(ConvertRequest(path=tmp_path / "w.pth", model=MODEL, out=tmp_path / "w.safetensors"))
    assert error.value.message.startswith(f"The disk is full: cannot write {tempfile.gettempdir()}.\n")


def test_a_pickle_that_changes_while_it_is_converted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, out = tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save(network().state_dict(), path)
    other = tmp_path / "other.pth"
    torch.save(network(1).state_dict(), other)
    checked = convert_module._check

    def check(request: ConvertRequest, written: Path) -> tuple:
        found = checked(request, written)
        path.write_bytes(other.read_bytes())
        return found

    monkeypatch.setattr(convert_module, "_check", check)
    assert (
        refused(path) == f"{path} has changed while it was converted.\nRun the command again when nothing writes to it."
    )
    assert not out.exists()
