"""Where a classifier is wrong, surest first, and which labels may be wrong instead (`label_errors.py`); both as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import atomic
from ..core.display import figure
from ..core.task import ONE_LABEL, Task
from .label_errors import LabelsInOrder, SuspectedLabels, suspect_labels, suspect_several
from .number_errors import suspect_numbers
from .rates import number
from .scores import probabilities_from_logits

NUM_FOLDS = 5
# Inverse weight decays that are tried, the strongest penalty first. Weak ones learn single wrong labels.
WEIGHT_FREEDOMS = (0.001, 0.01, 0.1, 1.0, 10.0)
SAID = {True: "yes", False: "no", None: ""}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One image that was answered wrongly: its position among the judged images, its key, the label and the answer
    with their probabilities, and whether the label itself may be wrong (None: not known, as of grades)."""

    position: int
    key: str
    label: str
    said: str
    said_probability: float
    label_probability: float
    may_be_mislabelled: bool | None


def find_mistakes(
    logits_NK: np.ndarray,
    label_N: np.ndarray,
    keys: Sequence[str],
    classes: Sequence[str],
    temperature: float = 1.0,
    task: Task = ONE_LABEL,
    with_doubts: bool = True,
) -> list[Mistake]:
    """Every wrong answer, the most confident first; equal ones in the order of the images. Without doubts about labels,
    which are fitted to all answers, `may_be_mislabelled` is None."""
    probability_NK = probabilities_from_logits(logits_NK, temperature)
    said_N = task.answer_of(probability_NK if task.is_grade else logits_NK)
    suspected = _suspected(probability_NK, label_N, task) if with_doubts else None
    wrong = np.flatnonzero(said_N != label_N)
    order = wrong[np.argsort(-probability_NK[wrong, said_N[wrong]], kind="stable")]
    return [
        Mistake(
            position=int(i),
            key=keys[i],
            label=classes[label_N[i]],
            said=classes[said_N[i]],
            said_probability=float(probability_NK[i, said_N[i]]),
            label_probability=float(probability_NK[i, label_N[i]]),
            may_be_mislabelled=None if suspected is None else int(i) in suspected,
        )
        for i in order
    ]


def _suspected(probability_NK: np.ndarray, label_N: np.ndarray, task: Task) -> set[int] | None:
    """Positions of labels that may be wrong; None where nothing tells, as of grades."""
    return set(suspect_labels(probability_NK, label_N).position_S.tolist()) if task.tells_wrong_labels else None


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One image whose label may be wrong: its label and the class that is believed instead, with their
    probabilities, and the probability that the label is wrong.

    Of several labels one class is meant: `label` is its name or, where the image has it not, `not` and its name, and
    `suggested` is the other one. Of a number `numbers` are the label and what is believed instead, and the first two
    probabilities are NaN."""

    position: int
    key: str
    label: str
    suggested: str
    label_probability: float
    suggested_probability: float
    wrong_probability: float
    numbers: tuple[float, float] | None = None

    def cells(self) -> list[str]:
        """The label and the suggestion in CSV; numbers with all their digits."""
        if self.numbers is not None:
            return [f"{value:.9g}" for value in self.numbers]
        return [safe_cell(self.label), safe_cell(self.suggested)]

    def as_json(self) -> dict[str, Any]:
        """One entry of `suspected_labels` in `evaluate --json`; its keys are a contract."""
        label, suggested = (self.label, self.suggested) if self.numbers is None else self.numbers
        return {
            "image": self.key,
            "label": label,
            "suggested": suggested,
            "label_probability": number(self.label_probability),
            "suggested_probability": number(self.suggested_probability),
            "wrong_probability": self.wrong_probability,
        }


def suspect_answers(task: Task, probability_NK: np.ndarray, label_N: np.ndarray) -> SuspectedLabels:
    """The labels of judged images, of any kind, that are probably wrong, by what a classifier that has not learned from
    them says: `probability_NK`, of numbers the numbers (N, 1)."""
    if task.is_number:
        return suspect_numbers(probability_NK[:, 0], label_N)
    if task.is_several:
        label_NK = label_N.astype(np.int64)
        has_both_K = label_NK.min(axis=0, initial=1) < label_NK.max(axis=0, initial=0)
        return suspect_several(probability_NK, label_NK, np.broadcast_to(has_both_K, label_NK.shape))
    return suspect_labels(probability_NK, label_N)


def name_suspects(
    task: Task,
    listed: LabelsInOrder,
    probability_NK: np.ndarray,
    label_N: np.ndarray,
    keys: Sequence[str],
    classes: Sequence[str],
) -> list[Suspect]:
    """The `listed` labels of `suspect_answers` in words."""
    if task.is_number:
        return find_suspected_numbers(listed, probability_NK[:, 0], label_N, keys)
    if task.is_several:
        return find_suspects_of_several(listed, probability_NK, label_N.astype(np.int64), keys, classes)
    return find_suspects(listed, probability_NK, label_N, keys, classes)


def find_suspects(
    listed: LabelsInOrder,
    probability_NK: np.ndarray,
    label_N: np.ndarray,
    keys: Sequence[str],
    classes: Sequence[str],
) -> list[Suspect]:
    """The `listed` labels, each with the most probable of the other classes."""
    position_S = listed.position_S
    other_SK = probability_NK[position_S]
    other_SK[np.arange(len(position_S)), label_N[position_S]] = -1.0
    return [
        Suspect(
            position=i,
            key=keys[i],
            label=classes[label_N[i]],
            suggested=classes[best],
            label_probability=float(probability_NK[i, label_N[i]]),
            suggested_probability=float(probability_NK[i, best]),
            wrong_probability=float(wrong),
        )
        for i, best, wrong in zip(
            position_S.tolist(), other_SK.argmax(axis=1).tolist(), listed.wrong_S.tolist(), strict=True
        )
    ]


def find_suspects_of_several(
    listed: LabelsInOrder,
    probability_NK: np.ndarray,
    label_NK: np.ndarray,
    keys: Sequence[str],
    classes: Sequence[str],
) -> list[Suspect]:
    """The same of several labels: each is a class that an image has, or has not."""
    found = []
    places = np.zeros(0, np.int64) if listed.class_S is None else listed.class_S
    for i, k, wrong in zip(listed.position_S.tolist(), places.tolist(), listed.wrong_S, strict=True):
        has, probability = bool(label_NK[i, k]), float(probability_NK[i, k])
        words = [classes[k], f"not {classes[k]}"]
        sides = [probability, 1 - probability]
        found.append(
            Suspect(
                position=i,
                key=keys[i],
                label=words[not has],
                suggested=words[has],
                label_probability=sides[not has],
                suggested_probability=sides[has],
                wrong_probability=float(wrong),
            )
        )
    return found


def find_suspected_numbers(
    listed: LabelsInOrder, said_N: np.ndarray, value_N: np.ndarray, keys: Sequence[str]
) -> list[Suspect]:
    """The same of numbers: each with what is believed instead."""
    return [
        Suspect(
            position=i,
            key=keys[i],
            label=figure(float(value_N[i])),
            suggested=figure(float(said_N[i])),
            label_probability=float("nan"),
            suggested_probability=float("nan"),
            wrong_probability=float(wrong),
            numbers=(float(value_N[i]), float(said_N[i])),
        )
        for i, wrong in zip(listed.position_S.tolist(), listed.wrong_S, strict=True)
    ]


def cross_validated_numbers(
    feature_ND: np.ndarray, value_N: np.ndarray, range_N: np.ndarray, seed: int = 0, group_N: np.ndarray | None = None
) -> np.ndarray:
    """number_N float64 of each image by a ridge regression that was fitted on the other folds' features.

    Folds, groups and the choice of the penalty as in `cross_validated_probabilities`, by the absolute error;
    `range_N` says in which range each number lies, and all ranges are spread evenly over the folds.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fold_N = _folds(range_N, seed, np.arange(len(value_N)) if group_N is None else group_N)
    found: list[np.ndarray] = []
    for freedom in WEIGHT_FREEDOMS:
        said_N = np.full(len(value_N), np.median(value_N))
        for fold in np.unique(fold_N):
            inside, outside = fold_N == fold, fold_N != fold
            if not outside.any():
                continue  # all are of one group: nothing else speaks for them
            model = make_pipeline(StandardScaler(), Ridge(alpha=1 / freedom))
            said_N[inside] = model.fit(feature_ND[outside], value_N[outside]).predict(feature_ND[inside])
        found.append(said_N)
    errors = [np.abs(said_N - value_N) for said_N in found]
    least_N = min(errors, key=lambda error_N: float(error_N.mean()))
    most = float(least_N.mean() + least_N.std() / np.sqrt(len(least_N)))
    return next(said_N for said_N, error_N in zip(found, errors, strict=True) if error_N.mean() <= most)


def cross_validated_probabilities(
    feature_ND: np.ndarray, label_N: np.ndarray, num_classes: int, seed: int = 0, group_N: np.ndarray | None = None
) -> np.ndarray:
    """probability_NK of each image by a logistic regression that was fitted on the other folds' features.

    Five folds, each class spread evenly over them; images of one number in `group_N` (int64; None: each its own) lie
    in one fold, or a copy would vouch for its label. The penalty is the strongest whose log loss on the images left out
    is within a standard error of the least (Breiman et al. 1984, section 3.4.3). The features must not come from a
    network trained on these labels, else it has already learned their errors. A class that lies in one fold alone gets
    probability 0 on it.
    """
    fold_N = _folds(label_N, seed, np.arange(len(label_N)) if group_N is None else group_N)
    found: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    for freedom in WEIGHT_FREEDOMS:
        probability_NK = _left_out_probabilities(feature_ND, label_N, num_classes, fold_N, freedom)
        own_N = probability_NK[np.arange(len(label_N)), label_N]
        found.append(probability_NK)
        losses.append(-np.log(np.maximum(own_N, 1e-12)))
        if len(found) > 1 and losses[-1].mean() > losses[-2].mean():
            break  # weaker penalties fit the other folds only more closely
    least_N = min(losses, key=lambda loss_N: float(loss_N.mean()))
    most = float(least_N.mean() + least_N.std() / np.sqrt(len(least_N)))
    return next(each for each, loss_N in zip(found, losses, strict=True) if loss_N.mean() <= most)


def _left_out_probabilities(
    feature_ND: np.ndarray, label_N: np.ndarray, num_classes: int, fold_N: np.ndarray, freedom: float
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probability_NK = np.zeros((len(label_N), num_classes))
    for fold in np.unique(fold_N):
        inside, outside = fold_N == fold, fold_N != fold
        known = np.unique(label_N[outside])
        if len(known) < 2:
            probability_NK[np.ix_(inside, known)] = 1.0
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=freedom, max_iter=1000))
        model.fit(feature_ND[outside], label_N[outside])
        probability_NK[np.ix_(inside, known)] = model.predict_proba(feature_ND[inside])
    return probability_NK


def write_mistakes(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Write `mistakes_csv` to `path`, durably. Raises StorageError."""
    atomic.write_text(path, mistakes_csv(mistakes))


def write_suspects(path: Path, suspects: Sequence[Suspect]) -> None:
    """Write suspected labels to `path` as CSV, in their order, durably. Raises StorageError."""
    headings = ["image", "label", "suggested", "label_probability", "suggested_probability", "wrong_probability"]
    rows = [
        [safe_cell(suspect.key), *suspect.cells()]
        + [
            "" if np.isnan(value) else f"{value:.6f}"
            for value in (suspect.label_probability, suspect.suggested_probability, suspect.wrong_probability)
        ]
        for suspect in suspects
    ]
    atomic.write_text(path, _csv(headings, rows))


def mistakes_csv(mistakes: Sequence[Mistake]) -> str:
    """One line per mistake under a heading line; names pass through `safe_cell`."""
    rows = []
    for mistake in mistakes:
        probabilities = [f"{mistake.said_probability:.6f}", f"{mistake.label_probability:.6f}"]
        names = [safe_cell(name) for name in (mistake.key, mistake.label, mistake.said)]
        rows.append([*names, *probabilities, SAID[mistake.may_be_mislabelled]])
    return _csv(["image", "label", "said", "said_probability", "label_probability", "label_may_be_wrong"], rows)


def safe_cell(text: str) -> str:
    """`text` on one line, with a leading apostrophe where a spreadsheet would take it for a formula (CSV injection)."""
    one_line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return f"'{one_line}" if text.lstrip().startswith(FORMULA_STARTS) or text.startswith(FORMULA_STARTS) else one_line


def _csv(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([headings, *rows])
    return text.getvalue()


def _folds(label_N: np.ndarray, seed: int, group_N: np.ndarray) -> np.ndarray:
    """Fold numbers int64 (N,): groups are dealt out class by class, by the label of their first image."""
    _, first_G, number_N = np.unique(group_N, return_index=True, return_inverse=True)
    label_G = label_N[first_G]
    generator = np.random.default_rng(seed)
    fold_G = np.empty(len(label_G), dtype=np.int64)
    for label in np.unique(label_G):
        positions = generator.permutation(np.flatnonzero(label_G == label))
        fold_G[positions] = (np.arange(len(positions)) + generator.integers(NUM_FOLDS)) % NUM_FOLDS
    return fold_G[number_N.reshape(-1)]
