"""What the commands print: results on stdout, everything else on stderr, whatever the stream can encode."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from ..core.display import fitted, table_lines
from ..core.errors import printable_lines
from .colour import ERROR, VERDICT, WARNING, painted
from .console import terminal_width
from .live_line import clear


def print_result(text: str, verdict: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
    """Print `text` on stdout, the lines of it that are the `verdict`, or `warnings`, in their colours.

    Characters the stream cannot encode become escapes instead of an error.
    """
    styles = dict.fromkeys(warnings, WARNING) | dict.fromkeys(verdict, VERDICT)
    lines = []
    for line in printable_lines(text).split("\n"):
        shown = fitted(line, result_width()).split("\n")
        lines += [painted(part, styles[line], sys.stdout) for part in shown] if line in styles else shown
    encoding = sys.stdout.encoding or "utf-8"
    _write(("\n".join(lines) + "\n").encode(encoding, "backslashreplace").decode(encoding))


def print_notes(notes: Iterable[str]) -> None:
    """Print sentences of printable text that qualify a result on stderr, one a line."""
    for text in notes:
        _print_labelled("note:", text, WARNING)


def print_error(message: str) -> None:
    """Print why something could not be done, on stderr."""
    _print_labelled("error:", printable_lines(message), ERROR)


def _print_labelled(label: str, text: str, style: str) -> None:
    clear()
    encoding = sys.stderr.encoding or "utf-8"
    shown = fitted(f"{label} {text}", width_of(sys.stderr)).removeprefix(label)
    shown = shown.encode(encoding, "backslashreplace").decode(encoding)
    sys.stderr.write(f"{painted(label, style, sys.stderr)}{shown}\n")
    sys.stderr.flush()


def print_opening(line: str) -> None:
    """Print the line that names the classes of a source, on stderr, when it is open and long work begins."""
    clear()
    print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout, ASCII, so that it survives every locale. NaN is written as null."""
    _write(json.dumps(_without_nan(value), ensure_ascii=True, allow_nan=False) + "\n")


def _write(text: str) -> None:
    clear()
    sys.stdout.write(text)
    sys.stdout.flush()


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Plain aligned columns, the first `left` ones to the left and the others to the right, two spaces apart; on a
    terminal within its width."""
    return "\n".join(table_lines(headings, rows, left, result_width()))


def result_width() -> int:
    """Columns of the terminal that stdout leads to; 0 where it leads to a file or a program, which get lines whole."""
    return width_of(sys.stdout)


def width_of(stream: TextIO) -> int:
    """Columns of the terminal behind `stream`; 0: no limit, since there is none."""
    return terminal_width(stream) if stream.isatty() else 0


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
