"""Fixtures every test may use, and what makes a test the same test beside other work and on any day."""

import gc
import itertools
import math
import os
import re
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

# pytest keeps the assertions that it has rewritten beside the tests, even where the environment forbids Python to keep
# bytecode: to rewrite them is half the cost of collecting, in every worker.
sys.dont_write_bytecode = False

# What is imported and collected stays. To look through it again and again for what does not is a tenth of the time.
gc.disable()

# Threads that wait give their processor away. Those that spin make a training beside other work take twenty times as
# long. OpenMP reads this when torch is loaded, so it stands in front of the imports; child processes inherit it. Those
# of OpenBLAS, behind NumPy and scikit-learn, always spin: there is one, and a fit takes a sixth of the processor time.
os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "OPENBLAS_NUM_THREADS": "1"}
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # workers share the processors
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ["OMP_NUM_THREADS"] = str(max(1, share))

import pytest  # noqa: E402
from hypothesis import given, settings, strategies  # noqa: E402

from saccade.cli import live_line  # noqa: E402
from saccade.cli.main import main  # noqa: E402

REPOSITORY = Path(__file__).parent.parent
numbers = itertools.count()

# The same examples every time: a change is judged by what it changes. `--hypothesis-profile=search` draws new ones;
# what it finds is pinned with @example.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")


TEST_FILE = re.compile(r"test_.*\.py")
TEST_FUNCTION = re.compile(r"^\s*(?:async )?def (test\w*)", re.M)
SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage from now on, among what tests make: to go through all that is imported takes half a second."""
    try:
        return (yield)
    finally:
        meet_hypothesis()
        gc.freeze()
        gc.enable()


@given(strategies.none())
def meet_hypothesis(nothing: None) -> None:
    """Its first test looks for who holds its random numbers, which nobody finds among what is frozen."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` every test that tests/slow.txt does not name."""
    for item in items:
        if item.nodeid.partition("[")[0] not in SLOW:
            item.add_marker(pytest.mark.quick)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of `-m quick`: do not import a file in which every test is slow. Only one that is plain enough to say so: its
    tests are functions, each named in tests/slow.txt."""
    if (
        config.option.markexpr != "quick"
        or not collection_path.is_file()
        or not TEST_FILE.fullmatch(collection_path.name)
    ):
        return None
    text = collection_path.read_text(encoding="utf-8")
    names = TEST_FUNCTION.findall(text)
    where = collection_path.relative_to(REPOSITORY).as_posix()
    is_plain = names and "class Test" not in text and "import *" not in text
    return True if is_plain and all(f"{where}::{name}" in SLOW for name in names) else None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker per processor, at most 4, since each takes up to 1 GB; none where single files are asked for."""
    names = [argument.partition("::")[0] for argument in config.args]
    return 0 if all(name.endswith(".py") for name in names) else min(4, os.cpu_count() or 1)


def shared_folder() -> Path | None:
    """The folder of real data and weights beside the checkout, or the one SACCADE_SHARED names; None without one."""
    candidates = [os.environ.get("SACCADE_SHARED"), str(REPOSITORY.parent / "shared")]
    return next((Path(text) for text in candidates if text and Path(text).is_dir()), None)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """`shared("data/fashion-mnist")`: that real file or folder; the test is skipped, with the reason, without it."""

    def find(relative: str) -> Path:
        folder = shared_folder()
        if folder is None or not (folder / relative).exists():
            pytest.skip(f"the real data '{relative}' is not here (set SACCADE_SHARED to the folder that has it)")
        return folder / relative

    return find


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No network, no colour, no cache that another test or a person has filled; commands under test inherit it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / f"cache-{next(numbers)}"))


@dataclass(frozen=True)
class Finished:
    """What a command left: exit status, standard output, standard error."""

    status: int
    output: str
    errors: str


@pytest.fixture
def saccade(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`saccade("train", "digits")`: run the command in this process, as `main` does."""
    monkeypatch.setattr(live_line, "PLAIN_PATIENCE_S", math.inf)  # a slow machine says nothing more than a fast one

    def run(*arguments: object) -> Finished:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["saccade", *map(str, arguments)])
        status: int | str | None = 0
        try:
            main()
        except SystemExit as ending:
            status = ending.code
        sys.stdout.flush()
        output, errors = capfd.readouterr()
        return Finished(status=int(status or 0), output=output, errors=errors)

    return run
