"""The record of a run: one event is one JSON line in metrics.jsonl, appended and never rewritten but on resume."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .atomic import storage_errors
from .errors import CheckpointError, printable


class MetricsLog:
    """Appends events to `path`. `committed_bytes` is what has reached the disk: a checkpoint stores that number."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Open the log; whatever stands behind the first `keep_bytes` belongs to steps that were lost and is cut."""
        self.path = path
        with storage_errors(path):
            # Not buffered: what a full disk refuses must not be tried again by close(), long after the error was told.
            # Never through a link: in a run of somebody else it would lead to a file that is cut and written to.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            self._file = open(descriptor, "ab", buffering=0)  # noqa: SIM115 - lives as long as the run; close() ends it
            self.committed_bytes = min(keep_bytes, self._file.tell())  # a file that somebody cut stays as it is
            self._file.truncate(self.committed_bytes)

    def write(self, event: str, values: dict[str, Any]) -> None:
        """Append one line and push it to the disk. Raises StorageError."""
        line = (json.dumps({"event": event, **values}, allow_nan=False) + "\n").encode("ascii")
        with storage_errors(self.path, len(line)):
            num_written = 0
            while num_written < len(line):
                num_written += self._file.write(line[num_written:])
            os.fsync(self._file.fileno())
        self.committed_bytes += len(line)

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        self._file.close()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a log, oldest first. A last line torn by a kill is left out; a file that is not there is empty.

    Raises CheckpointError naming the line where the file is damaged.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                continue
            try:
                event = json.loads(line)
            except ValueError:  # bytes that are no text, too
                event = None
            if not isinstance(event, dict):
                raise CheckpointError(
                    f"{printable(str(path))} is damaged: line {number} is no JSON object.\n"
                    f"Remove that line, or put the file back from a copy; the weights are not concerned."
                )
            yield event
