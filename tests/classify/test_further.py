"""What `evaluate` measures besides: curves, costs, parts of the images, corrupted images, all answers as a file."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from saccade import api
from saccade.classify import corrupted
from saccade.data.sources.digits import Digits
from saccade.evaluate.verdict import percent

COLUMNS = ["image", "class", "probability", "error", "unlike_training", "no_answer"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=2, out=out, settings=["runtime.num_threads=1"]))
    return out


def test_areas_kappa_and_matrices_are_those_of_the_judged_images(saccade: Callable, run: Path):
    finished = saccade("evaluate", run, "digits", "--json")
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    evaluation = api.evaluate(run, "digits")
    wanted = roc_auc_score(evaluation.label_N, evaluation.probabilities(), multi_class="ovr", average="macro")
    assert values["ranking"]["macro_auc"] == pytest.approx(wanted, abs=1e-9)
    kappa = cohen_kappa_score(evaluation.label_N, evaluation.logits_NK.argmax(axis=1))
    assert values["ranking"]["kappa"] == pytest.approx(kappa, abs=1e-9)
    assert values["by_threshold"][0]["confusion"] == values["confusion"]
    assert (values["costs"], values["slices"], values["corruptions"]) == (None, None, None)
    assert "Area under the ROC curve, each class against the others: " in saccade("evaluate", run, "digits").output


def test_costs_and_all_answers_are_told_and_written(saccade: Callable, run: Path, tmp_path: Path):
    names = [str(digit) for digit in range(10)]
    table = [["true", *names], *([name, *("0" if other == name else "1" for other in names)] for name in names)]
    costs, out = tmp_path / "costs.csv", tmp_path / "answers.csv"
    costs.write_text("\n".join(",".join(row) for row in table) + "\n")
    finished = saccade("evaluate", run, "digits", "--costs", costs, "--answers", out, "--json")
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    assert values["costs"]["cost"] == pytest.approx(1 - values["top1"])
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == values["num_samples"]
    assert set(COLUMNS) < set(rows[0])
    assert list(rows[0])[-1] == "label"
    right = [(row["class"] or row["withheld_class"]) == row["label"] for row in rows]
    assert np.mean(right) == pytest.approx(values["top1"])
    finished = saccade("evaluate", run, "digits", "--costs", tmp_path / "gone.csv")
    assert finished.status == 2
    assert finished.errors.endswith(f"error: There is no file of costs at {tmp_path / 'gone.csv'}.\n")


def test_parts_of_the_images_are_compared_by_size_and_by_columns(saccade: Callable, run: Path, tmp_path: Path):
    digits, lines = Digits(), ["file,label,scanner,lens"]
    for index in range(120):
        image = Image.fromarray(digits.read(index))
        image.resize((8 + index % 3 * 8,) * 2).save(tmp_path / f"{index:03d}.png")
        lines.append(f"{index:03d}.png,{digits.classes[digits.record(index).label]},{'old' if index % 2 else 'new'},x")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    finished = saccade("evaluate", run, tmp_path / "labels.csv", "--slices", "--slice-column", "scanner", "--json")
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    scanners = [part for part in values["slices"] if part["trait"] == "column scanner"]
    assert [part["part"] for part in scanners] == ["new", "old"]
    assert sum(part["num_samples"] for part in scanners) == values["num_samples"]
    assert {"the short side", "brightness", "sharpness"} <= {part["trait"] for part in values["slices"]}
    finished = saccade("evaluate", run, tmp_path / "labels.csv", "--slice-column", "scanner")
    assert "p, corrected\ncolumn scanner  new" in finished.output
    assert "brightness" not in finished.output
    assert "labels.csv: columns that are not used: lens\n" in finished.output
    assert finished.output.endswith("worse than the other images (2 were looked at).\n")
    finished = saccade("evaluate", run, tmp_path / "labels.csv", "--slice-column", "scaner")
    assert finished.errors.endswith(
        f"error: {tmp_path}/labels.csv has no column 'scaner'. Did you mean 'scanner'?\n"
        "Its columns: file, label, scanner, lens.\n"
    )
    finished = saccade("evaluate", run, "digits", "--slice-column", "scanner")
    assert finished.errors.endswith(
        "error: 'digits' is not a CSV file, so it has no column 'scanner'.\n"
        "Name the table as the SOURCE, such as photos/labels.csv.\n"
    )


def test_corrupted_images_are_judged_beside_themselves(saccade: Callable, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corrupted, "MAX_IMAGES", 12)
    found, again = (
        json.loads(saccade("evaluate", run, "digits", "--corruptions", "--json").output)["corruptions"]
        for _ in range(2)
    )
    assert found == again
    assert found["num_samples"] == 12
    assert len(found["kinds"]) == 12
    assert found["top1_corrupted"] == pytest.approx(np.mean(list(found["kinds"].values())))
    assert found["change"] == pytest.approx(found["top1_corrupted"] - found["top1"])
    assert found["change_low"] <= found["change"] <= found["change_high"]


def test_a_page_and_files_hold_all_that_was_measured(
    saccade: Callable, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(corrupted, "MAX_IMAGES", 12)
    names = [str(digit) for digit in range(10)]
    table = [["true", *names], *([name, *("0" if other == name else "1" for other in names)] for name in names)]
    (tmp_path / "costs.csv").write_text("\n".join(",".join(row) for row in table) + "\n")
    page, curves, labels = tmp_path / "page.html", tmp_path / "curves.csv", tmp_path / "labels.csv"
    asked = ["--slices", "--corruptions", "--costs", tmp_path / "costs.csv", "--label-errors", labels]
    finished = saccade("evaluate", run, "digits", *asked, "--curves", curves, "--report", page, "--json")
    assert finished.status == 0, finished.errors
    values, text = json.loads(finished.output), " ".join(page.read_text(encoding="utf-8").split())
    for identifier in ("confusion", "classes", "ranking", "thresholds", "costs", "slices", "corruptions", "labels"):
        assert f'<section id="{identifier}"' in text
        assert f'<a href="#{identifier}">' in text
    assert f"{percent(values['top1'])} % of {values['num_samples']} held-out images correct" in text
    assert (
        f"Area under the ROC curve, each class against the others: {percent(values['ranking']['macro_auc'])} %" in text
    )
    assert f"The answers cost {values['costs']['cost']:.4g} an image." in text
    assert f"are {percent(values['corruptions']['top1_corrupted'])} % correct instead of" in text
    assert text.count("<tr>") > len(values["slices"])
    assert text.count("<script") == 1  # sorts and enlarges; its digest is in the policy
    assert re.search(r"script-src (&#x27;|')sha256-", text)
    rows = list(csv.DictReader(curves.read_text().splitlines()))
    assert {row["class"] for row in rows} == set(names)
    listed = list(csv.DictReader(labels.read_text().splitlines()))
    assert len(listed) == values["num_suspected_labels"] == len(values["suspected_labels"])
    assert [row["image"] for row in listed] == [entry["image"] for entry in values["suspected_labels"]]
    assert (values["suspected_labels_share"] is None) == (not listed)
    assert 0 <= values["wrong_labels_share"] <= 0.5
    finished = saccade("evaluate", run, "digits", "--curves", tmp_path / "curves.txt")
    assert (finished.status, finished.errors.splitlines()[0]) == (
        2,
        "error: --curves writes .csv or .json files; got 'curves.txt'.",
    )


def test_images_of_one_class_judge_a_run(saccade: Callable, run: Path, tmp_path: Path):
    """How many of the eights are known: with the others all there, it is the recall of that class."""
    digits = Digits()
    (tmp_path / "eights" / "8").mkdir(parents=True)
    for index in [index for index in range(400) if digits.classes[digits.record(index).label] == "8"]:
        Image.fromarray(digits.read(index)).save(tmp_path / "eights" / "8" / f"{index}.png")
    finished = saccade("evaluate", run, tmp_path / "eights", "--json")
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    assert values["top1"] == next(found["recall"] for found in values["per_class"] if found["class"] == "8")
    assert (values["majority_class"], values["majority_rate"]) == ("8", 1.0)
    assert values["ranking"]["macro_auc"] is None
    trained = saccade("train", tmp_path / "eights")
    assert trained.errors.startswith(f"error: The folder {tmp_path}/eights has one class only, '8': ")
