"""Checkpoints: what is read is what was saved, or it is refused in words; the newest complete one is found."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.core import atomic
from saccade.core.errors import CheckpointError, TrainingError
from saccade.core.types import Preprocessing
from saccade.models.build import resolve_model
from saccade.runs.checkpoint import (
    Checkpoint,
    find_checkpoint,
    newest_checkpoint,
    open_checkpoint,
    save_checkpoint,
    update_manifest,
)
from saccade.runs.manifest import FORMAT_VERSION, Manifest
from saccade.runs.names import MANIFEST, STATE, WEIGHTS

MODEL = "conv 2 f3 | pool | fc 3"
GREY = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.25,))


def manifest(step: int = 1) -> Manifest:
    metrics = {"top1": 0.875, "loss": 1 / 3}
    return Manifest(model=MODEL, preprocessing=GREY, classes=("cat", "dog", "été"), step=step, metrics=metrics)


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return resolve_model(MODEL, manifest().spec).eval()


def save(folder: Path, step: int = 1, keep_previous: bool = False) -> dict[str, torch.Tensor]:
    weights = network(step).state_dict()
    state = {"optimizer.0.0.momentum_buffer": torch.randn(4, 5), "totals.num_seen": torch.tensor(7)}
    save_checkpoint(folder, manifest(step), weights, state, keep_previous)
    return {**weights, **state}


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(folder, check_content=True)
    return error.value.message


def test_what_is_loaded_is_what_was_saved(tmp_path: Path):
    saved = save(tmp_path / "checkpoint", step=5)
    found = open_checkpoint(tmp_path / "checkpoint")
    loaded = found.load_weights() | found.load_state()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    expected = manifest(5)
    assert found.manifest.model_copy(update={"files": {}, "own_sha256": ""}) == expected
    image_BCHW = torch.randn(2, 1, 8, 8)
    model = found.load_model()
    assert not model.training
    assert torch.equal(model(image_BCHW), network(5)(image_BCHW))


def test_weights_that_are_laid_out_channels_last_come_back_equal(tmp_path: Path):
    weights = network().to(memory_format=torch.channels_last).state_dict()
    save_checkpoint(tmp_path / "checkpoint", manifest(), weights)
    loaded = open_checkpoint(tmp_path / "checkpoint").load_weights()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_checkpoint_without_state_cannot_be_gone_on_from(tmp_path: Path):
    save_checkpoint(tmp_path / "checkpoint", manifest(), network().state_dict())
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(tmp_path / "checkpoint").load_state()
    assert error.value.message == f"{tmp_path / 'checkpoint'} holds weights only: training cannot go on from it."


def test_metrics_can_be_added_while_the_weights_stay(tmp_path: Path):
    saved = save(tmp_path / "checkpoint")
    before = open_checkpoint(tmp_path / "checkpoint")
    update_manifest(before, {"top1": 0.5}, 1.25, before.manifest.task)
    after = open_checkpoint(tmp_path / "checkpoint", check_content=True)
    assert (after.manifest.metrics, after.manifest.temperature) == ({"top1": 0.5}, 1.25)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in after.load_weights().items())


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
def test_a_flipped_bit_anywhere_in_the_tensors_is_refused(tmp_path: Path, name: str):
    folder = tmp_path / "checkpoint"
    save(folder)
    whole = (folder / name).read_bytes()
    draw = np.random.default_rng(1)
    for position in [0, 7, 8, len(whole) - 1, *draw.integers(0, len(whole), 60).tolist()]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(draw.integers(0, 8))
        (folder / name).write_bytes(damaged)
        assert refusal(folder) == f"{folder / name} is damaged: its content is not what was saved."


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused_or_changes_nothing(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    save(folder)
    path, whole = folder / MANIFEST, (folder / MANIFEST).read_bytes()
    saved = json.loads(whole)
    draw = np.random.default_rng(2)
    messages = []
    for position in draw.integers(0, len(whole), 300).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(draw.integers(0, 8))
        path.write_bytes(damaged)
        try:
            open_checkpoint(folder, check_content=True)
        except CheckpointError as error:
            messages.append(error.message)
        else:
            assert json.loads(bytes(damaged)) == saved  # white space
    assert len(messages) > 200
    assert all(message.startswith(f"{folder}") and message.count("\n") < 4 for message in messages)


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_torn_file_is_refused_with_its_sizes(tmp_path: Path, name: str, kept: float):
    folder = tmp_path / "checkpoint"
    save(folder)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(kept * len(whole))])
    assert refusal(folder) == (
        f"{folder / name} has {int(kept * len(whole)):,} bytes instead of {len(whole):,}: it is damaged."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{path} is damaged: line 1, column 1 is not JSON (Expecting value)."),
        (b"[1]", "{path} is damaged: it holds no JSON object."),
        (b"\xff{", "{path} is damaged: byte 1 is not UTF-8 text."),
        (
            json.dumps({"format_version": FORMAT_VERSION + 1}).encode(),
            "{folder} has format 2; this Saccade reads up to format 1. Update Saccade.",
        ),
        (
            b'{"weights": "/etc/passwd"}',
            "{path}: 'model' is missing.",
        ),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, content: bytes, message: str):
    folder = tmp_path / "checkpoint"
    save(folder)
    (folder / MANIFEST).write_bytes(content)
    expected = message.format(folder=folder, path=folder / MANIFEST)
    assert refusal(folder) == expected


def test_a_changed_value_is_noticed_although_it_is_valid(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    save(folder)
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text.replace('"dog"', '"dot"'), encoding="utf-8")
    assert refusal(folder) == f"{folder / MANIFEST} is damaged: its content is not what was saved."


def test_a_missing_file_is_named(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    save(folder)
    (folder / WEIGHTS).unlink()
    assert refusal(folder) == f"{folder} is incomplete: {WEIGHTS} is missing."
    (folder / MANIFEST).unlink()
    assert refusal(folder) == f"{folder} is not a complete checkpoint: it has no {MANIFEST}, which is written last."


def test_the_one_before_is_kept_and_found_when_the_newest_is_damaged(tmp_path: Path):
    folder = tmp_path / "checkpoint-last"
    for step in (1, 2, 3):
        save(folder, step, keep_previous=True)
    found, problems = newest_checkpoint(folder)
    assert (step_of(found), problems) == (3, [])
    (folder / WEIGHTS).write_bytes(b"x")
    found, problems = newest_checkpoint(folder)
    assert step_of(found) == 2
    size = newest_size(folder)
    assert problems == [f"{folder / WEIGHTS} has 1 bytes instead of {size:,}: it is damaged."]


def newest_size(folder: Path) -> int:
    return int(json.loads((folder / MANIFEST).read_text())["files"][WEIGHTS]["num_bytes"])


def step_of(found: Checkpoint | None) -> int:
    return -1 if found is None else found.manifest.step


@pytest.mark.parametrize("again", [False, True])
def test_a_save_killed_between_its_two_renames_is_found_and_survives_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
):
    folder = tmp_path / "checkpoint-last"
    save(folder, 1, keep_previous=True)
    real, calls = os.rename, []

    def killed_at_the_second(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "rename", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        save(folder, 2, keep_previous=True)
    monkeypatch.setattr(os, "rename", real)
    assert not folder.exists()
    assert step_of(newest_checkpoint(folder)[0]) == 2
    if again:  # a later save that fails early must not cost the newest one
        monkeypatch.setattr(atomic, "write_bytes", lambda path, content: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(folder, 3, keep_previous=True)
        assert step_of(newest_checkpoint(folder)[0]) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["weights", "state"])
def test_values_that_are_not_finite_never_replace_a_good_checkpoint(tmp_path: Path, bad: float, place: str):
    folder = tmp_path / "checkpoint"
    save(folder, 1)
    weights, state = network(2).state_dict(), {"optimizer.0.0.momentum_buffer": torch.zeros(3)}
    chosen = weights if place == "weights" else state
    name = list(chosen)[-1]
    chosen[name].view(-1)[0] = bad
    with pytest.raises(TrainingError) as error:
        save_checkpoint(folder, manifest(2), weights, state)
    assert error.value.message == (
        f"The tensor '{name}' holds values that are not finite; it is not saved.\n"
        f"The last good checkpoint is intact. Lower the learning rate and start a new run."
    )
    assert open_checkpoint(folder, check_content=True).manifest.step == 1


def test_a_run_without_a_checkpoint_says_what_to_give(tmp_path: Path):
    for path, what in ((tmp_path, "holds no checkpoint"), (tmp_path / "none", "is not there")):
        with pytest.raises(CheckpointError) as error:
            find_checkpoint(path)
        assert error.value.message == (
            f"The run {path} {what}.\nGive the folder that 'saccade train' printed, such as runs/digits-lenet5-1."
        )


def test_a_run_that_has_saved_nothing_yet_says_how_it_goes_on(tmp_path: Path):
    (tmp_path / "config.toml").write_text("format = 2\n")
    with pytest.raises(CheckpointError) as error:
        find_checkpoint(tmp_path)
    assert error.value.message == (
        f"The run {tmp_path} has begun and saved no network yet.\n"
        f"Wait for its first epoch, or go on with it: saccade train, or transfer, --resume --out {tmp_path}"
    )


def test_a_damaged_best_checkpoint_is_never_silently_replaced_by_the_last(tmp_path: Path):
    save(tmp_path / "checkpoint-best")
    save(tmp_path / "checkpoint-last", step=2)
    path = tmp_path / "checkpoint-best" / MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace("cat", "cow"), encoding="utf-8")
    with pytest.raises(CheckpointError) as error:
        find_checkpoint(tmp_path)
    assert error.value.message == (
        f"{path} is damaged: its content is not what was saved.\n"
        f"The last checkpoint is whole: give {tmp_path / 'checkpoint-last'} instead, or train again."
    )
    assert find_checkpoint(tmp_path / "checkpoint-last").manifest.step == 2


def test_a_best_checkpoint_that_was_never_saved_whole_is_not_missed(tmp_path: Path):
    save(tmp_path / "checkpoint-last", step=2)
    atomic.temporary_folder(tmp_path / "checkpoint-best").mkdir()
    assert find_checkpoint(tmp_path).manifest.step == 2


def test_weights_of_another_network_are_refused(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    other = resolve_model("conv 4 f3 | pool | fc 3", manifest().spec)
    save_checkpoint(folder, manifest(), other.state_dict())
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(folder).load_model()
    shapes = {name: tensor.shape for name, tensor in network().state_dict().items()}
    first = next(name for name, tensor in other.state_dict().items() if tensor.shape != shapes[name])
    assert error.value.message == (
        f"The weights in {folder} are not those of {MODEL}: 3 tensors differ, '{first}' first.\n"
        f"The checkpoint was changed, or written by another version of Saccade."
    )


def test_weights_that_two_layers_share_are_kept_under_both_names(tmp_path: Path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {"a.weight": shared, "b.weight": shared, "a.part": shared[0], "c.bias": torch.ones(2)}
    save_checkpoint(tmp_path / "run", manifest(), weights)
    saved = open_checkpoint(tmp_path / "run").load_weights()
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in weights.items())
