"""The area under the ROC curve against scikit-learn, and its interval against the definition and against chance."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from saccade.evaluate.metrics import Z_95
from saccade.evaluate.roc import roc_area


@pytest.mark.parametrize("seed", range(100))
def test_the_area_is_scikit_learns_with_and_without_ties(seed: int):
    draw = np.random.default_rng(seed)
    positive, negative = draw.normal(0.5, 1, draw.integers(2, 60)), draw.normal(0, 1, draw.integers(2, 60))
    if seed % 2:
        positive, negative = positive.round(), negative.round()
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    area = roc_area(positive, negative)
    assert area.value == pytest.approx(roc_auc_score(labels, np.concatenate([positive, negative])), abs=1e-12)
    assert 0 <= area.low <= area.value <= area.high <= 1


def test_the_interval_is_delongs_by_its_definition():
    """Structural components pair by pair (DeLong et al. 1988, equations 4 to 7), the interval for the logit."""
    draw = np.random.default_rng(0)
    positive, negative = draw.normal(1, 1, 23).round(1), draw.normal(0, 1, 31).round(1)
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    value = pairs.mean()
    variance = pairs.mean(axis=1).var(ddof=1) / 23 + pairs.mean(axis=0).var(ddof=1) / 31
    half = Z_95 * np.sqrt(variance) / (value * (1 - value))
    wanted = [1 / (1 + np.exp(-(np.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    area = roc_area(positive, negative)
    assert (area.low, area.high) == pytest.approx(wanted, abs=1e-12)


def test_the_interval_holds_the_true_area_as_often_as_it_says():
    truth = 0.8556  # of normal numbers that are 1.5 deviations apart: Phi(1.5 / sqrt(2))
    draw = np.random.default_rng(1)
    areas = [roc_area(draw.normal(1.5, 1, 40), draw.normal(0, 1, 60)) for _ in range(600)]
    held = np.mean([area.low <= truth <= area.high for area in areas])
    assert held == pytest.approx(0.95, abs=0.03)


def test_groups_that_do_not_overlap_or_are_empty_leave_room_for_doubt():
    area = roc_area(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0]))
    assert (area.value, area.high) == (1.0, 1.0)
    assert area.low == pytest.approx(0.342, abs=0.001)  # Wilson's for 2 of 2
    assert np.isnan(roc_area(np.zeros(0), np.ones(3)).value)
    assert (roc_area(np.zeros(0), np.ones(3)).low, roc_area(np.zeros(0), np.ones(3)).high) == (0, 1)
    flat = roc_area(np.ones(5), np.ones(5))
    assert flat.value == 0.5
    assert (flat.low, flat.high) == pytest.approx((0.118, 0.769), abs=0.001)  # Wilson's for 2 of 5, not 50 to 50
