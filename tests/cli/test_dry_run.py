"""`--dry-run`: what would run is said as the run itself says it, and nothing is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.transfer.test_run import backbone  # noqa: F401  a fixture
from tests.transfer.test_run import request as transfer_request

from saccade import api
from saccade.core.errors import UsageError

SMALL = ["--model", "conv 4 f3 bn | gap | fc 10", "--set", "input.size_px=12", "--set", "runtime.num_threads=1"]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_training_is_told_and_nothing_is_written(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    planned = saccade("train", "digits", "--epochs", 3, *SMALL, "--dry-run")
    assert planned.status == 0
    assert files_in(tmp_path) == []
    lines = planned.output.splitlines()
    assert [line.partition(" ")[0] for line in lines[:7]] == ["data", "split", "model", "device", "run", "cost", "time"]
    assert lines[4] == "run     runs/digits-conv-4-f3-bn-gap-fc-10-1"
    assert "    epochs = 3" in lines
    assert lines[-1] == "Nothing was written. Leave out --dry-run to run it."
    begun = saccade("train", "digits", "--epochs", 1, *SMALL, "--plain")
    assert [line for line in begun.errors.splitlines() if line.startswith(("data ", "split "))] == lines[:2]
    again = saccade("train", "digits", *SMALL, "--dry-run", "--json")
    values = json.loads(again.output)
    assert values["run"] == "runs/digits-conv-4-f3-bn-gap-fc-10-2", "the name that is free now"
    assert values["parameters"] == 36 + 8 + 50 + 110  # 4 filters of 3x3, their normalisation, two dense layers
    assert values["multiply_adds"] == 10 * 10 * 36 + 40 + 100
    assert values["images"] == {"train": 1295, "validation": 143, "test": 359}
    assert 0 < values["seconds_low"] <= values["seconds_high"]


def test_what_a_run_would_refuse_a_dry_run_refuses(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        api.plan(api.TrainRequest(out=tmp_path / "run", resume=True))
    assert error.value.message == "A dry run is of a new run, and --resume goes on with one.\nLeave one of them out."
    with pytest.raises(UsageError) as error:
        api.plan(api.TrainRequest(out=tmp_path / "run", log=("tensorbord",)))
    assert error.value.message.startswith("Unknown tracker 'tensorbord'. Did you mean 'tensorboard'?")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    with pytest.raises(UsageError):
        api.plan(api.TrainRequest(source=str(tmp_path / "photos"), out=tmp_path / "photos" / "run"))
    with pytest.raises(UsageError) as error:
        api.plan(api.TransferRequest(source="digits", backbone="resnet18,resnet34"))
    assert error.value.message.startswith("A dry run looks at one network, and several are to be compared here.\n")


def test_members_and_folds_are_counted():
    asked = {"source": "digits", "model": "conv 4 f3 bn | gap | fc 10", "settings": ["input.size_px=12"]}
    assert api.plan(api.TrainRequest(**asked, ensemble=3)).more == (
        "members 3 such runs, each with a seed of its own, then judged together",
    )


def test_a_network_of_the_hub_is_not_downloaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("saccade.transfer.choose_backbone.is_on_this_machine", lambda address: False)
    planned = api.plan(api.TransferRequest(source="digits", backbone="resnet18"))
    (model,) = [line for line in planned.opening if line.startswith("model ")]
    assert model == (
        "model   resnet18: its weights (47 MB to download) are not on this machine; a dry run downloads none"
    )
    assert planned.cost.multiply_adds is None


def test_a_transfer_is_told_with_its_network(tmp_path: Path, backbone: Path):  # noqa: F811
    before = files_in(tmp_path)
    planned = api.plan(replace(transfer_request(backbone, tmp_path / "run", freeze="auto"), cache="none"))
    assert files_in(tmp_path) == before
    assert planned.run == tmp_path / "run"
    assert planned.cost.parameters == 61_706  # LeNet-5 with a last layer for ten classes
    (model,) = [line for line in planned.opening if line.startswith("model ")]
    assert model.startswith("model   lenet5: 61,706 parameters, input 32x32x1; recipe transfer: ")
    assert model.endswith("depth by evidence, then up to 2 epochs")
