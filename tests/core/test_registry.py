"""Registries find what lies in a folder, and never let one name mean two things."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from saccade.core.errors import UnknownNameError, UsageError
from saccade.core.registry import Registry, spelled
from saccade.models.architecture import MODELS

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
        name, module, dist = "outside", "another_distribution", None

        def load(self) -> None:
            registry.add(SimpleNamespace(name="outside"), "another_distribution")

    def entry_points(group: str) -> list[Point]:
        return [Point()] if group == "saccade.things" else []

    monkeypatch.setattr("saccade.core.registry.entry_points", entry_points)
    assert registry.names() == ["outside"]


@pytest.mark.parametrize(
    ("others", "ours"),
    [
        ("convnext_tiny", "convnext-tiny"),
        ("ConvNeXt-Tiny", "convnext-tiny"),
        ("efficientnet_b0", "efficientnet-b0"),
        ("tf_efficientnet_lite0", "efficientnet-lite0"),
        ("mobilenet_v2", "mobilenetv2"),
        ("mobilenetv2_100", "mobilenetv2"),
        ("mobilenet_v3_large", "mobilenetv3-large"),
        ("mobilenetv3_large_100", "mobilenetv3-large"),
        ("regnet_y_400mf", "regnety-400mf"),
        ("regnety_004", "regnety-400mf"),
        ("resnet50d", "resnet50-d"),
        ("resnext50_32x4d", "resnext50-32x4d"),
        ("seresnet50", "se-resnet50"),
        ("shufflenet_v2_x1_0", "shufflenetv2-1.0"),
        ("squeezenet1_1", "squeezenet1.1"),
        ("vgg16_bn", "vgg16-bn"),
        ("wide_resnet50_2", "wide-resnet50-2"),
    ],
)
def test_networks_are_found_under_the_spellings_of_timm_and_torchvision(others: str, ours: str):
    assert MODELS.get(others).name == ours


def test_no_two_networks_share_a_spelling():
    spellings = [spelled(name) for name in MODELS.names()]
    assert len(set(spellings)) == len(spellings)
