"""Tables as text: each fits a terminal, nothing is broken inside a word, nothing is lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.core.display import fitted, paragraph, table_lines, text_width, wrapped

WORD = st.text("abc\u00e4\u4e2d\u6587-,%0123456789", min_size=1, max_size=12)
CELL = st.lists(WORD, max_size=6).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], int]:
    num = draw(st.integers(1, 6))
    row = st.lists(CELL, min_size=num, max_size=num)
    headings = draw(st.lists(st.lists(WORD, min_size=1, max_size=3).map(" ".join), min_size=num, max_size=num))
    return headings, draw(st.lists(row, max_size=6)), draw(st.integers(0, num))


@given(tables(), st.integers(20, 100))
def test_every_table_fits_and_keeps_every_word(table: tuple[list[str], list[list[str]], int], width: int):
    headings, rows, left = table
    lines = table_lines(headings, rows, left, width)
    words = Counter(word for row in rows for cell in row for word in cell.split())
    said = Counter(word for line in lines for word in line.split())
    assert words <= said
    unknown = said - words
    assert set(unknown) <= {word for heading in headings for word in heading.split()}
    labels = 4 + max((text_width(heading) for heading in headings[1:]), default=0)
    longest = max((text_width(word) for word in words), default=0)
    assert all(text_width(line) <= max(width, labels + longest) for line in lines)


@given(tables())
def test_without_a_terminal_a_row_is_a_line(table: tuple[list[str], list[list[str]], int]):
    headings, rows, left = table
    lines = table_lines(headings, rows, left)
    assert len(lines) == 1 + len(rows)
    for row, line in zip([headings, *rows], lines, strict=True):
        assert all(cell in line for cell in row)


def test_texts_are_broken_before_numbers_and_a_row_becomes_a_paragraph_last():
    headings = ["class", "95 % interval", "F1 %"]
    rows = [["a very long name", "90.1 to 95.5", "91.0"]]
    assert table_lines(headings, rows, width=36) == [
        "class            95 % interval  F1 %",
        "a very long       90.1 to 95.5  91.0",
        "name",
    ]
    assert table_lines(headings, rows, width=26) == [
        "class           95 %  F1 %",
        "            interval",
        "a very  90.1 to 95.5  91.0",
        "long",
        "name",
    ]
    assert table_lines(headings, rows, width=22) == [
        "class       95 %  F1 %",
        "        interval",
        "a very   90.1 to  91.0",
        "long        95.5",
        "name",
    ]
    assert table_lines(headings, rows, width=16) == [
        "a very long name",
        "  95 % interval  90.1",
        "                 to",
        "                 95.5",
        "  F1 %           91.0",
    ]


def test_wide_characters_take_two_columns():
    assert table_lines(["class", "n"], [["\u4e2d\u6587\u4e2d", "1"], ["abc", "22"]]) == [
        "class    n",
        "\u4e2d\u6587\u4e2d   1",
        "abc     22",
    ]
    assert text_width("e\u0301") == 1


@pytest.mark.parametrize(
    ("width", "lines"), [(0, ["one two three"]), (7, ["one two", "three"]), (2, ["one", "two", "three"])]
)
def test_text_is_broken_between_words(width: int, lines: list[str]):
    assert wrapped("one two three", width) == lines


def test_sentences_are_broken_and_columns_and_commands_stay():
    text = "one two three\na  row  of cells\nNext: saccade predict run photo.jpg"
    assert fitted(text, 8).split("\n") == [
        "one two",
        "three",
        "a  row  of cells",
        "Next: saccade predict run photo.jpg",
    ]
    assert fitted(text, 0) == text


def test_a_paragraph_leaves_out_cells_that_say_nothing():
    assert paragraph(["name", "what", "why"], ["a", "", "so"]) == ["a", "  why   so"]
