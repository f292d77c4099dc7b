"""Probabilities with planted label errors, and which of them cleanlab suspects: a reference that is not ours.

    pip install cleanlab==2.9.0; python -m tests.evaluate.cleanlab_table

writes `cleanlab_table.csv` anew. `thorough` is filter_by="confident_learning", the paper's own method; `default` is
what cleanlab does where nothing is asked for, which is another one of its methods (prune_by_noise_rate).
"""

import csv
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TABLE = Path(__file__).with_name("cleanlab_table.csv")
HEADINGS = ["case", "label", "is_wrong", "p0", "p1", "p2", "p3", "thorough", "default"]  # probabilities in thousandths
NUM_IMAGES, NUM_CLASSES = 80, 4
CASES = ((5.0, 4), (3.0, 8), (2.0, 8))  # how sure the right class is, and how many labels are wrong


@dataclass(frozen=True)
class Case:
    """probability_NK, label_N, and bool (N,): whose label is wrong, whom cleanlab suspects by each method."""

    probability_NK: np.ndarray
    label_N: np.ndarray
    is_wrong_N: np.ndarray
    thorough_N: np.ndarray
    default_N: np.ndarray


def read_cases() -> list[Case]:
    """The cases of the table."""
    with open(TABLE, newline="", encoding="ascii") as file:
        value_NF = np.array([[int(row[name]) for name in HEADINGS] for row in csv.DictReader(file)])
    return [
        Case(
            probability_NK=own_NF[:, 3:7] / 1000,
            label_N=own_NF[:, 1],
            is_wrong_N=own_NF[:, 2] == 1,
            thorough_N=own_NF[:, 7] == 1,
            default_N=own_NF[:, 8] == 1,
        )
        for own_NF in (value_NF[value_NF[:, 0] == case] for case in np.unique(value_NF[:, 0]))
    ]


def main() -> None:
    """Draw the probabilities and ask cleanlab."""
    find_label_issues = importlib.import_module("cleanlab.filter").find_label_issues
    rows = []
    for case, (strength, num_wrong) in enumerate(CASES):
        draw = np.random.default_rng(case)
        label_N = draw.integers(NUM_CLASSES, size=NUM_IMAGES)
        logits_NK = draw.normal(0, 1, (NUM_IMAGES, NUM_CLASSES))
        logits_NK[np.arange(NUM_IMAGES), label_N] += strength
        share_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
        thousandth_NK = np.floor(1000 * share_NK).astype(int)
        thousandth_NK[np.arange(NUM_IMAGES), share_NK.argmax(axis=1)] += 1000 - thousandth_NK.sum(axis=1)
        label_N[:num_wrong] = (label_N[:num_wrong] + 1) % NUM_CLASSES
        found = [
            find_label_issues(label_N, thousandth_NK / 1000, filter_by=method, n_jobs=1)
            for method in ("confident_learning", "prune_by_noise_rate")
        ]
        for i in range(NUM_IMAGES):
            told = [int(mask_N[i]) for mask_N in found]
            rows.append([case, label_N[i], int(i < num_wrong), *thousandth_NK[i], *told])
    with open(TABLE, "w", newline="", encoding="ascii") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADINGS, *rows])


if __name__ == "__main__":
    main()
