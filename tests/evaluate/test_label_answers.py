"""Calibration and thresholds of several labels: held to scikit-learn's minimum and to every threshold tried by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from saccade.core.task import SEVERAL_LABELS, sigmoid
from saccade.evaluate.label_answers import (
    SHIFT_DEVIATION,
    SLOPE_DEVIATION,
    calibrated,
    choose_threshold,
    fit_platt,
    with_thresholds,
)


def sample(num: int, seed: int, slope: float = 2.0, shift: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are there with the probability sigmoid(slope * logit + shift)."""
    generator = np.random.default_rng(seed)
    logit_N = generator.normal(0, 2, num)
    return logit_N, generator.random(num) < sigmoid(slope * logit_N + shift)


def test_many_images_outweigh_the_prior():
    """scikit-learn's logistic regression without a penalty is the fit without a prior."""
    logit_N, has_N = sample(50_000, 0)
    plain = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit_N[:, None], has_N)
    slope, shift = fit_platt(logit_N, has_N)
    assert slope == pytest.approx(float(plain.coef_[0, 0]), abs=0.01)
    assert shift == pytest.approx(float(plain.intercept_[0]), abs=0.01)


def test_few_images_change_little():
    """At the minimum the slope of the loss and that of the prior cancel; near (1, 0) for few images."""
    for num in (0, 1, 5, 40):
        logit_N, has_N = sample(num, 1)
        slope, shift = fit_platt(logit_N, has_N)
        error_N = sigmoid(slope * logit_N + shift) - has_N
        assert (error_N * logit_N).sum() + (slope - 1) / SLOPE_DEVIATION**2 == pytest.approx(0, abs=1e-6)
        assert error_N.sum() + shift / SHIFT_DEVIATION**2 == pytest.approx(0, abs=1e-6)
        assert abs(slope - 1) < 0.2 if num <= 5 else slope > 1.2


def test_labels_against_the_logits_never_turn_the_order_round():
    logit_N = np.linspace(-5, 5, 1000)
    slope, _ = fit_platt(logit_N, logit_N < 0)
    assert slope == 0.05


@pytest.mark.parametrize("goal", ["f1", "precision", "recall"])
def test_the_threshold_is_the_best_of_all(goal: str):
    generator = np.random.default_rng(6)
    for _ in range(200):
        num = int(generator.integers(5, 60))
        has_N = generator.random(num) < 0.4
        has_N[0] = True
        probability_N = sigmoid(generator.normal(2.0 * has_N - 1)).round(int(generator.integers(1, 4)))
        wanted = float(generator.uniform(0.3, 1.0))
        threshold, is_reached = choose_threshold(probability_N, has_N, goal, wanted)
        precision_T, recall_T, _ = precision_recall_curve(has_N, probability_N)
        precisions, recalls = precision_T[:-1], recall_T[:-1]  # the last point is of no threshold
        own_N = probability_N >= threshold
        if goal == "f1":
            best = max(2 * precisions * recalls / np.maximum(precisions + recalls, 1e-300))
            assert f1_score(has_N, own_N) == pytest.approx(best)
            continue
        kept, other = (precisions, recalls) if goal == "precision" else (recalls, precisions)
        own_kept = (precision_score if goal == "precision" else recall_score)(has_N, own_N)
        own_other = (recall_score if goal == "precision" else precision_score)(has_N, own_N)
        enough = other[kept >= wanted - 1e-12]
        assert is_reached == bool(len(enough))
        assert own_other == pytest.approx(max(enough)) if len(enough) else own_kept == pytest.approx(max(kept))


def test_a_class_with_few_images_keeps_a_half_and_what_cannot_be_reached_is_told():
    generator = np.random.default_rng(7)
    label_NK = np.zeros((100, 3))
    label_NK[:30, 0], label_NK[:4, 1], label_NK[:50, 2] = 1, 1, 1
    logits_NK = generator.normal(size=(100, 3))
    logits_NK[60, 0] = 9  # the surest is wrong
    names = ("cat", "owl", "dog")
    task, notes = with_thresholds(SEVERAL_LABELS, logits_NK, label_NK, names, "precision", 0.99)
    assert task.thresholds[1] == 0.5
    assert task.thresholds_for == "a precision of 99 %"
    assert notes[0] == "Fewer than 5 validation images of 'owl': the threshold stays 0.5 for it."
    assert notes[1].startswith("No threshold gives 'cat'")
    fitted = calibrated(task, logits_NK, label_NK)
    assert len(fitted.slopes) == len(fitted.shifts) == 3
    assert fitted.thresholds == task.thresholds
