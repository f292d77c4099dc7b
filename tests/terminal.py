"""A terminal for tests: what `saccade` writes to one, and what a person then sees there."""

import fcntl
import os
import pty
import re
import struct
import termios
from pathlib import Path

from tests.processes import Program


def on_terminal(folder: Path, width: int, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """(status, stdout, what the terminal of `width` characters on stderr received) of `saccade`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("CI", "COLUMNS", "LINES")}
    inherited |= {"TERM": "xterm"} | environment
    program = Program(["-m", "saccade", *arguments], folder, inherited, stdin=theirs, stderr=theirs)
    os.close(theirs)
    received = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not part:
            break
        received += part
    os.close(ours)
    done = program.communicate()
    return done.returncode, done.stdout, received.decode()


def rendered(received: str) -> list[str]:
    """The lines that stand on a terminal which received this, by the few controls that are used."""
    lines, row = [""], 0
    for text in re.split(r"(\x1b\[[?0-9;]*[A-Za-z]|\r|\n)", received):
        if text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text == "\x1b[1A":
            row -= 1
        elif text == "\x1b[2K":
            lines[row] = ""
        elif text and text != "\r" and text[0] != "\x1b":
            assert not lines[row], "written over what stands there"
            lines[row] = text
    return lines
