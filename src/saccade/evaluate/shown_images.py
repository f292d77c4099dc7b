"""Which judged images a person is shown: the surest mistakes, the confusions, the least sure right answers.

A run keeps small pictures of these, and only these, as it is judged; a report shows them.
"""

from collections.abc import Sequence

import numpy as np

from ..core.task import ONE_LABEL, Task
from ..core.types import Metrics
from .label_mistakes import find_label_mistakes
from .metrics import compute_metrics
from .mistakes import find_mistakes, suspect_answers
from .scores import probabilities_from_logits

MAX_CARDS = 12
MAX_SUSPECTS = 24
MAX_PICTURES = 140
MAX_OF_PAIR = 6
MAX_RIGHT = 3
MAX_SPREAD = 24  # pictures in the order of the numbers that were said
MAX_RIGHT_IN_ALL = 40
SHOWN_AT_ONCE = 8  # the other galleries appear when their cell is followed


def choose_shown(
    logits_NK: np.ndarray, label_N: np.ndarray, classes: Sequence[str], temperature: float, task: Task = ONE_LABEL
) -> tuple[list[int], list[int]]:
    """(positions of the most confident mistakes, positions of labels that may be wrong and behind the cells of the
    confusion matrix), none twice."""
    keys = [""] * len(label_N)
    mistakes = find_mistakes(logits_NK, label_N, keys, classes, temperature, task, with_doubts=False)[:MAX_CARDS]
    metrics = compute_metrics(logits_NK, label_N, classes, task)
    cells = choose_of_cells(metrics, logits_NK, label_N, temperature, task)
    suspects: list[int] = []
    if task.tells_wrong_labels:
        suspects = _suspects(probabilities_from_logits(logits_NK, temperature), label_N, task)
    behind = dict.fromkeys([*suspects, *(position for positions in cells.values() for position in positions)])
    return [mistake.position for mistake in mistakes], list(behind)


def choose_shown_labels(
    logits_NK: np.ndarray, label_NK: np.ndarray, classes: Sequence[str], task: Task
) -> tuple[list[int], list[int]]:
    """The same of several labels: (positions of the surest mistakes, positions of labels that may be wrong and of the
    surest images of each class that were missed or said for nothing), none twice."""
    keys = [""] * len(label_NK)
    mistakes = find_label_mistakes(logits_NK, label_NK, keys, classes, task)
    behind = dict.fromkeys(_suspects(task.probabilities_of(logits_NK), label_NK, task))
    shown: dict[str, int] = {}
    for mistake in mistakes:
        for name, _ in (*mistake.missed, *mistake.extra):
            if shown.get(name, 0) < MAX_OF_PAIR and len(behind) < MAX_PICTURES:
                shown[name] = shown.get(name, 0) + 1
                behind[mistake.position] = None
    return [mistake.position for mistake in mistakes[:MAX_CARDS]], list(behind)


def choose_shown_numbers(said_N: np.ndarray, value_N: np.ndarray, task: Task) -> tuple[list[int], list[int]]:
    """The same of numbers: (positions of the largest errors, positions of numbers that may be wrong and spread evenly
    over the range of the answers)."""
    largest = np.argsort(-np.abs(said_N - value_N), kind="stable")[:MAX_CARDS]
    behind = dict.fromkeys([*_suspects(said_N[:, None], value_N, task), *spread_of_numbers(said_N)])
    return largest.tolist(), list(behind)


def spread_of_numbers(said_N: np.ndarray) -> list[int]:
    """Positions spread evenly over the range of the answers, in their order."""
    order = np.argsort(said_N, kind="stable")
    chosen: list[int] = order[
        np.linspace(0, len(order) - 1, min(len(order), MAX_SPREAD)).round().astype(np.int64)
    ].tolist()
    return chosen


def _suspects(probability_NK: np.ndarray, label_N: np.ndarray, task: Task) -> list[int]:
    """Positions of the images whose labels are the likeliest wrong of those suspected."""
    positions = suspect_answers(task, probability_NK, label_N).position_S.tolist()
    return list(dict.fromkeys(positions))[:MAX_SUSPECTS]


def choose_of_cells(
    metrics: Metrics, logits_NK: np.ndarray, label_N: np.ndarray, temperature: float, task: Task = ONE_LABEL
) -> dict[tuple[int, int], list[int]]:
    """Positions by (true class, answer): of mistakes the surest, of right answers the least sure."""
    said_N = task.answer_of(task.scores_of(logits_NK))
    spread = logits_NK - logits_NK.max(axis=1, keepdims=True)
    confidence_N = 1 / np.exp(spread / temperature).sum(axis=1)
    pairs = wrong_pairs(metrics)[:MAX_PICTURES]
    left = MAX_PICTURES - MAX_OF_PAIR * min(len(pairs), SHOWN_AT_ONCE)
    each_later = max(1, min(MAX_OF_PAIR, left // max(1, len(pairs) - SHOWN_AT_ONCE)))
    chosen = {}
    for number, (true, said, _) in enumerate(pairs):
        each = MAX_OF_PAIR if number < SHOWN_AT_ONCE else each_later
        positions = np.flatnonzero((label_N == true) & (said_N == said))
        order = np.argsort(-confidence_N[positions], kind="stable")
        chosen[(true, said)] = positions[order[:each]].tolist()
    num_classes = len(metrics.classes)
    num_right = min(MAX_RIGHT, MAX_RIGHT_IN_ALL // num_classes)
    for k in range(num_classes if num_right else 0):
        positions = np.flatnonzero((label_N == k) & (said_N == k))
        if len(positions):
            order = np.argsort(confidence_N[positions], kind="stable")
            chosen[(k, k)] = positions[order[:num_right]].tolist()
    return chosen


def wrong_pairs(metrics: Metrics) -> list[tuple[int, int, int]]:
    """(true, said, images) of every confusion, the most frequent first."""
    wrong_KK = metrics.confusion_KK.copy()
    np.fill_diagonal(wrong_KK, 0)
    order = np.argsort(-wrong_KK, axis=None, kind="stable")
    pairs = [divmod(int(place), len(metrics.classes)) for place in order[: int((wrong_KK > 0).sum())]]
    return [(true, said, int(wrong_KK[true, said])) for true, said in pairs]
