"""Whether a stream gets colours, and which: for the verdict, warnings and errors alone.

A terminal does, unless NO_COLOR is set (no-color.org) or it cannot; `--color` decides before both.
"""

import os
from typing import TextIO

VERDICT, WARNING, ERROR = "1", "33", "1;31"  # bold, yellow, bold red: codes of ANSI X3.64
WHEN = ("auto", "always", "never")


class _Chosen:
    when = WHEN[0]  # as `--color` says, for this command


def choose_colour(when: str) -> None:
    """Use colours as `when` says, one of WHEN."""
    _Chosen.when = when


def has_colour(stream: TextIO) -> bool:
    """Whether what is written to `stream` has colours."""
    if _Chosen.when != "auto":
        return _Chosen.when == "always"
    return not os.environ.get("NO_COLOR") and stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, style: str, stream: TextIO) -> str:
    """`text` in the colour `style`, where `stream` has colours."""
    return f"\x1b[{style}m{text}\x1b[0m" if text and has_colour(stream) else text
