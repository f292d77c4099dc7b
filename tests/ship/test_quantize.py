"""What decides on an export in 8 bits: the same images for both, the interval of the loss, and words for each end."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from saccade.core.errors import ExportError, UsageError
from saccade.evaluate.significance import paired_score_interval
from saccade.ship.bundle import Int8
from saccade.ship.quantize import NUM_CALIBRATION, AskedInt8, chosen, int8_figures, require_small_loss


def answers(num: int, lost: int, won: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of float32 and int8, and labels: of `num` images nine in ten are right by float32, `lost` of them not by
    int8, and `won` by int8 alone."""
    draw = np.random.default_rng(2)
    label_N = draw.integers(0, 4, num)
    said = np.where(np.arange(num) % 10 == 9, (label_N + 1) % 4, label_N)
    small_said = said.copy()
    small_said[np.flatnonzero(said == label_N)[:lost]] = (label_N[np.flatnonzero(said == label_N)[:lost]] + 2) % 4
    wrong = np.flatnonzero(said != label_N)[:won]
    small_said[wrong] = label_N[wrong]
    one_hot = np.eye(4, dtype=np.float32)
    return 3 * one_hot[said], 2 * one_hot[small_said], label_N


def figures_of(num: int, lost: int, won: int, max_drop: float = 0.005) -> Int8:
    float_NK, small_NK, label_N = answers(num, lost, won)
    return int8_figures(float_NK, small_NK, label_N, (1.0, 0.8), 300, max_drop)


def test_both_are_judged_on_the_same_images():
    float_NK, small_NK, label_N = answers(1000, 6, 2)
    figures = int8_figures(float_NK, small_NK, label_N, (1.0, 0.8), 300, 0.005)
    assert figures.float32_top1 == accuracy_score(label_N, float_NK.argmax(axis=1)) == 0.9
    assert figures.int8_top1 == accuracy_score(label_N, small_NK.argmax(axis=1))
    assert (figures.num_lost, figures.num_won) == (6, 2)
    assert figures.difference == pytest.approx(-0.004)
    assert (figures.difference_low, figures.difference_high) == paired_score_interval(6, 2, 1000)
    assert figures.same_answers == pytest.approx(0.992)
    confidence = np.exp(3) / (np.exp(3) + 3)
    assert figures.float32_ece == pytest.approx(abs(confidence - 0.9))
    confidence = np.exp(2 / 0.8) / (np.exp(2 / 0.8) + 3)
    assert figures.int8_ece == pytest.approx(abs(confidence - figures.int8_top1))


def test_a_loss_that_is_shown_to_be_small_is_kept():
    require_small_loss(figures_of(4000, 6, 5))
    require_small_loss(figures_of(800, 0, 0))


def test_too_few_images_to_show_it_are_told_with_the_number_it_takes():
    with pytest.raises(ExportError) as caught:
        require_small_loss(figures_of(80, 0, 0))
    assert caught.value.message == (
        "That int8 loses at most 0.5 points cannot be shown: on 80 validation images float32 is right on 90.0 % and "
        "int8 on 90.0 % (difference +0.0 points, 95 % interval -4.6 to +4.6).\n"
        "It would take about 765 validation images, if answers go on to differ as often. Nothing was written.\n"
        "Train with more (split.validation_fraction), allow more with --max-drop, or export without --int8."
    )
    require_small_loss(figures_of(765, 0, 0))


def test_a_large_loss_is_refused_with_both_figures():
    with pytest.raises(ExportError) as caught:
        require_small_loss(figures_of(1000, 30, 2))
    assert caught.value.message == (
        "int8 loses more than 0.5 points of accuracy: on 1,000 validation images float32 is right on 90.0 % and int8 "
        "on 87.2 % (difference -2.8 points, 95 % interval -4.1 to -1.8).\n"
        "Nothing was written. Export without --int8, or allow more with --max-drop."
    )


def test_the_images_that_set_the_ranges_are_drawn_by_the_seed():
    train_N = np.arange(5000)[::-1]
    first, again, other = (chosen(train_N, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == NUM_CALIBRATION
    assert (np.diff(first) > 0).all()
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(chosen(np.array([5, 3, 4]), 1), [3, 4, 5])


def test_nncf_is_used_without_its_reports_to_its_maker(tmp_path: Path):
    """In a process of its own: under pytest NNCF reports nothing by itself."""
    pytest.importorskip("nncf", reason="the extra 'int8' is not installed")
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    program = (
        "import logging; from saccade.ship.quantize import require_nncf;"
        "from saccade.ship.openvino_file import require_openvino; before = logging.getLoggerClass();"
        "require_openvino(); require_nncf(); from nncf.telemetry import wrapper;"
        "print(type(wrapper.telemetry).__name__, logging.getLoggerClass() is before)"
    )
    environment = {name: text for name, text in os.environ.items() if name not in ("NNCF_CI", "NNCF_DEV", "CI")}
    found = subprocess.run(
        [sys.executable, "-c", program], env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert found.stdout == "MagicMock True\n", found.stderr
    assert not list(tmp_path.rglob("openvino_ga_cid*"))  # the identity that OpenVINO's own import keeps, too


@pytest.mark.parametrize("points", [0.0, -1.0, 101.0, float("nan")])
def test_a_loss_that_cannot_be_allowed_is_refused(points: float):
    with pytest.raises(UsageError) as caught:
        AskedInt8(max_drop=points)
    assert caught.value.message == f"--max-drop takes points of accuracy above 0, at most 100, got {points:g}."
