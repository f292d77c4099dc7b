"""Metrics against scikit-learn, against figures worked by hand, and at the edges."""

import json
import math
import re
import warnings

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

from saccade.core.errors import DataError, ModelError, TrainingError
from saccade.evaluate.metrics import calibration_error, compute_metrics, wilson_interval
from saccade.evaluate.verdict import class_rows, metrics_json, percent, verdict
from saccade.evaluate.verdict import warnings as warnings_of


def names(num_classes):
    return [f"class{k}" for k in range(num_classes)]


def random_case(seed):
    """Logits and labels with 2 to 12 classes, of which some may have no image or never be said."""
    draw = np.random.default_rng(seed)
    num_classes, num_images = int(draw.integers(2, 13)), int(draw.integers(1, 60))
    present = draw.permutation(num_classes)[: int(draw.integers(1, num_classes + 1))]
    labels = draw.choice(present, num_images)
    logits = draw.normal(0, draw.uniform(0.1, 4), (num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += draw.uniform(0, 3)
    logits[:, draw.integers(num_classes)] -= draw.choice([0, 50])
    return logits, labels, num_classes


def slow_calibration_error(probabilities, labels):
    """The definition, image by image and bin by bin, in plain Python."""
    total = 0.0
    for number in range(15):
        lower, upper = np.linspace(0, 1, 16)[number], np.linspace(0, 1, 16)[number + 1]
        inside = [i for i, row in enumerate(probabilities) if lower < row.max() <= upper]
        if inside:
            accuracy = sum(probabilities[i].argmax() == labels[i] for i in inside) / len(inside)
            confidence = sum(probabilities[i].max() for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    return total


def test_a_class_without_images_that_is_said_once_does_not_spoil_the_mean_f1():
    """By hand: 99 of 100 right, one is called a class that has no image: F1 1 and 98 / 99, not their mean with a 0."""
    label_N = np.repeat([0, 1], 50)
    logits_NK = np.eye(3)[label_N]
    logits_NK[99] = [0, 0, 1]
    assert compute_metrics(logits_NK, label_N, names(3)).macro_f1 == pytest.approx((1 + 98 / 99) / 2, rel=1e-12)


def test_a_thousand_random_cases_agree_with_scikit_learn():
    for seed in range(1000):
        logits, labels, num_classes = random_case(seed)
        every = range(num_classes)
        said, probabilities = logits.argmax(axis=1), softmax(logits.astype(np.float64), axis=1)
        ours = compute_metrics(logits, labels, names(num_classes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of absent classes, which are the point here
            precision, recall, f1, support = sk.precision_recall_fscore_support(
                labels, said, labels=every, zero_division=np.nan
            )
            macro_f1 = sk.f1_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
        assert ours.top1 == sk.accuracy_score(labels, said)
        np.testing.assert_array_equal(ours.confusion_KK, sk.confusion_matrix(labels, said, labels=every))
        np.testing.assert_array_equal(ours.support_K, support)
        np.testing.assert_allclose(ours.precision_K, precision, rtol=1e-15)
        np.testing.assert_allclose(ours.recall_K, recall, rtol=1e-15)
        np.testing.assert_allclose(ours.f1_K, f1, rtol=1e-12)
        assert ours.macro_f1 == pytest.approx(macro_f1, rel=1e-12)
        log_loss = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
        assert ours.loss == pytest.approx(log_loss, rel=1e-12)
        assert ours.ece == pytest.approx(slow_calibration_error(probabilities, labels), abs=1e-12)
        if num_classes >= 6:
            assert ours.top5 == sk.top_k_accuracy_score(labels, logits, k=5, labels=every)
        else:
            assert ours.top5 is None


def test_log_loss_agrees_with_scikit_learn():
    logits, labels, num_classes = random_case(7)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    ours = compute_metrics(logits, labels, names(num_classes))
    assert ours.loss == pytest.approx(sk.log_loss(labels, probabilities, labels=range(num_classes)), rel=1e-10)


def test_wilson_interval_gives_the_published_figures():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, Table I, method 3 (score, no continuity correction).
    published = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    for correct, total, low, high in published:
        assert wilson_interval(correct, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(
    ("correct", "total", "interval"), [(0, 0, (0.0, 1.0)), (0, 9, (0.0, None)), (9, 9, (None, 1.0))]
)
def test_wilson_interval_is_exact_at_its_ends(correct, total, interval):
    low, high = wilson_interval(correct, total)
    assert interval[0] is None or low == interval[0]
    assert interval[1] is None or high == interval[1]
    assert 0 <= low < high <= 1


def test_no_image_gives_no_rate_and_no_crash():
    ours = compute_metrics(np.zeros((0, 7), np.float32), np.zeros(0, np.int64), names(7))
    assert math.isnan(ours.top1)
    assert (ours.top1_low, ours.top1_high) == (0.0, 1.0)
    assert math.isnan(ours.loss)
    assert math.isnan(ours.ece)
    assert verdict(ours) == "No held-out images: nothing is known of the accuracy."
    assert metrics_json(ours)["top1"] is None


def test_one_image_is_judged_with_a_wide_interval():
    ours = compute_metrics(np.array([[2.0, 0.0]], np.float32), np.array([0]), ["cat", "dog"])
    assert verdict(ours) == (
        "100.0 % of 1 held-out image correct (95 % interval 20.7 to 100.0); always guessing the largest class: 100.0 %."
    )


def test_verdict_reads_like_the_agreed_sentence():
    labels = np.repeat(np.arange(10), [38, 36, 36, 36, 36, 36, 36, 36, 35, 35])
    said = labels.copy()
    said[:5] = 9
    ours = compute_metrics(np.eye(10, dtype=np.float32)[said], labels, names(10))
    assert verdict(ours) == (
        "98.6 % of 360 held-out images correct (95 % interval 96.8 to 99.4); always guessing the largest class: 10.6 %."
    )


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1.0, "100.0"), (0.9997, "99.97"), (0.99999, "99.99"), (0.0, "0.0"), (1e-6, "0.01"), (0.5, "50.0"), (np.nan, "-")],
)
def test_only_an_exact_rate_is_printed_as_all_or_nothing(rate, text):
    assert percent(rate) == text


def test_torch_tensors_of_low_precision_are_judged_like_arrays():
    logits, labels, num_classes = random_case(3)
    low = torch.from_numpy(logits).to(torch.bfloat16)
    ours = compute_metrics(low.requires_grad_(), torch.from_numpy(labels), names(num_classes))
    other = compute_metrics(low.detach().float().numpy(), labels, names(num_classes))
    assert metrics_json(ours) == metrics_json(other)


def test_equal_logits_count_as_the_first_class_everywhere():
    ours = compute_metrics(np.zeros((2, 8), np.float32), np.array([0, 5]), names(8))
    assert ours.top1 == 0.5
    assert ours.top5 == 0.5


def test_logits_far_apart_do_not_overflow():
    ours = compute_metrics(np.array([[3e38, -3e38], [-1e4, 1e4]], np.float32), np.array([0, 0]), ["cat", "dog"])
    assert ours.loss == pytest.approx(1e4)


def test_logits_that_are_not_finite_are_refused():
    logits = np.zeros((1200, 3), np.float32)
    logits[7, 1], logits[9, 2] = np.nan, np.inf
    with pytest.raises(TrainingError) as error:
        compute_metrics(logits, np.zeros(1200, np.int64), names(3))
    assert str(error.value) == (
        "The network's outputs are not finite for 2 of 1,200 images, first for image 7; they cannot be judged.\n"
        "Its weights are damaged or training diverged: train again with a lower learning rate."
    )


def test_a_head_of_another_size_is_refused():
    with pytest.raises(ModelError) as error:
        compute_metrics(np.zeros((2, 4), np.float32), np.zeros(2, np.int64), names(3))
    assert str(error.value) == (
        "The network gives values of shape (2, 4), but there are 3 classes.\n"
        "Its head does not belong to these classes; use the run's own checkpoint."
    )


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(DataError) as error:
        compute_metrics(np.zeros((2, 3), np.float32), np.array([0, 3]), names(3))
    assert str(error.value) == (
        "Labels must lie in 0 to 2, got 0 to 3.\n"
        "The class list of the images is not the one of the run; match them by name first."
    )
    with pytest.raises(DataError, match=re.escape("2 images were judged, but labels have shape (3,).")):
        compute_metrics(np.zeros((2, 3), np.float32), np.zeros(3, np.int64), names(3))


def test_json_has_the_agreed_keys_and_no_nan():
    logits, labels, num_classes = random_case(11)
    values = metrics_json(compute_metrics(logits, labels, names(num_classes)))
    assert list(values)[:7] == ["num_samples", "top1", "top1_low", "top1_high", "top5", "loss", "ece"]
    json.dumps(values, allow_nan=False)
    assert np.sum(values["confusion"]) == values["num_samples"] == len(labels)


def test_class_rows_name_the_usual_confusion_and_leave_undefined_rates_out():
    labels = np.array([0, 0, 0, 0, 1])
    said = np.array([0, 0, 1, 1, 1])
    headings, rows = class_rows(compute_metrics(np.eye(3)[said], labels, ["cat", "dog", "cow"]))
    assert headings[0] == "class"
    assert rows[0] == ["cat", "4", "50.0", "15.0 to 85.0", "100.0", "34.2 to 100.0", "66.7", "dog (2)"]
    assert rows[2] == ["cow", "0", "-", "-", "-", "-", "-", "-"]


def test_warnings_are_given_only_when_true():
    labels = np.repeat([0, 1], 100)
    assert warnings_of(compute_metrics(np.eye(2)[labels], labels, ["cat", "dog"])) == []
    said = np.zeros(112, np.int64)
    labels = np.repeat([0, 1, 2], [100, 12, 0])
    assert warnings_of(compute_metrics(np.eye(3)[said], labels, ["cat", "dog", "cow"])) == [
        "Not shown to be better than always guessing 'cat' (89.3 %): the interval reaches down to 82.2 %.",
        "No held-out image of 'cow': the accuracy on it is unknown.",
        "Fewer than 30 held-out images of 'dog': wide intervals.",
        "No image of 'dog' was recognised.",
    ]


def test_perfect_confidence_and_accuracy_have_no_calibration_error():
    assert calibration_error(np.ones(4), np.ones(4, bool)) == 0.0
    assert calibration_error(np.full(4, 0.75), np.array([True, True, True, False])) == 0.0
    assert calibration_error(np.ones(4), np.array([True, True, True, False])) == 0.25
