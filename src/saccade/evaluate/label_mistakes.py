"""Where a classifier of several labels is wrong, surest first: labels it missed, and labels it said for nothing."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import atomic
from ..core.task import Task, classes_of, sigmoid
from .mistakes import safe_cell

SIGNS = (";", "|", " / ")  # between the classes in a cell: the first that no class name holds


@dataclass(frozen=True, kw_only=True)
class LabelMistake:
    """One image of which a label is wrong: its position among the judged images, its key, its labels, what was said.

    `missed` are labels that were not said, `extra` those said for nothing, each with its probability, surest first.
    """

    position: int
    key: str
    labels: tuple[str, ...]
    said: tuple[str, ...]
    missed: tuple[tuple[str, float], ...]
    extra: tuple[tuple[str, float], ...]


def find_label_mistakes(
    logits_NK: np.ndarray, label_NK: np.ndarray, keys: Sequence[str], classes: Sequence[str], task: Task
) -> list[LabelMistake]:
    """Every image with a wrong label, the surest mistake first: by how far its logit is beyond the threshold's."""
    scaled_NK = task.scaled(logits_NK)
    probability_NK = sigmoid(scaled_NK)
    said_NK, has_NK = task.said(probability_NK), label_NK > 0
    margin_NK = np.where(said_NK != has_NK, np.abs(scaled_NK - _logit(task.threshold_K(len(classes)))), -1.0)
    surest_N = margin_NK.max(axis=1, initial=-1.0)
    order = np.argsort(-surest_N, kind="stable")

    def wrong(row: int, is_kind_K: np.ndarray) -> tuple[tuple[str, float], ...]:
        found = np.flatnonzero(is_kind_K)
        found = found[np.argsort(-margin_NK[row, found], kind="stable")]
        return tuple((classes[k], float(probability_NK[row, k])) for k in found.tolist())

    return [
        LabelMistake(
            position=row,
            key=keys[row],
            labels=tuple(classes[k] for k in classes_of(label_NK, row)),
            said=tuple(classes[k] for k in classes_of(said_NK, row)),
            missed=wrong(row, has_NK[row] & ~said_NK[row]),
            extra=wrong(row, said_NK[row] & ~has_NK[row]),
        )
        for row in order[surest_N[order] >= 0].tolist()
    ]


def joined(names: Sequence[str], classes: Sequence[str]) -> str:
    """Class names in one cell, with a sign between them that no class name holds."""
    sign = next((sign for sign in SIGNS if not any(sign in name for name in classes)), SIGNS[-1])
    return sign.join(names)


def write_label_mistakes(path: Path, mistakes: Sequence[LabelMistake], classes: Sequence[str]) -> None:
    """Write `label_mistakes_csv` to `path`, durably. Raises StorageError."""
    atomic.write_text(path, label_mistakes_csv(mistakes, classes))


def label_mistakes_csv(mistakes: Sequence[LabelMistake], classes: Sequence[str]) -> str:
    """One line per image with a wrong label under a heading line; names pass through `safe_cell`."""
    text = io.StringIO()
    rows = [
        [safe_cell(mistake.key)]
        + [
            safe_cell(joined(names, classes))
            for names in (
                mistake.labels,
                mistake.said,
                [name for name, _ in mistake.missed],
                [name for name, _ in mistake.extra],
            )
        ]
        for mistake in mistakes
    ]
    csv.writer(text, lineterminator="\r\n").writerows(
        [["image", "labels", "said", "missed", "said_for_nothing"], *rows]
    )
    return text.getvalue()


def _logit(probability_K: np.ndarray) -> np.ndarray:
    safe_K = np.clip(probability_K, 1e-12, 1 - 1e-12)
    logit_K: np.ndarray = np.log(safe_K) - np.log1p(-safe_K)
    return logit_K
