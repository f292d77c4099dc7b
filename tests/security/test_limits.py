"""What the command line says and lets through: few open files, and the flag for http."""

import errno
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.data.sources.tar.test_web_files import Server, _own_cache, at, running, tar_bytes

from saccade.cli import main

__all__ = ["_own_cache"]


@pytest.mark.parametrize("limit", [8, 20, 63])
def test_too_few_open_files_are_told_at_once(tmp_path: Path, limit: int):
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    command = [sys.executable, "-m", "saccade", "train", "digits"]
    done = subprocess.run(command, cwd=tmp_path, preexec_fn=few, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: This process may open {limit} files at once, and Saccade needs at least 64.\n"
        "Allow more in this shell, then run again: ulimit -n 1024\n"
    )
    assert not list(tmp_path.iterdir())


def test_files_that_run_out_later_are_told(saccade: Callable, monkeypatch: pytest.MonkeyPatch):
    late = ImportError("libx.so: cannot open shared object file: Too many open files")
    for error in (OSError(errno.EMFILE, "Too many open files", "x.py"), late):

        def fail(arguments: list[str], error: Exception = error) -> int:
            raise error

        monkeypatch.setattr(main, "_run", fail)
        told = saccade("models")
        assert (told.status, told.output, told.errors) == (1, "", f"error: {main.TOO_MANY_FILES}\n")


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as started:
        started.files["/set/a-0.tar"] = tar_bytes(4)
        yield started


@pytest.mark.parametrize("verb", ["train", "inspect", "preview", "evaluate", "explain", "drift"])
def test_the_flag_for_http_reaches_every_verb(saccade: Callable, server: Server, verb: str, tmp_path: Path, run: Path):
    address = at(server, "/set/a-0.tar")
    photo = tmp_path / "photo.png"
    photo.write_bytes((Path(__file__).parents[2] / "docs" / "images" / "report.png").read_bytes())
    out = ["--out", str(tmp_path / "out.svg")]
    arguments = {
        "train": ["train", address, *out],
        "inspect": ["inspect", address],
        "preview": ["preview", address, *out],
        "evaluate": ["evaluate", str(run), address],
        "explain": ["explain", str(run), str(photo), "--source", address, *out],
        "drift": ["drift", str(run), "digits", "--source", address],
    }[verb]
    assert "is not encrypted" in saccade(*arguments).errors
    assert server.asked == []
    saccade(*arguments, "--allow-http")
    assert server.asked
    del server.asked[:]
    saccade("--allow-http", *arguments)
    assert server.asked
    del server.asked[:]
    assert "is not encrypted" in saccade(*arguments).errors
    assert server.asked == []
