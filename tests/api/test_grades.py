"""Ordered grades from a CSV file to answers: trained, judged, evaluated, predicted, explained, reported, refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error
from tests.angles import calls_for_classes, refusal, write_angles

from saccade import api
from saccade.core.errors import DataError, UsageError
from saccade.core.task import GRADE, median_grade, softmax
from saccade.core.types import Prediction
from saccade.report.sections.classes import by_threshold
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.evaluation_files import read_verdict
from saccade.train.own_images import own_source
from saccade.transfer.more_classes import open_more

NAMES = ("0_left", "1_some", "2_upright", "10_right")  # a text's order would put 10 before 2


def graded(path: Path) -> Path:
    """The CSV file of angles in `path` with a grade in place of each."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    grades = path.with_name("grades.csv")
    with open(grades, "w", newline="", encoding="utf-8") as file:
        lines = [[row["file"], NAMES[int(np.digitize(float(row["angle"]), (-30, 0, 30)))]] for row in rows]
        csv.writer(file).writerows([["file", "grade"], *lines])
    return grades


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grades")
    graded(write_angles(folder / "angles", 300))
    graded(write_angles(folder / "more", 80, seed=5))
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> api.TrainResult:
    return api.train(
        api.TrainRequest(
            source=f"{folder / 'angles' / 'grades.csv'}?target=grade",
            model="conv 16 f3 | pool | conv 32 f3 | pool | fc 64 | softmax",
            epochs=5,
            out=folder / "run",
            settings=["input.size_px=16", "batch_size=32", "optimizer.learning_rate=0.03"],
        )
    )


@pytest.fixture(scope="module")
def evaluation(trained: api.TrainResult, folder: Path) -> api.Evaluation:
    return api.evaluate(trained.run_dir, folder / "more" / "grades.csv")


def test_grades_are_told_in_their_order_and_judged_by_their_distance(trained: api.TrainResult):
    manifest, metrics = find_checkpoint(trained.run_dir).manifest, trained.judgement.metrics
    assert manifest.classes == NAMES
    assert manifest.task.is_grade
    assert manifest.temperature == 1
    assert metrics.grades.mae < 0.5 < metrics.grades.baseline_mae
    assert trained.display_lines()[1].startswith(f"Off by {metrics.grades.mae:.3f} grades on average (95 % interval ")


def test_new_grades_are_read_as_grades_and_the_figures_are_scikit_learns(evaluation: api.Evaluation):
    said_N, label_N = median_grade(evaluation.probabilities()), evaluation.label_N
    values = evaluation.as_json()
    assert values["task"] == "grade"
    assert values["mae"] == pytest.approx(mean_absolute_error(label_N, said_N))
    assert values["quadratic_kappa"] == pytest.approx(cohen_kappa_score(label_N, said_N, weights="quadratic"))
    assert values["top1"] == np.mean(said_N == label_N)
    json.dumps(values, allow_nan=False)
    assert len(evaluation.mistakes()) == (said_N != label_N).sum()


def test_predictions_and_files_of_answers_say_the_median(
    trained: api.TrainResult, evaluation: api.Evaluation, folder: Path, tmp_path: Path
):
    files = sorted((folder / "more" / "images").glob("*.png"))
    answers = [answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)]
    said = [NAMES[k] for k in median_grade(evaluation.probabilities()).tolist()]
    assert [answer.grade for answer in answers] == said
    assert [answer.top(1)[0][0] for answer in answers] == said
    api.write_evaluated_answers(evaluation, tmp_path / "answers.csv")
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        assert [row["class"] or row["withheld_class"] for row in csv.DictReader(file)] == said


def test_a_grade_is_explained_and_reported(trained: api.TrainResult, folder: Path, tmp_path: Path):
    explanation = api.explain(trained.run_dir, folder / "more" / "images" / "0000.png", tmp_path / "sheet.svg")
    (answer,) = api.predict(trained.run_dir, [folder / "more" / "images" / "0000.png"])
    assert isinstance(answer, Prediction)
    assert explanation.class_name == explanation.top(1)[0][0] == answer.grade
    page = api.report(trained.run_dir, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "grades on average" in page
    assert "Confusion matrix" in page
    assert "The grade that is said is the median of the probabilities; another one may be more probable." in page


def test_what_grades_do_not_know_is_refused(trained: api.TrainResult, folder: Path, tmp_path: Path):
    with pytest.raises(
        DataError, match="'12.5', in which|has .* different grades|not one class of the images is known"
    ):
        api.evaluate(trained.run_dir, folder / "more" / "angles.csv")


def test_what_is_for_classes_without_an_order_refuses_the_run_before_it_reads_an_image(
    trained: api.TrainResult, folder: Path, evaluation: api.Evaluation, tmp_path: Path
):
    grades = f"{folder / 'angles' / 'grades.csv'}?target=grade"
    calls = calls_for_classes(trained.run_dir, tmp_path)
    calls["Telling wrong labels"] = evaluation.suspected_labels
    calls["saccade add-class"] = lambda: open_more(grades, ["cat"], tmp_path)
    calls["--source"] = lambda: own_source(tmp_path, grades, ("mild", "severe"))
    for what, call in calls.items():
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.message == refusal(what, "grade")
    assert not list(tmp_path.iterdir())


def test_a_grade_that_is_far_off_is_suspected_and_one_beside_it_is_not(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    with open(folder / "more" / "grades.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    far = [number for number, row in enumerate(rows) if row["grade"] in (NAMES[0], NAMES[3])][:6]
    for number in far:
        rows[number]["grade"] = {NAMES[0]: NAMES[3], NAMES[3]: NAMES[0]}[rows[number]["grade"]]
    listed = folder / "more" / "wrong.csv"
    listed.write_text("\n".join(["file,grade", *(f"{row['file']},{row['grade']}" for row in rows)]))
    found = api.check_labels(trained.run_dir, str(listed), tmp_path / "labels.csv")
    suspected = {suspect.key for suspect in found.suspects}
    planted = {rows[number]["file"] for number in far}
    assert len(planted & suspected) >= 3
    assert len(suspected - planted) <= 2
    clean = api.check_labels(trained.run_dir, str(folder / "more" / "grades.csv"))
    assert clean.suspects == ()


def test_curves_and_the_page_of_an_evaluation_are_of_the_grades_that_are_said(
    evaluation: api.Evaluation, tmp_path: Path
):
    api.write_curves(evaluation, tmp_path / "curves.csv")
    with open(tmp_path / "curves.csv", newline="", encoding="utf-8") as file:
        assert {row["class"] for row in csv.DictReader(file)} == set(NAMES)
    api.write_evaluation_report(evaluation, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    known = (evaluation.probabilities(), evaluation.label_N, NAMES)
    for part in by_threshold(*known, evaluation.task):
        assert part.text in page
    assert "Labels that may be wrong" not in page


def test_what_is_confused_at_a_confidence_is_the_median_of_grades_and_the_most_probable_class_of_classes():
    known = (np.array([[0.4, 0.25, 0.35]]), np.array([1]), ("0", "1", "2"))
    assert "20.7 to 100.0" in by_threshold(*known, GRADE)[1].text  # one right answer
    assert "1 as 0 (1)" in by_threshold(*known)[1].text


def test_no_label_of_a_grade_is_suspected_and_the_table_of_mistakes_says_nothing_of_it(
    evaluation: api.Evaluation, trained: api.TrainResult, tmp_path: Path
):
    api.write_mistakes(evaluation, tmp_path / "mistakes.csv")
    with open(tmp_path / "mistakes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.mistakes())
    assert {row["label_may_be_wrong"] for row in rows} <= {""}
    page = api.report(trained.run_dir, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Labels that may be wrong" not in page
    assert 'href="#labels"' not in page


def test_parts_costs_and_corruptions_count_what_is_said(
    trained: api.TrainResult, evaluation: api.Evaluation, folder: Path, tmp_path: Path
):
    rows = [["true", *NAMES], *([name, *(abs(k - j) for j in range(4))] for k, name in enumerate(NAMES))]
    with open(tmp_path / "costs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    further = api.Further(costs=tmp_path / "costs.csv", slices=True, corruptions=True)
    found = api.evaluate(trained.run_dir, folder / "more" / "grades.csv", further=further)
    values, said_N = found.as_json(), median_grade(evaluation.probabilities())
    assert values["costs"]["cost"] == pytest.approx(evaluation.metrics.grades.mae)  # a cost of one for each grade off
    assert values["costs"]["num_changed"] == 0  # no answer has a smaller expected distance than the median
    assert {part["num_samples"] for part in values["slices"]} <= set(range(10, 81))
    assert sum(part["num_samples"] * part["top1"] for part in values["slices"] if part["trait"] == "brightness") == (
        pytest.approx((said_N == found.label_N).sum())
    )
    corrupted = values["corruptions"]
    assert corrupted["top1"] == values["top1"]
    assert corrupted["mae"] == pytest.approx(values["mae"])
    assert corrupted["mae_corrupted"] == pytest.approx(corrupted["mae"] + corrupted["mae_change"])
    assert "They are off by" in found.robustness.sentence()
    json.dumps(values, allow_nan=False)


def test_drift_and_suggestions_say_the_median(trained: api.TrainResult, folder: Path):
    files = sorted((folder / "more" / "images").glob("*.png"))
    said = {
        answer.key: answer.grade for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)
    }
    found = api.drift(trained.run_dir, files)
    assert [share.name for share in found.classes] == list(NAMES)
    assert [share.new for share in found.classes] == pytest.approx(
        [list(said.values()).count(name) / len(files) for name in NAMES]
    )
    assert {
        one.key: one.answer for one in api.suggest(trained.run_dir, files, count=10).suggested
    }.items() <= said.items()


def test_labelling_tools_get_the_grade_that_is_said(trained: api.TrainResult, folder: Path, tmp_path: Path):
    files = sorted((folder / "more" / "images").glob("*.png"))[:6]
    said = [answer.answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)]
    api.predict_to_label_studio(trained.run_dir, files, folder / "more" / "tasks.json")
    tasks = json.loads((folder / "more" / "tasks.json").read_text())
    assert [
        task["predictions"][0]["result"][0]["value"]["choices"][0] if "predictions" in task else None for task in tasks
    ] == said
    api.predict_to_fiftyone(trained.run_dir, files, tmp_path / "export")
    labels = json.loads((tmp_path / "export" / "labels.json").read_text())
    assert labels["classes"] == list(NAMES)
    assert [one and labels["classes"][one["label"]] for one in labels["labels"].values()] == said


def test_folds_judge_every_grade_once(folder: Path):
    source = f"{folder / 'more' / 'grades.csv'}?target=grade"
    settings = ["input.size_px=16", "batch_size=32", "optimizer.learning_rate=0.03"]
    result = api.train(
        api.TrainRequest(source=source, model="lenet5", epochs=1, folds=2, out=folder / "folds", settings=settings)
    )
    values = json.loads((folder / "folds" / "evaluation.json").read_text())
    assert (values["num_samples"], values["task"], values["split"]) == (80, "grade", "folds")
    said_N = median_grade(evaluation_of(folder / "folds"))
    label_N = read_verdict(folder / "folds", NAMES, GRADE)[1].label_N
    assert values["mae"] == pytest.approx(np.abs(said_N - label_N).mean())
    assert result.judgement.folds is not None
    assert result.judgement.folds.figure == "top1"


def evaluation_of(run: Path) -> np.ndarray:
    """The probabilities of the images that a run was judged on."""
    found = read_verdict(run, NAMES, GRADE)
    assert found is not None
    probability_NK: np.ndarray = softmax(found[1].logits_NK)
    return probability_NK
