"""Documented commands and snippets run; documented names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

from saccade.cli.main import app

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of `language`."""
    found = []
    for page in PAGES:
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            found.append((page.name, text))
    return found


def commands() -> list[tuple[str, str]]:
    """(page, command) of every `saccade ...` line in a shell block, without the installation in front of it."""
    lines = [(page, line) for page, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    return [(page, line.split("&& ")[-1]) for page, line in lines if "saccade " in line.split("&& ")[-1]]


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda text: text)
def test_documented_commands_run(page: str, command: str, tmp_path: Path):
    if "../shared" in command and not (REPOSITORY.parent / "shared").is_dir() and not os.environ.get("SACCADE_SHARED"):
        pytest.skip("the real data are not here (set SACCADE_SHARED to the folder that has them)")
    (tmp_path / "shared").symlink_to(os.environ.get("SACCADE_SHARED") or REPOSITORY.parent / "shared")
    (tmp_path / "work").mkdir()
    script = f'saccade() {{ "{sys.executable}" -m saccade "$@"; }}\nset -e\n{command}\n'
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path / "work", capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr


SCRIPTS = [(page, text) for page, text in blocks("python") if not text.startswith(">>>")]  # sessions are doctests


@pytest.mark.parametrize(("page", "snippet"), SCRIPTS, ids=lambda text: text[:30])
def test_documented_snippets_run(page: str, snippet: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page():
    targets = set(re.findall(r"\]\(([^)#]+)", (REPOSITORY / "README.md").read_text(encoding="utf-8")))
    for page in PAGES[1:]:
        assert str(page.relative_to(REPOSITORY)) in targets, f"README.md does not link to {page.name}"


def test_every_command_is_documented():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for command in app.registered_commands:
        assert re.search(rf"saccade [^\n]*\b{command.name}\b", text), f"'saccade {command.name}' is in no page"


def test_the_first_screen_has_what_it_promises():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:40])
    assert "pip install -c constraints.txt . && saccade train digits" in first_screen
    assert "pip install -c constraints.txt '.[all,test]' && pytest" in first_screen
    assert "held-out images correct (95 % interval" in first_screen
