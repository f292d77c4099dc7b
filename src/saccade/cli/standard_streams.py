"""The three standard streams of the process of a command: open, and what cannot be written to stdout is an error."""

import io
import os
import select
import sys

from ..core.errors import StorageError

STDOUT = 1  # its descriptor


class StdoutFile(io.FileIO):
    """Descriptor 1. Whoever writes there, the help and the libraries too: a failure ends in StorageError, a reader that
    has gone in BrokenPipeError."""

    def write(self, data: bytes) -> int:  # type: ignore[override]  # of any buffer, which the stub names privately
        try:
            while (written := super().write(data)) is None:  # a pipe that its reader has made not to wait, and is full
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"The result cannot be written to stdout: {error.strerror}.") from error


def open_standard_streams() -> None:
    """Give every standard stream that is closed (`>&-`) to the null device: else the next file takes its number.

    A closed stdout takes it for reading only, so that a result is refused there and not lost.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if number != STDOUT:
                setattr(sys, name, open(descriptor, "w" if number else "r", encoding="utf-8"))
    if sys.stdout is not sys.__stdout__:  # a stream that somebody has put there
        return
    own: io.TextIOWrapper | None = sys.__stdout__  # None where stdout was closed
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(StdoutFile(STDOUT, "w", closefd=False)),
        encoding=own.encoding if own else "utf-8",
        errors=own.errors if own else "strict",
        line_buffering=own is not None and (own.line_buffering or own.write_through),
    )


def drop_stdout() -> None:
    """Let what is left in the buffer of stdout go to the null device, so that Python ends without a word on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
