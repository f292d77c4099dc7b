"""A transfer that goes on: its weights may have moved, nothing else may change, and its seconds are told apart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from tests.transfer.test_run import Cut, CutAfter, backbone, refused, request, weights

from saccade import api
from saccade.cli.console import duration
from saccade.cli.transfer import transfer_text
from saccade.core.errors import UsageError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.transfer.request import TransferRequest

__all__ = ["backbone"]


@pytest.fixture
def cut(backbone: Path, tmp_path: Path) -> TransferRequest:  # noqa: F811 - the fixture of the other file
    """A run that was cut off while it measured depths, and what goes on with it."""
    with pytest.raises(Cut):
        api.transfer(
            replace(request(backbone, tmp_path / "run", "auto"), cache="none"), CutAfter(working="last layer alone")
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


def dark_and_light(source: Path) -> Path:
    draw = np.random.default_rng(0)
    for number in range(240):
        folder = source / ("light" if number % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 128, (32, 32)) + (100 if number % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return source


@pytest.mark.parametrize("change", ["deleted", "replaced", "another class"])
def test_a_transfer_cut_off_before_its_start_notices_other_images(backbone: Path, tmp_path: Path, change: str):  # noqa: F811
    source, run = dark_and_light(tmp_path / "set"), tmp_path / "run"
    begun = replace(request(backbone, run, "auto"), source=str(source), cache="none")
    with pytest.raises(Cut):
        api.transfer(begun, CutAfter(working="last layer alone"))
    resumed = TransferRequest(resume=True, out=run, cache="none")
    if change == "deleted":
        (source / "dark" / "0.png").unlink()
    elif change == "replaced":
        Image.fromarray(np.full((32, 32), 7, np.uint8)).save(source / "dark" / "0.png")
    else:
        (source / "dark" / "0.png").rename(source / "light" / "0.png")
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert refused(resumed) == (
        f"The training images in {source} are not those this run began with, by {run}/seen.safetensors.\n"
        "Put the images back as they were, or start a new run with another --out.\n"
        "Nothing was learned from them yet; to begin again with what is there: "
        "--resume --set loader.on_bad_image=skip."
    )
    assert before == {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    if change == "deleted":
        result = api.transfer(replace(resumed, settings=["loader.on_bad_image=skip"]))
        assert (
            "The training images are not those the run was begun with; it had learned nothing from these."
            in result.run.judgement.caveats
        )


def test_a_transfer_goes_on_without_a_training_file_that_was_deleted(backbone: Path, tmp_path: Path):  # noqa: F811
    source, run = dark_and_light(tmp_path / "set"), tmp_path / "run"
    settings = [
        "batch_size=32",
        "runtime.precision=float32",
        "loader.memory_limit_bytes=0",
        "transfer.ladder_images=150",
    ]
    begun = replace(request(backbone, run, "stage1"), source=str(source), settings=settings, cache="none")
    with pytest.raises(Cut):
        api.transfer(begun, CutAfter(epoch=1))
    before = load_file(run / "seen.safetensors")
    known = {row.tobytes() for row in before["pixels_NB"][before["part_N"] == 0]}
    opened = open_source(str(source))
    rows = [row.tobytes() in known for row in scan_source(opened, 1).pixel_digest_N]
    (source / opened.record(rows.index(True)).key).unlink()
    resumed = TransferRequest(resume=True, out=run, cache="none")
    assert refused(resumed).endswith("go on without them: --resume --set loader.on_bad_image=skip.")
    result = api.transfer(replace(resumed, settings=["loader.on_bad_image=skip"]))
    after = load_file(run / "seen.safetensors")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert result.run.judgement.metrics.num_samples == int((before["part_N"] == 2).sum())
    assert any("lost or changed while the run was under way" in text for text in result.run.judgement.caveats)
    tested = {row.tobytes() for row in before["pixels_NB"][before["part_N"] == 2]}
    opened = open_source(str(source))
    digests = {
        opened.record(index).key: row.tobytes() for index, row in enumerate(scan_source(opened, 1).pixel_digest_N)
    }
    keys = json.loads((run / "evaluation.json").read_text())["keys"]
    assert {digests[key] for key in keys} == tested


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
    counted_s = result.start.features_s + result.start.heads_s + result.run.training_s
    text = transfer_text(result, seconds=counted_s + 83)
    assert f"{duration(counted_s + 83)} in all: features " in text
    assert ", starting, judging and the report 1 min 23 s.\n" in text + "\n"
    assert transfer_text(result, seconds=counted_s + 83, minutes=60) == text
    assert "1 min 23 s. That is more than --minutes 1 allow: less could not be done.\n" in transfer_text(
        result, seconds=counted_s + 83, minutes=1
    )
    resumed = replace(result, start=result.start.model_copy(update={"features_s": 1e4}))
    assert " since resuming; over all starts: features 2 h 46 min" in transfer_text(resumed)


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
