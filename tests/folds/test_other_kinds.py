"""Folds of a transfer, of a set with a given test part, and of several labels an image."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from tests.several_labels import write_list

from saccade import api
from saccade.core.errors import UsageError
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import find_checkpoint

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=64", "runtime.precision=float32"]
NUM_IMAGES = 300
FOLDS = ("folds/fold-1", "folds/fold-2", "folds/fold-3")
IMAGES, LABELS = (load_digits().images[:NUM_IMAGES] * 15).astype(np.uint8), load_digits().target[:NUM_IMAGES]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 with random weights for seven other classes, and how it sees pixels."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def request(backbone: Path, out: Path, **changes: object) -> api.TransferRequest:
    values = {
        "source": (IMAGES, LABELS),
        "backbone": "lenet5",
        "weights": backbone,
        "preprocessing": backbone / "pixels.json",
        "freeze": "all",
        "folds": 3,
        "out": out,
        "cache": out.parent / "cache",
        "settings": SETTINGS,
    }
    return api.TransferRequest(**(values | changes))


def begun(run: Path) -> dict[str, object]:
    return dict(json.loads((run / "transfer.json").read_text()))


class Stopping(api.Silent):
    """Asks for the end when the second fold is under way."""

    def note(self, text: str) -> None:
        if text == "fold 2 of 3":
            raise KeyboardInterrupt


def test_a_frozen_transfer_computes_each_images_features_once_and_goes_on_to_the_same_bits(
    backbone: Path, tmp_path: Path
):
    result = api.transfer(request(backbone, tmp_path / "a" / "run"))
    runs = [tmp_path / "a" / "run" / name for name in (*FOLDS, ".")]
    assert sum(begun(run)["num_computed"] for run in runs) == NUM_IMAGES
    assert result.run.judgement.metrics.num_samples == NUM_IMAGES
    assert [fold.frozen for fold in result.run.judgement.folds.folds] == ["all"] * 3
    assert result.run.judgement.kind == "cross-validated"
    with pytest.raises(KeyboardInterrupt):
        api.transfer(request(backbone, tmp_path / "b" / "run"), Stopping())
    assert not (tmp_path / "b" / "run" / "folds" / "fold-2").exists()
    again = {"source": (IMAGES, LABELS), "out": tmp_path / "b" / "run", "cache": tmp_path / "b" / "cache"}
    api.transfer(api.TransferRequest(resume=True, **again))
    for name in (*FOLDS, "."):
        a, b = (load_file(tmp_path / side / "run" / name / "checkpoint-best" / "weights.safetensors") for side in "ab")
        assert all((a[key] == b[key]).all() for key in a)
    first, second = ((tmp_path / side / "run" / "folds.json").read_text() for side in "ab")
    assert first == second


def test_each_fold_chooses_its_depth_by_images_that_it_does_not_judge(backbone: Path, tmp_path: Path):
    asked = request(backbone, tmp_path / "run", freeze="auto", epochs=1, folds=2)
    asked = replace(asked, source=(IMAGES[:120], LABELS[:120] % 2), settings=[*SETTINGS, "transfer.ladder_images=30"])
    folds = api.transfer(asked).run.judgement.folds.folds
    for name, fold in zip(FOLDS, folds, strict=False):
        start = begun(tmp_path / "run" / name)
        assert {rung["num_judged"] for rung in start["rungs"]} == {30}
        assert fold.frozen == start["frozen"]
        seen = load_file(tmp_path / "run" / name / "seen.safetensors")
        assert (seen["part_N"] == 2).sum() == fold.num_judged == 60
    page = (api.report(tmp_path / "run")).read_text()
    assert "none on the images this report judges by" not in page
    assert "each fold chose its own, without the images it is judged on" in page


def test_a_given_test_part_is_what_the_run_is_judged_on_and_the_folds_stand_below(tmp_path: Path, saccade: Callable):
    splits = ["test"] * 60 + ["train"] * 240
    source = api.ArraySource(IMAGES, LABELS, splits=splits)
    asked = api.TrainRequest(source=source, epochs=1, folds=3, out=tmp_path / "run", settings=SETTINGS)
    judgement = api.train(asked).judgement
    assert (judgement.split, judgement.kind, judgement.metrics.num_samples) == ("test", "held-out", 60)
    assert (judgement.folds.num_judged, judgement.folds.figure) == (240, "top1")
    judged = [load_file(tmp_path / "run" / name / "evaluation.safetensors")["index_N"].tolist() for name in FOLDS]
    assert sorted(sum(judged, [])) == list(range(60, 300))
    assert load_file(tmp_path / "run" / "evaluation.safetensors")["index_N"].tolist() == list(range(60))
    right = sum(
        int((outputs["logits_NK"].argmax(axis=1) == outputs["label_N"]).sum())
        for outputs in (load_file(tmp_path / "run" / name / "evaluation.safetensors") for name in FOLDS)
    )
    assert judgement.folds.value == pytest.approx(right / 240)
    page = (api.report(tmp_path / "run")).read_text()
    assert "of 60 held-out images correct" in page
    assert "The figure at the head of this page is of the test images. " in page


def test_several_labels_are_judged_by_each_folds_own_calibration(tmp_path: Path, saccade: Callable):
    source = write_list(tmp_path, 120)
    finished = saccade(
        *("train", source, "--folds", "3", "--epochs", "2", "--out", tmp_path / "run", "--json"),
        *(word for setting in SETTINGS for word in ("--set", setting)),
    )
    assert finished.status == 0, finished.errors
    found = json.loads(finished.output)
    probability, label = [], []
    for name in FOLDS:
        outputs = load_file(tmp_path / "run" / name / "evaluation.safetensors")
        task = find_checkpoint(tmp_path / "run" / name).manifest.task
        probability.append(task.probabilities_of(outputs["logits_NK"]))
        label.append(outputs["label_NK"])
    label_NK = np.concatenate(label)
    wanted = average_precision_score(label_NK, np.concatenate(probability), average="macro")
    assert (found["num_samples"], found["split"]) == (120, "folds")
    assert found["map"] == pytest.approx(wanted, abs=1e-5)
    assert found["folds"]["map"] == found["map"]
    assert ", each judged by a model that has not seen it, 3 classes (95 % interval " in found["folds"]["verdict"]


def test_what_would_be_chosen_by_images_that_are_judged_is_refused(backbone: Path, tmp_path: Path):
    with pytest.raises(UsageError) as several:
        api.transfer(replace(request(backbone, tmp_path / "run"), backbone="lenet5,resnet18"))
    assert str(several.value) == (
        "Several networks are compared on all training images, and with --folds each of these is to be judged by a "
        "model that has not seen it.\nName one network and its weights."
    )
    for changes in ({"minutes": 5.0}, {"settings": ["transfer.minutes=5"]}):
        with pytest.raises(UsageError) as minutes:
            api.transfer(request(backbone, tmp_path / "run", **changes))
        assert str(minutes.value) == (
            "--minutes bounds one run, and with --folds there is one for each fold and one for use.\n"
            "Leave it out; fewer epochs, or --freeze all, make all of them shorter."
        )
    assert not (tmp_path / "run").exists()
