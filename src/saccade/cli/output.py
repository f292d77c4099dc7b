"""What the commands print: results on stdout, everything else on stderr, whatever the stream can encode."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.errors import StorageError, printable_lines


def print_result(text: str) -> None:
    """Print `text` on stdout; characters the stream cannot encode become escapes instead of an error."""
    encoding = sys.stdout.encoding or "utf-8"
    _write((printable_lines(text) + "\n").encode(encoding, "backslashreplace").decode(encoding))


def print_notes(notes: Iterable[str]) -> None:
    """Print sentences of printable text that qualify a result on stderr, one a line."""
    for text in notes:
        print(f"note: {text}", file=sys.stderr)


def print_opening(line: str) -> None:
    """Print the line that names the classes of a source, on stderr, when it is open and long work begins."""
    print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout, ASCII, so that it survives every locale. NaN is written as null."""
    _write(json.dumps(_without_nan(value), ensure_ascii=True, allow_nan=False) + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"The result cannot be written to stdout: {error.strerror}.") from error


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Plain aligned columns, the first `left` ones to the left and the others to the right, two spaces apart."""
    widths = [max(len(line[column]) for line in [headings, *rows]) for column in range(len(headings))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [headings, *rows]
    ]
    return "\n".join(lines)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
