"""Cards of exports: what a stranger called a class is shown letter by letter, and is no mark of Markdown or HTML."""

import html
import re

import pytest

from saccade.ship.card import as_markdown

NAMES = [
    "<unknown>",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "*new*",
    "__init__",
    "`code`",
    "~~old~~",
    "a&lt;b",
    r"a\*b",
    "![](http://tracker/pixel.png)",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_letter_by_letter(name: str):
    shown = as_markdown(name)
    assert html.unescape(shown) == name
    assert not re.search(r"[<>*\[\]`~]|\b__|__\b|\\[^\w\s]", shown)


def test_a_rendered_name_is_its_text():
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    page = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for name in NAMES:
        assert page.render(f"1. {as_markdown(name)}").split("<li>")[1].split("</li>")[0] == html.escape(name), name


@pytest.mark.parametrize("name", ["t_shirt", "n02123045 tabby, tabby cat", "Kleid ü", r"a\nb", "50 %", "é_è"])
def test_an_ordinary_name_stays_as_it_is(name: str):
    assert as_markdown(name) == name
