"""Judging several runs and several crops from the command line: gain, cost, mistakes, temperature."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from saccade import api
from saccade.evaluate.calibration import fit_temperature


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two short runs on the same split of digits; the second has learned more."""
    folder = tmp_path_factory.mktemp("runs")
    for name, epochs in (("a", 1), ("b", 2)):
        api.train(api.TrainRequest(source="digits", epochs=epochs, out=folder / name))
    return [folder / "a", folder / "b"]


def test_an_ensemble_names_its_members_its_gain_and_its_cost(saccade: Callable, runs: list[Path]):
    finished = saccade("evaluate", *runs, "digits", "--crops", "5", "--json")
    assert finished.status == 0, finished.errors
    result = json.loads(finished.output)
    together = result["together"]
    assert together["crops"] == 5
    assert [member["run"] for member in together["members"]] == [str(run) for run in runs]
    alone = json.loads(saccade("evaluate", runs[1], "digits", "--json").output)
    assert together["members"][1]["top1"] == alone["top1"]
    assert together["members"][1]["p_value_against_best"] is None
    assert together["gain"] == pytest.approx(result["top1"] - alone["top1"])
    assert together["gain_low"] <= together["gain"] <= together["gain_high"]
    assert together["weights_bytes"] == 2 * together["single_weights_bytes"] == 2 * 4 * 61706
    assert together["times_slower"] > 2  # ten looks instead of one, on a machine that may be busy
    assert together["members"][0]["against_best"] == pytest.approx(together["members"][0]["top1"] - alone["top1"])
    assert together["batch_bytes"] == 5 * together["single_batch_bytes"] == 5 * 32 * 32 * 32
    text = saccade("evaluate", *runs, "digits").output
    assert "run alone" in text
    assert f"{runs[1]} is better than {runs[0]} by" in text  # which of the two, before what they do together
    assert "0.5 MB of weights" in text
    assert "instead of 0.2 MB of weights and 0.0 MB of images a batch." in text
    assert "of 359 images (McNemar p" in text
    assert "times longer" in text


def test_a_run_that_is_there_twice_is_told_as_one_network(saccade: Callable, runs: list[Path], tmp_path: Path):
    copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    told = json.loads(saccade("evaluate", *runs, copy, "digits", "--json").output)["caveats"]
    small = "Only exact copies of training images could be looked for: the images are smaller than 16 px."
    assert told == [f"{copy} has the same weights as {runs[0]}: together they count as one network.", small]
    assert json.loads(saccade("evaluate", *runs, "digits", "--json").output)["caveats"] == [small]


def test_one_crop_of_one_run_is_ordinary_evaluation(saccade: Callable, runs: list[Path]):
    assert json.loads(saccade("evaluate", runs[1], "digits", "--crops", "1", "--json").output)["together"] is None


def test_classes_are_those_of_the_run_by_name_and_missing_ones_are_said(
    saccade: Callable, runs: list[Path], tmp_path: Path
):
    digits = load_digits()
    for number in np.flatnonzero(np.isin(digits.target, (3, 7, 9)))[:90]:
        folder = tmp_path / "some" / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        pixels_HW = np.rint(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels_HW).save(folder / f"{number}.png")
    for arguments in ([], ["--crops", "2"]):
        result = json.loads(saccade("evaluate", runs[1], tmp_path / "some", *arguments, "--json").output)
        assert [entry["class"] for entry in result["per_class"]] == [str(digit) for digit in range(10)]
        assert np.flatnonzero([entry["support"] for entry in result["per_class"]]).tolist() == [3, 7, 9]
        assert result["notes"] == [
            "67 images are left out: the run was trained on them, or chose its epoch by them.",
            "No images of '0', '1', '2', '4', '5' and 2 more, which the run knows: nothing is said of them.",
            *result["caveats"],
        ]
        assert result["caveats"][:2] == [
            "Only exact copies of training images could be looked for: the images are smaller than 16 px.",
            "No held-out image of '0', '1', '2', '4', '5' and 2 more classes: the accuracy on them is unknown.",
        ]
        assert result["top1"] > (0.8 if not arguments else 0.3)  # in the order of the folders it would be near zero
    (tmp_path / "some" / "seven").mkdir()
    (tmp_path / "some" / "7" / "7.png").rename(tmp_path / "some" / "seven" / "7.png")
    finished = saccade("evaluate", runs[1], tmp_path / "some")
    assert finished.status == 1
    assert "\nerror: The run does not know 'seven': it cannot be right on images of it.\n" in finished.errors


def test_the_temperature_of_the_validation_images_is_stored_and_applied(saccade: Callable, runs: list[Path]):
    manifest = json.loads((runs[1] / "checkpoint-best" / "manifest.json").read_text())
    assert manifest["temperature"] == manifest["metrics"]["temperature"] != 1.0
    evidence = load_file(runs[1] / "evaluation.safetensors")
    assert manifest["temperature"] != fit_temperature(evidence["logits_NK"], evidence["label_N"])  # of test images
    evaluation = api.evaluate([runs[1]], "digits")
    assert evaluation.temperature == manifest["temperature"]
    assert evaluation.calibrated().top1 == evaluation.metrics.top1
    assert evaluation.calibrated().ece == pytest.approx(manifest["metrics"]["ece_calibrated"], abs=1e-5)
    np.testing.assert_allclose(evaluation.logits_NK, evidence["logits_NK"], atol=1e-4)
    values = evaluation.as_json()
    own_N = (np.arange(len(evaluation.label_N)), evaluation.label_N)
    for key, divisor in (("loss", 1.0), ("loss_calibrated", evaluation.temperature)):
        scaled_NK = evaluation.logits_NK.astype(np.float64) / divisor
        loss_N = np.log(np.exp(scaled_NK).sum(axis=1)) - scaled_NK[own_N]
        assert values[key] == pytest.approx(loss_N.mean(), abs=1e-6)


def test_mistakes_go_to_a_csv_file(saccade: Callable, runs: list[Path], tmp_path: Path):
    finished = saccade("evaluate", runs[0], "digits", "--mistakes", tmp_path / "mistakes.csv")
    assert finished.status == 0, finished.errors
    with open(tmp_path / "mistakes.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = json.loads(saccade("evaluate", runs[0], "digits", "--json").output)
    assert len(rows) == round(result["num_samples"] * (1 - result["top1"]))
    said = [float(row["said_probability"]) for row in rows]
    assert said == sorted(said, reverse=True)
    assert all(row["label"] != row["said"] for row in rows)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--crops", "3", "--crops takes 1, 2, 5, 10 or a grid such as 9 (3x3) or 18 (3x3 and their mirrors), got 3."),
        ("--scales", "big", "--scales takes numbers such as 1,1.15; got 'big'."),
        ("--scales", "nan", "Scales of crops lie in 1 to 4, where 1 is the run's own; got nan."),
    ],
)
def test_bad_looks_are_usage_errors(saccade: Callable, runs: list[Path], option: str, value: str, message: str):
    finished = saccade("evaluate", runs[0], "digits", option, value)
    assert finished.status == 2
    assert finished.errors.startswith(f"error: {message}")
