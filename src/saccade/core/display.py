"""How a result shows itself: as lines of text, and in a notebook as HTML, without a further package."""

from collections.abc import Sequence
from html import escape

from .errors import printable

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]  # headings, rows
LEFT = 'style="text-align:left"'


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
        return "\n".join([*([*aligned(rows), ""] if rows else []), *self.display_lines()])

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
    cells = [[printable(cell) for cell in row] for row in (rows[0], *rows[1])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


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
