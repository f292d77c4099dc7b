"""Wrong numbers: share, scale and probabilities against a direct optimisation with SciPy's t, and planted errors."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from saccade.evaluate.number_errors import estimate_number_errors, suspect_numbers


def drawn(seed: int, num: int, noise: str, wrong: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what is said, labels, which of them are wrong): truths of -30 to 30, said with errors of the kind `noise`."""
    draw = np.random.default_rng(seed)
    truth_N = draw.uniform(-30, 30, num)
    error_N = {
        "normal": lambda: draw.normal(size=num),
        "laplace": lambda: draw.laplace(size=num),
        "t": lambda: draw.standard_t(4, num),
        "uneven": lambda: draw.normal(size=num) * draw.choice([0.3, 1, 3], num),
    }[noise]()
    is_wrong_N = draw.random(num) < wrong
    return truth_N + 1.5 * error_N, np.where(is_wrong_N, draw.uniform(-30, 30, num), truth_N), is_wrong_N


def within(value_N: np.ndarray, said_N: np.ndarray, scale: float, freedom: float) -> np.ndarray:
    """The density of Student's t around `said_N`, cut to the range of the values."""
    around = stats.t(freedom, said_N, scale)
    return around.pdf(value_N) / (around.cdf(value_N.max()) - around.cdf(value_N.min()))


def negative_log_likelihood(values: np.ndarray, value_N: np.ndarray, said_N: np.ndarray, share: float | None) -> float:
    share = 1 / (1 + np.exp(-values[2])) if share is None else share
    own_N = within(value_N, said_N, np.exp(values[0]), np.exp(values[1]))
    return -float(np.log((1 - share) * own_N + share / np.ptp(value_N)).sum())


@pytest.mark.parametrize("noise", ["laplace", "t"])
def test_share_and_probabilities_are_those_of_a_direct_optimisation(noise: str):
    said_N, value_N, _ = drawn(1, 200, noise, 0.08)
    found = estimate_number_errors(said_N, value_N)
    said_N = np.clip(said_N, value_N.min(), value_N.max())
    said_N = said_N + np.median(value_N - said_N)
    best = minimize(negative_log_likelihood, (0.5, 1.5, -2.5), (value_N, said_N, None), "Nelder-Mead")
    plain = minimize(negative_log_likelihood, (0.5, 0.5), (value_N, said_N, 0.0), "Nelder-Mead")
    share, width = 1 / (1 + np.exp(-best.x[2])), float(np.ptp(value_N))
    assert found.share == pytest.approx(share, abs=5e-3)  # freedoms are tried on a grid
    own_N = within(value_N, said_N, np.exp(best.x[0]), np.exp(best.x[1]))
    wrong_N = share / width / ((1 - share) * own_N + share / width)
    np.testing.assert_allclose(found.wrong_N, wrong_N, atol=0.1)
    assert found.p_value == pytest.approx(stats.chi2.sf(2 * (plain.fun - best.fun), 1) / 2, rel=0.1)


def test_what_is_expected_to_be_wrong_is():
    expected, wrong = 0.0, 0
    for seed in range(6):
        said_N, value_N, is_wrong_N = drawn(seed, 150, ("normal", "laplace", "uneven")[seed % 3], 0.06)
        found = suspect_numbers(said_N, value_N)
        expected += found.wrong_S.sum()
        wrong += int(is_wrong_N[found.position_S].sum())
        assert (np.diff(found.wrong_S) <= 0).all()
    assert wrong > 20
    assert expected == pytest.approx(wrong, rel=0.15)


def test_large_errors_of_its_own_are_not_taken_for_wrong_labels():
    shown = 0
    for seed in range(8):
        said_N, value_N, _ = drawn(seed, 120, ("normal", "laplace", "uneven", "t")[seed % 4], 0.0)
        shown += len(suspect_numbers(said_N, value_N).position_S) > 0
    assert not shown


def test_what_says_nothing_suspects_nothing():
    draw = np.random.default_rng(0)
    value_N = draw.uniform(0, 9, 80)
    assert not len(suspect_numbers(np.full(80, 4.5), value_N).position_S)  # says the middle of all
    assert suspect_numbers(value_N, value_N).sentence() == (
        "None of 80 labels is suspected: none is farther off than errors explain."
    )
    assert estimate_number_errors(np.zeros(0), np.zeros(0)).p_value == 1


def test_with_few_images_it_is_said_that_the_share_is_not_known():
    said_N, value_N, _ = drawn(2, 60, "normal", 0.1)
    sentence = suspect_numbers(said_N, value_N).sentence()
    assert sentence.startswith("1 label of 60 may be wrong. ")
    assert sentence.endswith("With fewer than 100 images, how likely that is cannot be said.")
