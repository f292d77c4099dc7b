"""Suspected labels of a whole set, by the features of a run: planted errors are found, and what was learned is said."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from saccade import api
from saccade.core.errors import DataError
from saccade.runs.start_point import StartPoint

WRONG = set(range(0, 300, 25))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=2, out=folder))
    return folder


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 digits as files, each 25th in the folder of another one."""
    folder, digits = tmp_path_factory.mktemp("mislabelled"), load_digits()
    for number in range(300):
        label = (digits.target[number] + 3 * (number in WRONG)) % 10
        (folder / str(label)).mkdir(exist_ok=True)
        image_HW = np.rint(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(image_HW).save(folder / str(label) / f"{number}.png")
    return folder


def test_planted_label_errors_are_written_first(saccade: Callable, run: Path, mislabelled: Path, tmp_path: Path):
    finished = saccade("evaluate", run, mislabelled, "--label-errors", tmp_path / "labels.csv")
    assert finished.status == 0, finished.errors
    with open(tmp_path / "labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [int(Path(row["image"]).stem) for row in rows]
    # By chance 1 in 25 would be wrong. Twelve trainings found 8 to 10 of the 12 among 9 to 16 suspects, 7 of the first
    # ten at least; float32 and bfloat16 processors train different networks, so the bounds leave room for both.
    assert len(WRONG & set(found)) >= 7
    assert len(WRONG & set(found[:10])) >= 6  # the least believed labels come first
    assert len(found) <= 24
    believed = [float(row["label_probability"]) for row in rows]
    assert believed == sorted(believed)
    assert all(row["label"] != row["suggested"] for row in rows)
    assert (
        f"{len(rows)} of 300 labels may be wrong (confident learning on cross-validated probabilities): "
        f"a hint where to look, not a verdict. The network has learned from 232 of these 300 labels and may know "
        f"wrong ones by heart: a run of 'saccade transfer --freeze all' finds more. "  # PNG files of its arrays
        f"The list is in {tmp_path / 'labels.csv'}, the least believed first."
    ) in finished.output
    result = json.loads(saccade("evaluate", run, mislabelled, "--label-errors", tmp_path / "x.csv", "--json").output)
    assert result["num_suspected_labels"] == len(rows)


def test_labels_that_the_features_were_trained_on_are_said(run: Path, tmp_path: Path):
    said = api.check_labels(run, "digits").sentence()
    assert said.endswith(
        "The network has learned from 1,438 of these 1,797 labels and may know wrong ones by heart: "
        "a run of 'saccade transfer --freeze all' finds more."
    )
    start = StartPoint(
        frozen="all",
        sentence="As asked.",
        held_out_accuracy=0.9,
        penalty=0.1,
        features_s=1.0,
        heads_s=1.0,
        num_computed=1,
        num_found=0,
        data_digest="",
    )
    (run / "transfer.json").write_text(start.model_dump_json())
    assert api.check_labels(run, "digits").note == ""
    (run / "transfer.json").unlink()


def test_what_cannot_be_checked_is_refused(saccade: Callable, run: Path, mislabelled: Path, tmp_path: Path):
    finished = saccade("evaluate", run, run, "digits", "--label-errors", tmp_path / "labels.csv")
    assert finished.status == 2
    assert finished.errors.strip() == "error: --label-errors looks through the features of one run, got 2 runs."
    few = tmp_path / "few"
    for label in ("0", "1"):
        (few / label).mkdir(parents=True)
        source = min((mislabelled / label).iterdir())
        (few / label / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError) as error:
        api.check_labels(run, str(few))
    assert str(error.value) == (f"Labels are checked against each other, which takes at least 20 images; {few} has 2.")
