"""What a lesson is made of. Parts hold values; `text.py`, `page.py` and `as_json` show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Cell = str | int | float
Shade = Literal["grey", "signed", "none"]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Numbers with a name. `shade` says how a page colours them: an image, signed numbers, or not at all."""

    name: str
    value_HW: np.ndarray
    shade: Shade = "signed"


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Equation:
    """Matrices with signs between them, such as image * kernel = output."""

    terms: Sequence[Matrix | str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures: whole numbers are shown with thousands separators. Columns from `numeric_from` on are numbers."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric_from: int = 1


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A thing to move, on a page only. `kind` names the script that makes it of `settings`; `hint` says what to try."""

    kind: str
    title: str
    hint: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart as SVG with one sentence that says what it shows; the text has the sentence."""

    title: str
    svg: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Small images side by side: (caption, PNG)."""

    title: str
    images: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that a person can copy, and what it does."""

    line: str
    what: str


Part = Words | Equation | Table | Toy | Drawing | Picture | Command


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A topic: its `lead` says in a sentence or two what there is to see."""

    name: str
    title: str
    lead: str
    sections: Sequence[Section] = field(default_factory=tuple)

    @property
    def toys(self) -> list[Toy]:
        """All things to move, in their order."""
        return [part for section in self.sections for part in section.parts if isinstance(part, Toy)]


def cell_text(cell: Cell) -> str:
    """A cell as a person reads it: 14,450,688; 0.125; text as it is."""
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.4g}"


def as_json(lesson: Lesson) -> dict[str, Any]:
    """One JSON object with every number of the lesson: its matrices and tables, section by section."""
    return {
        "topic": lesson.name,
        "title": lesson.title,
        "lead": lesson.lead,
        "sections": [
            {"title": section.title, "parts": [shown for part in section.parts if (shown := _part_as_json(part))]}
            for section in lesson.sections
        ],
    }


def _part_as_json(part: Part) -> dict[str, Any] | None:
    match part:
        case Words(text):
            return {"kind": "words", "text": text}
        case Equation(terms):
            return {"kind": "equation", "terms": [_term_as_json(term) for term in terms]}
        case Table():
            rows = [list(row) for row in part.rows]
            return {"kind": "table", "caption": part.caption, "headings": list(part.headings), "rows": rows}
        case Drawing():
            return {"kind": "drawing", "title": part.title, "text": part.summary}
        case Command():
            return {"kind": "command", "command": part.line, "text": part.what}
        case _:
            return None


def _term_as_json(term: Matrix | str) -> dict[str, Any] | str:
    return term if isinstance(term, str) else {"name": term.name, "values": term.value_HW.tolist()}
