"""Every experiment runs, and those that are exact say what the literature says."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.processes import run_python

from saccade import api
from saccade.models.architecture import ModelSpec, build_model

REPOSITORY = Path(__file__).parent.parent
SHORT = {
    "dense_vs_convolution": [],
    "zeroed_block": [],
    "gradient_by_depth": ["--seeds", "1", "--networks", "plain20,resnet20"],
    "inception_time": ["--pairs", "1"],
    "backbones_by_images": ["photos", "--images", "4,all"],  # in its own test below
    "freeze_by_images": ["photos", "--images", "4,all", "--epochs", "1"],  # with more in its own test below
    "ladder_against_training": [  # as the one above
        *("photos", "--images", "all", "--epochs", "1", "--seeds", "1", "--depths", "stage1,stage2"),
    ],
    "what_to_label": [],  # in its own test below
    "what_to_label_kinds": ["--seeds", "2"],
    "temperature_by_images": [],  # in its own test below
    "unlike_training": [],  # in its own test below
    "label_errors": ["digits", "--images", "300", "--draws", "1"],
    "scale_on_paper": [],
    "plain_vs_residual": ["--seeds", "1", "--epochs", "1", "--networks", "plain20"],
}


def run(name: str) -> dict[str, Any]:
    done = run_python(["-m", f"experiments.{name}", "--json", *SHORT[name]], REPOSITORY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_experiment_is_run_here():
    found = {path.stem for path in (REPOSITORY / "experiments").glob("*.py")} - {"__init__"}
    assert found == set(SHORT)


def test_a_dense_layer_needs_the_lectures_number_of_weights():
    first = run("dense_vs_convolution")["results"][0]
    assert (first["dense_weights"], first["convolution_parameters"]) == (14_450_688, 456)


def test_an_exchange_on_paper_sends_what_a_ring_would():
    """2 S (W - 1) / W of a process, and of a machine in two levels 2 S (M - 1) / M (Patarasuk and Yuan 2009)."""
    first, second = run("scale_on_paper")["results"]
    assert (first["parameters"], second["parameters"]) == (25_557_032, 25_557_032 + 2049 * (21_841 - 1000))
    for result in (first, second):
        for row in result["rows"]:
            machines, size = row["gpus"] // 8, 4 * result["parameters"]
            assert abs(row["process_bytes"] - 2 * size * (row["gpus"] - 1) / row["gpus"]) < 8 * row["gpus"]
            assert abs(row["machine_bytes_in_two_levels"] - 2 * size * (machines - 1) / machines) < 8 * row["gpus"]
    assert abs(first["rows"][0]["hours"] - 90 * 1_281_167 / (8 * 2470) / 3600) < 1e-9  # nothing leaves one machine
    page = (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")
    text = run_python(["-m", "experiments.scale_on_paper"], REPOSITORY).stdout.splitlines()
    assert sum(line in page for line in text if line.startswith(("| 8 |", "| 32 |", "| 128 |", "| 512 |"))) == 8


def test_zeroed_residual_blocks_change_nothing_and_plain_ones_forget_everything():
    rows = run("zeroed_block")["results"]
    assert all(row["residual_equal"] and not row["plain_tells_images_apart"] for row in rows)
    assert [row["extra_blocks"] for row in rows] == [1, 2, 4, 8, 16]


def test_the_gradient_vanishes_in_deep_plain_sigmoid_networks_and_not_behind_shortcuts():
    norms = run("gradient_by_depth")["gradient_norm_by_convolution"]
    assert [len(norms[name][0]) for name in ("plain20", "resnet20", "sigmoid56, plain")] == [19, 19, 55]
    first_over_last = {name: runs[0][0] / runs[0][-1] for name, runs in norms.items()}
    assert first_over_last["sigmoid56, plain"] < 1e-12 < first_over_last["sigmoid20, plain"] < 1e-3
    assert first_over_last["sigmoid56, residual"] > 1e-4
    assert first_over_last["plain20"] > first_over_last["resnet20"]


def test_bottlenecks_are_timed_beside_their_exact_costs():
    whole, branch = run("inception_time")["results"]
    assert branch["naive_multiply_adds"] - 320 == 120_422_400
    assert branch["bottleneck_multiply_adds"] - 320 == 12_443_648
    assert min(whole["time_ratio_median"], branch["time_ratio_median"]) > 0


def test_plain_and_residual_networks_are_trained_and_their_gradients_measured():
    result = run("plain_vs_residual")["results"]["plain20"]
    assert 0 <= result["training_error"][0] <= 1
    assert result["gradient_first_over_last"][0] > 0


def on_noise(
    folder: Path,
    name: str,
    num_train: int,
    levels: tuple[int, int] = (60, 190),
    networks: tuple[str, ...] = ("--backbone", "resnet20", "--weights", "weights.safetensors"),
) -> list[dict[str, Any]]:
    """What an experiment on transfer prints of noise of two mean levels; usually of a ResNet-20 with random weights."""
    draw = np.random.default_rng(0)
    for split, count in (("train", num_train), ("validation", 2), ("test", 3)):
        for label, level in zip(("dark", "light"), levels, strict=True):
            place = folder / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                image_HWC = draw.integers(level - 50, level + 50, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(image_HWC).save(place / f"{number}.png")
    torch.manual_seed(0)
    weights = build_model("resnet20", ModelSpec(num_classes=3, input_CHW=(3, 32, 32))).state_dict()
    pixels = {"channels": "rgb", "input_height_px": 32, "input_width_px": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    save_file(weights, folder / "weights.safetensors", metadata={"saccade.preprocessing": json.dumps(pixels)})
    arguments = ["-m", f"experiments.{name}", *SHORT[name], *networks, "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    done = run_python(arguments, folder, environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_more_images_freeze_by_evidence_and_are_drawn_in_one_picture(tmp_path: Path):
    rows = on_noise(tmp_path, "freeze_by_images", num_train=9)
    assert [(row["images_a_class"], row["training_images"]) for row in rows] == [("4", 8), ("all", 18)]
    assert all(0 <= row["top1_low"] <= row["top1"] <= row["top1_high"] <= 1 for row in rows)
    assert all(row["why"].startswith(("Only the last layer", "Frozen up to")) for row in rows)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows
    assert "4 a class" in (tmp_path / "out" / "ladder.svg").read_text()


def test_networks_are_compared_on_few_and_all_images_and_judged_alone(tmp_path: Path, shared: Callable[[str], Path]):
    names = ("squeezenet1_1", "efficientnet_lite0")
    networks = [word for name in names for word in ("--weights", str(shared(f"weights/{name}")))]
    rows = on_noise(tmp_path, "backbones_by_images", num_train=9, networks=tuple(networks))
    assert [(row["images_a_class"], row["training_images"]) for row in rows] == [("4", 8), ("all", 18)]
    for row in rows:
        assert set(row["left_out_top1"]) == set(row["test_top1"]) == {"squeezenet1.1", "efficientnet-lite0"}
        assert row["why"].startswith(row["chosen"])
        assert set(row["test_top1"].values()) == {1.0}  # dark and light noise
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows


def test_the_ladder_is_compared_with_whole_trainings(tmp_path: Path):
    *rows, told = on_noise(tmp_path, "ladder_against_training", num_train=15, levels=(124, 125))
    assert len(rows) >= 1
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result == {"rows": rows, **told}
    gaps = [100 * (row["test_gain"] - row["left_out_gain"]) for row in rows]
    assert told["favours_all"] == round(sum(gaps) / len(gaps), 2)
    measured = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir() and not path.is_symlink())
    wanted = ["seed-0-auto", "seed-0-all", *(f"seed-0-{row['depth']}" for row in rows)]
    assert measured == sorted(wanted)


def test_a_temperature_is_judged_on_images_it_was_not_fitted_on(tmp_path: Path):
    api.train(api.TrainRequest(source="digits", epochs=1, out=tmp_path / "run"))
    command = ["-m", "experiments.temperature_by_images", "--json", "--draws", "5", tmp_path / "run"]
    done = run_python(command, REPOSITORY)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["results"]
    assert [row["images"] for row in rows] == [10, 20, 40, 100]  # at least half of the 359 are left to judge by
    assert all(0 <= row[name]["worse"] <= 1 for row in rows for name in ("fitted", "shrunk"))


def test_strangers_are_told_from_digits_by_what_a_run_has_learned(tmp_path: Path):
    api.train(api.TrainRequest(source="digits", epochs=2, out=tmp_path / "run"))
    command = ["-m", "experiments.unlike_training", "digits", "--run", tmp_path / "run"]
    command += ["--each", "24", "--kept", "500,all", "--json"]
    done = run_python(command, REPOSITORY)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["strangers"] == {"textures": 24, "noise": 24}  # the digits are no strangers to themselves
    for areas in result["areas"].values():
        assert set(areas) > {"max-softmax", "energy", "mahalanobis", "relative", "neighbour-1", "neighbour-50"}
        assert all(0 <= low <= value <= high <= 1 for value, low, high in areas.values())
        assert areas["neighbour-5"][0] > 0.95
    assert set(result["with so many kept"]) == {"500", "all"}
    assert set(result["told"]) == {"test images", "textures", "noise"}


def test_rules_of_what_to_label_are_compared_with_random_choice_on_the_same_first_images(tmp_path: Path):
    draw = np.random.default_rng(0)
    label_N = np.arange(200) % 4
    feature_ND = (draw.normal(size=(4, 6))[label_N] + draw.normal(size=(200, 6))).astype(np.float32)
    np.savez(tmp_path / "features.npz", feature_ND=feature_ND, label_N=label_N)
    command = ["-m", "experiments.what_to_label", "unused", "--backbone", "x", "--weights", "x"]
    command += ["--first", "12", "--count", "6", "--rounds", "2", "--seeds", "2", "--json"]
    command += ["--cache", str(tmp_path / "features.npz")]
    done = run_python(command, REPOSITORY)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    assert set(results) == {"random", "margin", "coreset", "badge", "typiclust"}
    assert all(row["gain"] == 0 for row in results["random"])
    assert all(row["low"] <= row["gain"] <= row["high"] for rows in results.values() for row in rows)


def test_what_to_label_of_several_labels_and_numbers_is_compared_with_random_choice():
    rows = {row["set"]: row for row in run("what_to_label_kinds")["results"]}
    assert set(rows) == {"pairs", "ink", "tilt", "digit"}
    assert rows["pairs"]["random"][0] < rows["pairs"]["random"][-1] < 100  # more labels, better
    assert rows["ink"]["random"][0] > rows["ink"]["random"][-1] > 0
    assert all(len(row["difference"]) == len(row["half_width"]) == 3 for row in rows.values())


def test_as_many_suspected_labels_are_wrong_as_is_said_and_clean_ones_are_let_be():
    done = run_python(["-m", "experiments.label_errors", "--json", *SHORT["label_errors"]], REPOSITORY)
    assert done.returncode == 0, done.stderr
    clean, random, alike = (json.loads(line) for line in done.stdout.splitlines())
    assert (clean["changed"], clean["suspected"], clean["quiet"]) == ("none", 0, 1)
    assert random["suspected"] >= 8
    assert abs(random["suspected_wrong"] - random["expected_wrong"]) <= 0.25
    assert alike["expected_wrong"] is None or alike["expected_wrong"] <= 1
