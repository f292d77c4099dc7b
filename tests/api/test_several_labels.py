"""Several labels an image, from a CSV file to answers: trained, judged, evaluated, predicted, explained, reported."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import average_precision_score
from tests.several_labels import CLASSES, write_list, write_marks, write_one_hot

from saccade import api, load
from saccade.classify.answers_file import write_judged
from saccade.core.errors import DataError, UsageError
from saccade.core.task import SEVERAL_LABELS, images_right
from saccade.core.types import Prediction
from saccade.data.labels import labels_of
from saccade.data.source import open_source
from saccade.evaluate.label_metrics import LabelMetrics
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.evaluation_files import read_verdict
from saccade.survey.label_next import choose_badge

SETTINGS = ["input.channels=rgb", "input.size_px=16", "batch_size=16", "optimizer.learning_rate=0.03"]
NETWORK = "conv 16 f3 | pool | conv 32 f3 | pool | fc 64 | softmax"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs and images of these tests lie; `more` are images that no training sees."""
    folder = tmp_path_factory.mktemp("several")
    write_one_hot(folder / "more", 120, seed=5)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> api.TrainResult:
    request = api.TrainRequest(
        source=write_list(folder / "marks", 360), model=NETWORK, epochs=12, out=folder / "run", settings=SETTINGS
    )
    return api.train(request)


@pytest.fixture(scope="module")
def evaluation(trained: api.TrainResult, folder: Path) -> api.Evaluation:
    return api.evaluate(trained.run_dir, folder / "more" / "labels.csv")


def test_marks_are_told_and_the_verdict_has_its_baseline(trained: api.TrainResult):
    metrics = trained.judgement.metrics
    assert isinstance(metrics, LabelMetrics)
    assert metrics.classes == CLASSES
    assert metrics.map > 0.95
    assert metrics.map_low <= metrics.map <= metrics.map_high
    assert 0.3 < metrics.map_baseline < 0.45
    lines = trained.display_lines()
    assert lines[0].startswith(
        f"mAP {100 * metrics.map:.1f} % on {metrics.num_samples} held-out images, 3 classes (95 %"
    )
    assert lines[1].startswith("Every label right: ")


def test_the_checkpoint_knows_its_task_and_the_verdict_is_that_of_its_outputs(trained: api.TrainResult):
    manifest = find_checkpoint(trained.run_dir).manifest
    assert manifest.task.is_several
    assert manifest.task.thresholds_for == "F1"
    assert len(manifest.task.thresholds) == len(manifest.task.slopes) == 3
    found = read_verdict(trained.run_dir, manifest.classes, manifest.task)
    assert found is not None
    logits_NK, label_NK = found[1].logits_NK, found[1].label_N
    source = open_source(trained.config.source, several=True)
    np.testing.assert_array_equal(label_NK, labels_of(source, found[1].index_N))
    ap_K = [average_precision_score(label_NK[:, k], logits_NK[:, k]) for k in range(3)]
    assert trained.judgement.metrics.map == pytest.approx(np.mean(ap_K))
    said_NK = manifest.task.probabilities_of(logits_NK) >= np.array(manifest.task.thresholds)
    assert trained.judgement.metrics.exact_match == images_right(label_NK, said_NK).mean()


def test_the_kept_epoch_is_the_one_with_the_highest_map(trained: api.TrainResult):
    lines = (trained.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [event for event in map(json.loads, lines) if event["event"] == "epoch"]
    best = max(epochs, key=lambda event: (event["validation_map"], -event["validation_loss"]))
    assert trained.best_epoch == best["epoch"]


def test_new_images_are_judged_by_name_from_other_columns(evaluation: api.Evaluation):
    assert evaluation.metrics.map > 0.9
    values = evaluation.as_json()
    assert values["task"] == "several labels"
    assert values["thresholds_for"] == "F1"
    assert not {"top1", "temperature", "confusion", "majority_rate"} & values.keys()
    assert [entry["class"] for entry in values["per_class"]] == list(CLASSES)
    json.dumps(values, allow_nan=False)


def test_mistakes_name_what_was_missed_and_what_was_said_for_nothing(evaluation: api.Evaluation, tmp_path: Path):
    api.write_mistakes(evaluation, tmp_path / "mistakes.csv")
    with open(tmp_path / "mistakes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == round((1 - evaluation.metrics.exact_match) * 120)
    for row in rows:
        labels, said = (set(filter(None, row[name].split(";"))) for name in ("labels", "said"))
        assert set(filter(None, row["missed"].split(";"))) == labels - said
        assert set(filter(None, row["said_for_nothing"].split(";"))) == said - labels


def test_a_page_and_a_file_of_curves_hold_every_class(evaluation: api.Evaluation, tmp_path: Path):
    api.write_evaluation_report(evaluation, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<section id="ranking"' in page
    assert '<section id="confusion"' not in page
    assert "The dotted line is the recall from " in page
    api.write_curves(evaluation, tmp_path / "curves.json")
    curves = json.loads((tmp_path / "curves.json").read_text())["classes"]
    assert [entry["class"] for entry in curves] == list(evaluation.metrics.classes)
    for k, entry in enumerate(curves):
        recall = np.array([0.0 if value is None else value for value in entry["true_positive_rate"]])
        precision = np.array(entry["precision"])
        ap = average_precision_score(evaluation.label_N[:, k], evaluation.probabilities()[:, k])
        assert float((np.diff(recall) * precision[1:]).sum()) == pytest.approx(ap)


def test_predictions_say_the_labels_that_reach_their_threshold(
    trained: api.TrainResult, evaluation: api.Evaluation, folder: Path, tmp_path: Path
):
    files = sorted((folder / "more" / "images").glob("*.png"))
    answers = [answer for answer in api.predict(trained.run_dir, files) if isinstance(answer, Prediction)]
    task = find_checkpoint(trained.run_dir).manifest.task
    for answer in answers:
        pairs = zip(answer.classes, answer.probabilities, task.thresholds, strict=True)
        assert set(answer.labels or ()) == {name for name, probability, least in pairs if probability >= least}
    right = [set(answer.labels or ()) for answer in answers]
    source = open_source(str(folder / "more" / "labels.csv"), several=True)
    true = [{source.classes[k] for k in source.record(index).all_labels} for index in range(len(source))]
    assert np.mean([one == other for one, other in zip(right, true, strict=True)]) == evaluation.metrics.exact_match
    _, written = api.predict_to_csv(trained.run_dir, files, tmp_path / "answers.csv")
    list(written)
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    given = [set() if answer.no_answer else labels for answer, labels in zip(answers, right, strict=True)]
    assert [set(filter(None, row["labels"].split(";"))) for row in rows] == given
    assert [row["no_answer"] for row in rows] == [answer.no_answer for answer in answers]


def test_crops_and_ensembles_answer_by_mean_probability(trained: api.TrainResult, folder: Path):
    source = folder / "more" / "labels.csv"
    together = api.evaluate([trained.run_dir, trained.run_dir], source).together
    assert together is not None
    assert together.gain.difference == 0  # twice the same network says the same
    assert {"map", "map_low", "map_high"} <= together.as_json()["members"][0].keys()
    crops = api.evaluate(trained.run_dir, source, crops=5)
    assert crops.metrics.map > 0.5


def test_the_report_has_every_class_and_no_matrix(trained: api.TrainResult):
    page = api.report(trained.run_dir).read_text(encoding="utf-8")
    assert "Labels that may be wrong" in page
    assert "<h1>mAP " in page
    assert "Precision over recall" in page
    assert 'id="confusion"' not in page
    assert "Calibration of each class" in page


def test_an_explanation_names_the_labels(trained: api.TrainResult, folder: Path):
    image = folder / "more" / "images" / "0001.png"
    explanation = api.explain(trained.run_dir, image, class_name="red")
    answer = next(iter(api.predict(trained.run_dir, image)))
    assert explanation.class_name == "red"
    assert tuple(name for name, _ in explanation.labels or ()) == answer.labels
    assert explanation.occlusion.base_probability == pytest.approx(answer.probabilities[2])


def test_thresholds_follow_what_is_wanted(folder: Path):
    """Of a weak network: at a wanted recall every class is said more often than at a wanted precision."""
    said = {}
    for goal in ("precision", "recall"):
        settings = [*SETTINGS, f"labels.threshold_for={goal}", "labels.wanted=0.98", "split.validation_fraction=0.4"]
        result = api.train(
            api.TrainRequest(
                source=folder / "marks" / "labels.csv", model=NETWORK, epochs=1, out=folder / goal, settings=settings
            )
        )
        said[goal] = result.judgement.metrics.said_K
    assert (said["recall"] >= said["precision"]).all()
    assert said["recall"].sum() > said["precision"].sum()


def test_one_label_and_several_are_never_taken_for_each_other(trained: api.TrainResult, folder: Path, tmp_path: Path):
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes((folder / "more" / "images" / "0001.png").read_bytes())
    with pytest.raises(DataError) as error:
        api.evaluate(trained.run_dir, tmp_path)
    assert str(error.value) == (
        f"The run knows several labels an image, and {tmp_path} has one label: nothing says which answers are right.\n"
        "Judge it on images that are labelled as those it learned from."
    )
    (tmp_path / "lists.csv").write_text("file,label\nred/a.png,red;round\nblue/a.png,blue;flat\n")
    with pytest.raises(DataError, match=r"has one label: nothing says .*\nIf ';' stands between several labels there"):
        api.evaluate(trained.run_dir, tmp_path / "lists.csv")
    with pytest.raises((DataError, UsageError), match="Teachers are for one label|knows one label"):
        api.train(
            api.TrainRequest(
                source=folder / "marks" / "labels.csv", model=NETWORK, teachers=[trained.run_dir], out=tmp_path / "s"
            )
        )


def test_labels_that_are_missing_or_given_for_nothing_are_found(trained: api.TrainResult, folder: Path, tmp_path: Path):
    with open(folder / "more" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = {(number, CLASSES[number % 2]) for number in range(0, 120, 11)}
    for number, name in wrong:
        rows[number][name] = str(1 - int(rows[number][name]))
    listed = folder / "more" / "wrong.csv"
    with open(listed, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", *CLASSES], *([row["file"], *map(row.get, CLASSES)] for row in rows)])
    found = api.check_labels(trained.run_dir, str(listed), tmp_path / "labels.csv")
    told = {(suspect.key, suspect.label, suspect.suggested) for suspect in found.suspects}
    planted = {
        (rows[number]["file"], *((name, f"not {name}") if rows[number][name] == "1" else (f"not {name}", name)))
        for number, name in wrong
    }
    assert len(told & planted) >= 6  # of 11
    assert len(told - planted) <= 1
    assert found.sentence().startswith(f"{len(told)} labels of 360 may be wrong")
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [suspect.label for suspect in found.suspects]
    assert api.check_labels(trained.run_dir, str(folder / "more" / "labels.csv")).suspects == ()


def test_it_goes_on_to_the_same_bits_after_a_stop(trained: api.TrainResult, folder: Path):
    """The whole run again, judged again: figures and thresholds are the same."""
    again = api.train(api.TrainRequest(resume=True, out=trained.run_dir))
    assert again.judgement.metrics.map == trained.judgement.metrics.map
    assert find_checkpoint(trained.run_dir).manifest.task == trained.judgement.checkpoint.manifest.task


def test_a_teacher_of_several_labels_is_refused_for_images_of_one(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    rows = [f"images/{number:04}.png,{CLASSES[number % 3]}" for number in range(60)]
    path = folder / "more" / "one.csv"
    path.write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    with pytest.raises(DataError) as error:
        api.train(
            api.TrainRequest(
                source=path,
                model=NETWORK,
                teachers=[trained.run_dir],
                out=tmp_path / "student",
                settings=[*SETTINGS, "distill.weight=0.5"],
            )
        )
    assert str(error.value) == (
        f"The teacher {trained.run_dir} knows several labels an image, and the images have one label.\n"
        "Take a teacher that was trained on one label an image."
    )


def test_one_confidence_and_what_is_measured_of_one_label_are_refused(trained: api.TrainResult, folder: Path):
    source = folder / "more" / "labels.csv"
    own = (
        "Where an image may have several labels, each class has its own threshold; one confidence for all "
        "is for runs of one label.\n"
        "Choose them when training: --set labels.threshold_for=precision --set labels.wanted=0.98."
    )
    with pytest.raises(UsageError) as confidence:
        list(api.predict(trained.run_dir, sorted((folder / "more" / "images").glob("*.png")), min_confidence=0.9))
    assert confidence.value.message == own
    with pytest.raises(UsageError) as precision:
        api.confidence_for(trained.run_dir, 0.9)
    assert precision.value.message == own
    with pytest.raises(UsageError) as answering:
        api.evaluate(trained.run_dir, source, answering=api.Answering(min_confidence=0.9))
    assert answering.value.message == own


def test_a_missed_label_and_one_given_wrongly_cost_what_the_table_says(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    source, table = folder / "more" / "labels.csv", tmp_path / "costs.csv"
    table.write_text("class;given;missed\nred;1;0,5\nblue;2;9\ngreen;0;0\n")
    found = api.evaluate(trained.run_dir, source, further=api.Further(costs=table))
    probability_NK, label_NK = found.probabilities(), found.label_N
    said_NK = probability_NK >= np.array(found.task.thresholds)
    missed, given = {"red": 0.5, "blue": 9.0, "green": 0.0}, {"red": 1.0, "blue": 2.0, "green": 0.0}
    costs = {"said": 0.0, "least": 0.0}
    changed = set()
    for n in range(len(label_NK)):
        for k, name in enumerate(CLASSES):
            least = bool(said_NK[n, k])
            if name != "green":  # whose labels cost nothing, so that no answer changes
                least = probability_NK[n, k] > given[name] / (given[name] + missed[name])
            for kind, answer in (("said", said_NK[n, k]), ("least", least)):
                costs[kind] += missed[name] * (label_NK[n, k] and not answer)
                costs[kind] += given[name] * (answer and not label_NK[n, k])
            changed |= {n} if least != said_NK[n, k] else set()
    values = found.as_json()["costs"]
    assert values["cost"] == pytest.approx(costs["said"] / len(label_NK))
    assert values["least_expected_cost"] == pytest.approx(costs["least"] / len(label_NK))
    assert values["num_changed"] == len(changed)
    table.write_text("true,red,blue,green\nred,0,1,1\nblue,1,0,1\ngreen,1,1,0\n")
    with pytest.raises(DataError) as error:
        api.evaluate(trained.run_dir, source, further=api.Further(costs=table))
    assert error.value.message == (
        f"{table}, line 1: where an image may have several labels, the columns are 'missed' and 'given': what a label "
        "costs that is missed, and one that is given wrongly.\n"
        "Such as: class,missed,given  cat,5,1  dog,1,1"
    )


@pytest.fixture(scope="module")
def framed(folder: Path) -> Path:
    """90 images like the others, of which two thirds have a white frame, too; all labels are listed."""
    rows = write_marks(folder / "framed", 90, seed=9)
    for number, (name, _) in enumerate(rows):
        if number % 3:
            image_HWC = cv2.imread(str(folder / "framed" / name))
            image_HWC[[0, -1], :] = image_HWC[:, [0, -1]] = 255
            cv2.imwrite(str(folder / "framed" / name), image_HWC)
    path = folder / "framed" / "labels.csv"
    lines = [f"{name},{';'.join([*labels, *(['frame'] if n % 3 else [])])}" for n, (name, labels) in enumerate(rows)]
    path.write_text("\n".join(["file,label", *lines]))
    return path


def test_a_class_is_added_from_images_with_all_of_their_labels_and_the_others_are_judged_again(
    trained: api.TrainResult, framed: Path, folder: Path, photos: list[Path]
):
    begun = folder / "lenet"
    api.train(api.TrainRequest(source=trained.config.source, model="lenet5", epochs=6, out=begun, settings=SETTINGS))
    added = api.add_class(begun, framed, folder / "with frames", settings=["runtime.num_threads=1"])
    metrics = added.transfer.run.judgement.metrics
    assert metrics.classes == (*CLASSES, "frame")
    assert metrics.ap_K[3] > 0.8
    assert (added.old, added.added) == (CLASSES, ("frame",))
    manifest = find_checkpoint(folder / "with frames").manifest
    assert manifest.task.is_several
    verdict, outputs = read_verdict(folder / "with frames", manifest.classes, manifest.task)
    label_NK = outputs.label_N[:, :3].astype(bool)
    right = {}
    for name, run in (("before", begun), ("after", folder / "with frames")):
        paths = [folder / "marks" / key.replace("labels.csv/", "") for key in verdict.keys]
        labels = [load(run)(path).labels or () for path in paths]
        said_NK = np.array([[each in found for each in CLASSES] for found in labels])
        right[name] = (said_NK == label_NK).all(axis=1)
        assert getattr(added, f"{name}_K").tolist() == (said_NK & label_NK).sum(axis=0).tolist()
    assert added.num_K.tolist() == label_NK.sum(axis=0).tolist()
    assert added.comparison.num_only_first == (right["before"] & ~right["after"]).sum()
    assert added.comparison.num_only_second == (right["after"] & ~right["before"]).sum()
    assert api.drift(folder / "with frames", photos).num_new == 120  # both sources are opened again


def test_a_class_of_several_labels_is_not_added_from_images_whose_other_labels_are_not_known(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    one = folder / "framed-one.csv"
    one.write_text(
        "\n".join(["file,label", *(f"more/images/{n:04}.png,{'ring' if n % 2 else 'dot'}" for n in range(30))])
    )
    with pytest.raises(UsageError) as error:
        api.add_class(trained.run_dir, one, tmp_path / "new")
    assert error.value.message == (
        f"{trained.run_dir} knows several labels an image, and {one} has one: nothing says which of the others its "
        "images have, too.\n"
        "List them in a table with all of their labels, of the classes that are there and of the new one: "
        f"saccade add-class {trained.run_dir} labels.csv"
    )
    with pytest.raises(UsageError) as error:
        api.add_class(trained.run_dir, folder / "more" / "labels.csv", tmp_path / "new")
    assert error.value.message == (
        f"{trained.run_dir} knows all classes of {folder / 'more' / 'labels.csv'} already.\n"
        "To learn from more images of them, put them beside the others: "
        f"saccade transfer SOURCE --weights {trained.run_dir}"
    )
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def photos(folder: Path) -> list[Path]:
    return sorted((folder / "more" / "images").glob("*.png"))


@pytest.fixture(scope="module")
def answers(trained: api.TrainResult, photos: list[Path]) -> list[Prediction]:
    return [answer for answer in api.predict(trained.run_dir, photos) if isinstance(answer, Prediction)]


def test_what_to_label_next_is_chosen_by_the_doubt_of_every_class(
    trained: api.TrainResult, photos: list[Path], answers: list[Prediction], tmp_path: Path
):
    found = api.suggest(trained.run_dir, photos, count=8, out=tmp_path / "next.csv")
    probability_NK = np.array([answer.probabilities for answer in answers])
    feature_ND = load(trained.run_dir).features(photos)
    assert [one.key for one in found.suggested] == [
        str(photos[place]) for place in choose_badge(feature_ND, probability_NK, 8, task=SEVERAL_LABELS)
    ]
    by_key = {answer.key: answer for answer in answers}
    for one in found.suggested:
        answer = by_key[one.key]
        doubt = min(range(3), key=lambda k: abs(answer.probabilities[k] - 0.5))
        assert one.labels == answer.labels
        assert (one.answer, one.probability) == (CLASSES[doubt], pytest.approx(answer.probabilities[doubt], abs=1e-6))
    headings, rows = found.display_rows()
    assert headings == ("image", "labels now", "most in doubt", "probability")
    assert rows[0][1] == (", ".join(found.suggested[0].labels or ()) or "none")
    assert set(found.as_json()["suggested"][0]) == {"file", "labels", "class", "probability"}
    with open(tmp_path / "next.csv", newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert [set(filter(None, row["labels"].split(";"))) for row in listed] == [
        set(one.labels or ()) for one in found.suggested
    ]


def test_drift_tells_for_every_class_how_much_more_often_it_is_met(
    trained: api.TrainResult, folder: Path, photos: list[Path], answers: list[Prediction]
):
    found = api.drift(trained.run_dir, photos)
    judged = read_verdict(trained.run_dir, CLASSES, trained.judgement.checkpoint.manifest.task)
    assert judged is not None
    outputs = judged[1]
    task = trained.judgement.checkpoint.manifest.task
    own_NK = task.said(task.probabilities_of(outputs.logits_NK))
    new_NK = np.array([[name in (answer.labels or ()) for name in CLASSES] for answer in answers])
    assert not found.is_drifted
    assert [share.reference for share in found.classes] == pytest.approx(own_NK.mean(axis=0).tolist())
    assert [share.new for share in found.classes] == pytest.approx(new_NK.mean(axis=0).tolist())
    p_K = [
        fisher_exact([[own.sum(), len(own) - own.sum()], [new.sum(), len(new) - new.sum()]])[1]
        for own, new in zip(own_NK.T, new_NK.T, strict=True)
    ]
    assert [share.p_value for share in found.classes] == pytest.approx(by_holm(p_K))
    truth_K = labels_of(open_source(str(folder / "more" / "labels.csv"), several=True), range(120)).mean(axis=0)
    for share, truth in zip(found.classes, truth_K, strict=True):
        assert share.estimate_low <= truth <= share.estimate_high
    red = [path for path, answer in zip(photos, answers, strict=True) if "red" in (answer.labels or ())]
    moved = api.drift(trained.run_dir, red)
    assert moved.is_drifted
    assert [share.name for share in moved.classes if share.moved] == ["red"]
    assert moved.class_sentence().startswith("Answered more or less often: 'red' 100.0 % (")
    json.dumps(moved.as_json())


def by_holm(p_K: list[float]) -> list[float]:
    """Holm's correction, by its definition."""
    adjusted, largest = [0.0] * len(p_K), 0.0
    for rank, place in enumerate(sorted(range(len(p_K)), key=p_K.__getitem__)):
        largest = max(largest, min(1.0, (len(p_K) - rank) * p_K[place]))
        adjusted[place] = largest
    return adjusted


def test_labelling_tools_get_all_labels_and_give_them_back(
    trained: api.TrainResult, folder: Path, photos: list[Path], answers: list[Prediction], tmp_path: Path
):
    told = [place for place, answer in enumerate(answers) if not answer.no_answer]
    photos, answers = [photos[place] for place in told], [answers[place] for place in told]
    expected = [set(answer.labels or ()) for answer in answers]
    assert set() in expected
    tasks_path = folder / "more" / "tasks.json"
    api.predict_to_label_studio(trained.run_dir, photos, tasks_path)
    tasks = json.loads(tasks_path.read_text())
    for task, answer in zip(tasks, answers, strict=True):
        sides = [p if name in answer.labels else 1 - p for name, p in zip(CLASSES, answer.probabilities, strict=True)]
        assert task["predictions"][0]["score"] == pytest.approx(min(sides), abs=1e-6)
        assert len(task["predictions"][0]["result"]) == bool(answer.labels)
    view = ElementTree.fromstring((folder / "more" / "tasks.json.xml").read_text())
    assert view.find("Choices").attrib["choice"] == "multiple"
    accepted = [{"data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]} for task in tasks]
    tasks_path.write_text(json.dumps(accepted))
    api.predict_to_fiftyone(trained.run_dir, photos, tmp_path / "export")
    for place in (tasks_path, tmp_path / "export"):
        source = open_source(str(place), several=True)
        assert source.task.is_several
        found = [{source.classes[k] for k in source.record(index).all_labels} for index in range(len(source))]
        assert found == expected
    target = json.loads((tmp_path / "export" / "labels.json").read_text())["labels"].values()
    first = next(place for place, labels in enumerate(expected) if len(labels) > 1)
    confidences = {CLASSES[each["label"]]: each["confidence"] for each in list(target)[first]}
    assert confidences == pytest.approx(
        {name: p for name, p in zip(CLASSES, answers[first].probabilities, strict=True) if name in expected[first]}
    )


def test_features_are_written_with_all_labels_and_the_image_itself_is_the_nearest(
    trained: api.TrainResult, folder: Path, tmp_path: Path
):
    listed = folder / "more" / "labels.csv"
    source = open_source(str(listed), several=True)
    api.features(trained.run_dir, source, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as arrays:
        labels = arrays["label_N"].tolist()
        feature_ND = arrays["feature_ND"]
    expected = [";".join(source.classes[k] for k in source.record(index).all_labels) for index in range(120)]
    assert labels == expected
    assert {text.count(";") for text in labels} >= {0, 1}
    photos = sorted((folder / "more").rglob("*.png"))
    np.testing.assert_array_equal(feature_ND, load(trained.run_dir).features(photos))
    assert api.similar(trained.run_dir, photos[0], photos, count=1).copies == (str(photos[0]),)


def test_equal_cells_of_the_answers_file_are_right_answers(evaluation: api.Evaluation, tmp_path: Path):
    write_judged(tmp_path / "answers.csv", evaluation, top=3)
    rows = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert any(";" in row["label"] for row in rows)
    right_N = evaluation.task.right(evaluation.label_N, evaluation.probabilities())
    assert [row["labels"] == row["label"] for row in rows if not row["no_answer"]] == [
        bool(right) for right, row in zip(right_N, rows, strict=True) if not row["no_answer"]
    ]
