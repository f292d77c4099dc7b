"""A digits network that is given a shirt says that it has seen nothing like it, in every way of asking."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saccade as package
from saccade import api
from saccade.core.errors import CheckpointError
from saccade.data.source import open_source
from saccade.data.sources.digits import Digits
from saccade.evaluate.novelty import unlike_sentence
from saccade.runs.checkpoint import find_checkpoint, update_manifest
from saccade.runs.names import NOVELTY, VALIDATION

SETTINGS = ["runtime.num_threads=1", "split.seed=0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three short runs on one split of the digits."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        request = api.TrainRequest(source="digits", epochs=4, seed=seed, out=folder / f"{seed}", settings=SETTINGS)
        api.train(request)
    return [folder / f"{seed}" for seed in range(3)]


@pytest.fixture(scope="module")
def shirt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shirt, drawn: a light body with sleeves on black, 28 pixels."""
    image_HW = np.zeros((28, 28), np.uint8)
    image_HW[4:26, 8:20] = 190
    image_HW[4:9, 2:26] = 200
    image_HW[4:7, 12:16] = 0
    path = tmp_path_factory.mktemp("shirt") / "shirt.png"
    Image.fromarray(image_HW).save(path)
    return path


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digit") / "seven.png"
    Image.fromarray(Digits().read(7)).save(path)
    return path


def without_files(run: Path, folder: Path) -> Path:
    """The run as an earlier version left it."""
    copy = Path(shutil.copytree(run, folder))
    checkpoint = find_checkpoint(copy)
    update_manifest(checkpoint, checkpoint.manifest.metrics, checkpoint.manifest.temperature, checkpoint.manifest.task)
    assert not (checkpoint.folder / NOVELTY).exists()
    return copy


def test_a_shirt_has_no_answer_in_text(saccade: Callable, runs: list[Path], shirt: Path, seven: Path):
    finished = saccade("predict", runs[0], seven, shirt, "--top", "1")
    assert finished.status == 0, finished.errors
    lines = finished.output.splitlines()
    assert lines[1].split() == [str(seven), "7", lines[1].split()[2], "%"]
    said = api.predict(runs[0], [shirt])
    name, probability = next(iter(said)).top(1)[0]
    assert f" unlike training (if it had to: {name}) " in lines[2]
    assert lines[2].endswith(f" {100 * probability:.1f} %")
    assert lines[3] == "1 of 2 images has no answer: 1 is unlike anything seen in training."


def test_a_shirt_has_no_class_in_json_and_what_it_would_be(
    saccade: Callable, runs: list[Path], shirt: Path, seven: Path
):
    digit, stranger = json.loads(saccade("predict", runs[0], seven, shirt, "--json").output)["predictions"]
    assert (digit["class"], digit["unlike_training"], digit["no_answer"]) == ("7", False, None)
    assert digit["probability"] == digit["top"][0]["probability"]
    assert (stranger["class"], stranger["probability"], stranger["unlike_training"]) == (None, None, True)
    assert stranger["no_answer"] == "unlike_training"
    assert stranger["top"][0]["probability"] > 0.1


def test_a_shirt_has_no_class_in_the_answers_file(
    saccade: Callable, runs: list[Path], shirt: Path, seven: Path, tmp_path: Path
):
    out = tmp_path / "answers.csv"
    finished = saccade("predict", runs[0], seven, shirt, "--csv", out, "--top", "2")
    assert finished.output.splitlines()[1] == "1 of 2 images has no answer: 1 is unlike anything seen in training."
    digit, stranger = csv.DictReader(out.read_text().splitlines())
    assert (digit["class"], digit["unlike_training"], digit["no_answer"], digit["withheld_class"]) == (
        "7",
        "no",
        "",
        "",
    )
    assert (stranger["class"], stranger["probability"], stranger["unlike_training"]) == ("", "", "yes")
    name, probability = next(iter(api.predict(runs[0], [shirt]))).top(1)[0]
    assert (stranger["withheld_class"], stranger["withheld_probability"]) == (name, f"{probability:.6f}")
    assert stranger["no_answer"] == "unlike_training"


def test_python_says_the_same_with_one_run_with_several_and_with_crops(runs: list[Path], shirt: Path, seven: Path):
    for given, crops in ((runs[:1], 1), (runs, 1), (runs[:1], 4), (runs[:1], 5)):
        digit, stranger = package.load(*given, crops=crops)([seven, shirt])
        assert (digit.answer, digit.unlike_training, digit.no_answer) == ("7", False, "")
        assert (stranger.answer, stranger.unlike_training, stranger.no_answer) == (None, True, "unlike_training")
        name, probability = stranger.top(1)[0]
        assert stranger.display_lines() == [
            f"{shirt}: unlike anything seen in training; if it had to answer: '{name}', {100 * probability:.1f} %."
        ]


def test_asking_costs_no_bit_of_an_answer(runs: list[Path], seven: Path, tmp_path: Path):
    before = without_files(runs[0], tmp_path / "before")
    old, new = (next(iter(api.predict(run, [seven]))) for run in (before, runs[0]))
    assert (old.probabilities, old.logits) == (new.probabilities, new.logits)
    assert (old.unlike_training, new.unlike_training) == (None, False)


def test_a_run_of_before_says_nothing(saccade: Callable, runs: list[Path], shirt: Path, tmp_path: Path):
    before = without_files(runs[0], tmp_path / "before")
    (answer,) = json.loads(saccade("predict", before, shirt, "--json").output)["predictions"]
    assert (answer["unlike_training"], answer["no_answer"], answer["class"] is None) == (None, None, False)
    values = json.loads(saccade("evaluate", before, "digits", "--json").output)
    assert values["num_unlike_training"] is None
    assert "unlike anything" not in saccade("evaluate", before, "digits").output
    finished = saccade("predict", before, shirt, "--precision", "0.9")
    assert (finished.status, finished.errors) == (
        2,
        f"error: {before} keeps no outputs of validation images, which a threshold is chosen on.\n"
        "Train with validation images (split.validation_fraction) and this version, or give --min-confidence.\n",
    )


def test_explain_and_the_report_say_the_same(
    saccade: Callable, runs: list[Path], shirt: Path, seven: Path, tmp_path: Path
):
    told = "Unlike anything seen in training: 'saccade predict' gives no answer."
    for image, is_unlike, words in ((shirt, True, told), (seven, False, "Like images seen in training.")):
        finished = saccade("explain", runs[0], image, "--out", tmp_path / "sheet.svg")
        assert (finished.status, finished.output.splitlines()[1]) == (0, words)
        assert words.replace("'", "&#x27;") in (tmp_path / "sheet.svg").read_text()
        values = json.loads(saccade("explain", runs[0], image, "--out", tmp_path / "sheet.svg", "--json").output)
        assert values["unlike_training"] is is_unlike
        assert values["answering"] is None  # 143 validation images promise no 98 %
        explanation = api.explain(runs[0], image)
        assert words in explanation.display_lines()
        assert explanation.promised is not None
        assert next(iter(api.predict(runs[0], [image]))).logits == tuple(explanation.subject.logits_K.tolist())
        for threshold, reach in ((0.0, "reaches 0.0000"), (1.1, "is below 1.1000")):
            promised = replace(explanation.promised, min_confidence=threshold)
            sure = replace(explanation, promised=promised)
            assert sure.is_sure == (threshold == 0)
            assert sure.answering_words()[1] == f"Its confidence {reach}, from where 98 % precision is promised."
    evaluation = api.evaluate(runs[0], "digits")
    page = " ".join(api.report(runs[0], tmp_path / "report.html").read_text(encoding="utf-8").split())
    assert unlike_sentence(int(evaluation.unlike_N.sum()), 359, evaluation.unlike_share) in page
    assert "98 % precision cannot be promised by 143 validation images" in page


def test_evaluate_counts_what_is_strange(saccade: Callable, runs: list[Path]):
    evaluation = api.evaluate(runs[0], "digits")
    assert evaluation.unlike_N is not None
    assert evaluation.unlike_N.mean() < 0.06
    values = json.loads(saccade("evaluate", runs[0], "digits", "--json").output)
    assert values["num_unlike_training"] == int(evaluation.unlike_N.sum())
    assert values["unlike_training_share"] == evaluation.unlike_share == pytest.approx(0.01)
    text = saccade("evaluate", runs[0], "digits").output
    assert f"{values['num_unlike_training']} of 359 images" in text


def test_below_the_confidence_there_is_no_answer(saccade: Callable, runs: list[Path], tmp_path: Path):
    folder = tmp_path / "new"
    folder.mkdir()
    digits = Digits()
    for index in range(30):
        Image.fromarray(digits.read(index)).save(folder / f"{index:02d}.png")
    plain = json.loads(saccade("predict", runs[0], folder, "--json").output)
    limit = float(np.median([answer["top"][0]["probability"] for answer in plain["predictions"]]))
    finished = saccade("predict", runs[0], folder, "--json", "--min-confidence", repr(limit))
    values = json.loads(finished.output)
    assert (finished.status, values["min_confidence"]) == (0, limit)
    for answer in values["predictions"]:
        is_sure = answer["top"][0]["probability"] >= limit
        if not answer["unlike_training"]:
            assert (answer["no_answer"] is None) == is_sure == (answer["class"] is not None)
    text = saccade("predict", runs[0], folder, "--min-confidence", repr(limit)).output
    assert "no answer (if it had to: " in text
    assert " below the confidence asked for" in text.splitlines()[-1]
    for wrong in ("1.1", "-0.1"):
        finished = saccade("predict", runs[0], folder, "--min-confidence", wrong)
        assert (finished.status, finished.errors) == (
            2,
            f"error: --min-confidence takes a probability in 0 to 1, got {wrong}.\n",
        )


def test_a_file_of_answers_goes_on_with_its_confidence_alone(
    saccade: Callable, runs: list[Path], seven: Path, tmp_path: Path
):
    out = tmp_path / "a.csv"
    assert saccade("predict", runs[0], seven, "--csv", out, "--min-confidence", "0.5").status == 0
    assert saccade("predict", runs[0], seven, "--csv", out, "--min-confidence", "0.5").status == 0
    finished = saccade("predict", runs[0], seven, "--csv", out)
    assert (finished.status, finished.errors) == (
        2,
        f"error: {out} holds answers of another --min-confidence.\nName another file, or remove it: rm {out}.\n",
    )
    record = out.with_name("a.csv.run.json")
    values = json.loads(record.read_text()) | {"format": 1}
    record.write_text(json.dumps(values))
    finished = saccade("predict", runs[0], seven, "--csv", out, "--min-confidence", "0.5")
    assert finished.errors.startswith(
        f"error: {out} holds answers of an earlier version, which has other columns.\nName another file"
    )


def test_a_precision_is_promised_by_the_validation_images(saccade: Callable, runs: list[Path], seven: Path):
    promised = api.confidence_for(runs[0], 0.9)
    assert promised.num_validation == 143
    assert promised.min_confidence is not None
    finished = saccade("predict", runs[0], seven, "--precision", "0.9", "--json")
    values = json.loads(finished.output)
    assert (finished.status, values["min_confidence"]) == (0, promised.min_confidence)
    assert promised.sentence() in values["notes"]
    assert f"note: {promised.sentence()}\n" in saccade("predict", runs[0], seven, "--precision", "0.9").errors
    together = api.confidence_for(runs, 0.9)  # the same validation images: they share one split
    assert together.num_validation == 143
    answering = json.loads(saccade("evaluate", runs[0], "digits", "--precision", "0.9", "--json").output)["answering"]
    assert answering["min_confidence"] == promised.min_confidence
    assert answering["promised_precision"] == 0.9
    assert answering["precision_low"] <= answering["precision"] <= answering["precision_high"]
    text = saccade("evaluate", runs[0], "digits", "--precision", "0.9").output
    assert f"Answers {100 * answering['coverage']:.1f} % of images at 90 % precision: at a confidence of " in text
    assert promised.sentence() in text


def test_a_precision_that_cannot_be_promised_is_refused(saccade: Callable, runs: list[Path], seven: Path):
    finished = saccade("predict", runs[0], seven, "--precision", "0.98")
    assert (finished.status, finished.errors) == (
        2,
        "error: 98 % precision cannot be promised by 143 validation images: it takes 149 that are answered, all of "
        "them right.\nAsk for less, train with more validation images, or give --min-confidence.\n",
    )
    text = saccade("evaluate", runs[0], "digits").output
    assert "Answering only at 0.90 or above: " in text
    assert "98 % precision cannot be promised by 143 validation images" in text
    finished = saccade("predict", runs[0], seven, "--precision", "0.9", "--min-confidence", "0.5")
    assert (finished.status, finished.errors) == (
        2,
        "error: --min-confidence and --precision both say when to answer: give one of them.\n",
    )


def test_runs_of_several_splits_are_promised_nothing_together(runs: list[Path], tmp_path: Path):
    settings = ["runtime.num_threads=1", "split.seed=0", "split.validation_fraction=0"]
    api.train(api.TrainRequest(source="digits", epochs=1, out=tmp_path / "all", settings=settings))
    assert not (tmp_path / "all" / "checkpoint-best" / VALIDATION).exists()
    assert api.evaluate([runs[0], tmp_path / "all"], "digits").promised is None


def test_what_is_kept_is_small_and_that_of_the_validation_images(runs: list[Path]):
    checkpoint = find_checkpoint(runs[0])
    assert set(checkpoint.manifest.files) == {"weights.safetensors", NOVELTY, VALIDATION}
    kept = checkpoint.load_measured(VALIDATION)
    known = checkpoint.load_measured(NOVELTY)
    assert kept is not None
    assert known is not None
    assert kept["logits_NK"].shape == (143, 10)
    assert known["unit_MD"].shape == (1000, 400)
    assert known["distance_V"].shape == (143,)
    np.testing.assert_allclose(np.linalg.norm(known["unit_MD"].astype(np.float64), axis=1), 1, atol=2e-3)
    assert len(open_source("digits")) == 1797


def test_a_finished_run_that_is_judged_again_keeps_what_it_measured(runs: list[Path], tmp_path: Path):
    copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    before = {name: (copy / "checkpoint-best" / name).read_bytes() for name in (NOVELTY, VALIDATION)}
    api.train(api.TrainRequest(source="digits", out=copy, resume=True))
    assert {name: (copy / "checkpoint-best" / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(("name", "verb"), [(NOVELTY, "predict"), (VALIDATION, "evaluate")])
def test_a_damaged_file_is_refused_by_the_verb_that_reads_it(
    runs: list[Path], seven: Path, tmp_path: Path, name: str, verb: str
):
    copy = Path(shutil.copytree(runs[0], tmp_path / "copy"))
    path = copy / "checkpoint-best" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        list(api.predict(copy, [seven])) if verb == "predict" else api.evaluate(copy, "digits")
    assert str(path) in error.value.message
    assert "is damaged: its content is not what was saved." in error.value.message
