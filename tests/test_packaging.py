"""What `pip install` brings: one version, pins for everything, no promise without its code, types for users."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import saccade
from saccade.data.images.formats.table import FORMATS

REPOSITORY = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TRACKERS = {"tensorboard", "mlflow", "wandb", "trackio"}  # not in `all`: each brings much, for those who have it


def own_requirements() -> list[Requirement]:
    """What the distribution and the extras of the test command ask for, without the extra that names the others."""
    extras = [extra for name, extra in EXTRAS.items() if name not in TRACKERS]
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def with_all_they_need(wanted: list[Requirement]) -> set[str]:
    """Canonical names of `wanted` and of everything that installing them here brings along."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for text in requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                wanted.append(needed)
    return found


def test_everything_that_the_test_command_installs_is_pinned():
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+", line) for line in lines)
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines}
    try:
        needed = with_all_they_need(own_requirements())
    except PackageNotFoundError as missing:
        pytest.skip(f"'{missing.name}' is not installed: this environment is not that of the test command")
    assert needed - pinned == set()


def test_the_distribution_has_its_own_name_and_the_version_of_the_package():
    assert PROJECT["name"] == "saccade-learn"
    assert PROJECT["dynamic"] == ["version"]
    text = (REPOSITORY / "src/saccade/__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{saccade.__version__}"' in text


def test_every_package_of_an_extra_is_imported_by_the_package():
    """An extra promises what is there: the package, or for `test` its tools, use each of its requirements."""
    modules = {"pyarrow": "pyarrow", "fsspec": "fsspec", "pillow-heif": "pillow_heif", "pydicom": "pydicom"}
    modules |= {"onnx": "onnx", "onnxruntime": "onnxruntime", "openvino": "openvino", "nncf": "nncf"}
    modules |= {"mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio", "jinja2": "jinja2"}
    modules |= {"starlette": "starlette", "uvicorn": "uvicorn", "python-multipart": "python_multipart"}
    text = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "src").rglob("*.py"))
    own = {"data", "s3", "heic", "dicom", "export", "openvino", "int8", "serve", "studio"}
    assert set(EXTRAS) == own | {"test", "all"} | TRACKERS
    extras = [EXTRAS[name] for name in sorted(own | TRACKERS)]
    for requirement in map(Requirement, [text for texts in extras for text in texts]):
        if requirement.name in ("onnxscript", "httptools", "uvloop", "s3fs", "saccade-learn", "tensorboard"):
            continue  # imported by torch, by uvicorn and by fsspec; another extra
        assert re.search(rf"^\s*(import|from) {modules[requirement.name]}\b", text, re.M), requirement.name


def test_every_extra_that_an_image_format_needs_is_one_that_can_be_installed():
    for entry in FORMATS:
        if entry.extra:
            assert entry.extra in EXTRAS
            assert f"pip install 'saccade-learn[{entry.extra}]'" in entry.remedy


def test_messages_and_pages_name_the_distribution_where_something_is_installed():
    pages = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md"]
    for path in pages:
        for extra in re.findall(r"pip install[^\n]*?'saccade(\S*?)\[", path.read_text(encoding="utf-8")):
            assert extra == "-learn", f"{path.name} installs 'saccade{extra}[...]', which is somebody else's"


def test_the_package_says_that_it_has_types():
    assert (Path(saccade.__file__).parent / "py.typed").is_file()
