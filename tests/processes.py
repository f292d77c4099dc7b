"""Child processes of tests: they get all the time a busy machine needs, and none outlives its test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 900.0  # after so long a child hangs, on any machine; no test waits for it where all is well


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
