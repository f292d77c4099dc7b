"""Where a classifier is wrong, surest first, and which labels may be wrong instead; both as CSV.

Suspected labels: confident learning, Northcutt et al. 2021, arXiv:1911.00068, section 3.1 (thresholds and confident
joint); an image off the joint's diagonal is suspected. The probabilities must come from a classifier that has not seen
the image with its label: held-out images, or `cross_validated_probabilities`.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import atomic
from ..core.task import ONE_LABEL, Task
from .metrics import wilson_interval
from .scores import probabilities_from_logits

NUM_FOLDS = 5
# Inverse weight decays that are tried, the strongest penalty first. Weak ones learn single wrong labels.
WEIGHT_FREEDOMS = (0.001, 0.01, 0.1, 1.0, 10.0)
MORE_THAN_ALL_OTHERS = 0.5  # below, even the answer is a guess, and suspects nothing
GOOD_ENOUGH = 0.8  # lower bound of the accuracy; below, most disagreements are the classifier's own mistakes
ENOUGH_IMAGES = 30  # judged images of a class; below, its mean probability says little
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One image that was answered wrongly: its position among the judged images, its key, the label and the answer
    with their probabilities, and whether the label itself may be wrong."""

    position: int
    key: str
    label: str
    said: str
    said_probability: float
    label_probability: float
    may_be_mislabelled: bool


def find_mistakes(
    logits_NK: np.ndarray,
    label_N: np.ndarray,
    keys: Sequence[str],
    classes: Sequence[str],
    temperature: float = 1.0,
    task: Task = ONE_LABEL,
) -> list[Mistake]:
    """Every wrong answer, the most confident first; equal ones in the order of the images."""
    probability_NK = probabilities_from_logits(logits_NK, temperature)
    said_N = task.answer_of(probability_NK if task.is_grade else logits_NK)
    suspected = _trusted_suspects(probability_NK, label_N)
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
            may_be_mislabelled=int(i) in suspected and bool(probability_NK[i, said_N[i]] > MORE_THAN_ALL_OTHERS),
        )
        for i in order
    ]


def why_unsuspected(right_N: np.ndarray, label_N: np.ndarray) -> str:
    """Why `find_mistakes` marks no label, or those of some classes only, as possibly wrong; empty where nothing
    withholds a mark."""
    low, _ = wilson_interval(int(right_N.sum()), len(right_N))
    if low < GOOD_ENOUGH:
        return (
            f"No label is marked as possibly wrong: that takes an accuracy clearly above {100 * GOOD_ENOUGH:.0f} %, "
            f"and the interval reaches down to {100 * low:.1f} %."
        )
    support = np.bincount(label_N)
    num_few = int(((support > 0) & (support < ENOUGH_IMAGES)).sum())
    if num_few:
        classes = "1 class" if num_few == 1 else f"{num_few:,} classes"
        return (
            f"No label of {classes} with fewer than {ENOUGH_IMAGES} judged images is marked as possibly wrong: "
            f"that takes more images."
        )
    return ""


def _trusted_suspects(probability_NK: np.ndarray, label_N: np.ndarray) -> set[int]:
    """`suspected_labels`, where the classifier is good enough and both classes have enough images."""
    best_N = probability_NK.argmax(axis=1)
    low, _ = wilson_interval(int((best_N == label_N).sum()), len(label_N))
    if low < GOOD_ENOUGH:
        return set()
    support_K = np.bincount(label_N, minlength=probability_NK.shape[1])
    is_known_N = np.minimum(support_K[label_N], support_K[best_N]) >= ENOUGH_IMAGES
    return {index for index in suspected_labels(probability_NK, label_N).tolist() if is_known_N[index]}


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One image whose label may be wrong: its label and the class that is believed instead, with their
    cross-validated probabilities."""

    position: int
    key: str
    label: str
    suggested: str
    label_probability: float
    suggested_probability: float


def find_suspects(
    probability_NK: np.ndarray, label_N: np.ndarray, keys: Sequence[str], classes: Sequence[str]
) -> list[Suspect]:
    """The suspected labels, the least believed first, each with the most probable class."""
    best_N = probability_NK.argmax(axis=1)
    return [
        Suspect(
            position=i,
            key=keys[i],
            label=classes[label_N[i]],
            suggested=classes[best_N[i]],
            label_probability=float(probability_NK[i, label_N[i]]),
            suggested_probability=float(probability_NK[i, best_N[i]]),
        )
        for i in suspected_labels(probability_NK, label_N).tolist()
    ]


def suspected_labels(probability_NK: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """Positions of images whose label may be wrong, the least believed label first (int64).

    A class counts for an image when its probability reaches the mean probability that the class gets on its own
    images; the most probable class that counts is the suspected true one. Classes without images never count.
    """
    num_images, num_classes = probability_NK.shape
    own_N = probability_NK[np.arange(num_images), label_N]
    support_K = np.bincount(label_N, minlength=num_classes)
    threshold_K = np.bincount(label_N, weights=own_N, minlength=num_classes) / np.maximum(support_K, 1)
    threshold_K[support_K == 0] = np.inf
    counts_NK = probability_NK >= threshold_K - 1e-12  # a class of one image is its own mean, up to rounding
    likely_N = np.where(counts_NK, probability_NK, -1.0).argmax(axis=1)
    is_suspect_N = counts_NK.any(axis=1) & (likely_N != label_N) & (probability_NK.argmax(axis=1) != label_N)
    suspects = np.flatnonzero(is_suspect_N)
    return suspects[np.argsort(own_N[suspects], kind="stable")]


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
    """Write suspected labels to `path` as CSV, the least believed first, durably. Raises StorageError."""
    headings = ["image", "label", "suggested", "label_probability", "suggested_probability"]
    rows = [
        [*(safe_cell(name) for name in (suspect.key, suspect.label, suspect.suggested))]
        + [f"{value:.6f}" for value in (suspect.label_probability, suspect.suggested_probability)]
        for suspect in suspects
    ]
    atomic.write_text(path, _csv(headings, rows))


def mistakes_csv(mistakes: Sequence[Mistake]) -> str:
    """One line per mistake under a heading line; names pass through `safe_cell`."""
    rows = []
    for mistake in mistakes:
        probabilities = [f"{mistake.said_probability:.6f}", f"{mistake.label_probability:.6f}"]
        names = [safe_cell(name) for name in (mistake.key, mistake.label, mistake.said)]
        rows.append([*names, *probabilities, "yes" if mistake.may_be_mislabelled else "no"])
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
