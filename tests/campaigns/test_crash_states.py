"""Every state a power loss can leave loads the newest committed checkpoint; and the campaign notices a missing sync."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.core import atomic

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def run_campaign(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], dict[str, Any]]:
    monkeypatch.syspath_prepend(REPOSITORY)
    return importlib.import_module("campaigns.crash_states").run_campaign


def test_every_state_after_a_power_loss_loads_the_newest_committed_checkpoint(run_campaign: Callable):
    result = run_campaign(8, 1)
    assert result["failures"] == []
    assert result["states"] >= 500


@pytest.mark.parametrize("name", ["sync_file", "sync_folder"])
def test_a_save_without_its_syncs_is_caught(run_campaign: Callable, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr(atomic, name, lambda path: None)
    assert run_campaign(1, 1)["failures"]


def test_a_save_that_removes_the_one_before_first_is_caught(run_campaign: Callable, monkeypatch: pytest.MonkeyPatch):
    real = atomic.replace_folder

    def careless(path: Path, fill: Callable, marker: str, keep_previous: bool, needed_bytes: int = 0) -> None:
        atomic._remove_folder(path, marker)
        atomic._remove_folder(atomic.previous_folder(path), marker)
        real(path, fill, marker, keep_previous, needed_bytes)

    monkeypatch.setattr(atomic, "replace_folder", careless)
    assert run_campaign(2, 1)["failures"]
