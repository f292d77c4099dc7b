"""Several labels: how far a class's probability can be believed, and from which one on the class is said.

Both are fitted for each class on images the network was not trained on. Calibration: sigmoid(slope * logit + shift),
Platt 1999, "Probabilistic outputs for support vector machines", by Newton's method. Deviation: in place of his smoothed
targets the slope has a normal prior around 1 and the shift one around 0, so that few images change little, as with the
temperature of one label (`calibration.py`).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..core.errors import printable
from ..core.task import Task, sigmoid
from .label_metrics import image_label_losses
from .ranked_scores import RankedScores

SLOPE_DEVIATION, SHIFT_DEVIATION = 0.25, 1.0  # of the priors
LEAST_SLOPE, LARGEST_SLOPE = 0.05, 20.0
MAX_STEPS = 60
FEW_WITH_LABEL = 5  # images with a class; below, its threshold stays 0.5
MAX_NAMED = 5
Goal = Literal["f1", "precision", "recall"]


def calibrated(task: Task, logits_NK: np.ndarray, label_NK: np.ndarray) -> Task:
    """`task` with a slope and a shift for each class, fitted on these images."""
    fits = [fit_platt(logits_NK[:, k], label_NK[:, k]) for k in range(logits_NK.shape[1])]
    return task.model_copy(
        update={"slopes": tuple(slope for slope, _ in fits), "shifts": tuple(shift for _, shift in fits)}
    )


def fit_platt(logit_N: np.ndarray, has_N: np.ndarray) -> tuple[float, float]:
    """The most probable (slope, shift) of one class; (1, 0) without images."""
    logit_N, has_N = np.asarray(logit_N, np.float64), np.asarray(has_N, np.float64)
    slope, shift = 1.0, 0.0
    if not len(logit_N):
        return slope, shift
    precision_2 = np.array([SLOPE_DEVIATION, SHIFT_DEVIATION]) ** -2.0
    prior_2, value_2 = np.array([1.0, 0.0]), np.array([slope, shift])
    design_N2 = np.stack([logit_N, np.ones_like(logit_N)], axis=1)
    for _ in range(MAX_STEPS):
        probability_N = sigmoid(design_N2 @ value_2)
        gradient_2 = design_N2.T @ (probability_N - has_N) + precision_2 * (value_2 - prior_2)
        curvature_22 = (design_N2.T * (probability_N * (1 - probability_N))) @ design_N2 + np.diag(precision_2)
        step_2 = np.linalg.solve(curvature_22, gradient_2)
        value_2 = _shorter_until_better(design_N2, has_N, value_2, step_2)
        if np.abs(step_2).max() <= 1e-10:
            break
    return float(np.clip(value_2[0], LEAST_SLOPE, LARGEST_SLOPE)), float(value_2[1])


def _shorter_until_better(
    design_N2: np.ndarray, has_N: np.ndarray, value_2: np.ndarray, step_2: np.ndarray
) -> np.ndarray:
    """`value_2` less the step, or less as small a part of it as lowers the loss: it is convex, so one does."""
    before = _penalised_loss(design_N2, has_N, value_2)
    for _ in range(MAX_STEPS):
        moved_2: np.ndarray = value_2 - step_2
        if _penalised_loss(design_N2, has_N, moved_2) <= before:
            return moved_2
        step_2 = step_2 / 2
    return value_2


def _penalised_loss(design_N2: np.ndarray, has_N: np.ndarray, value_2: np.ndarray) -> float:
    logit_N1 = (design_N2 @ value_2)[:, None]
    prior = ((value_2[0] - 1) / SLOPE_DEVIATION) ** 2 + (value_2[1] / SHIFT_DEVIATION) ** 2
    return float(image_label_losses(logit_N1, has_N[:, None]).sum() + prior / 2)


def with_thresholds(
    task: Task, logits_NK: np.ndarray, label_NK: np.ndarray, classes: Sequence[str], goal: Goal, wanted: float
) -> tuple[Task, list[str]]:
    """`task` with the threshold of each class that these images are for, and sentences on classes that had none."""
    probability_NK = sigmoid(task.scaled(logits_NK))
    thresholds, few, unreached = [], [], []
    for k, name in enumerate(classes):
        if int((label_NK[:, k] > 0).sum()) < FEW_WITH_LABEL:
            thresholds.append(0.5)
            few.append(name)
            continue
        threshold, is_reached = choose_threshold(probability_NK[:, k], label_NK[:, k] > 0, goal, wanted)
        thresholds.append(threshold)
        unreached += [] if is_reached else [name]
    told = []
    if few:
        told.append(
            f"Fewer than {FEW_WITH_LABEL} validation images of {named(few)}: the threshold stays 0.5 for "
            f"{'it' if len(few) == 1 else 'them'}."
        )
    if unreached:
        told.append(
            f"No threshold gives {named(unreached)} a {goal} of {100 * wanted:g} % on the validation images: the "
            f"nearest is taken."
        )
    words = "F1" if goal == "f1" else f"a {goal} of {100 * wanted:g} %"
    return task.model_copy(update={"thresholds": tuple(thresholds), "thresholds_for": words}), told


def choose_threshold(probability_N: np.ndarray, has_N: np.ndarray, goal: Goal, wanted: float) -> tuple[float, bool]:
    """(threshold, whether the goal is reached) of one class with an image at least.

    f1: the best F1; precision: the most recall among thresholds with at least the wanted precision; recall: the most
    precision among those with at least the wanted recall. Of equals the highest. It lies halfway to the next score.
    """
    curve = RankedScores(probability_N, has_N).curve()
    score_G, precision_G, recall_G = curve.threshold_T[1:], curve.precision_T[1:], curve.true_rate_T[1:]
    if goal == "f1":
        sum_G = precision_G + recall_G
        value_G = np.divide(2 * precision_G * recall_G, sum_G, out=np.zeros_like(sum_G), where=sum_G > 0)
        return _below(score_G, int(value_G.argmax())), True
    kept_G, other_G = (precision_G, recall_G) if goal == "precision" else (recall_G, precision_G)
    is_enough_G = kept_G >= wanted - 1e-12
    if not is_enough_G.any():
        return _below(score_G, int(kept_G.argmax())), False
    return _below(score_G, int(np.where(is_enough_G, other_G, -1.0).argmax())), True


def _below(score_G: np.ndarray, place: int) -> float:
    """Halfway between a score and the next lower one."""
    following = score_G[place + 1] if place + 1 < len(score_G) else score_G[place]
    return float((score_G[place] + following) / 2)


def is_worse_calibrated(logits_NK: np.ndarray, label_NK: np.ndarray, task: Task) -> tuple[float, float] | None:
    """(log loss without, with the calibration) where it makes these probabilities worse beyond chance, else None."""
    if not task.slopes or len(label_NK) < 2:
        return None
    plain_N = image_label_losses(logits_NK, label_NK)
    scaled_N = image_label_losses(task.scaled(logits_NK), label_NK)
    change_N = scaled_N - plain_N
    if change_N.mean() <= 2 * change_N.std(ddof=1) / np.sqrt(len(change_N)):
        return None
    return float(plain_N.mean()), float(scaled_N.mean())


def named(names: Sequence[str]) -> str:
    """`'a', 'b' and 3 more classes`."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:MAX_NAMED])
    rest = len(names) - MAX_NAMED
    return f"{shown} and {rest:,} more classes" if rest > 0 else shown
