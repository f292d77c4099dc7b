"""Steps of one image: refused where batch normalisation has a single value, told where nothing can be mixed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from saccade import api
from saccade.core.errors import ConfigError, SaccadeError
from saccade.core.types import Preprocessing
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.single_images import idle_mixing, refuse_single_values

ONE = RunConfig().with_overrides(["batch_size=1", "model=resnet20"])


def pixels(size_px: int) -> Preprocessing:
    return Preprocessing(input_height_px=size_px, input_width_px=size_px)


def resnet(size_px: int) -> nn.Module:
    return build_model("resnet20", ModelSpec(num_classes=10, input_CHW=(3, size_px, size_px))).train()


def test_it_is_told_before_training_by_name(tmp_path: Path):
    settings = ["batch_size=1", "input.size_px=4"]
    with pytest.raises(SaccadeError) as error:
        api.train(api.TrainRequest(source="digits", model="resnet20", out=tmp_path / "run", settings=settings))
    assert error.value.message == (
        "batch_size=1 cannot train resnet20: the batch normalisation 'stages.stage3.0.convolution1.norm' would see a "
        "map of 1x1 of one image, a single value a channel, which has no deviation.\n"
        "Take --set batch_size=2 or more, or larger images with --set input.size_px=8."
    )
    assert not (tmp_path / "run").exists()


def test_the_hint_is_large_enough_where_the_first_epochs_are_smaller():
    config = ONE.with_overrides(["input.start_fraction=0.5", "epochs=4"])
    with pytest.raises(ConfigError, match=r"--set input\.size_px=16\.$"):
        refuse_single_values(resnet(8), config, pixels(8))
    refuse_single_values(resnet(16), config, pixels(16))


@pytest.mark.parametrize("size_px", [2, 4, 5, 8, 32])
def test_just_what_torch_refuses_is_refused(size_px: int):
    model = resnet(size_px)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    told = False
    try:
        refuse_single_values(model, ONE, pixels(size_px))
    except ConfigError:
        told = True
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    fails = False
    try:
        model(torch.zeros(1, 3, size_px, size_px))
    except ValueError as error:
        fails = "Expected more than 1 value per channel" in str(error)
    assert told == fails == (size_px <= 4)


def test_features_and_frozen_parts():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.BatchNorm1d(3))
    with pytest.raises(ConfigError) as error:
        refuse_single_values(flat, ONE, pixels(4))
    assert error.value.message == (
        "batch_size=1 cannot train resnet20: the batch normalisation '2' would see the features of one image, a single "
        "value a channel, which has no deviation.\nTake --set batch_size=2 or more."
    )
    refuse_single_values(flat.eval(), ONE, pixels(4))
    refuse_single_values(flat.train(), ONE.with_overrides(["batch_size=2"]), pixels(4))


def test_mixing_that_has_no_pairs_is_told(tmp_path: Path):
    both = ONE.with_overrides(["augment.mixup.alpha=0.2", "augment.cutmix.alpha=1"])
    note = "mix pairs of images of a batch: with batch_size=1 there are none, and nothing is mixed"
    assert idle_mixing(both) in (f"mixup and cutmix {note}", f"cutmix and mixup {note}")
    assert idle_mixing(both.with_overrides(["batch_size=2"])) == idle_mixing(ONE) == ""
    notes: list[str] = []

    class Listening(api.Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    source = ([(torch.rand(8, 8).numpy() * 255).astype("uint8") for _ in range(12)], [0, 1] * 6)
    settings = ["batch_size=1", "augment.mixup.alpha=0.2"]
    request = api.TrainRequest(
        source=source, model="gap | fc 2", epochs=1, out=tmp_path / "run", settings=settings, recipe="default"
    )
    api.plan(replace(request, out=tmp_path / "planned"), Listening())
    assert [told for told in notes if told.startswith("mixup ")] == [f"mixup {note.replace('mix ', 'mixes ', 1)}"]
    notes.clear()
    api.train(request, Listening())
    assert f"mixup {note.replace('mix ', 'mixes ', 1)}" in notes
