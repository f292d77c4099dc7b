"""A transfer to images with several labels: a fitted last layer, the ladder, fine-tuning, and what is told of them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.several_labels import CLASSES, write_list

from saccade import api
from saccade.cli.transfer import transfer_json, transfer_text
from saccade.evaluate.label_metrics import LabelMetrics
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.start_point import read_start

PIXELS = {"channels": "rgb", "input_height_px": 32, "input_width_px": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of marks, and LeNet-5 with random weights for seven other classes."""
    folder = tmp_path_factory.mktemp("several")
    write_list(folder / "marks", 260)
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(3, 32, 32)))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / "backbone").mkdir()
    save_file(tensors, folder / "backbone" / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def transfer(folder: Path, name: str, freeze: str) -> api.TransferResult:
    return api.transfer(
        api.TransferRequest(
            source=folder / "marks" / "labels.csv",
            backbone="lenet5",
            weights=folder / "backbone",
            freeze=freeze,
            epochs=2,
            out=folder / name,
            cache="none",
            preprocessing=folder / "pixels.json",
            settings=["batch_size=32", "transfer.ladder_images=120", "runtime.precision=float32"],
        )
    )


def test_a_last_layer_is_fitted_to_frozen_features(folder: Path):
    result = transfer(folder, "all", "all")
    metrics = result.run.judgement.metrics
    assert isinstance(metrics, LabelMetrics)
    assert metrics.classes == CLASSES
    assert metrics.map > 0.8 > metrics.map_baseline + 0.2
    assert result.start.validation_map > 0.7
    text = transfer_text(result)
    assert text.startswith("mAP ")
    assert "validation images fitted the calibration and the thresholds, and were used for nothing else." in text
    assert transfer_json(result)["map"] == metrics.map
    page = api.report(folder / "all").read_text(encoding="utf-8")
    assert "The fitted last layer alone has every label right on" in page


def test_the_ladder_counts_images_with_every_label_right_and_fine_tuning_goes_on_from_the_fit(folder: Path):
    result = transfer(folder, "auto", "auto")
    start = read_start(folder / "auto")
    assert start is not None
    assert start.rungs
    assert all(0 <= rung.num_correct <= rung.num_judged for rung in start.rungs)
    assert result.run.judgement.metrics.map > 0.8


def test_fine_tuning_keeps_the_start_where_no_epoch_has_a_higher_map(folder: Path):
    result = transfer(folder, "tuned", "none")
    lines = (folder / "tuned" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    values = [event["validation_map"] for event in map(json.loads, lines) if event["event"] == "epoch"]
    assert (result.run.best_epoch > 0) == (max(values) > result.start.validation_map)
    assert find_checkpoint(folder / "tuned").manifest.task.thresholds
