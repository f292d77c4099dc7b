"""Fixtures every test may use."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from saccade.cli.main import main

REPOSITORY = Path(__file__).parent.parent


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
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and no colour, whatever the machine; commands under test inherit it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")


@dataclass(frozen=True)
class Finished:
    """What a command left: exit status, standard output, standard error."""

    status: int
    output: str
    errors: str


@pytest.fixture
def saccade(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """`saccade("train", "digits")`: run the command in this process, as `main` does."""

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
