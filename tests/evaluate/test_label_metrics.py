"""Figures of several labels an image: held to scikit-learn on random cases, and to counts by hand."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from saccade.core.errors import DataError, TrainingError
from saccade.core.task import SEVERAL_LABELS, Task, sigmoid
from saccade.evaluate.label_metrics import LabelMetrics, compute_label_metrics, mean_average_precision
from saccade.evaluate.ranked_scores import RankedScores
from saccade.evaluate.verdict import metrics_json, verdict, verdicts
from saccade.evaluate.verdict import warnings as told

NUM_CASES = 1000


def case(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Task]:
    """Logits, labels and thresholds: few images and many ties, classes without an image, images without a label."""
    num, num_classes = int(generator.integers(2, 40)), int(generator.integers(2, 7))
    share_K = generator.choice([0.0, 0.1, 0.5, 1.0], num_classes, p=[0.2, 0.3, 0.4, 0.1])
    label_NK = (generator.random((num, num_classes)) < share_K).astype(np.float32)
    logits_NK = generator.normal(label_NK, 2).astype(np.float32)
    if generator.random() < 0.5:
        logits_NK = logits_NK.round()  # ties
    threshold_K = generator.uniform(0.05, 0.95, num_classes)
    return logits_NK, label_NK, Task(kind="several labels", thresholds=tuple(threshold_K.tolist()))


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Intervals are tested apart; here they would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saccade.evaluate.label_metrics.RESAMPLED_VALUES", 1)
        patch.setattr("saccade.evaluate.label_metrics.FEWEST_RESAMPLES", 2)
        yield


def test_every_figure_is_that_of_scikit_learn_on_a_thousand_random_cases():
    generator = np.random.default_rng(0)
    num_absent = num_empty = 0
    for _ in range(NUM_CASES):
        logits_NK, label_NK, task = case(generator)
        names = [str(k) for k in range(label_NK.shape[1])]
        metrics = compute_label_metrics(logits_NK, label_NK, names, task)
        num_absent += bool((label_NK.sum(axis=0) == 0).any())
        num_empty += bool((label_NK.sum(axis=1) == 0).any())
        with config_context(assume_finite=True, skip_parameter_validation=True):  # half of scikit-learn's time
            compare_with_scikit_learn(metrics, logits_NK, label_NK, task)
    assert num_absent > 100
    assert num_empty > 100


def compare_with_scikit_learn(metrics: LabelMetrics, logits_NK: np.ndarray, label_NK: np.ndarray, task: Task) -> None:
    probability_NK = sigmoid(logits_NK)
    said_NK = probability_NK >= np.array(task.thresholds)
    has_K, num_classes = label_NK.any(axis=0), label_NK.shape[1]
    ap_K, auc_K = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    for k in range(num_classes):
        if has_K[k]:
            ap_K[k] = average_precision_score(label_NK[:, k], logits_NK[:, k])
        if has_K[k] and not label_NK[:, k].all():
            auc_K[k] = roc_auc_score(label_NK[:, k], logits_NK[:, k])
    np.testing.assert_allclose(metrics.ap_K, ap_K, rtol=1e-12)
    np.testing.assert_allclose(metrics.auc_K, auc_K, rtol=1e-12)
    expected = ap_K[has_K].mean() if has_K.any() else np.nan
    np.testing.assert_allclose(metrics.map, expected, rtol=1e-12)
    np.testing.assert_allclose(mean_average_precision(logits_NK, label_NK), expected, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is undefined
        references = precision_recall_fscore_support(label_NK, said_NK, average=None, zero_division=np.nan)
        micro = f1_score(label_NK, said_NK, average="micro", zero_division=np.nan)
    for own_K, reference in zip((metrics.precision_K, metrics.recall_K, metrics.f1_K), references[:3], strict=True):
        np.testing.assert_allclose(own_K, np.atleast_1d(reference), rtol=1e-12)
    np.testing.assert_allclose(metrics.micro_f1, micro, rtol=1e-12)
    assert metrics.exact_match == pytest.approx(accuracy_score(label_NK, said_NK))
    mean_loss = log_loss(label_NK.ravel(), probability_NK.ravel(), labels=[0, 1])
    assert metrics.loss == pytest.approx(num_classes * mean_loss, rel=1e-6)


def test_baselines_are_those_of_answering_without_looking():
    """Every image answered alike: the average precision of a class is its share, by scikit-learn too."""
    label_NK = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    metrics = compute_label_metrics(np.zeros((4, 3), np.float32), label_NK, ("a", "b", "c"), SEVERAL_LABELS)
    alike = [average_precision_score(label_NK[:, k], np.zeros(4)) for k in (0, 1)]
    assert metrics.map_baseline == pytest.approx(np.mean(alike)) == 0.625
    assert metrics.exact_baseline == 0.5  # of four images two are [a]


def test_a_draw_counts_an_image_as_often_as_it_was_drawn():
    generator = np.random.default_rng(1)
    score_N, has_N = generator.normal(size=30).round(1), generator.random(30) < 0.4
    drawn_N = generator.integers(30, size=30)
    weight_1N = np.bincount(drawn_N, minlength=30).astype(float)[None]
    ap_R, auc_R = RankedScores(score_N, has_N).both(weight_1N)
    assert ap_R[0] == pytest.approx(average_precision_score(has_N[drawn_N], score_N[drawn_N]))
    assert auc_R[0] == pytest.approx(roc_auc_score(has_N[drawn_N], score_N[drawn_N]))


def test_intervals_hold_the_true_value_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch):
    """95 of 100, within what chance allows: sets drawn from one known distribution, whose mAP a large set tells."""
    monkeypatch.setattr("saccade.evaluate.label_metrics.FEWEST_RESAMPLES", 300)
    generator = np.random.default_rng(2)

    def draw(num: int) -> tuple[np.ndarray, np.ndarray]:
        label_NK = (generator.random((num, 2)) < (0.5, 0.2)).astype(np.float32)
        return generator.normal(1.5 * label_NK).astype(np.float32), label_NK

    truth = mean_average_precision(*draw(400_000))
    held, num_sets = 0, 200
    for number in range(num_sets):
        metrics = compute_label_metrics(*draw(400), ("a", "b"), SEVERAL_LABELS, seed=number)
        held += metrics.map_low <= truth <= metrics.map_high
    assert 0.89 * num_sets <= held <= num_sets


def test_intervals_are_the_same_for_the_same_seed_and_others_for_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("saccade.evaluate.label_metrics.FEWEST_RESAMPLES", 50)
    generator = np.random.default_rng(3)
    label_NK = (generator.random((60, 3)) < 0.4).astype(np.float32)
    logits_NK = generator.normal(label_NK).astype(np.float32)
    one, same, other = (
        compute_label_metrics(logits_NK, label_NK, "abc", SEVERAL_LABELS, seed=seed) for seed in (0, 0, 1)
    )
    assert (one.map_low, one.map_high) == (same.map_low, same.map_high) != (other.map_low, other.map_high)
    np.testing.assert_array_equal(one.f1_low_K, same.f1_low_K)


def test_without_an_image_nothing_is_known():
    metrics = compute_label_metrics(np.zeros((0, 2), np.float32), np.zeros((0, 2)), ("a", "b"), SEVERAL_LABELS)
    assert verdict(metrics) == "No held-out images: nothing is known of the accuracy."
    assert verdicts(metrics) == [verdict(metrics)]
    assert told(metrics) == ["No image was held out, so the accuracy of this classifier is unknown."]
    assert metrics_json(metrics)["map"] is None


def test_the_verdict_has_its_baseline_and_warns_of_what_is_absent():
    label_NK = np.array([[1, 0, 0]] * 6 + [[0, 1, 0]] * 2, np.float32)
    logits_NK = np.where(label_NK > 0, 4, -4).astype(np.float32)
    metrics = compute_label_metrics(logits_NK, label_NK, ("cat", "dog", "owl"), SEVERAL_LABELS)
    assert verdict(metrics) == (
        "mAP 100.0 % on 8 held-out images, 3 classes (95 % interval 67.6 to 100.0); answering by how often each class "
        "occurs: 50.0 %."
    )
    assert verdicts(metrics)[1] == (
        "Every label right: 100.0 % of the images (95 % interval 67.6 to 100.0); always saying the most frequent "
        "labels: 75.0 %."
    )
    assert told(metrics) == [
        "No held-out image of 'owl': in no mean, and nothing is known of it.",
        "Fewer than 30 held-out images of 'cat', 'dog': wide intervals.",
    ]


def test_what_cannot_be_judged_is_refused():
    names = ("a", "b")
    with pytest.raises(DataError, match="their labels are 0 and 1 of that shape"):
        compute_label_metrics(np.zeros((3, 2)), np.full((3, 2), 0.5), names, SEVERAL_LABELS)
    with pytest.raises(DataError, match="2 images of 2 classes were judged"):
        compute_label_metrics(np.zeros((2, 2)), np.zeros((3, 2)), names, SEVERAL_LABELS)
    with pytest.raises(TrainingError, match="not finite for 1 of 2 images"):
        compute_label_metrics(np.array([[0, np.nan], [0, 0]]), np.zeros((2, 2)), names, SEVERAL_LABELS)


def test_answers_without_a_fault_leave_room_for_faults_of_other_images():
    """All draws repeat 100 %; Wilson's interval of n right answers of n begins at n / (n + 1.96 squared)."""
    label_NK = np.zeros((32, 2), np.float32)
    label_NK[:8, 0], label_NK[4:24, 1] = 1, 1
    metrics = compute_label_metrics(6 * label_NK - 3, label_NK, ("a", "b"), SEVERAL_LABELS)
    assert (metrics.map, metrics.map_high) == (1, 1)
    assert metrics.map_low == pytest.approx(32 / (32 + 3.841459), rel=1e-6)
    assert metrics.ap_low_K == pytest.approx([8 / (8 + 3.841459), 20 / (20 + 3.841459)], rel=1e-6)
