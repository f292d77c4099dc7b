"""The learning-rate range test: what it chooses from known curves, and the command."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import TrainingError
from saccade.train.range_test import judge_range, smoothed

RATES = list(np.geomspace(1e-5, 10, 100))


def test_the_loss_is_smoothed_as_an_average_corrected_for_its_start():
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    expected = []
    for n in range(1, 6):
        weight_n = 0.9 ** np.arange(n)[::-1]
        expected.append(float((weight_n * losses[:n]).sum() / weight_n.sum()))
    np.testing.assert_allclose(smoothed(losses), expected, rtol=1e-12)


@pytest.mark.parametrize("fall", [1e-3, 1e-2, 1e-1])
def test_the_chosen_rate_follows_the_place_where_the_loss_falls(fall: float):
    """A logistic fall in the logarithm of the rate; the smoothing lags by about nine steps of 15 %."""
    losses = [0.3 + 2 / (1 + (rate / fall) ** 2) for rate in RATES]
    found = judge_range(RATES, losses, diverged=None)
    assert fall <= found.chosen <= 6 * fall
    assert found.diverged is None
    assert found.reason.endswith(", to the end; chosen: the fastest")


def test_a_fall_at_the_edge_of_the_explosion_keeps_a_distance():
    losses = [2.3] * 60 + [2.3 - 0.1 * n for n in range(20)] + [0.4 * 1.6**n for n in range(10)]
    found = judge_range(RATES[:90], losses, diverged=RATES[89])
    assert found.chosen <= found.lowest / 2 * 1.06  # two figures
    assert found.diverged == RATES[89]
    assert found.steepest <= found.lowest < found.diverged


def test_too_few_steps_are_an_error():
    with pytest.raises(TrainingError) as error:
        judge_range(RATES[:5], [2.3] * 5, diverged=RATES[5])
    assert error.value.message == (
        "The loss exploded after 5 steps: nothing can be chosen.\n"
        "Try rates 1,000 times lower: give --set optimizer.learning_rate a lower value."
    )


SMALL = ["--model", "conv 4 f3 bn | gap | fc 10", "--set", "input.size_px=12", "--set", "batch_size=32"]


def test_the_command_draws_a_picture_and_names_one_rate_that_trains(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    finished = saccade("train", "digits", "--find-lr", "--out", "rates.png", "--json", *SMALL)
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    assert 1e-4 < values["learning_rate"] < 5
    assert len(values["rate"]) == len(values["loss"]) == len(values["smooth"]) <= 100
    assert all(math.isfinite(loss) for loss in values["loss"])
    with Image.open("rates.png") as picture:
        assert picture.size[0] > 1000
    assert values["reason"].startswith("the loss falls fastest at ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rates.png"]


def test_wrong_uses_are_told(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    finished = saccade("train", "digits", "--find-lr", "--out", "rates.txt")
    assert finished.status == 2
    assert finished.errors == (
        "error: --find-lr writes a .svg or .png file; got 'rates.txt'.\nChange the ending of --out, or leave it out.\n"
    )
    finished = saccade("train", "digits", "--find-lr", "--ensemble", 3)
    assert finished.errors == "error: --find-lr trains nothing that lasts: leave out --resume and --ensemble.\n"
