"""Registries find what lies in a folder, and never let one name mean two things."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from saccade.core.errors import UnknownNameError, UsageError
from saccade.core.registry import Registry

MODULE = """
from types import SimpleNamespace
from {package} import REGISTRY
REGISTRY.add(SimpleNamespace(name="{name}"), __name__)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "dropin_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from saccade.core.registry import Registry\nREGISTRY = Registry('thing', 'things', 'dropin_package')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "dropin_package"
    for name in [name for name in sys.modules if name.split(".")[0] == "dropin_package"]:
        del sys.modules[name]


def open_registry(package: str) -> Registry[SimpleNamespace]:
    return importlib.import_module(package).REGISTRY


def test_a_new_file_in_the_folder_is_found_at_the_first_look(package: str, tmp_path: Path):
    (tmp_path / package / "b.py").write_text(MODULE.format(package=package, name="beta"))
    (tmp_path / package / "a.py").write_text(MODULE.format(package=package, name="alpha"))
    registry = open_registry(package)
    assert list(registry) == ["alpha", "beta"]
    assert registry.origin("beta") == "dropin_package.b"


def test_one_name_from_two_files_is_an_error_naming_both(package: str, tmp_path: Path):
    (tmp_path / package / "a.py").write_text(MODULE.format(package=package, name="same"))
    (tmp_path / package / "b.py").write_text(MODULE.format(package=package, name="same"))
    with pytest.raises(UsageError) as error:
        open_registry(package).names()
    assert error.value.message == (
        "Two modules register the thing 'same': dropin_package.a and dropin_package.b.\n"
        "Rename one of them, or remove the one you do not need."
    )


def test_an_unknown_name_gets_the_nearest_and_the_way_to_list_all(package: str, tmp_path: Path):
    (tmp_path / package / "a.py").write_text(MODULE.format(package=package, name="lenet5"))
    with pytest.raises(UnknownNameError) as error:
        open_registry(package).get("lenet")
    assert error.value.message == "Unknown thing 'lenet'. Did you mean 'lenet5'? 'saccade things' lists all 1."


def test_a_module_that_fails_to_import_fails_again_at_the_next_look(package: str, tmp_path: Path):
    (tmp_path / package / "a.py").write_text("import module_that_does_not_exist")
    registry = open_registry(package)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.names()


def test_entry_points_of_other_distributions_are_loaded(package: str, monkeypatch: pytest.MonkeyPatch):
    registry = open_registry(package)

    class Point:
        name = "outside"

        def load(self) -> None:
            registry.add(SimpleNamespace(name="outside"), "another_distribution")

    def entry_points(group: str) -> list[Point]:
        return [Point()] if group == "saccade.things" else []

    monkeypatch.setattr("saccade.core.registry.entry_points", entry_points)
    assert registry.names() == ["outside"]
