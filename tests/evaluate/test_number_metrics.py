"""Figures of numbers: against scikit-learn on random cases; the interval that holds nine of ten truths."""

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, median_absolute_error, r2_score

from saccade.core.errors import DataError, TrainingError
from saccade.core.task import Task
from saccade.evaluate import number_metrics
from saccade.evaluate.number_metrics import NumberMetrics, compute_number_metrics, conformal_half_width
from saccade.evaluate.number_words import (
    find_number_mistakes,
    number_json,
    number_mistakes_csv,
    number_verdict,
    number_warnings,
    range_rows,
    spread_sentence,
)


def judged(said_N: np.ndarray, value_N: np.ndarray, half_width: float = 0.0) -> NumberMetrics:
    task = Task(kind="number", mean=3.0, deviation=2.0, half_width=half_width)
    logits_N1 = ((said_N - 3.0) / 2.0)[:, None]
    return compute_number_metrics(logits_N1, value_N, ("age",), task)


def test_figures_are_those_of_scikit_learn_on_random_cases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(number_metrics, "FEWEST_RESAMPLES", 2)  # intervals are for other tests
    monkeypatch.setattr(number_metrics, "MOST_RESAMPLES", 2)
    generator = np.random.default_rng(0)
    for _ in range(200):
        num = int(generator.integers(2, 30))
        scale = 10.0 ** generator.integers(-3, 4)
        value_N = scale * generator.normal(generator.normal(), 1, num).round(int(generator.integers(0, 3)))
        value_N[0] = value_N[1:].max() + scale  # never all the same
        said_N = value_N + scale * generator.normal(0, generator.random(), num)
        task = Task(kind="number", mean=float(value_N.mean()), deviation=float(value_N.std()) or 1.0)
        logits_N1 = ((said_N - task.mean) / task.deviation)[:, None]
        found = compute_number_metrics(logits_N1, value_N, ("x",), task)
        assert found.mae == pytest.approx(mean_absolute_error(value_N, said_N))
        assert found.rmse == pytest.approx(math.sqrt(mean_squared_error(value_N, said_N)))
        assert found.median_error == pytest.approx(median_absolute_error(value_N, said_N))
        assert found.r2 == pytest.approx(r2_score(value_N, said_N), abs=1e-9)
        always_N = np.full(num, np.median(value_N))
        assert found.baseline_mae == pytest.approx(mean_absolute_error(value_N, always_N))
        assert found.bias == pytest.approx((said_N - value_N).mean())
        assert found.near == np.mean(np.abs(said_N - value_N) < 0.5 * task.deviation)


def test_intervals_hold_the_figures_and_narrow_with_more_images():
    generator = np.random.default_rng(1)
    widths = []
    for num in (50, 5000):
        value_N = generator.normal(0, 1, num)
        found = judged(value_N + generator.normal(0, 0.3, num), value_N)
        assert found.mae_low < found.mae < found.mae_high
        assert found.r2_low < found.r2 < found.r2_high
        widths.append(found.mae_high - found.mae_low)
    absolute_N = np.abs(np.random.default_rng(2).normal(0, 0.3, 5000))
    expected = 2 * 1.96 * absolute_N.std() / math.sqrt(5000)
    assert widths[1] == pytest.approx(expected, rel=0.15)  # of a mean, by the normal distribution
    assert widths[1] < widths[0] / 5


def test_the_interval_of_an_answer_holds_nine_of_ten_new_truths_over_many_draws():
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(2000):
        error_N = np.abs(generator.standard_t(3, 39))
        covered.append(np.abs(generator.standard_t(3, 50)) <= conformal_half_width(error_N))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)  # exactly 36 / 40 in expectation


@pytest.mark.parametrize(("num", "rank"), [(9, 9), (19, 18), (50, 46), (99, 90)])
def test_the_half_width_is_the_error_of_that_rank(num: int, rank: int):
    error_N = np.random.default_rng(num).permutation(np.arange(1.0, num + 1))
    assert conformal_half_width(error_N) == rank


def test_fewer_than_nine_images_say_nothing_of_the_interval():
    assert conformal_half_width(np.ones(8)) == 0
    assert conformal_half_width(np.zeros(0)) == 0


def test_what_is_undefined_is_null():
    one = judged(np.array([1.0]), np.array([2.0]))
    assert math.isnan(one.r2)
    values = number_json(one)
    assert values["mae"] == 1
    assert values["r2"] is None
    assert values["mae_low"] is None
    assert values["covered"] is None
    nothing = judged(np.zeros(0), np.zeros(0))
    assert number_json(nothing)["mae"] is None
    assert number_verdict(nothing, "held-out") == "No held-out images: nothing is known of the error."
    assert number_warnings(nothing, "held-out") == ["No image was held out, so the error is unknown."]
    same = judged(np.array([1.0, 2.0]), np.array([4.0, 4.0]))
    assert math.isnan(same.r2)  # scikit-learn says 0 by convention; nothing varies that could be explained


def test_values_that_are_not_finite_or_do_not_fit_are_refused():
    with pytest.raises(TrainingError):
        judged(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(DataError, match="2 images were judged; each has one finite number"):
        judged(np.array([1.0, 2.0]), np.array([1.0]))
    with pytest.raises(DataError, match="each has one finite number"):
        judged(np.array([1.0]), np.array([np.inf]))


def test_the_verdict_has_its_baseline_and_is_doubted_where_it_is_no_better():
    value_N = np.arange(40.0)
    good = judged(value_N + 1, value_N, half_width=1.5)
    assert number_verdict(good, "held-out") == (
        "Mean absolute error 1 of 'age' on 40 held-out images (95 % interval 1 to 1); "
        "always saying the median, 19.5: 10."
    )
    assert spread_sentence(good).endswith(
        "An answer within 1.5 of the truth is expected for 90 % of images; here 100.0 % are."
    )
    assert number_warnings(good, "held-out") == []
    bad = judged(np.roll(value_N, 20), value_N)
    assert number_warnings(bad, "held-out")[0].startswith(
        "Not shown to be better than always saying the median (10): the interval of the mean absolute error reaches"
    )
    few = judged(value_N[:5], value_N[:5])
    assert number_warnings(few, "") == ["Fewer than 30 images, so the intervals are wide."]


def test_errors_by_range_cover_every_image_once():
    generator = np.random.default_rng(4)
    value_N = generator.integers(0, 7, 200).astype(float)  # many equal ones
    said_N = value_N + generator.normal(0, 1, 200)
    _, rows = range_rows(said_N, value_N)
    assert sum(int(row[1]) for row in rows) == 200
    _, rows = range_rows(np.zeros(3), np.full(3, 2.0))
    assert rows == [["2 to 2", "3", "2", "-2"]]


def test_mistakes_are_all_images_the_largest_error_first():
    mistakes = find_number_mistakes(np.array([1.0, 5.0, 2.0]), np.array([1.5, 1.0, 2.0]), ["a", "=b", "c"])
    assert [mistake.key for mistake in mistakes] == ["=b", "a", "c"]
    assert number_mistakes_csv(mistakes).splitlines() == [
        "image,truth,said,error",
        "'=b,1.0,5,4",
        "a,1.5,1,0.5",
        "c,2.0,2,0",
    ]


def test_one_image_has_no_interval_to_be_told():
    assert number_warnings(judged(np.array([3.0]), np.array([5.0])), "held-out")[0] == (
        "Not shown to be better than always saying the median (0): one image says nothing of others."
    )
