"""The confidence threshold that is promised to give a wanted precision, from what runs keep of their validation images.

Several runs that answer together are asked together: by the mean of their probabilities on the validation images that
all of them have in common, which none of them was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import UsageError, printable
from ..core.given import settle_fields
from ..core.task import Task
from ..evaluate.scores import probabilities_from_logits
from ..evaluate.thresholds import PromisedPrecision, check_confidence, check_precision, choose_threshold
from ..runs.checkpoint import find_checkpoint
from ..runs.validation_file import ValidationOutputs, read_validation
from .classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Answering:
    """When an answer counts as sure: from `min_confidence` on, else from the confidence that is promised to give
    `precision`. Raises UsageError for what is no share."""

    min_confidence: float | None = None
    precision: float = 0.98

    def __post_init__(self) -> None:
        settle_fields(self)
        check_precision(self.precision)
        if self.min_confidence is not None:
            check_confidence(self.min_confidence)


def refuse_confidence_of_labels(task: Task, min_confidence: float | None) -> None:
    """Raise UsageError where one confidence is asked for and each class has a threshold of its own, or a number has
    none."""
    if task.is_number and min_confidence:
        raise UsageError(
            "A confidence is of a class, and this run says a number.\n"
            "Leave out --min-confidence and --precision; each number comes with the interval that holds nine of ten."
        )
    if task.is_several and min_confidence:
        raise UsageError(
            "Where an image may have several labels, each class has its own threshold; one confidence for all "
            "is for runs of one label.\n"
            "Choose them when training: --set labels.threshold_for=precision --set labels.wanted=0.98."
        )


def promised_precision(classifier: Classifier, runs: Sequence[Path], precision: float) -> PromisedPrecision | None:
    """The threshold for `classifier`, opened from `runs`, by one look at the centre; None where a run keeps nothing, or
    where they have no validation image in common. Raises CheckpointError."""
    if not classifier.task.is_one:
        return None
    found: list[ValidationOutputs] = []
    for run in runs:
        outputs = read_validation(find_checkpoint(run))
        if outputs is None:
            return None
        found.append(outputs)
    common = _in_common(found)
    if not len(common[0]):
        return None
    probability_NK = np.zeros((len(common[0]), len(classifier.classes)))
    for number, (member, outputs, row_N) in enumerate(zip(classifier.members, found, common, strict=True)):
        own_NK = probabilities_from_logits(outputs.logits_NK[row_N], member.temperature)
        probability_NK += own_NK[:, classifier.order_MK[number]] / len(found)
    first = classifier.members[0]
    names = [first.classes[label] for label in found[0].label_N[common[0]]]
    label_N = np.array([classifier.classes.index(name) for name in names])
    said_N = classifier.task.answer_of(probability_NK)
    return choose_threshold(probability_NK[np.arange(len(said_N)), said_N], said_N == label_N, precision)


def require_promised(classifier: Classifier, runs: Sequence[Path], precision: float) -> PromisedPrecision:
    """As `promised_precision`. Raises UsageError where no threshold can be promised."""
    refuse_confidence_of_labels(classifier.task, precision)
    promised = promised_precision(classifier, runs, precision)
    if promised is None:
        which = printable(str(runs[0])) if len(runs) == 1 else f"These {len(runs)} runs"
        keeps = "keeps no outputs of validation images" if len(runs) == 1 else "keep no validation images in common"
        raise UsageError(
            f"{which} {keeps}, which a threshold is chosen on.\n"
            f"Train with validation images (split.validation_fraction) and this version, or give --min-confidence."
        )
    if promised.min_confidence is None:
        raise UsageError(
            f"{promised.sentence()}\nAsk for less, train with more validation images, or give --min-confidence."
        )
    return promised


def _in_common(found: Sequence[ValidationOutputs]) -> list[np.ndarray]:
    """The rows of each that hold the images all of them have, in one order; of equal images the first."""
    if len(found) == 1:
        return [np.arange(len(found[0].label_N))]
    rows = [{row.tobytes(): place for place, row in reversed(list(enumerate(o.pixels_NB)))} for o in found]
    shared = [digest for digest in rows[0] if all(digest in other for other in rows)]
    return [np.array([own[digest] for digest in shared], np.int64) for own in rows]
