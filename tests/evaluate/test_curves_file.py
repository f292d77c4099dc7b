"""Curves as files: every point is scikit-learn's, in CSV and in JSON."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from saccade.core.errors import UsageError
from saccade.evaluate.curves_file import write_curves


def test_every_point_is_scikit_learns(tmp_path: Path):
    draw = np.random.default_rng(0)
    label_N = draw.integers(0, 3, 60)
    score_NK = draw.random((60, 4)).round(1) + 0.3 * (np.arange(4) == label_N[:, None])
    has_NK = label_N[:, None] == np.arange(4)
    names = ["a", "=b", "c,d", "absent"]
    write_curves(tmp_path / "curves.csv", score_NK, has_NK, names)
    write_curves(tmp_path / "curves.json", score_NK, has_NK, names)
    with open(tmp_path / "curves.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = json.loads((tmp_path / "curves.json").read_text())["classes"]
    assert [entry["class"] for entry in values] == names
    for k, name in enumerate(["a", "'=b", "c,d"]):
        own = [row for row in rows if row["class"] == name]
        false_rate, true_rate, threshold = roc_curve(has_NK[:, k], score_NK[:, k], drop_intermediate=False)
        precision, _, _ = precision_recall_curve(has_NK[:, k], score_NK[:, k])
        for column, wanted in (
            ("threshold", threshold),
            ("true_positive_rate", true_rate),
            ("false_positive_rate", false_rate),
            ("precision", precision[::-1]),
        ):
            np.testing.assert_allclose([float(row[column]) for row in own], wanted, atol=1e-12)
            in_json = [np.inf if value is None else value for value in values[k][column]]
            np.testing.assert_allclose(in_json, wanted, atol=1e-12)
    absent = [row for row in rows if row["class"] == "absent"]
    assert {row["true_positive_rate"] for row in absent} == {""}
    assert set(values[3]["true_positive_rate"]) == {None}
    assert "NaN" not in (tmp_path / "curves.json").read_text()


def test_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        write_curves(tmp_path / "curves.txt", np.zeros((1, 2)), np.zeros((1, 2), bool), ["a", "b"])
    assert str(error.value) == (
        "--curves writes .csv or .json files; got 'curves.txt'.\nChange the ending of the file."
    )
