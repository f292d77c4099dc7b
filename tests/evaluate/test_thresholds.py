"""Thresholds keep what they promise; a threshold that is simply read off the validation images does not."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from saccade.core.errors import UsageError
from saccade.evaluate.thresholds import (
    check_confidence,
    check_precision,
    choose_threshold,
    fewest_images,
    lower_bound,
    numbers_tried,
)


def drawn(draw: np.random.Generator, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether the answers are right: a little overconfident."""
    confidence_N = draw.beta(4, 1, num)
    return confidence_N, draw.random(num) < 0.3 + 0.69 * confidence_N


@cache
def true_precisions() -> np.ndarray:
    """At each of THRESHOLDS but the last, where nothing is answered: that of 400,000 images from there on."""
    confidence_N = np.sort(np.random.default_rng(99).beta(4, 1, 400_000))
    first_T = np.searchsorted(confidence_N, THRESHOLDS[:-1])
    right_T = np.cumsum(0.3 + 0.69 * confidence_N[::-1])[::-1][first_T]
    return np.append(right_T / (len(confidence_N) - first_T), 0.99)


def test_the_lower_bound_is_the_exact_one():
    for right, answered in ((0, 5), (1, 1), (5, 5), (49, 50), (300, 324), (7, 100)):
        wanted = binomtest(right, answered, alternative="greater").proportion_ci(0.95, method="exact").low
        assert lower_bound(right, answered) == pytest.approx(wanted, abs=1e-9)


def test_as_many_images_are_needed_as_the_bound_says():
    assert [fewest_images(precision, 0) for precision in (0.9, 0.95, 0.98, 0.99)] == [29, 59, 149, 299]
    for precision in (0.9, 0.98):
        for wrong in (0, 1, 4):
            fewest = fewest_images(precision, wrong)
            assert lower_bound(fewest - wrong, fewest) >= precision > lower_bound(fewest - 1 - wrong, fewest - 1)


def test_what_is_tested_depends_on_the_number_of_images_alone():
    numbers = numbers_tried(1000, 0.95)
    assert (numbers[0], numbers[-1], len(numbers)) == (fewest_images(0.95, 1), 1000, 41)
    assert numbers_tried(60, 0.95)[0] == 59  # not enough for one wrong answer
    assert numbers_tried(58, 0.95) == []


def test_a_promise_is_broken_in_one_choice_of_twenty_at_most_and_a_threshold_read_off_more_often():
    draw, num, wanted = np.random.default_rng(3), 400, 0.9
    broken, read_off, chosen = 0, 0, 0
    for _ in range(400):
        confidence_N, right_N = drawn(draw, num)
        found = choose_threshold(confidence_N, right_N, wanted)
        if found.min_confidence is not None:
            chosen += 1
            broken += true_precision_of(found.min_confidence) < wanted
        order_N = np.argsort(-confidence_N)
        share_N = np.cumsum(right_N[order_N]) / np.arange(1, num + 1)
        lowest = confidence_N[order_N][np.flatnonzero(share_N >= wanted)[-1]] if (share_N >= wanted).any() else 1.0
        read_off += true_precision_of(lowest) < wanted
    assert chosen > 200  # the promise is made, not only avoided
    assert broken <= 30  # 20 are expected at most; 30 is 2.4 deviations above
    assert read_off > 120


THRESHOLDS = np.linspace(0, 1, 401)


def true_precision_of(threshold: float) -> float:
    return float(np.interp(threshold, THRESHOLDS, true_precisions()))


def test_what_was_chosen_is_told_with_its_figures():
    confidence_N = np.linspace(1, 0.5, 200)
    right_N = np.ones(200, bool)
    found = choose_threshold(confidence_N, right_N, 0.98)
    assert (found.num_answered, found.num_right, found.min_confidence) == (200, 200, 0.5)
    assert found.sentence() == (
        "98 % precision is promised (95 % sure) at a confidence of 0.5000 or above: of 200 validation images that "
        "answers 200, and 200 of these answers are right."
    )
    few = choose_threshold(confidence_N[:36], right_N[:36], 0.98)
    assert few.min_confidence is None
    assert few.sentence() == (
        "98 % precision cannot be promised by 36 validation images: it takes 149 that are answered, all of them right."
    )
    wrong = choose_threshold(confidence_N, np.arange(200) % 10 > 0, 0.98)
    assert wrong.sentence() == (
        "98 % precision cannot be promised: too many of the surest answers to the 200 validation images are wrong."
    )
    assert choose_threshold(np.zeros(0), np.zeros(0, bool), 0.9).min_confidence is None


def test_equal_confidences_are_answered_together():
    found = choose_threshold(np.full(100, 0.8), np.arange(100) > 1, 0.9)
    assert (found.min_confidence, found.num_answered, found.num_right) == (0.8, 100, 98)


@pytest.mark.parametrize("precision", [-1, 0.4, 1.0, float("nan")])
def test_a_precision_that_nothing_is_chosen_for_is_refused(precision: float):
    with pytest.raises(UsageError) as error:
        check_precision(precision)
    assert error.value.message == f"--precision takes a share in 0.5 to 0.9999, got {precision:g}."


@pytest.mark.parametrize("confidence", [-0.1, 1.5, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float):
    with pytest.raises(UsageError) as error:
        check_confidence(confidence)
    assert error.value.message == f"--min-confidence takes a probability in 0 to 1, got {confidence:g}."
