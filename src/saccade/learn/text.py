"""A lesson in the terminal: the numbers of its page as text."""

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from ..core.display import table_lines
from .lesson import Command, Drawing, Equation, Lesson, Matrix, Part, Picture, Table, Toy, Words, cell_text

GAP = "   "
INDENT = "  "


def lesson_text(lesson: Lesson, width: int) -> str:
    """Lines for a person, `width` characters wide where they can be broken (0: no limit). A section that only a page
    can show is left out."""
    lines = [lesson.title, lesson.lead]
    for section in lesson.sections:
        told = [line for part in section.parts for line in part_lines(part, width)]
        lines += ["", section.title, *told] if told else []
    return "\n".join(line for number, line in enumerate(lines) if line or lines[number - 1])


def part_lines(part: Part, width: int) -> list[str]:
    """The lines of one part; what only a page can show has none."""
    match part:
        case Words(text):
            return [text]
        case Equation(terms):
            return [*equation_lines(terms, width), ""]
        case Table():
            rows = [[cell_text(cell) for cell in row] for row in part.rows]
            lines = table_lines(part.headings, rows, part.numeric_from, max(width - len(INDENT), 0))
            return [*(INDENT + line for line in lines), ""]
        case Drawing():
            return [f"{part.title}: {part.summary}"]
        case Command():
            return [f"{part.what}:", f"{INDENT}{part.line}"]
        case Toy() | Picture():
            return []


def equation_lines(terms: Sequence[Matrix | str], width: int) -> list[str]:
    """The matrices beside each other, each under its name, signs at half height; broken where the width ends."""
    blocks = [_block(term) for term in terms]
    height = max(len(block) for block in blocks)
    lines: list[str] = []
    line_blocks: list[list[str]] = []
    for block in [*blocks, None]:
        wide = sum(len(one[0]) + len(GAP) for one in line_blocks) + (len(block[0]) if block else 0)
        if block is None or (width and line_blocks and wide + len(INDENT) > width):
            lines += [(INDENT + GAP.join(row)).rstrip() for row in zip(*(_padded(one, height) for one in line_blocks))]
            line_blocks = []
        if block is not None:
            line_blocks.append(block)
    return lines


def _block(term: Matrix | str) -> list[str]:
    if isinstance(term, str):
        return ["", "", term]
    rows = [term.name, *matrix_rows(term.value_HW)]
    wide = max(map(len, rows))
    return [row.ljust(wide) for row in rows]


def _padded(block: list[str], height: int) -> list[str]:
    wide = max(map(len, block))
    return [row.ljust(wide) for row, _ in zip_longest(block, range(height), fillvalue="")]


def matrix_rows(value_HW: np.ndarray) -> list[str]:
    """One line a row, columns to the right."""
    cells = [[number_text(value) for value in row] for row in readable(value_HW).tolist()]
    wide = max(len(cell) for row in cells for cell in row)
    return ["  ".join(cell.rjust(wide) for cell in row) for row in cells]


def readable(value_HW: np.ndarray) -> np.ndarray:
    """The numbers without what lies four digits below the largest."""
    largest = float(np.abs(value_HW).max())
    decimals = 3 - math.floor(math.log10(largest)) if largest else 0
    rounded_HW: np.ndarray = np.round(value_HW, decimals) + 0.0
    return rounded_HW


def number_text(value: float) -> str:
    """At most four significant digits, no minus sign before a zero."""
    text = f"{value:.4g}"
    return text.removeprefix("-") if float(text) == 0 else text
