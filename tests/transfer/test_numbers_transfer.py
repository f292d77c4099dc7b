"""A transfer to images with numbers: a ridge regression on frozen features, fine-tuning, and what is told of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import Ridge
from tests.angles import write_angles

from saccade import api
from saccade.cli.transfer import transfer_json, transfer_text
from saccade.core.errors import UsageError
from saccade.evaluate.number_metrics import NumberMetrics
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.start_point import read_start
from saccade.transfer.probe import Directions, fit_probe

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.3], "std": [0.25]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of bars at angles, and LeNet-5 with random weights for seven classes."""
    folder = tmp_path_factory.mktemp("numbers")
    write_angles(folder / "angles", 200)
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / "backbone").mkdir()
    save_file(tensors, folder / "backbone" / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def transfer(folder: Path, name: str, freeze: str, backbone: str = "lenet5") -> api.TransferResult:
    return api.transfer(
        api.TransferRequest(
            source=f"{folder / 'angles' / 'angles.csv'}?target=number",
            backbone=backbone,
            weights=folder / "backbone",
            freeze=freeze,
            epochs=2,
            out=folder / name,
            cache="none",
            preprocessing=folder / "pixels.json",
            settings=["batch_size=32", "augment.mirror.probability=0", "runtime.precision=float32"],
        )
    )


def test_a_ridge_regression_is_fitted_to_frozen_features_and_auto_says_why_it_freezes_all(folder: Path):
    result = transfer(folder, "auto", "auto")
    metrics = result.run.judgement.metrics
    assert isinstance(metrics, NumberMetrics)
    assert metrics.mae < 0.7 * metrics.baseline_mae
    start = read_start(folder / "auto")
    assert start is not None
    assert start.frozen == "all"
    assert 0 < start.held_out_mae < metrics.baseline_mae
    assert 0 < start.validation_mae < metrics.baseline_mae
    text = transfer_text(result)
    assert text.startswith("Mean absolute error ")
    assert "depths are compared by right answers, and a number has none" in text
    assert "validation images fitted the width of the intervals, and were used for nothing else." in text
    assert transfer_json(result)["mae"] == metrics.mae
    page = api.report(folder / "auto").read_text(encoding="utf-8")
    assert "The fitted last layer alone has a mean absolute error of" in page


def test_fine_tuning_goes_on_from_the_fit(folder: Path):
    result = transfer(folder, "none", "none")
    start = read_start(folder / "none")
    assert start is not None
    assert result.run.judgement.metrics.mae < result.run.judgement.metrics.baseline_mae
    events = [json.loads(line) for line in (folder / "none" / "metrics.jsonl").read_text().splitlines()]
    errors = [start.validation_mae, *(event["validation_mae"] for event in events if event["event"] == "epoch")]
    assert result.run.best_epoch == int(np.argmin(errors))  # epoch 0 is the fitted layer


def test_networks_are_not_compared_by_numbers(folder: Path):
    weights = []
    for name in ("lenet5", "convnet-b"):
        tensors = build_model(name, ModelSpec(num_classes=7, input_CHW=(1, 32, 32))).state_dict()
        weights.append(folder / name)
        weights[-1].mkdir()
        tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(tensors, weights[-1] / "w.safetensors", metadata={"saccade.preprocessing": json.dumps(PIXELS)})
    with pytest.raises(UsageError, match="Networks are compared by right answers, and a number is asked for"):
        api.transfer(
            api.TransferRequest(
                source=f"{folder / 'angles' / 'angles.csv'}?target=number",
                weights=weights,
                out=folder / "race",
                cache="none",
            )
        )


def test_the_fitted_layer_is_scikit_learns_ridge_regression():
    generator = np.random.default_rng(0)
    feature_ND = generator.normal(0, generator.uniform(0.2, 3, 12), (90, 12)).astype(np.float32)
    value_N = (feature_ND @ generator.normal(0, 1, 12) + generator.normal(0, 1, 90)).astype(np.float32)
    fold_N = np.arange(90) % 3
    features, values = torch.from_numpy(feature_ND), torch.from_numpy(value_N)
    probe = fit_probe(features, values, 1, fold_N)
    scale_D = Directions(features).scale_D.numpy()

    def ridge(is_used_N: np.ndarray) -> Ridge:
        model = Ridge(alpha=probe.penalty * is_used_N.sum())  # the penalty stands beside the mean of half the squares
        return model.fit((feature_ND / scale_D)[is_used_N], value_N[is_used_N])

    whole = ridge(np.ones(90, bool))
    np.testing.assert_allclose(probe.weight_KD[0].numpy(), whole.coef_ / scale_D, rtol=2e-3, atol=2e-4)
    assert float(probe.bias_K[0]) == pytest.approx(float(whole.intercept_), abs=2e-3)
    for fold in range(3):
        expected_M = ridge(fold_N != fold).predict((feature_ND / scale_D)[fold_N == fold])
        np.testing.assert_allclose(probe.held_out_NK[fold_N == fold, 0].numpy(), expected_M, atol=0.02)
