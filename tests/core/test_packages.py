"""What is not there is told before anything is imported."""

import sys
from pathlib import Path

import pytest

from saccade.core.packages import first_absent, first_missing


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`there_is_one`, and `there_is_half_of_one`, which cannot be imported."""
    (tmp_path / "there_is_one.py").write_text("")
    (tmp_path / "there_is_half_of_one.py").write_text("import its_other_half\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("there_is_one", "there_is_half_of_one"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("packages")
def test_what_is_not_there_is_told_before_anything_is_imported():
    assert first_missing(["there_is_one", "there_is_half_of_one", "nowhere"]) == "nowhere"
    assert "there_is_one" not in sys.modules
    assert first_missing(["there_is_one", "there_is_half_of_one"]) == "there_is_half_of_one"
    assert first_missing(["there_is_one"]) is None
    assert "there_is_one" in sys.modules


@pytest.mark.usefixtures("packages")
def test_nothing_is_imported_to_see_what_is_absent(monkeypatch: pytest.MonkeyPatch):
    assert first_absent(["there_is_one", "there_is_half_of_one"]) is None
    assert "there_is_one" not in sys.modules
    monkeypatch.setitem(sys.modules, "there_is_one", None)  # as what must not be imported is marked
    assert first_absent(["there_is_one"]) == "there_is_one"
