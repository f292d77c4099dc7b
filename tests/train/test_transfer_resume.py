"""A transfer that goes on: its weights may have moved, nothing else may change, and its seconds are told apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.transfer.test_run import Cut, CutAfter, backbone, refused, request, weights

from saccade import api
from saccade.cli.transfer import transfer_text
from saccade.core.errors import UsageError
from saccade.transfer.request import TransferRequest

__all__ = ["backbone"]


@pytest.fixture
def cut(backbone: Path, tmp_path: Path) -> TransferRequest:  # noqa: F811 - the fixture of the other file
    """A run that was cut off while it measured depths, and what goes on with it."""
    with pytest.raises(Cut):
        api.transfer(
            replace(request(backbone, tmp_path / "run", "auto"), cache="none"), CutAfter(note="fitting heads to all")
        )
    return TransferRequest(resume=True, out=tmp_path / "run", cache="none")


def test_weights_that_have_moved_are_found_where_a_person_says(cut: TransferRequest, backbone: Path, tmp_path: Path):  # noqa: F811
    before = request(backbone, tmp_path / "whole", "auto")
    api.transfer(replace(before, cache="none"))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in backbone.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(backbone), str(tmp_path / "gone")))
    assert refused(cut).startswith(f"There is no weight file {tmp_path / 'gone'}")
    api.transfer(replace(cut, weights=str(moved)))
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_resumed_transfer_cannot_change_is_refused(cut: TransferRequest, backbone: Path):  # noqa: F811
    assert refused(replace(cut, preprocessing=backbone / "pixels.json")) == (
        "A resumed transfer reads pixels as it began to.\n"
        "Leave --preprocessing out, or start a new run with another --out."
    )
    assert refused(replace(cut, recipe="transfer-gradual")) == (
        "A resumed run goes on as it began: recipe was transfer, now transfer-gradual.\n"
        "Leave that option out, or start a new run with another --out."
    )


def test_seconds_of_other_starts_are_not_counted_as_this_one(backbone: Path, tmp_path: Path):  # noqa: F811
    result = api.transfer(request(backbone, tmp_path / "run"))
    assert " in all: features " in transfer_text(result)
    resumed = replace(result, start=result.start.model_copy(update={"features_s": 1e4}))
    assert " since it was resumed; over all starts: features 2 h 46 min" in transfer_text(resumed)


def test_a_user_without_a_home_is_asked_for_a_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def expanduser(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)
    with pytest.raises(UsageError) as error:
        TransferRequest().store()
    assert error.value.message == (
        "You have no home folder that features could be kept in.\n"
        "Say where with --cache DIR, or keep none with --cache none."
    )
    assert TransferRequest(cache="none").store().folder is None
