"""A limit of minutes is divided by a forecast, and what is left out is said."""

import time
from dataclasses import replace

import pytest

from saccade.core.durations import rounded_words
from saccade.transfer.time_plan import NOTHING_KNOWN, Forecast, TimePlan, expected_sentence

KNOWN = Forecast(
    start_s=0,
    features_s=50,
    look_s={"stage3": 20, "stage2": 40, "stage1": 80},
    layer_s=0,
    epoch_s={"stage3": 30, "stage2": 60, "stage1": 90},
    judging_s=10,
    report_s=0,
)


def plan(minutes: float, gone_s: float = 0.0, forecast: Forecast = KNOWN) -> TimePlan:
    return TimePlan(forecast=forecast, minutes=minutes, started_s=time.monotonic() - gone_s)


def test_what_is_expected_counts_everything_a_person_waits_for():
    whole = replace(KNOWN, start_s=8, layer_s=3, report_s=6, num_looks=1.4)
    expected = plan(0, forecast=whole).expected(8)
    assert expected == {
        "start": 8, "features": 50, "comparing depths": 1.4 * 60, "last layer": 3, "fine-tuning": 240, "judging": 10,
        "report": 6,
    }  # fmt: skip
    assert expected_sentence(expected) == (
        "this takes about 7 min: start 8 s, features 50 s, comparing depths 80 s, last layer 3 s, fine-tuning 4 min, "
        "judging 10 s, report 6 s (--freeze all leaves out the comparison and the fine-tuning)"
    )


def test_what_is_expected_of_a_frozen_network_is_the_features_and_what_surrounds_them():
    frozen = replace(NOTHING_KNOWN, start_s=8, features_s=34, layer_s=3, judging_s=5, report_s=6)
    told = "this takes about {}: start 8 s, features 35 s, last layer 3 s, judging 5 s, report 6 s"
    assert expected_sentence(plan(0, forecast=frozen).expected(8)) == told.format("55 s")
    assert expected_sentence(plan(5, forecast=frozen).expected(8)) == told.format("55 s")
    assert expected_sentence(plan(0, forecast=replace(frozen, features_s=0, start_s=1)).expected(8)) == ""


def test_what_is_expected_stays_within_a_limit():
    ample = plan(5).expected(8)  # 290 seconds: features, two looks within a third of the others, 5 epochs of 33
    assert (ample["comparing depths"], ample["fine-tuning"]) == (60, 150)
    narrow = plan(2.5).expected(8)  # 140 seconds: the second look has no third of 90
    assert (narrow["comparing depths"], narrow["fine-tuning"]) == (20, 60)
    assert plan(1.8).expected(8) | {"features": 0} == dict.fromkeys(ample, 0) | {"judging": 10}
    given = replace(KNOWN, look_s={})  # a depth that was asked for is trained for an epoch whatever happens
    assert plan(4, forecast=given).expected(8)["fine-tuning"] == 150


def test_an_estimate_is_said_in_round_figures_that_are_right_within_a_fifth():
    assert [rounded_words(seconds) for seconds in (0.2, 3, 44, 58, 85, 114, 116, 3600, 9000)] == [
        "1 s", "3 s", "45 s", "60 s", "80 s", "110 s", "2 min", "1.0 h", "2.5 h",
    ]  # fmt: skip
    for seconds in range(10, 3000):
        number, unit = rounded_words(seconds).split()
        assert 0.8 <= int(number) * {"s": 1, "min": 60}[unit] / seconds <= 1.2


def test_without_a_limit_everything_is_allowed():
    free = plan(0, gone_s=1e6)
    free.begin_evidence()
    assert free.allows_fine_tuning("stage2")
    assert free.allows_look("stage3", is_first=True)
    assert free.allows_look("stage2", is_first=False)
    assert free.epochs_for("stage2", 8) == 8


def test_features_a_look_and_an_epoch_must_fit_beside_judging():
    assert plan(2).allows_fine_tuning("stage3")  # 50 + 20 + 30 of 120 - 10 seconds
    assert not plan(1.8).allows_fine_tuning("stage3")
    assert plan(1.8).no_time_sentence("stage3") == (
        "--minutes 1.8 leaves no time for more, which takes at least about 110 s"
    )


def test_comparing_depths_gets_a_third_of_what_the_features_leave():
    ample, narrow = plan(5, gone_s=50), plan(4, gone_s=140)  # 240 and 90 seconds left
    for known in (ample, narrow):
        known.begin_evidence()
    assert ample.allows_look("stage2", is_first=False)
    assert not narrow.allows_look("stage2", is_first=False)
    assert narrow.allows_look("stage3", is_first=True)  # 20 and an epoch of 30
    assert narrow.left_out("stage2") == "; stage2 was not measured: --minutes 4 leaves no time"
    assert narrow.left_out("") == ""


def test_epochs_are_as_many_as_fit_with_a_margin_and_a_slow_machine_gets_fewer():
    known = plan(5, gone_s=50)  # 240 seconds for epochs of 33
    assert known.epochs_for("stage3", 8) == 7
    known.learn("stage3", look_s=40)  # twice what was forecast
    assert known.epochs_for("stage3", 8) == 3
    assert known.epochs_for("stage2", 1) == 1
    assert plan(1, gone_s=50).epochs_for("stage3", 8) == 0


def test_the_time_left_has_judging_and_the_report_in_it():
    """Nothing is compared and nothing fine-tuned: half of the features, judging of 10 s, a report of 4 s."""
    whole = replace(KNOWN, report_s=4)
    assert plan(0, forecast=whole).left([], [], 8, done=0.5) == pytest.approx((0.75 * 39, 1.25 * 39))
    assert plan(0, forecast=whole).left([], ["stage3"], 8, done=1.0) == pytest.approx((0.75 * 254, 1.25 * 254))
    assert TimePlan(forecast=NOTHING_KNOWN).left(["stage3"], ["stage3"], 8, done=1.0) == (0.0, 0.0)


@pytest.mark.parametrize(("look_s", "ratio"), [(0.0, 0.5), (20.0, 1.0), (1000.0, 4.0)])
def test_one_odd_measurement_does_not_upset_the_forecast(look_s: float, ratio: float):
    known = plan(5)
    known.learn("stage3", look_s)
    assert known.ratio == ratio
