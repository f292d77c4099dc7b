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
from saccade.classify import label_check
from saccade.core.errors import DataError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.runs.start_point import StartPoint

WRONG = set(range(0, 300, 25))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=2, out=folder))
    return folder


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 digits as files, each 25th in the folder of another one, never of the same other one."""
    folder, digits = tmp_path_factory.mktemp("mislabelled"), load_digits()
    for number in range(300):
        label = (digits.target[number] + (1 + number // 25 % 9) * (number in WRONG)) % 10
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
    # By chance 1 in 25 would be wrong; float32 and bfloat16 processors train different networks.
    assert len(WRONG & set(found)) >= 5
    assert len(WRONG & set(found[:10])) >= 5  # the least believed labels come first
    assert len(found) <= 24
    expected = sum(float(row["wrong_probability"]) for row in rows)
    assert abs(expected - len(WRONG & set(found))) <= 4
    assert all(0.5 < float(row["wrong_probability"]) <= 1 for row in rows)
    wrong = [float(row["wrong_probability"]) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert all(row["label"] != row["suggested"] for row in rows)
    assert f"{len(rows)} labels of 300 may be wrong" in finished.output
    assert " With fewer than 100 images a class, how likely that is cannot be said." in finished.output
    assert (
        f" The network has learned from 232 of these 300 labels and may know "
        f"wrong ones by heart: a run of 'saccade transfer --freeze all' finds more. "  # PNG files of its arrays
        f"The list is in {tmp_path / 'labels.csv'}, the likeliest first."
    ) in finished.output
    result = json.loads(saccade("evaluate", run, mislabelled, "--label-errors", tmp_path / "x.csv", "--json").output)
    assert result["num_suspected_labels"] == len(rows)
    assert [entry["image"] for entry in result["suspected_labels"]] == [row["image"] for row in rows]
    assert result["suspected_labels_share"] == pytest.approx(expected / len(rows), abs=1e-5)
    assert "listed_labels" not in result
    more = saccade("evaluate", run, mislabelled, "--label-errors", tmp_path / "x.csv", "--label-errors-count", 60)
    assert f"The 60 labels most likely wrong, suspected or not, are in {tmp_path / 'x.csv'}, " in more.output
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        longer = list(csv.DictReader(file))
    assert (len(longer), longer[: len(rows)]) == (60, rows)
    assert all(row["label"] != row["suggested"] for row in longer)
    assert float(longer[59]["wrong_probability"]) <= 0.5
    all_of_them = api.check_labels(run, str(mislabelled), count=1000)
    assert len(all_of_them.as_json()["listed_labels"]) == 300
    assert len(all_of_them.as_json()["suspected_labels"]) == len(rows)
    checked = api.check_labels(run, str(mislabelled))
    assert len(checked.pictures) == len(rows)
    assert all(picture_HWC.shape == (8, 8, 3) for picture_HWC in checked.pictures)


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
    finished = saccade("evaluate", run, "digits", "--label-errors-count", 9)
    assert (finished.status, finished.errors.strip()) == (
        2,
        "error: --label-errors-count says how many labels --label-errors FILE writes: give that, too.",
    )
    few = tmp_path / "few"
    for label in ("0", "1"):
        (few / label).mkdir(parents=True)
        source = min((mislabelled / label).iterdir())
        (few / label / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError) as error:
        api.check_labels(run, str(few))
    assert str(error.value) == (f"Labels are checked against each other, which takes at least 20 images; {few} has 2.")


def test_a_weak_classifier_names_nothing_and_says_why(saccade: Callable, run: Path, tmp_path: Path):
    """Labels without any relation to the images: a classifier disagrees with most of them."""
    draw, folder = np.random.default_rng(0), tmp_path / "noise"
    for number, image_HW in enumerate(draw.integers(0, 256, (120, 8, 8), dtype=np.uint8)):
        place = folder / str(draw.integers(3))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_HW).save(place / f"{number}.png")
    checked = api.check_labels(run, str(folder))
    assert checked.suspects == ()
    assert checked.found.num_named > 20
    assert checked.sentence() == (
        f"No label is suspected: the classifier disagrees with {checked.found.num_named} labels of 120, no more than "
        f"its own mistakes explain (p = {checked.found.errors.p_value:.2g})."
    )


def test_copies_and_groups_lie_in_one_fold_and_a_class_of_one_image_is_not_judged(run: Path, tmp_path: Path):
    digits, lines = load_digits(), ["file,label,group"]
    for number in range(60):
        label = digits.target[number]
        image_HW = np.rint(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(image_HW).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'rare' if number == 0 else label},{'lone' if label == 3 else number}")
        if number % 5 == 0:
            (tmp_path / f"{number}-again.png").write_bytes((tmp_path / f"{number}.png").read_bytes())
            lines.append(f"{number}-again.png,{'rare' if number == 0 else label},{'lone' if label == 3 else number}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    source = open_source(str(tmp_path / "labels.csv"))
    scan = scan_source(source, 1, "error")
    label_N = np.array([source.record(int(index)).label for index in scan.good_N])
    keys = [source.record(int(index)).key for index in scan.good_N]
    group_N, note = label_check._groups(source, scan, label_N)
    of_key = dict(zip(keys, group_N.tolist(), strict=True))
    for number in range(0, 60, 5):
        assert of_key[f"{number}-again.png"] == of_key[f"{number}.png"]
    threes = [of_key[f"{number}.png"] for number in range(60) if digits.target[number] == 3]
    assert len(set(threes)) == len(threes) > 2
    assert note == "2 classes lie in one group of images alone, so these images vouch for each other's labels."
    checked = api.check_labels(run, str(tmp_path / "labels.csv"))
    assert "2 labels are not checked: there is one image of the class, or copies of one." in checked.sentence()
    assert all(suspect.label != "rare" for suspect in checked.suspects)
