"""The share of wrong labels and each label's probability against a direct optimisation and against planted errors."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import chi2, norm

from saccade.evaluate import label_errors
from saccade.evaluate.label_errors import estimate_label_errors, suspect_labels, suspect_several


def drawn(
    seed: int, num: int, num_classes: int, spread: float, wrong: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated probabilities, labels drawn from them, of which a share was changed to another class: which."""
    draw = np.random.default_rng(seed)
    probability_NK = softmax(spread * draw.normal(size=(num, num_classes)), axis=1)
    label_N = (draw.random((num, 1)) < probability_NK.cumsum(axis=1)).argmax(axis=1)
    is_wrong_N = draw.random(num) < wrong
    label_N[is_wrong_N] = (label_N[is_wrong_N] + draw.integers(1, num_classes, is_wrong_N.sum())) % num_classes
    return probability_NK, label_N, is_wrong_N


def slow_loss(values: np.ndarray, logits_NK: np.ndarray, label_N: np.ndarray) -> float:
    """The negative log-likelihood, image by image, at (logarithm of the scale, share)."""
    scaled_NK = log_softmax(np.exp(values[0]) * logits_NK, axis=1)
    total = 0.0
    for own, label in zip(scaled_NK, label_N):
        probability = np.exp(own)
        others = sum(probability[k] for k in range(len(probability)) if k != label) / (len(probability) - 1)
        total -= np.log((1 - values[1]) * probability[label] + values[1] * others)
    return float(total)


@pytest.mark.parametrize("seed", range(3))
def test_share_probabilities_and_test_are_those_of_a_direct_optimisation(seed: int):
    probability_NK, label_N, _ = drawn(seed, 200, 4, 4.0, 0.08)
    found = estimate_label_errors(probability_NK**0.5, label_N)  # it need not be calibrated
    logits_NK = 0.5 * np.log(probability_NK)
    best = minimize(slow_loss, (0.5, 0.05), (logits_NK, label_N), "Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8})
    plain = minimize(lambda v: slow_loss(np.array([v[0], 0.0]), logits_NK, label_N), (0.5,), method="Nelder-Mead")
    assert found.share == pytest.approx(best.x[1], abs=1e-3)
    assert np.log(found.scale) == pytest.approx(best.x[0], abs=5e-3)
    assert found.p_value == pytest.approx(chi2.sf(2 * (plain.fun - best.fun), 1) / 2, rel=0.02, abs=1e-12)
    own_N = np.exp(log_softmax(found.scale * logits_NK, axis=1))[np.arange(200), label_N]
    wrong_N, right_N = found.share * (1 - own_N) / 3, (1 - found.share) * own_N
    np.testing.assert_allclose(found.wrong_N, wrong_N / (wrong_N + right_N), rtol=1e-9)


def test_what_is_expected_to_be_wrong_is():
    """Over many draws the sum of the probabilities is the number of changed labels, all in all and of the suspected."""
    expected, wrong, named_expected, named_wrong = 0.0, 0, 0.0, 0
    for seed in range(40):
        probability_NK, label_N, is_wrong_N = drawn(seed, 600, 6, 5.0, 0.05)
        found = suspect_labels(probability_NK, label_N)
        expected += found.errors.wrong_N.sum()
        wrong += is_wrong_N.sum()
        named_expected += found.wrong_S.sum()
        named_wrong += is_wrong_N[found.position_S].sum()
    assert expected == pytest.approx(wrong, rel=0.1)
    assert named_wrong > 300
    assert named_expected == pytest.approx(named_wrong, rel=0.1)


def test_a_classifier_that_is_only_weak_is_told_of_as_rarely_as_the_test_says():
    """No label is changed: 5 % of the sets, within what chance allows, are said to hold wrong ones."""
    shown = 0
    for seed in range(200):
        probability_NK, label_N, _ = drawn(seed, 150, 5, 1.5, 0.0)
        found = suspect_labels(probability_NK, label_N)
        assert found.num_named > 10
        shown += found.errors.are_shown
    assert shown <= 20  # of 200; 5 % are 10, the binomial 99.9 % quantile 20


def test_very_many_images_are_fitted_on_some_and_judged_all(monkeypatch: pytest.MonkeyPatch):
    probability_NK, label_N, _ = drawn(3, 3000, 5, 4.0, 0.05)
    whole = estimate_label_errors(probability_NK, label_N)
    monkeypatch.setattr(label_errors, "CHUNK_VALUES", 100)
    np.testing.assert_array_equal(estimate_label_errors(probability_NK, label_N).wrong_N, whole.wrong_N)
    monkeypatch.setattr(label_errors, "FITTED_VALUES", 5000)
    part = estimate_label_errors(probability_NK, label_N)
    assert part.wrong_N.shape == (3000,)
    assert part.share == pytest.approx(whole.share, abs=0.02)


@pytest.mark.parametrize(("num", "num_classes"), [(0, 3), (5, 1), (1, 2)])
def test_nothing_is_said_of_next_to_nothing(num: int, num_classes: int):
    found = suspect_labels(np.full((num, num_classes), 1 / num_classes), np.zeros(num, np.int64))
    assert (len(found.position_S), found.errors.share) == (0, 0.0)
    assert np.isnan(found.expected_share)
    assert found.sentence().startswith(f"None of {num} labels is suspected")


def test_the_sentences_say_how_many_are_expected_to_be_wrong_or_why_none_is():
    probability_NK, label_N, _ = drawn(1, 600, 6, 5.0, 0.05)
    found = suspect_labels(probability_NK, label_N)
    num, named = len(found.position_S), int((probability_NK.argmax(axis=1) != label_N).sum())
    assert found.sentence() == (
        f"{num} labels of 600 may be wrong: about {found.wrong_S.sum():.0f} of these {num} are expected to be "
        f"({100 * found.wrong_S.mean():.1f} %); {named - num} more disagreements are more likely its own mistakes."
    )
    few_NK, few_N, _ = drawn(3, 299, 3, 6.0, 0.05)
    few = suspect_labels(few_NK, few_N)
    assert len(few.position_S) > 1
    more = few.num_named - len(few.position_S)
    assert few.sentence() == (
        f"{len(few.position_S)} labels of 299 may be wrong; {more} more disagreements are more likely its own "
        f"mistakes. "
        f"With fewer than 100 images a class, how likely that is cannot be said."
    )
    weak = suspect_labels(*drawn(0, 150, 5, 1.5, 0.0)[:2])
    assert weak.sentence() == (
        f"No label is suspected: the classifier disagrees with {weak.num_named} labels of 150, no more than its own "
        f"mistakes explain (p = {weak.errors.p_value:.2g})."
    )


def test_of_several_labels_each_class_is_weighed_by_itself_and_the_tests_are_corrected_for_their_number():
    known = [drawn(seed, 300, 2, 8.0, wrong) for seed, wrong in ((0, 0.08), (1, 0.0), (2, 0.1))]
    probability_NK = np.stack([probability_N2[:, 1] for probability_N2, _, _ in known], axis=1)
    label_NK = np.stack([label_N for _, label_N, _ in known], axis=1)
    found = suspect_several(probability_NK, label_NK, np.ones((300, 3), bool))
    single = [suspect_labels(probability_N2, label_N) for probability_N2, label_N, _ in known]
    p_K = [each.errors.p_value for each in single]
    assert sorted(p_K)[1] < 0.01 < p_K[1]  # the second class has no wrong label
    assert found.errors.p_value == pytest.approx(3 * min(p_K))
    pairs = {(int(i), int(k)) for i, k in zip(found.position_S, found.listed().class_S, strict=True)}
    assert pairs == {(int(i), k) for k in (0, 2) for i in single[k].position_S}
    assert (np.diff(found.wrong_S) <= 0).all()
    assert found.num_images == 900
    assert found.num_named == sum(each.num_named for each in single)
    assert found.errors.share == pytest.approx(np.mean([each.errors.share for each in single]), rel=1e-4)
    only = np.zeros((300, 3), bool)
    only[:, 1] = True
    alone = suspect_several(probability_NK, label_NK, only)
    assert (len(alone.position_S), alone.num_images) == (0, 300)
    assert suspect_several(probability_NK, label_NK, np.zeros((300, 3), bool)).sentence() == (
        "None of 0 labels is suspected: the classifier disagrees with none."
    )


def test_a_grade_beside_the_true_one_is_no_suspect_and_one_far_off_is():
    """Grades of a hidden quantity, seen with noise: neighbours are mixed up by nature."""
    alarms, found_far, named = 0, 0, 0
    edges = np.array([-1.0, 0.0, 1.0])
    for seed in range(12):
        draw = np.random.default_rng(seed)
        hidden_N = 1.5 * draw.normal(size=300)
        label_N = np.digitize(hidden_N + 0.4 * draw.normal(size=300), edges)
        below_NE = norm.cdf((edges - hidden_N[:, None]) / 0.4)
        probability_NK = np.diff(np.pad(below_NE, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
        alarms += len(suspect_labels(probability_NK, label_N).position_S) > 0
        far = np.flatnonzero(np.isin(label_N, (0, 3)))[:8]
        label_N[far] = 3 - label_N[far]
        suspected = suspect_labels(probability_NK, label_N).position_S
        found_far, named = found_far + len(np.intersect1d(far, suspected)), named + len(suspected)
    assert alarms <= 2
    assert found_far > 60  # of 96
    assert found_far > 0.85 * named
