"""Ordered grades: figures against scikit-learn, the answer of the smallest expected error, and the order of names."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from saccade.core.errors import DataError, UsageError
from saccade.core.task import GRADE, ONE_LABEL, median_grade, softmax
from saccade.core.types import Prediction
from saccade.data.source import open_source
from saccade.data.sources.shared.targets import order_of_grades
from saccade.evaluate.by_threshold import confusion_by_threshold
from saccade.evaluate.grades import grade_figures, grades_json, quadratic_kappa
from saccade.evaluate.metrics import compute_metrics
from saccade.evaluate.mistakes import find_mistakes
from saccade.evaluate.verdict import metrics_json, verdicts, warnings
from saccade.train.loss import right_images

CLASSES = ("0", "1", "2", "3")


def logits(num: int, seed: int, num_classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.5, (num, num_classes)).astype(np.float32)


def test_figures_are_those_of_scikit_learn_on_random_cases_with_absent_grades():
    generator = np.random.default_rng(0)
    for _ in range(300):
        num_classes, num = int(generator.integers(2, 7)), int(generator.integers(2, 40))
        present = generator.choice(num_classes, int(generator.integers(1, num_classes + 1)), replace=False)
        label_N, said_N = generator.choice(present, num), generator.integers(0, num_classes, num)
        found = grade_figures(said_N, label_N, num_classes)
        assert found.mae == pytest.approx(mean_absolute_error(label_N, said_N))
        assert found.within_one == np.mean(np.abs(label_N - said_N) <= 1)
        best = min(np.abs(label_N - grade).mean() for grade in range(num_classes))
        assert found.baseline_mae == pytest.approx(best)  # no constant answer is nearer
        if len({*label_N.tolist()}) > 1 or len({*said_N.tolist()}) > 1:
            expected = cohen_kappa_score(label_N, said_N, weights="quadratic", labels=range(num_classes))
            assert found.kappa == pytest.approx(expected)


def test_what_is_undefined_is_null():
    assert math.isnan(quadratic_kappa(np.diag([5, 0, 0])))
    nothing = np.zeros(0, np.int64)
    values = grades_json(grade_figures(nothing, nothing, 3), ("0", "1", "2"))
    assert values["mae"] is None
    assert values["quadratic_kappa"] is None
    same = grades_json(grade_figures(np.ones(4, np.int64), np.ones(4, np.int64), 3), ("0", "1", "2"))
    assert same["mae"] == 0
    assert same["quadratic_kappa"] is None


def test_intervals_hold_the_figures():
    label_N = np.random.default_rng(1).integers(0, 4, 400)
    said_N = np.clip(label_N + np.random.default_rng(2).integers(-1, 2, 400), 0, 3)
    found = grade_figures(said_N, label_N, 4)
    assert found.mae_low < found.mae < found.mae_high
    assert found.kappa_low < found.kappa < found.kappa_high
    error_N = np.abs(said_N - label_N)
    assert found.mae_high - found.mae_low == pytest.approx(2 * 1.96 * error_N.std() / 20, rel=0.15)


def test_no_other_answer_has_a_smaller_expected_error():
    probability_NK = softmax(logits(500, 0, 6))
    np.testing.assert_allclose(probability_NK, torch.from_numpy(logits(500, 0, 6)).double().softmax(1).numpy())
    distance_KK = np.abs(np.arange(6)[:, None] - np.arange(6))
    expected_NK = probability_NK @ distance_KK  # of saying each grade
    own_N = expected_NK[np.arange(500), median_grade(probability_NK)]
    np.testing.assert_allclose(own_N, expected_NK.min(axis=1))
    assert (own_N < expected_NK[np.arange(500), probability_NK.argmax(axis=1)] - 1e-9).any()
    assert median_grade(np.array([[0.5, 0.0, 0.5]])).tolist() == [0]


def test_every_part_says_the_same_grade():
    logits_NK, label_N = logits(200, 3), np.random.default_rng(4).integers(0, 4, 200)
    probability_NK = softmax(logits_NK)
    said_N = median_grade(probability_NK)
    assert (said_N != logits_NK.argmax(axis=1)).sum() > 5
    metrics = compute_metrics(logits_NK, label_N, CLASSES, GRADE)
    assert metrics.top1 == np.mean(said_N == label_N)
    assert metrics.grades is not None
    assert metrics.grades.mae == np.abs(said_N - label_N).mean()
    np.testing.assert_array_equal(metrics.confusion_KK.sum(axis=0), np.bincount(said_N, minlength=4))
    np.testing.assert_array_equal(GRADE.said(probability_NK).argmax(axis=1), said_N)
    np.testing.assert_array_equal(GRADE.right(label_N, GRADE.scores_of(logits_NK)), said_N == label_N)
    right = right_images(torch.from_numpy(logits_NK), torch.from_numpy(label_N), GRADE)
    np.testing.assert_array_equal(right.numpy(), said_N == label_N)
    wrong = find_mistakes(logits_NK, label_N, [str(i) for i in range(200)], CLASSES, task=GRADE)
    assert {mistake.position: mistake.said for mistake in wrong} == {
        i: str(said_N[i]) for i in np.flatnonzero(said_N != label_N).tolist()
    }
    everything = confusion_by_threshold(probability_NK, label_N, GRADE)[0]
    np.testing.assert_array_equal(everything.confusion_KK, metrics.confusion_KK)
    for row in range(200):
        grade = GRADE.grade_of(probability_NK[row], CLASSES)
        answer = Prediction(
            key="a", classes=CLASSES, probabilities=tuple(probability_NK[row]), latency_ms=1.0, grade=grade
        )
        assert answer.answer == grade == answer.top(2)[0][0] == str(said_N[row])
        assert [name for name, _ in answer.top(4)] == sorted(
            CLASSES, key=lambda name: (name != grade, -answer.probabilities[int(name)])
        )


def test_classes_without_an_order_are_judged_as_ever():
    logits_NK, label_N = logits(50, 5), np.random.default_rng(6).integers(0, 4, 50)
    metrics = compute_metrics(logits_NK, label_N, CLASSES)
    assert metrics.grades is None
    assert "mae" not in metrics_json(metrics)
    assert ONE_LABEL.grade_of(softmax(logits_NK)[0], CLASSES) is None


def test_the_verdict_says_how_far_off_answers_are_and_doubts_what_is_no_nearer():
    label_N = np.repeat(np.arange(4), 20)
    metrics = compute_metrics(10 * np.eye(4, dtype=np.float32)[np.clip(label_N + 1, 0, 3)], label_N, CLASSES, GRADE)
    assert verdicts(metrics)[1].startswith(
        "Off by 0.750 grades on average (95 % interval 0.662 to 0.838); always saying '1', the median: 1.000. "
        "Within one grade: 100.0 %; quadratic kappa 0.700 ("
    )
    assert metrics_json(metrics)["task"] == "grade"
    far = compute_metrics(np.eye(4, dtype=np.float32)[3 - label_N] * 10, label_N, CLASSES, GRADE)
    assert warnings(far)[0].startswith(
        "Not shown to be nearer than always saying the median grade (1.000): the interval"
    )


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("0", "1", "10", "2"), [0, 1, 3, 2]),
        (("0", "0.333", "0.5", "1.0"), [0, 1, 2, 3]),  # as texts, 5 comes before 333
        (("2_severe", "0_none", "1_mild"), [2, 0, 1]),
        (("grade 3", "grade 1"), [1, 0]),
        (("-1", "0", "-2"), [1, 2, 0]),
    ],
)
def test_grades_are_ordered_by_the_number_in_their_name(names: tuple[str, ...], places: list[int]):
    assert order_of_grades("here", names) == places


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("mild", "severe"), "here has the grade 'mild', in which no number says its place among the others.\n"
         "Number the grades, such as 0, 1, 2 or 0_none, 1_mild, 2_severe."),
        (("1", "1.0", "2"), "here has two grades at one place, '1' and '1.0'.\n"
         "Write a grade the same way for every image, and give each a number of its own."),
        (("1",), "here has one grade only; 2 to 50 are told apart.\nList images of another grade."),
        (tuple(map(str, range(51))), "here has 51 different grades; 2 to 50 are told apart.\n"
         "Learn them as numbers: --target number."),
    ],
)  # fmt: skip
def test_names_that_say_no_order_are_refused(names: tuple[str, ...], said: str):
    with pytest.raises(DataError) as caught:
        order_of_grades("here", names)
    assert caught.value.message == said


def test_a_set_of_grades_is_a_set_of_classes_in_order(tmp_path: Path):
    (tmp_path / "t.csv").write_text("file,grade\na.png,0.5\nb.png,0.333\nc.png,1.0\n")
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    source = open_source(f"{tmp_path / 't.csv'}?target=grade")
    assert source.classes == ("0.333", "0.5", "1.0")
    assert [source.record(index).label for index in range(3)] == [1, 0, 2]
    assert source.task == GRADE
    assert source.name == f"{tmp_path / 't.csv'}?target=grade"
    with pytest.raises(UsageError, match="'rank' is not what can be asked"):
        open_source(f"{tmp_path / 't.csv'}?target=rank")


def test_answers_without_a_fault_leave_room_for_faults_of_other_images():
    """Of 32 right answers up to 10.7 % may be wrong (Wilson), by a grade each; four grades alike: chance is 2.5."""
    label_N = np.arange(32) % 4
    figures = grade_figures(label_N, label_N, 4)
    assert (figures.mae, figures.mae_low, figures.kappa, figures.kappa_high) == (0, 0, 1, 1)
    assert figures.mae_high == pytest.approx(3.841459 / (32 + 3.841459), rel=1e-6)
    assert figures.kappa_low == pytest.approx(1 - figures.mae_high / 2.5)
    assert math.isnan(grade_figures(np.ones(8, np.int64), np.ones(8, np.int64), 4).kappa_low)
