"""`pytest -m quick`: what it leaves out is what tests/slow.txt names, and nothing that is new."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import conftest

REPOSITORY = Path(__file__).parent.parent


def is_ignored(path: Path, expression: str) -> bool | None:
    config = SimpleNamespace(option=SimpleNamespace(markexpr=expression))
    return conftest.pytest_ignore_collect(path, config)  # type: ignore[arg-type]


def test_every_slow_test_is_there():
    for name in sorted(conftest.SLOW):
        file, _, function = name.partition("::")
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(async )?def {function.rpartition('::')[2]}\(", text, re.M), f"{name} is no test"


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("def test_slow():\n    pass\n", True),
        ("def test_slow():\n    pass\n\n\ndef test_new():\n    pass\n", None),
        ("class TestNew:\n    def test_slow(self):\n        pass\n", None),
        ("from other import *\n\n\ndef test_slow():\n    pass\n", None),
        ("VALUE = 1\n", None),
    ],
)
def test_a_file_is_left_unread_only_where_all_its_tests_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, ignored: bool | None
):
    path = tmp_path / "tests" / "test_some.py"
    path.parent.mkdir()
    path.write_text(text)
    monkeypatch.setattr(conftest, "REPOSITORY", tmp_path)
    monkeypatch.setattr(conftest, "SLOW", frozenset({"tests/test_some.py::test_slow"}))
    assert is_ignored(path, "quick") is ignored
    assert is_ignored(path, "") is None
    assert is_ignored(path, "not quick") is None
    assert is_ignored(path.parent, "quick") is None
