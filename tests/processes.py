"""Child processes of tests: they get all the time a busy machine needs, and none outlives its test."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

PATIENCE_S = 900.0  # after so long a child hangs, on any machine; no test waits for it where all is well
READY_PYTHON = Path(__file__).with_name("ready_python.py")


@contextmanager
def child(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`command`, running in `folder` in a session of its own; killed at the end, if it still runs."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Program:
    """`python ARGUMENTS` in a process of its own that need not import what a fork of `ready_python.py` has."""

    def __init__(
        self,
        arguments: Sequence[object],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """Start it in `folder`. A stream without a descriptor is an empty one, or is kept for `communicate`."""
        self._arguments = [str(word) for word in arguments]
        self._kept: list[IO[bytes] | None] = [TemporaryFile() if one is None else None for one in (stdout, stderr)]
        self._folder, self._environment = folder, dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno() if stdin is None else stdin]
            for given, kept in zip((stdout, stderr), self._kept, strict=True):
                streams.append(kept.fileno() if kept is not None else int(given or 0))
            if sys.platform == "linux":
                self._begin_ready(streams)
            else:
                self._begin_anew(streams)

    def _begin_ready(self, streams: list[int]) -> None:
        order = {"arguments": self._arguments, "folder": str(self._folder), "environment": self._environment}
        content = json.dumps(order).encode()
        self._told, telling = os.pipe()
        orders = ready_python()
        socket.send_fds(orders, [len(content).to_bytes(8, "big")], [*streams, telling])
        orders.sendall(content)
        os.close(telling)
        self.pid = int(self._next_line())

    def _begin_anew(self, streams: list[int]) -> None:
        """Where libraries do not bear a fork, as on macOS."""
        stdin, stdout, stderr = streams
        command = [sys.executable, *self._arguments]
        self._process = subprocess.Popen(
            command, cwd=self._folder, env=self._environment, stdin=stdin, stdout=stdout, stderr=stderr
        )
        self.pid = self._process.pid

    def wait(self) -> int:
        """Its exit status; minus the signal that killed it."""
        if self._process is not None:
            return self._process.wait(PATIENCE_S)
        if self._status is None:
            self._status = int(self._next_line())
            os.close(self._told)
        return self._status

    def communicate(self) -> subprocess.CompletedProcess[str]:
        """Wait for it; what it said."""
        status, texts = self.wait(), []
        for kept in self._kept:
            if kept is not None:
                kept.seek(0)
                texts.append(kept.read().decode())
                kept.close()
            else:
                texts.append("")
        return subprocess.CompletedProcess(self._arguments, status, *texts)

    def _next_line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self._told], [], [], PATIENCE_S)[0]:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"{self._arguments} took more than {PATIENCE_S:.0f} s")
            part = os.read(self._told, 1)
            if not part:
                raise RuntimeError(f"the ready Python ended, and with it {self._arguments}")
            line += part
        return line.decode()


def run_python(
    arguments: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS` says in `folder`, and its exit status, without the time that its imports take."""
    return Program(arguments, folder, environment).communicate()


@cache
def ready_python() -> socket.socket:
    """Where orders for `ready_python.py` go; it is started at the first of them and ends with this process."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, str(READY_PYTHON), str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
