"""Slices: Fisher's test and Holm's correction against references; a warning is rarely false and finds what is there."""

import numpy as np
import pytest
from scipy.stats import fisher_exact as reference

from saccade.evaluate.metrics import wilson_interval
from saccade.evaluate.significance import holm
from saccade.evaluate.slices import corrected, cut_names, cut_numbers, fisher_exact, slice_rows, slice_warnings


@pytest.mark.parametrize("seed", range(100))
def test_the_test_is_fishers(seed: int):
    table = np.random.default_rng(seed).integers(0, 60, (2, 2))
    wanted = reference(table).pvalue
    assert fisher_exact(*table.ravel().tolist()) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_the_correction_is_holms():
    """Holm 1979 by its definition: the smallest chance times their number, the next times one less, never falling."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.6])) == pytest.approx([1.0, 1.0])
    assert holm(np.zeros(0)).shape == (0,)


def test_numbers_are_cut_into_thirds_and_names_are_parts():
    right_N = np.arange(90) % 3 > 0
    parts = cut_numbers("brightness", np.arange(90.0), right_N)
    assert [part.num_images for part in parts] == [30, 30, 30]
    assert [part.part for part in parts] == ["to 29.7", "29.7 to 59.3", "above 59.3"]
    assert cut_numbers("size", np.full(90, 8.0), right_N) == []
    names = cut_names("the folder", ["a"] * 40 + ["b"] * 41 + ["c"] * 9, right_N)
    assert [(part.part, part.num_images) for part in names] == [("a", 40), ("b", 41)]  # c says nothing
    assert cut_names("the folder", ["a"] * 90, right_N) == []
    first = names[0]
    assert first.num_right == int(right_N[:40].sum())
    assert first.interval() == wilson_interval(first.num_right, 40)
    assert cut_numbers("brightness", np.zeros(0), np.zeros(0, bool)) == []


def test_a_worse_part_is_found_and_told():
    draw = np.random.default_rng(0)
    value_N = draw.random(600)
    right_N = draw.random(600) < np.where(value_N < 1 / 3, 0.6, 0.9)
    slices = corrected(
        [*cut_numbers("brightness", value_N, right_N), *cut_names("the folder", list("ab") * 300, right_N)]
    )
    (told,) = slice_warnings(slices)
    worst = slices[0]
    low, high = worst.interval()
    assert told == (
        f"Worse where brightness is {worst.part}: {100 * worst.accuracy:.1f} % of 200 images (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f}), of the others {100 * worst.others_accuracy:.1f} % (p = "
        f"{worst.adjusted:.2g}, corrected for 5 parts)."
    )
    headings, rows = slice_rows(slices)
    assert len(rows) == 5
    assert all(len(row) == len(headings) for row in rows)
    assert [part.as_json()["is_worse"] for part in slices] == [True, False, False, False, False]


def test_where_nothing_is_worse_one_set_in_twenty_warns_at_most():
    draw, warned = np.random.default_rng(1), 0
    for _ in range(400):
        right_N = draw.random(300) < 0.8
        found = [part for _ in range(5) for part in cut_numbers("noise", draw.random(300), right_N)]
        warned += bool(slice_warnings(corrected(found)))
    assert warned <= 30  # 20 are expected at most
