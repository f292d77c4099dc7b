"""Two processes that start in one folder: whatever the moment at which one looks, it is told what happens there."""

from pathlib import Path

import pytest

from saccade.core.errors import CheckpointError
from saccade.train import run_directory as folder
from saccade.train.run_directory import CONFIG, RunFolder


def test_a_run_that_another_process_begins_between_two_looks_is_seen_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def begun_meanwhile(path: Path) -> bool:
        (path / CONFIG).write_text("")  # the other one has begun, and has saved its first checkpoint
        return True

    monkeypatch.setattr(folder, "holds_checkpoint", begun_meanwhile)
    with pytest.raises(CheckpointError) as caught:
        RunFolder(path=tmp_path).check()
    assert caught.value.message == (
        f"{tmp_path} already holds a run.\nGo on with it by --resume, or choose another place with --out."
    )
