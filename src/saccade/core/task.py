"""What a classifier is asked of an image, and how its logits become an answer: the one place that knows every kind.

One label: exactly one class is right, and probabilities are a softmax. Several labels: every class is asked for itself,
by a sigmoid, and is said where its probability reaches its threshold; any number of classes may be right, none too.
A number: the network has one output, which is the number less the mean of the training images, over their standard
deviation; the one "class" is the name of what is measured.
Grades: classes in their order, learned as one label is; what is said is the median of the probabilities, since a grade
that is near the truth is better than one that is far. Their probabilities have no temperature, which would move it.
A label array has one row an image: label_N int64 of one label, label_NK (0 or 1) of several, value_N float64 of a
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from .config import FrozenConfig
from .errors import UsageError

if TYPE_CHECKING:
    import torch

MIN_SLOPE, MAX_SLOPE = 1e-3, 1e3
MIN_RANGE = 1e-100  # below, squares of what numbers differ by are nothing
MAX_NUMBER = 1e15  # beyond, sums of squares lose what numbers differ by
NEAR = 0.5  # standard deviations of the training numbers: a number that is nearer to the truth counts as near
Slopes = Annotated[tuple[Annotated[float, Field(ge=MIN_SLOPE, le=MAX_SLOPE)], ...], Field(strict=False)]
Shifts = Annotated[tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(strict=False)]
Thresholds = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False)]


class Task(FrozenConfig):
    """The question, and what turns logits into its answer. It travels with the weights.

    `slopes`, `shifts` and `thresholds` are of several labels, one a class; empty: 1, 0 and 0.5 for each. `mean`,
    `deviation` and `half_width` are of a number.
    """

    kind: Literal["one label", "several labels", "number", "grade"] = Field(
        "one label", description="how many classes an image may have, or that a number or a grade is asked for"
    )
    slopes: Slopes = Field((), description="several labels: what each class's logit is multiplied by, then")
    shifts: Shifts = Field((), description="several labels: what is added to it, in front of the sigmoid")
    thresholds: Thresholds = Field((), description="several labels: a class is said from this probability on")
    thresholds_for: str = Field("", max_length=200, description="what the thresholds were chosen for, in words")
    mean: float = Field(0.0, ge=-MAX_NUMBER, le=MAX_NUMBER, description="a number: mean of the training images")
    deviation: float = Field(1.0, gt=0, le=2 * MAX_NUMBER, description="a number: their standard deviation")
    half_width: float = Field(
        0.0, ge=0, le=1e30, description="a number: nine of ten answers are this near to the truth; 0: not known"
    )
    half_width_images: int = Field(0, ge=0, le=2**53, description="a number: validation images that say so")

    @property
    def is_several(self) -> bool:
        """Whether an image may have several labels, or none."""
        return self.kind == "several labels"

    @property
    def is_number(self) -> bool:
        """Whether a number is asked for."""
        return self.kind == "number"

    @property
    def target(self) -> str:
        """How labels are read that this task is judged by, as a person says it: number, grade, or "" for classes."""
        return self.kind if self.kind in ("number", "grade") else ""

    @property
    def is_grade(self) -> bool:
        """Whether the classes are grades, in their order."""
        return self.kind == "grade"

    @property
    def is_one(self) -> bool:
        """Whether exactly one class is right."""
        return not (self.is_several or self.is_number)

    @model_validator(mode="after")
    def _fits(self) -> Task:
        lengths = {len(values) for values in (self.slopes, self.shifts, self.thresholds) if values}
        if lengths and not self.is_several:
            raise ValueError("slopes, shifts and thresholds are for several labels an image")
        numbers = (self.mean, self.deviation, self.half_width, self.half_width_images)
        if numbers != (0.0, 1.0, 0.0, 0) and not self.is_number:
            raise ValueError("mean, deviation and half_width are for a number")
        if len(lengths) > 1 or bool(self.slopes) != bool(self.shifts):
            raise ValueError("slopes, shifts and thresholds need one value for each class")
        return self

    def refuse_other_classes(self, num_classes: int) -> None:
        """Raise ValueError where there is a value for each of another number of classes."""
        if self.is_number and num_classes != 1:
            raise ValueError(f"a number has one output, and there are {num_classes} classes")
        for name in ("slopes", "shifts", "thresholds"):
            values = getattr(self, name)
            if values and len(values) != num_classes:
                raise ValueError(f"{name} has {len(values)} values for {num_classes} classes")

    @property
    def tells_wrong_labels(self) -> bool:
        """Whether labels can be suspected: one of each image, which is no grade, since near ones are mixed up."""
        return self.kind == "one label"

    def refuse_unknown(self, what: str, *known: str) -> None:
        """Raise UsageError where `what` (as `saccade suggest`) does not know this kind of task; it knows one label an
        image, and the kinds in `known`."""
        if self.kind == "one label" or self.kind in known:
            return
        if self.is_several:
            raise UsageError(
                f"{what} is for runs that know one label an image; this run knows several.\n"
                f"Give a run that was trained on images with one label each."
            )
        raise UsageError(
            f"{what} does not know {self.target}s: it is for classes.\n"
            f"Give a run or images of classes, without --target {self.target}."
        )

    def as_values(self) -> dict[str, Any]:
        """What differs from the defaults, for a digest: nothing for one label."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def threshold_K(self, num_classes: int) -> np.ndarray:
        """The probability from which on each class is said, float64."""
        return np.array(self.thresholds or [0.5] * num_classes, np.float64)

    def probabilities(self, logits_BK: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
        """probability_BK float64, of logits on the CPU. `temperature` divides the logits of one label. What is averaged
        over networks and looks: of a number, the numbers (B, 1) themselves."""
        if self.is_one:
            softmax_BK: np.ndarray = (logits_BK.double() / temperature).softmax(dim=1).numpy()
            return softmax_BK
        return self.probabilities_of(logits_BK.numpy())

    def probabilities_of(self, logits_NK: np.ndarray) -> np.ndarray:
        """probability_NK float64 of several labels; of a number the numbers, (N, 1)."""
        if self.is_number:
            number_N1: np.ndarray = np.asarray(logits_NK, np.float64) * self.deviation + self.mean
            return number_N1
        return sigmoid(self.scaled(logits_NK))

    def scaled(self, logits_NK: np.ndarray) -> np.ndarray:
        """Logits of several labels, float64, with slopes and shifts applied."""
        scaled_NK = np.asarray(logits_NK, np.float64)
        return scaled_NK * np.array(self.slopes) + np.array(self.shifts) if self.slopes else scaled_NK

    def logits_of(self, probability_BK: np.ndarray) -> np.ndarray:
        """The logits that several networks or looks have together, finite where a probability is 0 or 1."""
        if self.is_number:
            logits_B1: np.ndarray = (probability_BK - self.mean) / self.deviation
            return logits_B1
        safe_BK = np.maximum(probability_BK, 1e-300)
        if not self.is_several:
            log_BK: np.ndarray = np.log(safe_BK)
            return log_BK
        odds_BK: np.ndarray = np.log(safe_BK) - np.log(np.maximum(1 - probability_BK, 1e-16))
        return odds_BK

    def said(self, probability_BK: np.ndarray) -> np.ndarray:
        """said_BK bool: the most probable class of one label, of grades the median; of several labels those that reach
        their threshold."""
        num_classes = probability_BK.shape[1]
        if self.is_grade:
            median_BK: np.ndarray = np.arange(num_classes) == median_grade(probability_BK)[:, None]
            return median_BK
        if self.is_several:
            said_BK: np.ndarray = probability_BK >= self.threshold_K(num_classes)
            return said_BK
        best_BK: np.ndarray = np.arange(num_classes) == probability_BK.argmax(axis=1)[:, None]
        return best_BK

    def scores_of(self, logits_NK: np.ndarray) -> np.ndarray:
        """What `right` looks at: the logits of one label, else what `probabilities_of` makes of them."""
        if self.is_grade:
            return softmax(logits_NK)
        return logits_NK if self.is_one else self.probabilities_of(logits_NK)

    def right(self, label_N: np.ndarray, scores_NK: np.ndarray) -> np.ndarray:
        """bool (N,): whether an image is answered rightly, all of its labels; of a number, whether it is near."""
        if self.is_number:
            near_N: np.ndarray = np.abs(scores_NK[:, 0] - label_N) < NEAR * self.deviation
            return near_N
        return images_right(label_N, self.said(scores_NK))

    @property
    def right_figure(self) -> str:
        """What the share of images that are answered rightly is called in JSON."""
        return {"several labels": "exact_match", "number": "near"}.get(self.kind, "top1")

    def right_note(self) -> str:
        """What `right` asks of an image, in a sentence; "" where that goes without saying."""
        if self.is_number:
            half = f"{NEAR * self.deviation:.4g}"
            return f"A number counts as correct within half a standard deviation, {half}, of the truth."
        return "An image counts as correct where every label of it is." if self.is_several else ""

    def error(self, label_N: np.ndarray, scores_NK: np.ndarray) -> np.ndarray | None:
        """float64 (N,): how far each answer is off, of numbers and grades; None of classes."""
        if self.is_number:
            number_N: np.ndarray = np.abs(scores_NK[:, 0] - label_N)
            return number_N
        if self.is_grade:
            grade_N: np.ndarray = np.abs(self.answer_of(scores_NK) - label_N).astype(np.float64)
            return grade_N
        return None

    def number_of(self, answer_K: np.ndarray) -> tuple[float | None, tuple[float, float] | None]:
        """(the number that is said of an image, the interval that nine of ten truths lie in); None where unknown, or
        where classes are asked for."""
        if not self.is_number:
            return None, None
        value = float(answer_K[0])
        return value, (value - self.half_width, value + self.half_width) if self.half_width else None

    def answer_of(self, probability_NK: np.ndarray) -> np.ndarray:
        """int64 (N,): the one class that is said of each image, of probabilities (or logits, of one label)."""
        answer_N: np.ndarray = median_grade(probability_NK) if self.is_grade else probability_NK.argmax(axis=1)
        return answer_N

    def grade_of(self, probability_K: np.ndarray, classes: Sequence[str]) -> str | None:
        """The grade that is said of an image; None where no grade is asked for."""
        return classes[int(median_grade(probability_K[None])[0])] if self.is_grade else None

    def of_numbers(self, value_N: np.ndarray) -> Task:
        """The task with the mean and the standard deviation of the training images' numbers."""
        mean, deviation = float(value_N.mean()), float(value_N.std())
        return self.model_copy(update={"mean": mean, "deviation": deviation if deviation > 0 else 1.0})

    def standard(self, value_N: np.ndarray) -> np.ndarray:
        """float32: numbers as a network learns them, less the mean and over the deviation."""
        standard_N: np.ndarray = ((value_N - self.mean) / self.deviation).astype(np.float32)
        return standard_N

    def labels_of(self, probability_K: np.ndarray, classes: Sequence[str]) -> tuple[str, ...] | None:
        """The classes that are said of an image, most probable first; None of one label."""
        if not self.is_several:
            return None
        said = np.flatnonzero(self.said(probability_K[None])[0])
        return tuple(classes[k] for k in said[np.argsort(-probability_K[said], kind="stable")].tolist())

    def label_thresholds(self, num_classes: int) -> tuple[float, ...]:
        """From which probability on each class is said; empty of one label."""
        return tuple(self.threshold_K(num_classes).tolist()) if self.is_several else ()


def sigmoid(logits_NK: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) in float64, without overflow on either side."""
    logits_NK = np.asarray(logits_NK, np.float64)
    small_NK = np.exp(-np.abs(logits_NK))
    probability_NK: np.ndarray = np.where(logits_NK >= 0, 1.0, small_NK) / (1 + small_NK)
    return probability_NK


ONE_LABEL = Task()
SEVERAL_LABELS = Task(kind="several labels")
NUMBER = Task(kind="number")
GRADE = Task(kind="grade")


def median_grade(probability_NK: np.ndarray) -> np.ndarray:
    """int64 (N,): the least grade that at least half of the probability lies at or below (up to rounding)."""
    median_N: np.ndarray = (np.cumsum(probability_NK, axis=1) >= 0.5 - 1e-12).argmax(axis=1)
    return median_N


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    """Probabilities of logits, float64."""
    power_NK = np.exp(np.asarray(logits_NK, np.float64) - logits_NK.max(axis=1, keepdims=True, initial=-np.inf))
    probability_NK: np.ndarray = power_NK / power_NK.sum(axis=1, keepdims=True)
    return probability_NK


def images_right(label_N: np.ndarray, said_NK: np.ndarray) -> np.ndarray:
    """bool (N,): whether what was said of an image is all of its labels, and nothing else."""
    rows_NK = label_N.astype(bool) if label_N.ndim == 2 else np.arange(said_NK.shape[1]) == label_N[:, None]
    right_N: np.ndarray = (rows_NK == said_NK).all(axis=1)
    return right_N


def classes_of(label_N: np.ndarray, row: int) -> tuple[int, ...]:
    """The classes of one image of a label array, ascending; not of numbers."""
    return (int(label_N[row]),) if label_N.ndim == 1 else tuple(np.flatnonzero(label_N[row]).tolist())


def images_a_class(label_N: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 (K,): how many images have each class; of numbers, how many there are."""
    if label_N.dtype.kind == "f" and label_N.ndim == 1:
        return np.array([len(label_N)], np.int64)
    if label_N.ndim == 2:
        count_K: np.ndarray = (label_N > 0).sum(axis=0).astype(np.int64)
        return count_K
    return np.bincount(label_N, minlength=num_classes)
