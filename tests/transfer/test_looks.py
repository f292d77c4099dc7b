"""Looking more than once is wrong no more often, and little power is lost: held to normal deviates drawn by NumPy."""

import numpy as np
import pytest

from saccade.transfer.looks import BOUNDS, HOPELESS, Comparison, chance_better, compare, is_better, is_hopeless

DRAWS = 1_000_000
# scipy.stats.norm.isf of the p-values, written out: the deviate that belongs to each
DEVIATES = {0.05: 1.6449, 0.0304: 1.8749, 0.0232: 1.9917, 0.247: 0.6840, 0.307: 0.5044, 0.153: 1.0237}


def found_better(num_looks: int, drift: float, gives_up: bool) -> float:
    """How often a depth is found better whose looks bring independent normal deviates of mean `drift`."""
    draw = np.random.default_rng(0)
    sum_D, open_D, better_D = np.zeros(DRAWS), np.ones(DRAWS, bool), np.zeros(DRAWS, bool)
    for look, bound in enumerate(BOUNDS[num_looks]):
        sum_D += draw.normal(drift, 1, DRAWS)
        deviate_D = sum_D / np.sqrt(look + 1)
        better_D |= open_D & (deviate_D > DEVIATES[bound])
        open_D &= ~better_D
        if gives_up and look + 1 < num_looks:
            open_D &= deviate_D > DEVIATES[HOPELESS[num_looks][look]]
    return float(better_D.mean())


@pytest.mark.parametrize("num_looks", [1, 2, 3])
def test_what_is_not_better_is_found_better_in_five_of_a_hundred_cases(num_looks: int):
    assert found_better(num_looks, 0.0, gives_up=False) == pytest.approx(0.05, abs=0.001)
    assert found_better(num_looks, 0.0, gives_up=True) <= 0.0505


@pytest.mark.parametrize("num_looks", [2, 3])
def test_what_one_look_would_find_nine_times_in_ten_is_found_nearly_eight_times(num_looks: int):
    drift = (1.6449 + 1.2816) / np.sqrt(num_looks)  # of a look, where all together have a power of 90 % at 5 %
    assert found_better(1, 1.6449 + 1.2816, gives_up=True) == pytest.approx(0.9, abs=0.002)
    assert found_better(num_looks, drift, gives_up=True) > 0.78


@pytest.mark.parametrize(("num_looks", "look"), [(2, 0), (3, 0), (3, 1)])
def test_a_depth_is_given_up_where_it_has_less_than_one_chance_in_ten_as_it_goes(num_looks: int, look: int):
    deviate = DEVIATES[HOPELESS[num_looks][look]]
    sum_until_now = deviate * np.sqrt(look + 1)
    rest = num_looks - look - 1
    trend = sum_until_now / (look + 1)
    to_come_DR = np.random.default_rng(0).normal(trend, 1, (DRAWS, rest)).cumsum(1)
    deviate_DR = (sum_until_now + to_come_DR) / np.sqrt(np.arange(look + 2, num_looks + 1))
    found_D = (deviate_DR > DEVIATES[BOUNDS[num_looks][-1]]).any(1)
    assert found_D.mean() == pytest.approx(0.1, abs=0.005)


def test_every_look_asks_for_the_same_and_the_last_one_ends_it():
    def at(p_better: float) -> Comparison:
        return Comparison(num_judged=9, num_right=5, num_before=4, p_better=p_better)

    assert [is_better(at(0.02), look, 3) for look in range(3)] == [True, True, True]
    assert [is_better(at(0.03), look, 3) for look in range(3)] == [False, False, False]
    assert [is_hopeless(at(0.3), look, 3) for look in range(3)] == [False, True, True]
    assert is_hopeless(at(0.001), 0, 1)


def test_a_p_value_is_the_binomial_tail_of_the_images_that_only_one_of_two_gets_right():
    before_M = np.array([True] * 10 + [False] * 10)
    now_M = np.array([True] * 9 + [False] + [True] * 7 + [False] * 3)
    assert chance_better(before_M, now_M) == pytest.approx((1 + 8) / 2**8)  # 7 or 8 of 8 by a fair coin
    assert chance_better(now_M, before_M) == 1.0
    assert compare(now_M, before_M) == Comparison(
        num_judged=20, num_right=16, num_before=10, p_better=chance_better(before_M, now_M)
    )
