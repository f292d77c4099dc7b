"""Curves, average precision and kappa against scikit-learn on random cases, kappa's interval against resampling."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from saccade.evaluate.by_threshold import THRESHOLDS, confusion_by_threshold, threshold_rows
from saccade.evaluate.ranked_scores import RankedScores
from saccade.evaluate.ranking import cohens_kappa, rank


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities with ties, labels of which some classes may be absent, the number of classes."""
    draw = np.random.default_rng(seed)
    num_classes, num = int(draw.integers(2, 7)), int(draw.integers(5, 80))
    label_N = draw.integers(0, num_classes, num)
    logits_NK = draw.normal(size=(num, num_classes)).round(1) + 1.5 * (np.arange(num_classes) == label_N[:, None])
    probability_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    return probability_NK.round(2), label_N, num_classes


@pytest.mark.parametrize("seed", range(100))
def test_areas_precision_and_kappa_are_scikit_learns(seed: int):
    probability_NK, label_N, num_classes = drawn(seed)
    said_N = probability_NK.argmax(axis=1)
    confusion_KK = confusion_matrix(label_N, said_N, labels=range(num_classes))
    found = rank(probability_NK, label_N, [str(k) for k in range(num_classes)], confusion_KK)
    areas = []
    for k in range(num_classes):
        is_k_N = label_N == k
        if is_k_N.all() or not is_k_N.any():
            assert np.isnan(found.area_K[k].value)
            continue
        areas.append(roc_auc_score(is_k_N, probability_NK[:, k]))
        assert found.area_K[k].value == pytest.approx(areas[-1], abs=1e-12)
        wanted = average_precision_score(is_k_N, probability_NK[:, k])
        assert found.average_precision_K[k] == pytest.approx(wanted, abs=1e-12)
    assert found.macro_area == pytest.approx(np.mean(areas), abs=1e-12)
    kappa = cohen_kappa_score(label_N, said_N)
    assert found.kappa == pytest.approx(kappa, abs=1e-12, nan_ok=True)
    assert np.isnan(found.kappa) or found.kappa_low <= found.kappa <= found.kappa_high


@pytest.mark.parametrize("seed", range(30))
def test_the_curves_pass_through_scikit_learns_points(seed: int):
    probability_NK, label_N, _ = drawn(seed)
    is_one_N, score_N = label_N == 1, probability_NK[:, 1]
    if is_one_N.all() or not is_one_N.any():
        return
    curve = RankedScores(score_N, is_one_N).curve()
    false_rate, true_rate, _ = roc_curve(is_one_N, score_N, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_rate_T, false_rate, atol=1e-12)
    np.testing.assert_allclose(curve.true_rate_T, true_rate, atol=1e-12)
    precision, recall, _ = precision_recall_curve(is_one_N, score_N)
    np.testing.assert_allclose(curve.precision_T, precision[::-1], atol=1e-12)
    np.testing.assert_allclose(curve.true_rate_T, recall[::-1], atol=1e-12)


def test_kappas_interval_is_as_wide_as_resampling_says():
    draw = np.random.default_rng(5)
    label_N = draw.integers(0, 3, 500)
    said_N = np.where(draw.random(500) < 0.7, label_N, draw.integers(0, 3, 500))
    kappa, low, high = cohens_kappa(confusion_matrix(label_N, said_N, labels=range(3)))
    again = []
    for _ in range(600):
        rows_N = draw.integers(0, 500, 500)
        again.append(cohen_kappa_score(label_N[rows_N], said_N[rows_N]))
    assert (high - low) / 3.92 == pytest.approx(np.std(again), rel=0.1)
    assert low < kappa < high


def test_kappas_variance_is_that_of_the_published_example():
    """Fleiss, Cohen and Everitt 1969, Table 1: kappa 0.429, standard error 0.053, of 200 cases."""
    share = np.array([[0.53, 0.05, 0.02], [0.11, 0.14, 0.05], [0.01, 0.06, 0.03]])
    kappa, low, high = cohens_kappa((200 * share).round().astype(int))
    assert kappa == pytest.approx(0.429, abs=5e-4)
    assert (high - low) / (2 * 1.959964) == pytest.approx(0.0535, abs=1e-3)


def test_nothing_is_made_up_without_images():
    found = rank(np.zeros((0, 2)), np.zeros(0, np.int64), ["a", "b"], np.zeros((2, 2), np.int64))
    assert np.isnan([found.macro_area, found.kappa]).all()
    assert found.sentence() == ""
    assert np.isnan(RankedScores(np.ones(3), np.zeros(3, bool)).average_precision())
    assert cohens_kappa(np.array([[5, 0], [0, 0]]))[1:] == (-1.0, 1.0)


@pytest.mark.parametrize("seed", range(10))
def test_the_matrix_of_each_threshold_counts_the_sure_answers(seed: int):
    probability_NK, label_N, num_classes = drawn(seed)
    found = confusion_by_threshold(probability_NK, label_N)
    assert [entry.threshold for entry in found] == list(THRESHOLDS)
    for entry in found:
        is_sure_N = probability_NK.max(axis=1) >= entry.threshold
        said_N = probability_NK.argmax(axis=1)
        wanted = np.zeros((num_classes, num_classes), int)
        np.add.at(wanted, (label_N[is_sure_N], said_N[is_sure_N]), 1)
        assert (entry.confusion_KK == wanted).all()
        assert entry.num_answered == is_sure_N.sum()
        assert entry.num_right == (label_N == said_N)[is_sure_N].sum()
    _, rows = threshold_rows(found, tuple(str(k) for k in range(num_classes)))
    assert rows[0][2] == "100.0"
