"""A server as a process of its own, for Python: the process that asks for one keeps its torch to itself."""

import atexit
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from types import TracebackType

from ..core.display import Displayed
from ..core.errors import SaccadeError, UsageError
from .listening import TOKEN

STOP_S = 30.0  # a server drains for ten at most


class RunningServer(Displayed):
    """A server that runs until `stop`, or until this process ends; as a context it stops at the end of it.

    `url` is its address, `token` what others than this machine need ("" where nothing is needed), `pid` its process.
    """

    def __init__(self, process: "subprocess.Popen[str]", url: str, token: str) -> None:
        self._process = process
        self.url = url
        self.token = token
        self.pid = process.pid
        atexit.register(self.stop)

    def stop(self) -> None:
        """Let it finish what is inside, and end it."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def display_lines(self) -> list[str]:
        """Where it listens."""
        return [f"Serving at {self.url}"]

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start_server(arguments: Sequence[str], needs_token: bool) -> RunningServer:
    """Start `saccade ARGUMENTS`, a server, and wait until it answers. Raises what its start raises."""
    command = [sys.executable, "-m", "saccade", *arguments]
    token = os.environ.get(TOKEN, "") or (secrets.token_urlsafe(24) if needs_token else "")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, TOKEN: token} if token else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        first = process.stdout.readline() if process.stdout else ""
        if first.startswith("Serving "):
            return RunningServer(process, first.rsplit(" ", 1)[1].strip(), token)
        status = process.wait()
        if process.stdout:
            process.stdout.close()
        errors.seek(0)
        said = errors.read().rpartition("error: ")[2].strip()
    kind = UsageError if status == UsageError.exit_code else SaccadeError
    raise kind(said or f"The server ended with status {status} and said nothing.")
