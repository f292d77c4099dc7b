"""The record of a run: one event is one JSON line in metrics.jsonl, appended and never rewritten but on resume."""

import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from ..core.atomic import storage_errors
from ..core.documents import DocumentError, parse_object
from ..core.errors import CheckpointError, ConfigError, StorageError, printable
from ..core.plain_files import open_plain_file
from .files import Finite, Rate, RunFile, Seconds, read_run_file
from .names import LIMIT_BYTES, MAX_LINE_BYTES

REMEDY = "Remove that line, or put the file back from a copy; the weights are not concerned."


class EpochEvent(RunFile):
    """What one epoch came to. Losses are per image, accuracies fractions; None where nothing was measured.

    Of several labels an accuracy is the share of images with every label right; `validation_map` chose the epoch.
    Of a number it is the share of answers within half a standard deviation; `validation_mae` chose the epoch.
    """

    epoch: int = Field(ge=1, le=100_000, description="counted from 1")
    num_epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    train_loss: Finite
    train_accuracy: Rate
    validation_loss: Finite | None = None
    validation_accuracy: Rate | None = None
    validation_map: Rate | None = None
    validation_mae: Annotated[Finite, Field(ge=0)] | None = None
    learning_rate: Annotated[Finite, Field(ge=0)] | None = None
    seconds: Seconds = 0.0
    images_per_second: Seconds = 0.0
    is_best: bool = False
    step: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _validation_is_whole(self) -> "EpochEvent":
        if (self.validation_loss is None) != (self.validation_accuracy is None):
            raise ValueError("validation_loss and validation_accuracy stand together or not at all")
        return self


class MetricsLog:
    """Appends events to `path`. `committed_bytes` is what has reached the disk: a checkpoint stores that number."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Open the log; whatever stands behind the first `keep_bytes` belongs to steps that were lost and is cut.

        Raises StorageError where it is not a plain file: through a link, another file would be cut.
        """
        self.path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)
        with storage_errors(path):
            if path.is_symlink():
                raise StorageError(
                    f"Cannot write {printable(str(path))}: it is a link, and a run's files are plain ones."
                )
            descriptor = os.open(path, flags, 0o644)
            # Not buffered: what a full disk refuses must not be tried again by close(), long after the error was told.
            self._file = open(descriptor, "ab", buffering=0)  # noqa: SIM115 - lives as long as the run; close() ends it
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._file.close()
                raise StorageError(
                    f"Cannot write {printable(str(path))}: it is not a plain file, but a pipe or a device."
                )
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


class NoLog:
    """The log of a process that does not write: another one of its run does."""

    committed_bytes = 0

    def write(self, event: str, values: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a log, oldest first. A last line torn by a kill is left out; a file that is not there is empty.

    Raises CheckpointError naming the line where the file is damaged.
    """
    for number, event in _numbered_events(path):
        del number
        yield event


def read_epochs(path: Path) -> tuple[EpochEvent, ...]:
    """The epochs of a log, in their order. Raises CheckpointError naming the line that is not one, or out of order."""
    epochs: list[EpochEvent] = []
    for number, event in _numbered_events(path):
        _add_epoch(epochs, event, number, path)
    return tuple(epochs)


class GrowingLog:
    """The epochs of a log that somebody else may be writing: only what is new is read. A log that was cut or replaced
    is read anew. `problem` is the message about the first line that is damaged, behind which nothing is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._epochs: list[EpochEvent] = []
        self._num_lines, self._num_bytes, self._last = 0, 0, b""

    def read(self) -> tuple[EpochEvent, ...]:
        """The epochs until now, in their order."""
        try:
            with open_plain_file(self.path, may_be_link=False) as file:
                self._read_on(file)
        except (FileNotFoundError, NotADirectoryError):
            self._forget()
        except OSError as error:
            self.problem = self.problem or f"{printable(str(self.path))} cannot be read: {error.strerror}."
        return tuple(self._epochs)

    def _read_on(self, file: BufferedReader) -> None:
        file.seek(max(0, self._num_bytes - len(self._last)))
        if file.read(len(self._last)) != self._last:  # cut or written anew: what is known is of another log
            self._forget()
            file.seek(0)
        limit = LIMIT_BYTES[self.path.name] - self._num_bytes
        content = file.read(limit + 1)
        if len(content) > limit:
            self.problem = self.problem or f"{printable(str(self.path))} is longer than {limit:,} bytes."
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.split(b"\n")[:-1] if not self.problem else ():
            try:
                _add_epoch(
                    self._epochs, _parse_line(line, self._num_lines + 1, self.path), self._num_lines + 1, self.path
                )
            except CheckpointError as error:
                self.problem = error.message
                return
            self._num_lines, self._num_bytes, self._last = (
                self._num_lines + 1,
                self._num_bytes + len(line) + 1,
                line + b"\n",
            )

    def _forget(self) -> None:
        self._epochs, self.problem = [], ""
        self._num_lines, self._num_bytes, self._last = 0, 0, b""


def _add_epoch(epochs: list[EpochEvent], event: dict[str, Any], number: int, path: Path) -> None:
    """Append `event`, that of line `number`, where it is an epoch. Raises CheckpointError."""
    if event.get("event") != "epoch":
        return
    try:
        epoch = EpochEvent.parse(event, f"{printable(str(path))}, line {number}")
    except ConfigError as error:
        raise CheckpointError(f"{error.message}\n{REMEDY}") from None
    if epochs and epochs[-1].epoch >= epoch.epoch:
        reason = f"line {number} has epoch {epoch.epoch} after epoch {epochs[-1].epoch}"
        raise CheckpointError(f"{printable(str(path))} is damaged: {reason}.\n{REMEDY}")
    epochs.append(epoch)


def _numbered_events(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_run_file(path, REMEDY) or b""
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        yield number, _parse_line(line, number, path)


def _parse_line(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise DocumentError(f"it has more than {MAX_LINE_BYTES:,} bytes")
        return parse_object(line)
    except DocumentError as error:
        raise CheckpointError(
            f"{printable(str(path))} is damaged: line {number}: {printable(str(error))}.\n{REMEDY}"
        ) from None
