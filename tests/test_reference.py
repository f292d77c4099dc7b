"""The reference of the library: every public name stands in it with its words, and no page loads anything."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
from tests.processes import run_python

SCRIPT = Path(__file__).parent.parent / "scripts" / "build-reference"
CHILD = """
import runpy, socket, sys
def refuse(*arguments): raise AssertionError("an address was asked for")
socket.getaddrinfo = socket.socket.connect = refuse
script = runpy.run_path(sys.argv[1])
from saccade import api
{change}
sys.argv = [sys.argv[1], sys.argv[2]]
script["main"]()
"""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pdoc") is None, reason="pdoc is not installed: extra 'test'")


def build(folder: Path, change: str = "") -> subprocess.CompletedProcess:
    return run_python(["-c", CHILD.format(change=change), SCRIPT, folder], folder)


def test_the_pages_are_built_without_the_network_and_load_nothing(tmp_path: Path):
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    pages = sorted(str(page.relative_to(tmp_path)) for page in tmp_path.rglob("*.html"))
    assert pages == ["index.html", "saccade.html", "saccade/api.html", "saccade/testing.html"]
    for page in pages:
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=\"(https?:)?//", text), page
    text = (tmp_path / "saccade" / "api.html").read_text(encoding="utf-8")
    assert 'id="train"' in text
    assert "Nothing is trained that lasts." in text


WORDLESS = {
    "api.inspect.__doc__ = None": "saccade.api.inspect has no docstring",
    "api.table.__doc__ = 'The layer table.'": "saccade.api.table does not say what it raises",
    "api.Evaluation.mistakes.__doc__ = None": "saccade.api.Evaluation.mistakes has no docstring",
    "api.TrainRequest.__doc__ = 'TrainRequest(a, b)'": "saccade.api.TrainRequest has no docstring",
}


def test_public_names_without_their_words_end_the_build_and_are_named(tmp_path: Path):
    done = build(tmp_path, "\n".join(WORDLESS))
    assert done.returncode == 1
    assert set(done.stderr.splitlines()) >= set(WORDLESS.values())
    assert not any(tmp_path.iterdir())
