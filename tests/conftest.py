"""Fixtures every test may use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
