"""Comparing two classifiers on the same images, against SciPy and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from saccade.core.errors import DataError
from saccade.evaluate.metrics import wilson_interval
from saccade.evaluate.significance import (
    compare_answers,
    comparison_sentence,
    images_to_show,
    mcnemar_exact,
    paired_bootstrap,
    paired_score_interval,
)


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
    assert sentence.endswith(").")


def test_the_test_decides_where_the_interval_alone_would_say_otherwise():
    sentence = comparison_sentence(compare_answers(*answers(28, 4, 0, 0)), "A", "B")
    assert sentence.startswith("A and B cannot be told apart: A alone is right on 4 and B alone on 0 of 32 images")
    assert sentence.endswith("). Where few answers differ, the interval is too narrow: the test decides.")


def test_different_images_are_refused():
    with pytest.raises(DataError) as error:
        compare_answers(np.ones(3, bool), np.ones(4, bool))
    assert str(error.value) == "Two classifiers are compared on the same images, at least one; got 3 and 4."


def score_interval_by_search(lost: int, won: int, num: int) -> tuple[float, float]:
    """Tango's interval by its definition: differences that a score test does not reject, each with the most likely
    share of losses found by search."""
    accepted = []
    for difference in np.linspace(-0.5, 0.5, 5001):
        share = np.linspace(max(0.0, -difference), (1 - difference) / 2, 2001)[1:-1]  # of images that are lost
        kept = 1 - 2 * share - difference
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = lost * np.log(share) + won * np.log(share + difference) + (num - lost - won) * np.log(kept)
        likelihood[np.isnan(likelihood)] = -np.inf
        best = share[likelihood.argmax()]
        variance = num * (2 * best + difference - difference**2)
        if variance > 0 and abs(won - lost - num * difference) <= 1.959964 * np.sqrt(variance):
            accepted.append(difference)
    return min(accepted), max(accepted)


@pytest.mark.parametrize(("lost", "won", "num"), [(7, 3, 120), (2, 12, 50), (0, 4, 60), (5, 0, 200), (9, 9, 90)])
def test_the_score_interval_is_that_of_its_definition(lost: int, won: int, num: int):
    np.testing.assert_allclose(
        paired_score_interval(lost, won, num), score_interval_by_search(lost, won, num), atol=1e-3
    )


def test_without_an_image_on_which_they_differ_the_interval_is_as_wide_as_their_number_allows():
    z = 1.959963984540054
    low, high = paired_score_interval(0, 0, 100)
    assert high == pytest.approx(z**2 / (100 + z**2))
    assert low == pytest.approx(-high)


def test_the_score_interval_holds_its_level_where_few_answers_differ():
    """At least 94 of 100 intervals hold the truth; the bootstrap's hold far fewer, since it sees no change at all."""
    draw = np.random.default_rng(6)
    cells = draw.multinomial(200, [0.01, 0.002, 0.988], size=3000)
    ends = {tuple(row): paired_score_interval(int(row[0]), int(row[1]), 200) for row in np.unique(cells[:, :2], axis=0)}
    held = np.mean([ends[tuple(row)][0] <= -0.008 <= ends[tuple(row)][1] for row in cells[:, :2]])
    assert held >= 0.94


@pytest.mark.parametrize(("lost", "won", "num"), [(0, 0, 80), (1, 1, 300), (2, 1, 400)])
def test_the_number_of_images_that_would_show_it_is_the_first_that_does(lost: int, won: int, num: int):
    needed = images_to_show(lost, won, num, 0.005)
    assert needed is not None
    for number, shows in ((needed, True), (needed - 1, False)):
        low, _ = paired_score_interval(lost * number / num, won * number / num, number)
        assert (-low <= 0.005) is shows


def test_no_number_of_images_shows_a_small_loss_where_the_loss_is_large():
    assert images_to_show(5, 1, 400, 0.005) is None


@pytest.mark.parametrize(("num", "won"), [(1, 0), (18, 0), (18, 18), (400, 0)])
def test_where_every_draw_is_the_same_the_interval_is_as_wide_as_so_few_images_allow(num: int, won: int):
    """Beside Wilson's interval of the share p of images on which only one of both is right: where it is one way
    throughout, the others may be the other way, and the difference is 2 p - 1."""
    comparison = compare_answers(np.zeros(num, bool), np.arange(num) < won)
    low, high = wilson_interval(won, num)
    assert (comparison.difference, comparison.p_value) == (won / num, pytest.approx(min(1.0, 2.0 ** (1 - won))))
    assert comparison.low == pytest.approx(2 * low - 1 if won else -high, abs=0.02 + 1 / num)
    assert comparison.high == pytest.approx(high, abs=0.02 + 1 / num)
    assert comparison.high - comparison.low > 1 / num
