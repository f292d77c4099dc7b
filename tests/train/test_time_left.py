"""How long a job still takes: a range that holds the truth and narrows."""

import numpy as np
import pytest

from saccade.cli.console import left_words
from saccade.core.durations import between_words
from saccade.train.progress import OneOfSeveral, Silent
from saccade.train.time_left import JudgingTime, Pace, TimeLeft, TrainingTime


class Clock:
    """A clock that is told how long things take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def training(num_epochs: int, seed: int, spread: float = 0.2) -> list[tuple[float, TimeLeft, float]]:
    """(seconds so far, what was said, what was true) behind each step of a training whose steps take 0.5 s on average,
    with 20 steps an epoch and a validation of 2 s; judging takes 3 s and the report 2 s."""
    draw, clock = np.random.default_rng(seed), Clock()
    taken = TrainingTime(
        units_of=lambda epoch: 20.0, num_batches=20, num_images=640, num_validated=100, num_judged=150, clock=clock
    )
    step_s = 0.5 * draw.lognormal(0.0, spread, (num_epochs, 20))
    told = []
    taken.begin()
    for epoch in range(num_epochs):
        for batch in range(20):
            clock.now_s += step_s[epoch, batch]
            taken.stepped(epoch)
            told.append((clock.now_s, taken.left(epoch, batch + 1, num_epochs)))
        clock.now_s += 2.0
        taken.validated()
    end_s = clock.now_s + 3.0 + 2.0
    return [(now_s, left, end_s - now_s) for now_s, left in told]


def test_the_range_holds_the_truth_from_the_first_validation_on():
    """Nine of ten times over 20 trainings; before, nothing is known of what a validation takes."""
    held = [left.low_s <= true_s <= left.high_s for seed in range(20) for _, left, true_s in training(6, seed)[20:]]
    assert np.mean(held) > 0.9


def test_the_range_narrows():
    told = training(10, 0)
    widths = [left.high_s - left.low_s for _, left, _ in told]
    shares = [(left.high_s - left.low_s) / left.high_s for _, left, _ in told]
    assert widths[25] > widths[100] > widths[150] > widths[195]
    assert shares[3] > shares[60]


def test_growing_images_are_counted_by_their_area():
    clock = Clock()
    taken = TrainingTime(
        units_of=lambda epoch: 10.0 if epoch < 2 else 40.0,
        num_batches=10,
        num_images=320,
        num_validated=0,
        num_judged=0,
        clock=clock,
    )
    taken.begin()
    for _ in range(10):
        clock.now_s += 1.0
        taken.stepped(0)
    left = taken.left(0, 10, 4)
    expected_s = 10.0 + 40.0 + 40.0
    assert left.low_s < expected_s + 3 < left.high_s
    assert left.high_s - left.low_s < expected_s


def test_judging_tells_what_is_left_of_it_by_the_images_that_have_passed():
    clock = Clock()
    taken = JudgingTime(num_passes=1000, clock=clock)
    taken.passed(100)  # loading the first batch is counted nowhere
    assert (taken.left(), taken.share) == (TimeLeft(low_s=0.0, high_s=0.0), 0.1)
    for _ in range(4):
        clock.now_s += 2.0
        taken.passed(100)
    left = taken.left()
    assert left.low_s < 500 / 50 < left.high_s
    assert (taken.share, left.low_s > 1, left.high_s < 500 / 50 * 1.6 + 6) == (0.5, True, True)
    for _ in range(6):
        clock.now_s += 2.0
        taken.passed(100)
    assert (taken.share, taken.left()) == (1.0, TimeLeft(low_s=1.0, high_s=6.0)), "the report is left"


def test_nothing_done_is_nothing_said():
    assert Pace().left(10) == TimeLeft(low_s=0.0, high_s=0.0)
    assert left_words(0.0, 0.0) == ""


def test_runs_that_follow_are_counted_with_this_one():
    heard: list[tuple[float, float]] = []

    class Heard(Silent):
        def time_left(self, low_s: float, high_s: float) -> None:
            heard.append((low_s, high_s))

    OneOfSeveral(Heard(), 3, 5).time_left(10.0, 20.0)
    assert heard[0] == pytest.approx((30.0, 60.0), abs=0.1)
    OneOfSeveral(Heard(), 5, 5).time_left(10.0, 20.0)
    assert heard[1] == pytest.approx((10.0, 20.0), abs=0.1)


def test_a_watcher_of_before_is_not_told_what_it_does_not_know():
    class Earlier:
        """What `RunProgress` was in 0.2."""

        def note(self, text: str) -> None:
            self.noted = text

    watched = OneOfSeveral(Earlier(), 1, 2)  # type: ignore[arg-type]
    watched.time_left(1.0, 2.0)
    watched.measured("depth all: 90 %")
    watched.logged("epoch", {})
    watched.ended(None)


@pytest.mark.parametrize(
    ("low_s", "high_s", "words"),
    [
        (3.4, 7.6, "3 to 8 s"),
        (41.0, 42.0, "about 40 s"),
        (50.0, 130.0, "50 s to 2 min"),
        (185.0, 300.0, "3 to 5 min"),
        (3500.0, 5400.0, "58 min to 1.5 h"),
        (40_000.0, 200_000.0, "11 h to 2 days"),
        (40.0, 480.0, "up to 8 min"),
        (0.0, 0.4, "about 1 s"),
    ],
)
def test_a_range_is_told_in_round_figures(low_s: float, high_s: float, words: str):
    assert between_words(low_s, high_s) == words
