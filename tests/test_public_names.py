"""Public names of the last release are still there: the rule of CONTRIBUTING.md for names that change."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
import typer

import saccade
import saccade.testing
from saccade.cli.main import app

REPOSITORY = Path(__file__).parent.parent
NAMES = json.loads((Path(__file__).parent / "public_names.json").read_text(encoding="utf-8"))
RULE = "a public name works for two more minor releases: see CONTRIBUTING.md, 'Releases, and names that change'"


@pytest.mark.parametrize("verb", sorted(NAMES["options"]))
def test_every_option_of_the_last_release_is_still_there(verb: str):
    command = typer.main.get_command(app).commands.get(verb)
    assert command is not None, f"saccade {verb} is gone; {RULE}"
    gone = set(NAMES["options"][verb]) - {name for option in command.params for name in option.opts}
    assert not gone, f"saccade {verb}: {RULE}"


@pytest.mark.parametrize("module", [saccade, saccade.api, saccade.testing], ids=lambda module: module.__name__)
def test_every_name_of_the_library_of_the_last_release_is_still_there(module):
    gone = [name for name in NAMES["names"][module.__name__] if not hasattr(module, name)]
    assert not gone, RULE


def test_what_is_public_now_is_recorded_once_it_is_released():
    """The file belongs to a release that the changelog has: with a new one, its names are added."""
    assert NAMES["release"] == saccade.__version__
    listed = {module.__name__: set(module.__all__) for module in (saccade, saccade.api, saccade.testing)}
    assert {module: set(names) for module, names in NAMES["names"].items()}.keys() == listed.keys()


def test_the_version_is_the_newest_release_of_the_changelog_and_stands_in_one_place():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## Unreleased\n") < text.index(f"## {saccade.__version__} - ")
    releases = re.findall(r"^## (\S+) - (\S+)$", text, re.M)
    assert releases[0][0] == saccade.__version__
    assert [date.fromisoformat(day) for _, day in releases] == sorted(
        (date.fromisoformat(day) for _, day in releases), reverse=True
    )
    others = [REPOSITORY / "pyproject.toml", REPOSITORY / "CITATION.cff", *(REPOSITORY / "src").rglob("*.py")]
    spelled = [path.name for path in others if f'"{saccade.__version__}"' in path.read_text(encoding="utf-8")]
    assert spelled == ["__init__.py"]
