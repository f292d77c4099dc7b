"""The figures that docs/convolution.md shows are those that the code gives."""

import doctest
from pathlib import Path

from saccade.conv.filters import KERNELS

PAGE = Path(__file__).parents[2] / "docs" / "convolution.md"


def test_every_python_line_of_the_page_answers_as_printed():
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted >= 10
    assert results.failed == 0


def test_the_page_names_every_kernel():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in KERNELS if f"`{name}`" not in text] == []
