"""Comparing two classifiers on the same images, against SciPy and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from saccade.core.errors import DataError
from saccade.evaluate.significance import compare_answers, comparison_sentence, mcnemar_exact, paired_bootstrap


def answers(both, only_first, only_second, neither):
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 17), (120, 90), (0, 40), (2000, 2100)])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_interval_matches_the_normal_one_where_that_holds():
    first, second = answers(700, 60, 140, 100)
    difference = second.astype(float) - first
    half = 1.96 * difference.std() / np.sqrt(1000)
    low, high = paired_bootstrap(first.astype(float), second.astype(float), seed=3)
    assert low == pytest.approx(0.08 - half, abs=0.002)
    assert high == pytest.approx(0.08 + half, abs=0.002)
    assert (low, high) == paired_bootstrap(first.astype(float), second.astype(float), seed=3)


def test_a_clear_difference_is_said():
    comparison = compare_answers(*answers(700, 60, 140, 100))
    assert (comparison.num_only_first, comparison.num_only_second) == (60, 140)
    sentence = comparison_sentence(comparison, "A", "B")
    assert sentence.startswith("B is better than A by 8.0 points (95 % interval 5.")
    assert sentence.endswith(": A alone is right on 60 and B alone on 140 of 1,000 images (McNemar p < 0.001).")
    reverse = comparison_sentence(compare_answers(*reversed(answers(700, 60, 140, 100))), "B", "A")
    assert reverse.startswith("B is better than A by 8.0 points (95 % interval 5.")


def test_luck_is_said_to_be_luck():
    sentence = comparison_sentence(compare_answers(*answers(80, 5, 7, 8)), "A", "B")
    assert sentence.startswith(
        "A and B cannot be told apart: A alone is right on 5 and B alone on 7 of 100 images "
        "(McNemar p = 0.774; difference +2.0 points, 95 % interval -"
    )


def test_different_images_are_refused():
    with pytest.raises(DataError) as error:
        compare_answers(np.ones(3, bool), np.ones(4, bool))
    assert str(error.value) == "Two classifiers are compared on the same images, at least one; got 3 and 4."
