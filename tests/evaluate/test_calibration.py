"""Temperature, calibration curve and selective accuracy against independent computations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import ttest_rel

from saccade.core.errors import DataError, TrainingError
from saccade.evaluate.calibration import (
    PRIOR_DEVIATION,
    calibration_curve,
    fit_temperature,
    is_worse_scaled,
    selective_curve,
    selective_sentence,
    shrunk_temperature,
)
from saccade.evaluate.caveats import worse_scaled
from saccade.evaluate.metrics import compute_metrics


def drawn(seed, temperature, num=4000, num_classes=5):
    """Logits that are overconfident by `temperature`: the labels are drawn from softmax(logits / temperature)."""
    draw = np.random.default_rng(seed)
    honest_NK = draw.normal(0, 2, (num, num_classes))
    labels = (honest_NK + draw.gumbel(size=honest_NK.shape)).argmax(axis=1)
    return (honest_NK * temperature).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_temperature_that_made_the_logits_is_found_again(temperature):
    logits, labels = drawn(1, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.06)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.1, 8.0), st.integers(20, 200), st.integers(2, 8))
def test_no_other_temperature_has_a_smaller_loss(seed, scale, num, num_classes):
    logits, labels = drawn(seed, scale, num, num_classes)

    def loss(inverse):
        return -log_softmax(logits.astype(np.float64) * inverse, axis=1)[np.arange(num), labels].mean()

    found = fit_temperature(logits, labels)
    if (logits.argmax(axis=1) == labels).all():  # the loss falls for ever: there is no best temperature
        assert found == 1.0
        return
    best = minimize_scalar(loss, bounds=(1 / 20, 20), method="bounded", options={"xatol": 1e-10})
    if 0.051 < 1 / best.x < 19.9:
        assert loss(1 / found) == pytest.approx(best.fun, abs=1e-9)


def test_calibration_error_falls_and_answers_stay():
    logits, labels = drawn(2, 3.0)
    temperature = fit_temperature(logits[:2000], labels[:2000])
    names = tuple("abcde")
    before = compute_metrics(logits[2000:], labels[2000:], names)
    after = compute_metrics(logits[2000:] / temperature, labels[2000:], names)
    assert after.ece < 0.25 * before.ece
    assert after.top1 == before.top1


def test_no_temperature_is_invented_where_none_is_best():
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1.0
    all_right = np.eye(3, dtype=np.float32)
    assert fit_temperature(all_right, np.arange(3)) == 1.0
    all_wrong = np.eye(3, dtype=np.float32)[[1, 2, 0]]
    assert fit_temperature(all_wrong, np.arange(3)) == 1.0
    assert fit_temperature(np.zeros((3, 3), np.float32), np.arange(3)) == 1.0


def loss_of(logits, labels, temperature):
    return -log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(labels)), labels]


@pytest.mark.parametrize("num", [12, 60, 4000])
@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_the_shrunk_temperature_is_the_most_probable_one_under_its_prior(num, temperature):
    logits, labels = drawn(3, temperature, num)

    def objective(log_temperature):
        return loss_of(logits, labels, np.exp(log_temperature)).sum() + log_temperature**2 / (2 * PRIOR_DEVIATION**2)

    best = minimize_scalar(objective, bounds=(-2, 2), method="bounded", options={"xatol": 1e-10})
    found, fitted = shrunk_temperature(logits, labels), fit_temperature(logits, labels)
    assert np.log(found) == pytest.approx(best.x, abs=1e-5)
    assert abs(np.log(found)) < abs(np.log(fitted))
    if num == 4000:
        assert found == pytest.approx(fitted, rel=0.02)


def test_a_temperature_from_20_images_harms_others_less_often_when_it_is_shrunk():
    changes = {fit_temperature: [], shrunk_temperature: []}
    for seed in range(60):
        logits, labels = drawn(seed, 1.0, 1020)  # honest logits: no temperature can help
        for fit, found in changes.items():
            temperature = fit(logits[:20], labels[:20])
            found.append(np.mean(loss_of(logits[20:], labels[20:], temperature) - loss_of(logits[20:], labels[20:], 1)))
    assert 0 < np.mean(changes[shrunk_temperature]) < 0.25 * np.mean(changes[fit_temperature])
    assert max(changes[shrunk_temperature]) < 0.5 * max(changes[fit_temperature])


def test_that_a_temperature_makes_confidences_worse_is_said_only_beyond_chance():
    logits, labels = drawn(4, 1.0, 400)
    assert worse_scaled(logits, labels, 1.0) == []
    assert worse_scaled(logits, labels, 1.02) == []
    plain, scaled = loss_of(logits, labels, 1).mean(), loss_of(logits, labels, 2.5).mean()
    assert worse_scaled(logits, labels, 2.5, 9) == [
        f"The temperature 2.50, fitted on 9 validation images, makes the confidences worse here: log loss {scaled:.3f} "
        f"instead of {plain:.3f}."
    ]
    overconfident, own = drawn(4, 2.5, 400)
    assert worse_scaled(overconfident, own, 2.5) == []


def test_bad_logits_and_labels_are_refused():
    with pytest.raises(TrainingError, match="^The network's outputs are not finite for 1 of 1 images"):
        fit_temperature(np.array([[np.nan, 0.0]], np.float32), np.array([0]))
    with pytest.raises(DataError, match="^Labels must lie in 0 to 1, got 2 to 2"):
        fit_temperature(np.zeros((1, 2), np.float32), np.array([2]))


def test_calibration_curve_holds_every_image_once_at_its_own_confidence():
    confidence = np.array([0.0, 1 / 15, 0.5, 0.52, 0.99, 1.0])
    curve = calibration_curve(confidence, np.array([True, False, True, False, True, True]))
    assert curve.num.tolist() == [2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2]
    assert curve.confidence[7] == pytest.approx(0.51)
    assert curve.accuracy[[0, 7, 14]].tolist() == [0.5, 0.5, 1.0]
    assert (curve.low[14], curve.high[14]) == (pytest.approx(0.3424, abs=1e-4), 1.0)
    assert np.isnan(curve.accuracy[1])


def test_selective_curve_trades_coverage_for_accuracy_and_keeps_equal_confidences_together():
    confidence = np.array([0.9, 0.6, 0.9, 0.5])
    curve = selective_curve(confidence, np.array([True, False, False, True]))
    assert curve.threshold_M.tolist() == [0.9, 0.6, 0.5]
    assert curve.coverage_M.tolist() == [0.5, 0.75, 1.0]
    assert curve.accuracy_M.tolist() == [0.5, pytest.approx(1 / 3), 0.5]
    assert len(selective_curve(np.zeros(0), np.zeros(0, bool)).threshold_M) == 0


def test_selective_sentence_counts_what_is_answered():
    confidence = np.array([0.95, 0.9, 0.5, 0.4])
    right = np.array([True, False, True, True])
    assert selective_sentence(confidence, right, 0.9) == (
        "Answering only at 0.90 or above: 2 of 4 images (50.0 %), 50.0 % of them right (95 % interval 9.5 to 90.5)."
    )
    assert selective_sentence(confidence, right, 0.99) == "Answering only at 0.99 or above: none of 4 images."


def test_a_few_images_show_that_the_temperature_harms_less_easily():
    """By SciPy's paired t-test; 2 standard errors say so of three images by chance in one case of six."""
    draw, told = np.random.default_rng(0), 0
    for _ in range(200):
        logits_NK, label_N = draw.normal(0, 2, (3, 4)), draw.integers(0, 4, 3)
        losses = [-log_softmax(logits_NK / divisor, axis=1)[range(3), label_N] for divisor in (1, 1.5)]
        is_worse = ttest_rel(losses[1], losses[0], alternative="greater").pvalue < 0.025
        assert is_worse_scaled(logits_NK, label_N, 1.5) == is_worse
        told += is_worse
    assert told < 20
