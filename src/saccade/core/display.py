"""How a result shows itself: as lines of text, and in a notebook as HTML, without a further package.

The one place where a table becomes text. Where it is wider than a terminal, its cells are broken between words, those
of numbers last; where that is not enough, each row becomes a paragraph. Nothing is broken inside a word, nothing lost.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest

from .errors import printable

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]  # headings, rows
LEFT = 'style="text-align:left"'
LABEL = re.compile(r"(?=.{8}\S)[a-z]+ {2,7}")  # of the lines that a run begins with


class Displayed:
    """Base of what a verb gives. Dataclasses of it are made with `repr=False`: theirs would print every array."""

    def display_lines(self) -> list[str]:
        """What it says, the most important sentence first."""
        raise NotImplementedError

    def display_rows(self) -> Rows | None:
        """The table it shows, if any."""
        return None

    def __str__(self) -> str:
        rows = self.display_rows()
        return "\n".join([*([*aligned(rows), ""] if rows and rows[1] else []), *self.display_lines()])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.display_lines()[0]}>"

    def _repr_html_(self) -> str:
        """What Jupyter shows. Names of classes and files are text of strangers: all of it is escaped."""
        rows = self.display_rows()
        first, *others = [escape(printable(line)) for line in self.display_lines()]
        lines = [f"<p><strong>{first}</strong></p>", *(f"<p>{line}</p>" for line in others)]
        return "\n".join([*([_html_table(rows)] if rows else []), *lines])


def aligned(rows: Rows) -> list[str]:
    """The lines of a table whose columns are two spaces apart."""
    cells = [[printable(cell) for cell in row] for row in rows[1]]
    return table_lines(rows[0], cells, left=len(rows[0]))


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, width: int = 0) -> list[str]:
    """The lines of a table of printable cells, the first `left` columns to the left and the others to the right, within
    `width` columns of a terminal (0: as wide as it gets) but for words that are longer."""
    widths = _widths(headings, rows, left, width)
    if widths is None:
        return [line for row in rows for line in [*paragraph(headings, row, width), ""]][:-1]
    lines = []
    for row in [headings, *rows]:
        parts = [wrapped(cell, column_width) for cell, column_width in zip(row, widths, strict=True)]
        for line in zip_longest(*parts, fillvalue=""):
            cells = [_padded(cell, widths[place], place < left) for place, cell in enumerate(line)]
            lines.append("  ".join(cells).rstrip())
    return lines


def fits(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int, width: int) -> bool:
    """Whether `table_lines` gives a table, and no paragraphs."""
    return _widths(headings, rows, left, width) is not None


def paragraph(headings: Sequence[str], row: Sequence[str], width: int = 0) -> list[str]:
    """A row of a table by itself: its first cell, then a line for each other cell that says something."""
    label_width = max((text_width(heading) for heading in headings[1:]), default=0)
    lines = wrapped(row[0], width) if row[0] else []
    for heading, cell in zip(headings[1:], row[1:], strict=True):
        label = f"  {_padded(heading, label_width, True)}  " if label_width else "  "
        for place, part in enumerate(wrapped(cell, max(width - text_width(label), 1) if width else 0) if cell else []):
            lines.append(f"{label if place == 0 else ' ' * text_width(label)}{part}")
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns (0: one line), broken at single spaces, never inside a word."""
    lines = [""]
    for number, word in enumerate(text.split(" ")):
        longer = f"{lines[-1]} {word}" if number else word
        if number and width and lines[-1].strip() and word and text_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def fitted(text: str, width: int) -> str:
    """`text` with its sentences broken between words for `width` columns (0: as they are). What is laid out in columns
    stays as it is, and so does a line with a command, which a person copies. Behind a label such as `data    ` lines go
    on below its text."""
    if not width:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fitted_line(line, width))


def _fitted_line(line: str, width: int) -> list[str]:
    if ": saccade " in line:
        return [line]
    label = LABEL.match(line)
    text = line[label.end() :] if label else line
    if "  " in text:
        return [line]
    if label is None:
        return wrapped(line, width)
    first, *others = wrapped(text, max(1, width - label.end()))
    return [f"{label[0]}{first}", *(f"{' ' * label.end()}{other}" for other in others)]


def text_width(text: str) -> int:
    """Columns of a terminal that `text` takes: East Asian characters two, marks that combine none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _padded(text: str, width: int, is_left: bool) -> str:
    space = " " * max(width - text_width(text), 0)
    return text + space if is_left else space + text


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int, width: int) -> list[int] | None:
    """Columns of a terminal for each column of a table; None where it does not fit.

    Texts and headings are broken first; cells of numbers only where that is not enough.
    """
    columns = list(zip(headings, *rows))
    whole = [_widest(cells) for cells in columns]
    room = width - 2 * (len(headings) - 1)
    if not width or sum(whole) <= room:
        return whole
    least = [_widest(cells, words=True) for cells in columns]
    kept = [
        least[place] if place < left else max(least[place], _widest(cells[1:])) for place, cells in enumerate(columns)
    ]
    for narrowest in (kept, least):
        if sum(narrowest) <= room:
            return _shared_out(narrowest, whole, room)
    return None


def _widest(cells: Iterable[str], words: bool = False) -> int:
    return max((text_width(part) for cell in cells for part in (cell.split() if words else [cell])), default=0)


def _shared_out(narrowest: list[int], whole: list[int], room: int) -> list[int]:
    """`narrowest` widths with what is left of `room`, first to the columns that need least to be whole."""
    widths = list(narrowest)
    order = sorted(range(len(widths)), key=lambda column: whole[column] - narrowest[column])
    for number, column in enumerate(order):
        spare = room - sum(widths)
        widths[column] = min(whole[column], widths[column] + spare // (len(order) - number))
    for column in order:
        widths[column] = min(whole[column], widths[column] + room - sum(widths))
    return widths


def _html_table(rows: Rows) -> str:
    headings = "".join(f"<th {LEFT}>{escape(printable(cell))}</th>" for cell in rows[0])
    body = "\n".join(
        f"<tr>{''.join(f'<td {LEFT}>{escape(printable(cell))}</td>' for cell in row)}</tr>" for row in rows[1]
    )
    return f"<table>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def figure(value: float) -> str:
    """A number for a person: four digits, `-` for NaN, thousands told apart where it is large."""
    if value != value:
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
