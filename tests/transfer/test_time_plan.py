"""A limit of minutes is divided by a forecast, and what is left out is said."""

import time

import pytest

from saccade.transfer.time_plan import Forecast, TimePlan, about

KNOWN = Forecast(features_s=50, look_s={"stage3": 20, "stage2": 40}, epoch_s={"stage3": 30, "stage2": 60}, judging_s=10)


def plan(minutes: float, gone_s: float = 0.0) -> TimePlan:
    return TimePlan(forecast=KNOWN, minutes=minutes, started_s=time.monotonic() - gone_s)


def test_a_forecast_counts_two_depths_and_the_epochs_from_the_first_of_them():
    assert KNOWN.sentence(8) == (
        "this takes about 6 min: features 50 s, comparing depths 1 min, fine-tuning 4 min, judging 10 s "
        "(--freeze all leaves out the comparison and the fine-tuning)"
    )
    frozen = Forecast(features_s=50, look_s={}, epoch_s={}, judging_s=10)
    assert frozen.sentence(8) == "this takes about 1 min: features 50 s, judging 10 s"
    assert Forecast(features_s=5, look_s={}, epoch_s={}, judging_s=1).sentence(8) == ""


def test_an_estimate_is_said_in_round_figures():
    assert [about(seconds) for seconds in (3, 44, 58, 100, 3600, 9000)] == [
        "10 s", "40 s", "1 min", "2 min", "60 min", "2 h",
    ]  # fmt: skip


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
        "--minutes 1.8 leaves no time for more, which takes at least about 2 min"
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
    """Nothing is compared and nothing fine-tuned: half of the features, judging of 10 s, and the report."""
    assert plan(0).left([], [], 8, done=0.5) == pytest.approx((0.75 * 35 + 1, 1.25 * 35 + 6))
    assert plan(0).left([], ["stage3"], 8, done=1.0) == pytest.approx((0.75 * 250 + 1, 1.25 * 250 + 6))
    unknown = TimePlan(forecast=Forecast(features_s=0, look_s={}, epoch_s={}, judging_s=0))
    assert unknown.left(["stage3"], ["stage3"], 8, done=1.0) == (0.0, 0.0)


@pytest.mark.parametrize(("look_s", "ratio"), [(0.0, 0.5), (20.0, 1.0), (1000.0, 4.0)])
def test_one_odd_measurement_does_not_upset_the_forecast(look_s: float, ratio: float):
    known = plan(5)
    known.learn("stage3", look_s)
    assert known.ratio == ratio
