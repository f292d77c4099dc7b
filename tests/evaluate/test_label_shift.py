"""Shares of classes among unlabelled images: right where a classifier errs in a known way, and covered as promised."""

import numpy as np
import pytest

from saccade.evaluate.label_shift import estimate_label_shift, estimate_prevalence_shift

ERRORS_KK = np.array([[0.8, 0.1, 0.1], [0.15, 0.85, 0.2], [0.05, 0.05, 0.7]])  # P(said | label), columns sum to 1


def said(draw: np.random.Generator, label_N: np.ndarray) -> np.ndarray:
    return np.array([draw.choice(3, p=ERRORS_KK[:, label]) for label in label_N])


def test_exact_counts_give_the_exact_shares():
    """Counts that are exactly the expected ones: the answer is the solution of the linear system."""
    label_N = np.repeat([0, 1, 2], 100)
    said_N = np.concatenate([np.repeat([0, 1, 2], (100 * ERRORS_KK[:, label]).astype(int)) for label in range(3)])
    share_K = np.array([0.2, 0.1, 0.7])
    said_M = np.repeat([0, 1, 2], (1000 * ERRORS_KK @ share_K).round().astype(int))
    found = estimate_label_shift(said_N, label_N, said_M, 3)
    np.testing.assert_allclose(found.share_K, share_K, atol=1e-9)
    naive_K = np.bincount(said_M) / len(said_M)
    assert np.abs(naive_K - share_K).max() > 0.1  # what the answers alone would say


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        label_N = draw.choice(3, size=300, p=[0.4, 0.3, 0.3])
        label_M = draw.choice(3, size=200, p=[0.2, 0.2, 0.6])
        found = estimate_label_shift(said(draw, label_N), label_N, said(draw, label_M), 3, seed)
        covered.append((found.low_K <= [0.2, 0.2, 0.6]) & ([0.2, 0.2, 0.6] <= found.high_K))
    assert 0.9 <= np.mean(covered) <= 1


@pytest.mark.parametrize(
    ("said_N", "label_N", "num_classes", "reason"),
    [
        ([0, 0, 1], [0, 0, 1], 3, "a class has no held-out image"),
        ([0, 1, 0, 1], [0, 0, 1, 1], 2, "the network confuses some classes too often"),
        ([0, 0, 0, 0], [0, 0, 1, 1], 2, "the network confuses some classes too often"),
        ([0], [0], 301, "they are estimated for up to 300 classes"),
    ],
)
def test_where_it_cannot_be_known_it_says_why(said_N: list[int], label_N: list[int], num_classes: int, reason: str):
    found = estimate_label_shift(np.array(said_N), np.array(label_N), np.array([0]), num_classes)
    assert found.reason == reason
    assert np.isnan(found.share_K).all()


def test_a_class_that_is_never_answered_may_still_be_there():
    """Its bootstrap has no width: the interval is then that of the answers, by Wilson's formula."""
    said_N = label_N = np.repeat([0, 1, 2], 40)
    found = estimate_label_shift(said_N, label_N, np.repeat([0, 1], 20), 3)
    assert found.share_K[2] == found.low_K[2] == 0
    z = 1.959963984540054
    assert found.high_K[2] == pytest.approx(z**2 / (40 + z**2))


def test_of_several_labels_each_class_is_corrected_by_its_own_hits_and_false_alarms():
    """Rogan and Gladen 1978: (share said + specificity - 1) / (sensitivity + specificity - 1)."""
    label_N = np.repeat([1, 0], [50, 150])
    hits_N = np.concatenate([np.arange(50) < 40, np.arange(150) < 15])  # sensitivity 0.8, specificity 0.9
    never_N = np.zeros(200, int)
    blind_N = np.arange(200) % 2  # says nothing of the label
    new_M = np.arange(100)
    found = estimate_prevalence_shift(
        np.stack([hits_N, label_N, never_N, blind_N], axis=1),
        np.stack([label_N, label_N, never_N, label_N], axis=1),
        np.stack([new_M < 45, new_M < 45, new_M < 0, new_M < 45], axis=1),
    )
    assert found.share_K[:2] == pytest.approx([(0.45 + 0.9 - 1) / (0.8 + 0.9 - 1), 0.45])
    assert np.isnan(found.share_K[2:]).all()
    assert found.reason == ""
    assert (found.low_K[:2] < found.share_K[:2]).all()
    assert (found.share_K[:2] < found.high_K[:2]).all()
    assert found.high_K[0] - found.low_K[0] > found.high_K[1] - found.low_K[1]  # mistakes cost certainty
    one = estimate_prevalence_shift(never_N[:, None], never_N[:, None], never_N[:9, None])
    assert one.reason == "each class has too few held-out images, or is confused too often"
