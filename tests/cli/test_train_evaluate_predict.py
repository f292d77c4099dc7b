"""The main path, from the command line, on real images: train, resume, evaluate, predict, and their JSON keys."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.processes import PATIENCE_S, Program

from saccade.classify.classifier import open_classifier
from saccade.classify.predict import predict
from saccade.classify.stream import items_of_files
from saccade.cli.console import RunConsole
from saccade.data.images.decode import decode_image
from saccade.data.sources.digits import Digits
from saccade.data.sources.in_memory import HeldImage
from saccade.train.loop import EpochResult

TRAIN_KEYS = {
    "run",
    "model",
    "source",
    "num_samples",
    "top1",
    "top1_low",
    "top1_high",
    "top5",
    "loss",
    "ece",
    "seconds",
    "images_per_second",
    "seed",
}
EVALUATE_KEYS = TRAIN_KEYS


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """One run of the README's first command, as a person starts it, and the object it printed."""
    folder = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "saccade", "train", "digits", "--out", "run", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout)


def test_digits_are_told_apart(digits_run: tuple[Path, dict]):
    _, result = digits_run
    assert result["top1"] >= 0.98
    assert result["top1_low"] < result["top1"] < result["top1_high"]
    assert 355 <= result["num_samples"] <= 365
    assert result.keys() >= TRAIN_KEYS


def test_the_run_directory_is_as_designed(digits_run: tuple[Path, dict]):
    run, _ = digits_run
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.toml", "environment.json", "metrics.jsonl", "checkpoint-last", "checkpoint-best"}
    assert {path.name for path in (run / "checkpoint-best").iterdir()} == {
        *("weights.safetensors", "manifest.json", "validation.safetensors", "novelty.safetensors"),
    }


def test_evaluate_judges_the_images_training_did_not_see(saccade: Callable, digits_run: tuple[Path, dict]):
    run, trained = digits_run
    finished = saccade("evaluate", run, "digits", "--json")
    assert finished.status == 0
    result = json.loads(finished.output)
    assert result.keys() >= EVALUATE_KEYS
    assert {key: result[key] for key in ("num_samples", "top1", "confusion")} == {
        key: trained[key] for key in ("num_samples", "top1", "confusion")
    }


def test_evaluation_and_predict_give_equal_logits_for_the_same_file(digits_run: tuple[Path, dict], tmp_path: Path):
    run, _ = digits_run
    evidence = load_file(run / "evaluation.safetensors")
    source = Digits()
    classifier = open_classifier(run)
    paths = []
    for index in evidence["index_N"][:40]:
        path = tmp_path / f"{index}.png"
        Image.fromarray(source.read(int(index))).save(path)
        paths.append(path)
    together = [answer.logits for answer in predict(classifier, items_of_files(paths))]
    alone = [
        answer.logits for path in paths[:5] for answer in predict(classifier, [HeldImage(path.name, path.read_bytes)])
    ]
    np.testing.assert_allclose(together, evidence["logits_NK"][:40], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone, evidence["logits_NK"][:5], rtol=1e-5, atol=1e-5)


def test_predict_answers_files_and_folders(saccade: Callable, digits_run: tuple[Path, dict], tmp_path: Path):
    run, _ = digits_run
    source = Digits()
    for index in range(6):
        Image.fromarray(source.read(index)).save(tmp_path / f"{index}.png")
    finished = saccade("predict", run, tmp_path, "--json", "--top", "2")
    assert finished.status == 0
    result = json.loads(finished.output)
    assert [Path(answer["file"]).name for answer in result["predictions"]] == [f"{i}.png" for i in range(6)]
    said = [answer["class"] for answer in result["predictions"]]
    right = [answer == str(source.record(i).label) for i, answer in enumerate(said)]
    assert sum(right) >= 5, said  # a network of two epochs may miss one; another order of the files would miss most
    assert all(len(answer["top"]) == 2 for answer in result["predictions"])
    text = saccade("predict", run, tmp_path / "0.png").output.splitlines()
    assert text[0].split() == ["image", "class", "probability", "2nd", "3rd"]
    assert len(text) == 2


def test_given_splits_are_used(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    counts = {"train": 12, "val": 4, "test": 5}
    for split, count in counts.items():
        for label in ("dark", "light"):
            for number in range(count):
                path = tmp_path / "set" / split / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shade = np.random.default_rng([number, len(split)]).integers(0, 90, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(shade + (150 if label == "light" else 0)).save(path)
    finished = saccade("train", "set", "--out", "run", "--epochs", "2", "--json")
    assert finished.status == 0
    result = json.loads(finished.output)
    assert result["num_samples"] == 2 * counts["test"]
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["counts"] == {"train": [12, 12], "validation": [4, 4], "test": [5, 5]}
    assert data["split"] == "train, validation, test as given"


def test_real_photos_train_from_their_own_splits(
    saccade: Callable, shared: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shared("data/clothing-small")
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation", "test"):
        for label in ("dress", "pants"):
            (tmp_path / "few" / split / label).mkdir(parents=True)
            for path in sorted((folder / split / label).iterdir())[:12]:
                (tmp_path / "few" / split / label / path.name).symlink_to(path)
    finished = saccade("train", "few", "--out", "run", "--epochs", "2", "--json", "--set", "input.size_px=64")
    assert finished.status == 0
    result = json.loads(finished.output)
    assert result["num_samples"] == 24
    photo = min((folder / "test" / "pants").iterdir())
    assert saccade("predict", "run", photo).status == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_saved_says_how_to_go_on_and_goes_on(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
):
    monkeypatch.chdir(tmp_path)
    shown = RunConsole.epoch

    def interrupted(console: RunConsole, result: EpochResult) -> None:
        shown(console, result)
        if result.epoch == 2:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patched:
        patched.setattr(RunConsole, "epoch", interrupted)
        stopped = saccade("train", "digits", "--out", "run", "--epochs", "4")
    assert stopped.status == status
    assert stopped.output == ""
    assert stopped.errors.endswith(
        "error: Stopped; everything is saved in run.\nGo on with: saccade train --resume --out run\n"
    )
    finished = saccade("train", "--resume", "--out", "run")
    assert finished.status == 0
    assert "going on after step" in finished.errors
    assert "held-out images correct" in finished.output


def test_two_processes_cannot_train_in_one_run(tmp_path: Path):
    both = [Program(["-m", "saccade", "train", "digits", "--out", "run", "--epochs", "2"], tmp_path) for _ in range(2)]
    results = sorted((program.communicate() for program in both), key=lambda done: done.returncode)
    assert [done.returncode for done in results] == [0, 1]
    errors = results[1].stderr
    assert "error: The run run is in use by" in errors or "error: run already holds a run." in errors
    assert "Traceback" not in errors


def test_help_answers_without_torch():
    code = (
        "import sys; sys.argv = ['saccade', '--help']\n"
        "from saccade.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    for verb in ("train", "evaluate", "predict", "models", "recipes"):
        assert f"\n  {verb}" in done.stdout


def test_results_survive_a_terminal_that_knows_ascii_only(digits_run: tuple[Path, dict]):
    run, _ = digits_run
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    command = [sys.executable, "-m", "saccade", "evaluate", str(run), "digits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stderr
    assert "held-out images correct" in done.stdout


def damaged(path: Path, pixels: np.ndarray) -> Path:
    """A JPEG whose EXIF block says that its only entry lies far behind its end."""
    exif = Image.Exif()
    exif[0x010F] = "camera of a long name"
    Image.fromarray(pixels).save(path, "JPEG", exif=exif, quality=100)
    content = bytearray(path.read_bytes())
    entry = content.index(b"\x01\x0f" if b"MM" in content[:40] else b"\x0f\x01")
    content[entry + 8 : entry + 12] = b"\x7f\xff\xff\x7f"
    path.write_bytes(content)
    return path


def test_predict_tells_once_which_files_are_damaged_beside_their_pixels(
    saccade: Callable, digits_run: tuple[Path, dict], tmp_path: Path
):
    run, _ = digits_run
    pixels = np.kron(Digits().read(0), np.ones((4, 4), np.uint8))
    bad = damaged(tmp_path / "a.jpg", pixels)
    Image.fromarray(pixels).save(tmp_path / "b.png")
    (note,) = decode_image(bad.read_bytes(), "").notes
    finished = saccade("predict", run, bad, tmp_path / "b.png", bad)
    assert finished.status == 0
    assert finished.errors == f"note: {bad}: {note}\n"
    assert len(finished.output.splitlines()) == 4
    finished = saccade("predict", run, bad, tmp_path / "b.png", bad, "--json")
    assert json.loads(finished.output)["notes"] == [f"{bad}: {note}"]
    assert finished.errors == ""


def test_evaluate_tells_which_judged_files_are_damaged_beside_their_pixels(
    saccade: Callable, digits_run: tuple[Path, dict], tmp_path: Path
):
    run, _ = digits_run
    source, folder = Digits(), tmp_path / "set"
    for number in range(40):
        image = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        (folder / str(source.record(number).label)).mkdir(parents=True, exist_ok=True)
        path = folder / str(source.record(number).label) / f"{number}.jpg"
        damaged(path, image) if number == 3 else Image.fromarray(image).save(path)
    bad = f"{source.record(3).label}/3.jpg"
    (note,) = decode_image((folder / bad).read_bytes(), "").notes
    finished = saccade("evaluate", run, folder)
    assert finished.status == 0
    assert f"note: {bad}: {note}\n" in finished.errors
    assert bad not in finished.output
    finished = saccade("evaluate", run, folder, "--json")
    assert json.loads(finished.output)["notes"].count(f"{bad}: {note}") == 1
    assert bad not in finished.errors


def test_few_photos_that_began_from_nothing_are_told_of_public_weights(saccade: Callable, tmp_path: Path):
    generator = np.random.default_rng(0)  # noise, which no network can tell apart
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels_HWC = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels_HWC).save(tmp_path / "photos" / name / f"{number}.png")
    done = saccade("train", tmp_path / "photos", "--out", tmp_path / "run", "--epochs", "1")
    *_, better, following = done.output.splitlines()
    assert better == f"Better on few photos, from public weights: saccade transfer {tmp_path}/photos"
    assert following == f"Next: saccade predict {tmp_path}/run PHOTO.jpg"
