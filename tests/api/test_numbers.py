"""A number for each image, from a CSV file to answers: trained, judged, evaluated, predicted, explained, reported."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score
from tests.angles import calls_for_classes, draw, refusal, write_angles

from saccade import api, load
from saccade.core.errors import DataError, UsageError
from saccade.core.types import Prediction
from saccade.data.labels import labels_of
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.split import split_source
from saccade.evaluate.number_metrics import NumberMetrics
from saccade.report.record import read_run
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.evaluation_files import read_verdict
from saccade.runs.novelty_file import read_known_features
from saccade.survey.label_next import choose_spread
from saccade.train.own_images import own_source
from saccade.transfer.more_classes import open_more

SETTINGS = ["input.size_px=16", "batch_size=32", "optimizer.learning_rate=0.03"]
NETWORK = "conv 16 f3 | pool | conv 32 f3 | pool | fc 64 | softmax"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs and images of these tests lie; `more` are images that no training sees."""
    folder = tmp_path_factory.mktemp("numbers")
    write_angles(folder / "angles", 400)
    write_angles(folder / "more", 100, seed=5)
    return folder


def request(folder: Path, out: str, epochs: int = 10) -> api.TrainRequest:
    source = f"{folder / 'angles' / 'angles.csv'}?target=number"
    return api.TrainRequest(source=source, model=NETWORK, epochs=epochs, out=folder / out, settings=SETTINGS)


@pytest.fixture(scope="module")
def trained(folder: Path) -> api.TrainResult:
    return api.train(request(folder, "run"))


@pytest.fixture(scope="module")
def evaluation(trained: api.TrainResult, folder: Path) -> api.Evaluation:
    return api.evaluate(trained.run_dir, folder / "more" / "angles.csv")


def test_angles_are_told_and_the_verdict_has_its_baseline(trained: api.TrainResult):
    metrics = trained.judgement.metrics
    assert isinstance(metrics, NumberMetrics)
    assert metrics.mae_low < metrics.mae < metrics.mae_high < 5
    assert 25 < metrics.baseline_mae < 35
    assert metrics.r2 > 0.95
    lines = trained.display_lines()
    assert lines[0].startswith(f"Mean absolute error {metrics.mae:.4g} of 'angle' on {metrics.num_samples} held-out ")
    assert lines[1].startswith("R2 ")


def test_the_checkpoint_knows_the_scale_and_the_verdict_is_that_of_its_outputs(trained: api.TrainResult):
    manifest = find_checkpoint(trained.run_dir).manifest
    source = open_source(trained.config.source, several=True)
    value_N = labels_of(source, range(len(source)))
    assert manifest.task.is_number
    assert manifest.task.mean == pytest.approx(value_N.mean(), abs=4)
    assert manifest.task.deviation == pytest.approx(value_N.std(), rel=0.1)
    found = read_verdict(trained.run_dir, manifest.classes, manifest.task)
    assert found is not None
    outputs = found[1]
    np.testing.assert_array_equal(outputs.label_N, value_N[outputs.index_N])
    said_N = outputs.logits_NK[:, 0].astype(np.float64) * manifest.task.deviation + manifest.task.mean
    metrics = trained.judgement.metrics
    assert metrics.mae == pytest.approx(mean_absolute_error(outputs.label_N, said_N))
    assert metrics.r2 == pytest.approx(r2_score(outputs.label_N, said_N))


def test_the_kept_epoch_is_the_one_with_the_smallest_error_on_validation_images(trained: api.TrainResult):
    lines = (trained.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [event for event in map(json.loads, lines) if event["event"] == "epoch"]
    assert trained.best_epoch == min(epochs, key=lambda event: event["validation_mae"])["epoch"]


def test_the_interval_is_that_of_the_errors_on_validation_images(trained: api.TrainResult):
    task = find_checkpoint(trained.run_dir).manifest.task
    source = open_source(trained.config.source, several=True)
    validation_N = split_source(source, scan_source(source, threads=1), seed=0).validation_N
    files = [trained.run_dir.parent / "angles" / source.record(index).key for index in validation_N.tolist()]
    answers = [answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)]
    error_N = np.abs([answer.value for answer in answers] - labels_of(source, validation_N))
    assert task.half_width == pytest.approx(np.sort(error_N)[int(np.ceil(0.9 * (len(error_N) + 1))) - 1], abs=1e-3)
    assert task.half_width_images == len(validation_N) == read_run(trained.run_dir).temperature_images
    for answer in answers[:3]:
        assert answer.interval == pytest.approx((answer.value - task.half_width, answer.value + task.half_width))


def test_new_images_are_judged_though_nothing_says_again_that_they_have_numbers(evaluation: api.Evaluation):
    said_N, value_N = evaluation.probabilities()[:, 0], evaluation.label_N
    assert evaluation.metrics.mae == pytest.approx(mean_absolute_error(value_N, said_N))
    assert evaluation.metrics.mae < 6
    values = evaluation.as_json()
    assert (values["task"], values["number"]) == ("number", "angle")
    assert not {"top1", "temperature", "confusion", "answering", "ranking", "ece_calibrated"} & values.keys()
    json.dumps(values, allow_nan=False)


def test_answers_and_errors_are_written(evaluation: api.Evaluation, tmp_path: Path):
    api.write_evaluated_answers(evaluation, tmp_path / "answers.csv")
    api.write_mistakes(evaluation, tmp_path / "errors.csv")
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = [float(row["number"] or row["withheld_number"]) for row in rows]
    np.testing.assert_allclose(said, evaluation.probabilities()[:, 0], rtol=1e-5)
    np.testing.assert_array_equal([float(row["label"]) for row in rows], evaluation.label_N)
    with open(tmp_path / "errors.csv", newline="", encoding="utf-8") as file:
        errors = [float(row["error"]) for row in csv.DictReader(file)]
    assert len(errors) == 100
    assert errors == sorted(errors, reverse=True)


def test_predictions_are_those_of_the_evaluation_and_go_on_in_a_file(
    trained: api.TrainResult, evaluation: api.Evaluation, folder: Path, tmp_path: Path
):
    files = sorted((folder / "more" / "images").glob("*.png"))
    answers = [answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)]
    np.testing.assert_allclose([answer.value for answer in answers], evaluation.probabilities()[:, 0], atol=1e-4)
    assert answers[0].classes == ("angle",)
    assert answers[0].probabilities == ()
    assert answers[0].top(3) == []
    known = next(answer for answer in answers if not answer.unlike_training)
    assert known.answer == f"{known.value:.4g}"
    assert f"'angle' {known.value:.4g} (" in known.display_lines()[0]
    path = tmp_path / "answers.csv"
    for part in (files[:30], files):
        written, going = api.predict_to_csv(trained.run_dir, part, path)
        list(going)
    assert (written.num_before, written.num_answered) == (30, 70)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(path) for path in files]


def test_a_picture_of_another_kind_gets_no_number(trained: api.TrainResult):
    noise = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
    (answer,) = api.predict(trained.run_dir, [noise])
    assert isinstance(answer, Prediction)
    assert answer.unlike_training
    assert answer.answer is None
    assert "unlike anything seen in training; if it had to answer: 'angle'" in answer.display_lines()[0]


def test_an_answer_is_explained_and_reported(trained: api.TrainResult, folder: Path, tmp_path: Path):
    explanation = api.explain(trained.run_dir, folder / "more" / "images" / "0000.png", tmp_path / "sheet.svg")
    value, interval = explanation.number
    assert value is not None
    assert interval is not None
    assert f"'angle' {value:.4g} (" in explanation.answer_words()
    assert "%" not in explanation.display_lines()[0]
    page = api.report(trained.run_dir, tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (
        "Mean absolute error (validation)",
        "angle: answer over truth",
        "Largest errors",
        "Interval for 90 %",
        "Labels that may be wrong",
        "None of 80 labels is suspected: none is farther off than errors explain.",
    ):
        assert text in page
    for text in ("Confusion matrix", "Calibration error", "Accuracy", "Macro-F1"):
        assert text not in page


def test_several_runs_and_crops_answer_by_the_mean_and_are_compared_by_their_errors(
    trained: api.TrainResult, folder: Path
):
    other = api.train(request(folder, "other", epochs=2))
    together = api.evaluate([trained.run_dir, other.run_dir], folder / "more" / "angles.csv")
    single = [api.evaluate(run, folder / "more" / "angles.csv") for run in (trained.run_dir, other.run_dir)]
    means_N = np.mean([one.probabilities()[:, 0] for one in single], axis=0)
    np.testing.assert_allclose(together.probabilities()[:, 0], means_N, atol=1e-3)
    assert together.together is not None
    assert together.metrics.half_width == 0  # the interval is of one network
    best = min(one.metrics.mae for one in single)
    gain = together.together.error_gain
    assert gain is not None
    assert gain.single == pytest.approx(best, abs=1e-3)
    assert gain.single + gain.difference == pytest.approx(together.metrics.mae, abs=1e-3)
    assert gain.low < gain.difference < gain.high
    values = together.as_json()["together"]
    assert values["members"][1]["mae"] == pytest.approx(single[1].metrics.mae, abs=1e-3)
    assert "mean absolute error of" in together.together.sentences()[0]


def test_a_finished_run_is_judged_again_to_the_same_figures(trained: api.TrainResult):
    resumed = api.train(api.TrainRequest(out=trained.run_dir, resume=True))
    assert resumed.judgement.metrics == trained.judgement.metrics


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"answering": api.Answering(min_confidence=0.9)}, "A confidence is of a class, and this run says a number."),
        ({"further": api.Further(costs=Path("costs.csv"))}, "A table of costs has a cell for each true class"),
    ],
)
def test_what_is_for_classes_is_refused(trained: api.TrainResult, folder: Path, options: dict, said: str):
    with pytest.raises(UsageError, match=said):
        api.evaluate(trained.run_dir, folder / "more" / "angles.csv", **options)


def test_numbers_that_are_wrong_are_found_and_written(
    trained: api.TrainResult, folder: Path, tmp_path: Path, saccade: Callable
):
    with open(folder / "more" / "angles.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = {rows[number]["file"]: rows[number]["angle"] for number in range(0, 100, 20)}
    for row in rows:
        if row["file"] in wrong:
            row["angle"] = str((float(row["angle"]) + 120) % 120 - 60)  # half of the range off
    listed = folder / "more" / "wrong.csv"
    listed.write_text("\n".join(["file,angle", *(f"{row['file']},{row['angle']}" for row in rows)]))
    out, page = tmp_path / "labels.csv", tmp_path / "page.html"
    done = saccade("evaluate", trained.run_dir, listed, "--label-errors", out, "--report", page, "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    found = {entry["image"]: entry for entry in told["suspected_labels"]}
    assert len(set(wrong) & set(found)) >= 4
    assert len(set(found) - set(wrong)) <= 2
    for name, truth in ((name, truth) for name, truth in wrong.items() if name in found):
        entry, given = found[name], next(float(row["angle"]) for row in rows if row["file"] == name)
        assert (entry["label"], entry["label_probability"], entry["suggested_probability"]) == (given, None, None)
        assert entry["suggested"] == pytest.approx(float(truth), abs=15)
    with open(out, newline="", encoding="utf-8") as file:
        listed_rows = list(csv.DictReader(file))
    assert [row["image"] for row in listed_rows] == [entry["image"] for entry in told["suspected_labels"]]
    for row, entry in zip(listed_rows, told["suspected_labels"], strict=True):
        assert float(row["label"]) == pytest.approx(entry["label"])
        assert row["label_probability"] == ""
    first = told["suspected_labels"][0]
    assert f"label {first['label']:.4g}, rather {first['suggested']:.4g}" in page.read_text(encoding="utf-8")
    assert api.check_labels(trained.run_dir, str(folder / "more" / "angles.csv")).suspects == ()


def test_thresholds_and_classes_are_refused(trained: api.TrainResult, folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="A confidence is of a class"):
        api.confidence_for(trained.run_dir, 0.9)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes((folder / "more" / "images" / "0000.png").read_bytes())
    with pytest.raises(DataError, match="'cat' is not a number"):
        api.evaluate(trained.run_dir, tmp_path)


def test_what_is_for_classes_refuses_the_run_before_it_reads_an_image(
    trained: api.TrainResult, folder: Path, evaluation: api.Evaluation, tmp_path: Path
):
    gone, run = tmp_path / "gone", trained.run_dir
    calls = calls_for_classes(run, tmp_path)
    calls["predict --fiftyone"] = lambda: api.predict_to_fiftyone(run, gone, tmp_path / "new")
    calls["evaluate --curves"] = lambda: api.write_curves(evaluation, tmp_path / "curves.csv")
    for what, call in calls.items():
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.message == refusal(what, "number")
    assert not list(tmp_path.iterdir())


def test_label_studio_is_given_numbers_and_gives_them_back(trained: api.TrainResult, folder: Path):
    files = sorted((folder / "more" / "images").glob("*.png"))[:6]
    said = {answer.key: answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)}
    out = folder / "more" / "tasks.json"
    written = api.predict_to_label_studio(trained.run_dir, files, out)
    tasks = json.loads(out.read_text())
    assert written.num_answered == len(tasks) == 6
    for task, answer in zip(tasks, said.values(), strict=True):
        if answer.answer is None:
            assert "predictions" not in task
            continue
        (prediction,) = task["predictions"]
        assert prediction["result"] == [
            {"from_name": "number", "to_name": "image", "type": "number", "value": {"number": answer.value}}
        ]
    configuration = ElementTree.parse(f"{out}.xml").getroot()  # noqa: S314  written here
    assert [dict(field.attrib) for field in configuration.iter("Number")] == [
        {"name": "number", "toName": "image", "step": "0.001"}
    ]
    accepted = [
        {"data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]}
        for task in tasks
        if "predictions" in task
    ]
    back = folder / "more" / "accepted.json"
    back.write_text(json.dumps(accepted))
    source = open_source(f"{back}?target=number", several=True)
    expected = [answer.value for answer in said.values() if answer.answer is not None]
    assert len(expected) > 2
    assert [source.record(index).value for index in range(len(source))] == pytest.approx(expected)


def test_what_to_label_next_is_unlike_what_is_known_and_says_the_number(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    files = sorted((folder / "more" / "images").glob("*.png"))
    found = api.suggest(trained.run_dir, files, count=7, seed=2, out=tmp_path / "next.csv")
    said = {
        answer.key: answer.value for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)
    }
    assert len({one.key for one in found.suggested}) == 7
    assert [one.number for one in found.suggested] == pytest.approx([said[one.key] for one in found.suggested])
    kept = read_known_features(find_checkpoint(trained.run_dir))
    assert kept is not None
    expected = choose_spread(load(trained.run_dir).features(files), kept.unit_MD, 7, seed=2)
    assert [one.key for one in found.suggested] == [str(files[place]) for place in expected]
    assert found.sentence() == (
        "7 images to label next, of 100, by how much they differ from the training images and from each other."
    )
    assert found.display_rows()[0] == ("image", "answer now")
    assert found.as_json()["suggested"][0] == {
        "file": found.suggested[0].key,
        "name": "angle",
        "number": found.suggested[0].number,
    }
    with open(tmp_path / "next.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["number"]) for row in rows] == pytest.approx([one.number for one in found.suggested], rel=1e-8)


@pytest.mark.parametrize("option", ["--curves"])
def test_evaluate_refuses_what_is_for_classes_before_it_opens_the_images(
    trained: api.TrainResult, tmp_path: Path, saccade: Callable, option: str
):
    (tmp_path / "empty").mkdir()
    found = saccade(
        "evaluate",
        trained.run_dir,
        tmp_path / "empty",
        option,
        tmp_path / ("page.html" if option == "--report" else "new.csv"),
    )
    assert found.status == 2
    assert found.output == ""
    assert found.errors.strip() == f"error: {refusal(f'evaluate {option}', 'number')}"
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_classes_are_not_checked_or_added_by_images_of_numbers(tmp_path: Path, folder: Path):
    numbers = f"{folder / 'more' / 'angles.csv'}?target=number"
    for open_it in (lambda: open_more(numbers, ["cat"], tmp_path), lambda: own_source(tmp_path, numbers, ("cat",))):
        with pytest.raises(DataError, match="has a number for each image, and what was asked knows classes only"):
            open_it()


def test_features_have_the_numbers_as_labels_and_the_image_itself_is_the_nearest(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    listed = folder / "more" / "angles.csv"
    source = open_source(f"{listed}?target=number", several=True)
    with open(listed, newline="", encoding="utf-8") as file:
        truths = [float(row["angle"]) for row in csv.DictReader(file)]
    for name in ("f.npz", "f.csv"):
        api.features(trained.run_dir, source, tmp_path / name)
    with np.load(tmp_path / "f.npz") as arrays:
        assert [float(text) for text in arrays["label_N"].tolist()] == truths
        feature_ND = arrays["feature_ND"]
    with open(tmp_path / "f.csv", newline="", encoding="utf-8") as file:
        assert [float(row["label"]) for row in csv.DictReader(file)] == truths  # -12.5 is no formula
    photos = sorted((folder / "more" / "images").glob("*.png"))
    similar = api.similar(trained.run_dir, photos[0], photos, count=1)
    assert similar.copies == (str(photos[0]),)
    unit_ND = feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)
    nearest = 1 + int((unit_ND[1:] @ unit_ND[0]).argmax())
    assert similar.found[0].key == str(photos[nearest])


def test_parts_and_corruptions_count_answers_that_are_near(
    trained: api.TrainResult, evaluation: api.Evaluation, folder: Path, tmp_path: Path
):
    further = api.Further(slices=True, corruptions=True)
    found = api.evaluate(trained.run_dir, folder / "more" / "angles.csv", further=further)
    values, task = found.as_json(), find_checkpoint(trained.run_dir).manifest.task
    said_N = evaluation.probabilities()[:, 0]
    is_near_N = np.abs(said_N - found.label_N) < task.deviation / 2
    assert sum(part["num_samples"] * part["near"] for part in values["slices"] if part["trait"] == "brightness") == (
        pytest.approx(is_near_N.sum())
    )
    corrupted = values["corruptions"]
    assert corrupted["near"] == values["near"] == pytest.approx(is_near_N.mean())
    assert corrupted["mae"] == pytest.approx(mean_absolute_error(found.label_N, said_N))
    assert corrupted["mae_corrupted"] > corrupted["mae"]
    assert f"within half a standard deviation, {task.deviation / 2:.4g}, of the truth." in found.robustness.sentence()
    api.write_evaluation_report(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for title in ("By range of the truth", "Parts of the images", "Corrupted images"):
        assert title in page
    json.dumps(values, allow_nan=False)


def test_drift_looks_at_the_numbers_that_are_said(trained: api.TrainResult, folder: Path, tmp_path: Path):
    alike = api.drift(trained.run_dir, sorted((folder / "more" / "images").glob("*.png")))
    assert not alike.is_drifted
    assert (alike.classes, alike.views[-1]) == ((), "the number 'angle'")
    generator = np.random.default_rng(8)
    for number in range(60):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw(float(generator.uniform(30, 60)), generator))
    moved = api.drift(trained.run_dir, sorted(tmp_path.glob("*.png")))
    assert moved.is_drifted
    assert len(moved.display_lines()) == 2
    assert moved.display_rows()[1] == []


def test_folds_judge_every_number_once_on_its_folds_own_scale(folder: Path):
    source = f"{folder / 'more' / 'angles.csv'}?target=number"
    asked = request(folder, "folds", epochs=1)
    result = api.train(replace(asked, source=source, folds=2))
    values = json.loads((folder / "folds" / "evaluation.json").read_text())
    assert (values["num_samples"], values["split"], values["task"]) == (100, "folds", "number")
    said = {}
    for number in (1, 2):
        run = folder / "folds" / "folds" / f"fold-{number}"
        manifest = find_checkpoint(run).manifest
        verdict, outputs = read_verdict(run, manifest.classes, manifest.task)
        said |= dict(zip(verdict.keys, manifest.task.probabilities_of(outputs.logits_NK)[:, 0], strict=True))
    with open(folder / "more" / "angles.csv", newline="", encoding="utf-8") as file:
        truth = {row["file"]: float(row["angle"]) for row in csv.DictReader(file)}
    assert said.keys() == truth.keys()
    wanted = float(np.mean([abs(said[key] - truth[key]) for key in truth]))
    assert values["mae"] == pytest.approx(wanted, rel=1e-5)
    folds = result.judgement.folds
    assert folds is not None
    assert (folds.figure, folds.value) == ("mae", pytest.approx(wanted, rel=1e-5))
    assert "The folds lie between" in folds.notes[1]
    assert "What each fold is worth" in api.report(folder / "folds", folder / "page.html").read_text(encoding="utf-8")
