"""The matrix of wrong labels by pairs of classes against a direct optimisation, and what it finds."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax

from saccade.evaluate.label_errors import estimate_label_errors, suspect_labels
from saccade.evaluate.label_noise import _fit, even_matrix, noise_matrix


def drawn(seed: int, num: int, num_classes: int, wrong: float, is_paired: bool) -> tuple[np.ndarray, ...]:
    """Calibrated probabilities, labels of which a share was changed, to the next class alone where `is_paired`; which.
    A class is also doubted for the next one more than for the others."""
    draw = np.random.default_rng(seed)
    logits_NK = draw.normal(size=(num, num_classes))
    true_N = draw.integers(num_classes, size=num)
    logits_NK[np.arange(num), true_N] += 5.0
    logits_NK[np.arange(num), (true_N + 1) % num_classes] += 2.0 * draw.random(num)
    probability_NK = softmax(logits_NK, axis=1)
    label_N = (draw.random((num, 1)) < probability_NK.cumsum(axis=1)).argmax(axis=1)
    is_wrong_N = draw.random(num) < wrong
    step_N = 1 if is_paired else draw.integers(1, num_classes, num)
    return probability_NK, np.where(is_wrong_N, (label_N + step_N) % num_classes, label_N), is_wrong_N


def test_a_matrix_is_the_likeliest_by_a_direct_optimisation():
    probability_NK, label_N, _ = drawn(0, 300, 2, 0.1, True)
    prior_KK, strength = even_matrix(2, 0.04), 15.0

    def loss(value: np.ndarray) -> float:
        (first, second) = expit(value)
        matrix_KK = np.array([[1 - first, second], [first, 1 - second]])
        total = sum(np.log(own @ matrix_KK[label]) for own, label in zip(probability_NK, label_N))
        return -float(total + strength * (prior_KK * np.log(matrix_KK)).sum())

    first, second = expit(minimize(loss, (-3.0, -3.0), method="Nelder-Mead", options={"xatol": 1e-7}).x)
    found_KK = _fit(probability_NK, label_N, prior_KK, strength)
    np.testing.assert_allclose(found_KK, [[1 - first, second], [first, 1 - second]], atol=2e-3)


def test_wrong_labels_that_fall_on_all_classes_alike_need_no_matrix():
    """A rule of one standard error is off by chance once in six times, and then by little."""
    num_even = 0
    for seed in range(10):
        probability_NK, label_N, _ = drawn(seed, 400, 5, 0.06, False)
        found_KK = noise_matrix(probability_NK, label_N, 0.06)
        num_even += np.array_equal(found_KK, even_matrix(5, 0.06))
        np.testing.assert_allclose(found_KK, even_matrix(5, 0.06), atol=0.02)
    assert num_even >= 7


def test_wrong_labels_that_go_to_one_class_are_found_by_a_matrix():
    found, listed, before, wrong, share = 0, 0, 0, 0, 0.0
    for seed in range(5):
        probability_NK, label_N, is_wrong_N = drawn(seed, 1000, 5, 0.06, True)
        checked = suspect_labels(probability_NK, label_N)
        num = int(is_wrong_N.sum())
        believed_N = probability_NK[np.arange(1000), label_N]
        wrong, found = wrong + num, found + int(is_wrong_N[checked.order_N[:num]].sum())
        before += int(is_wrong_N[np.argsort(believed_N)[:num]].sum())
        listed, share = listed + len(checked.position_S), share + checked.errors.share / 5
    assert found > before
    assert found / wrong > 0.75
    assert share == pytest.approx(wrong / 5000, rel=0.3)
    assert 0.5 < listed / wrong < 1.2


def test_copies_are_no_evidence_of_each_other():
    """Twice the same image is as good as once: the matrix stays the even one."""
    for seed in range(3):
        probability_NK, label_N, _ = drawn(seed, 200, 5, 0.06, False)
        group_N = np.tile(np.arange(200), 2)
        found = estimate_label_errors(np.tile(probability_NK, (2, 1)), np.tile(label_N, 2), group_N)
        once = estimate_label_errors(probability_NK, label_N)
        np.testing.assert_allclose(found.wrong_N[:200], once.wrong_N, atol=0.02)


@pytest.mark.parametrize("num", [1, 3])
def test_a_few_images_are_fitted_too(num: int):
    probability_NK, label_N, _ = drawn(0, num, 3, 0.0, False)
    assert noise_matrix(probability_NK, label_N, 0.1).sum(axis=0) == pytest.approx([1, 1, 1])
