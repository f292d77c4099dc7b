"""What a classifier is asked of an image, and how its logits become an answer: the one place that knows both kinds.

One label: exactly one class is right, and probabilities are a softmax. Several labels: every class is asked for itself,
by a sigmoid, and is said where its probability reaches its threshold; any number of classes may be right, none too.
A label array has one row an image: label_N int64 of one label, label_NK (0 or 1) of several.
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
Slopes = Annotated[tuple[Annotated[float, Field(ge=MIN_SLOPE, le=MAX_SLOPE)], ...], Field(strict=False)]
Shifts = Annotated[tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(strict=False)]
Thresholds = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False)]


class Task(FrozenConfig):
    """The question, and what turns logits into its answer. It travels with the weights.

    `slopes`, `shifts` and `thresholds` are of several labels, one a class; empty: 1, 0 and 0.5 for each.
    """

    kind: Literal["one label", "several labels"] = Field("one label", description="how many classes an image may have")
    slopes: Slopes = Field((), description="several labels: what each class's logit is multiplied by, then")
    shifts: Shifts = Field((), description="several labels: what is added to it, in front of the sigmoid")
    thresholds: Thresholds = Field((), description="several labels: a class is said from this probability on")
    thresholds_for: str = Field("", max_length=200, description="what the thresholds were chosen for, in words")

    @property
    def is_several(self) -> bool:
        """Whether an image may have several labels, or none."""
        return self.kind == "several labels"

    @model_validator(mode="after")
    def _fits(self) -> Task:
        lengths = {len(values) for values in (self.slopes, self.shifts, self.thresholds) if values}
        if lengths and not self.is_several:
            raise ValueError("slopes, shifts and thresholds are for several labels an image")
        if len(lengths) > 1 or bool(self.slopes) != bool(self.shifts):
            raise ValueError("slopes, shifts and thresholds need one value for each class")
        return self

    def refuse_other_classes(self, num_classes: int) -> None:
        """Raise ValueError where there is a value for each of another number of classes."""
        for name in ("slopes", "shifts", "thresholds"):
            values = getattr(self, name)
            if values and len(values) != num_classes:
                raise ValueError(f"{name} has {len(values)} values for {num_classes} classes")

    def refuse_several(self, what: str) -> None:
        """Raise UsageError where images have several labels, which `what` (as `saccade suggest`) cannot take."""
        if self.is_several:
            raise UsageError(
                f"{what} is for runs that know one label an image; this run knows several.\n"
                f"Give a run that was trained on images with one label each."
            )

    def as_values(self) -> dict[str, Any]:
        """What differs from the defaults, for a digest: nothing for one label."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def threshold_K(self, num_classes: int) -> np.ndarray:
        """The probability from which on each class is said, float64."""
        return np.array(self.thresholds or [0.5] * num_classes, np.float64)

    def probabilities(self, logits_BK: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
        """probability_BK float64, of logits on the CPU. `temperature` divides the logits of one label."""
        if not self.is_several:
            softmax_BK: np.ndarray = (logits_BK.double() / temperature).softmax(dim=1).numpy()
            return softmax_BK
        return self.probabilities_of(logits_BK.numpy())

    def probabilities_of(self, logits_NK: np.ndarray) -> np.ndarray:
        """probability_NK float64 of several labels."""
        return sigmoid(self.scaled(logits_NK))

    def scaled(self, logits_NK: np.ndarray) -> np.ndarray:
        """Logits of several labels, float64, with slopes and shifts applied."""
        scaled_NK = np.asarray(logits_NK, np.float64)
        return scaled_NK * np.array(self.slopes) + np.array(self.shifts) if self.slopes else scaled_NK

    def logits_of(self, probability_BK: np.ndarray) -> np.ndarray:
        """The logits that several networks or looks have together, finite where a probability is 0 or 1."""
        safe_BK = np.maximum(probability_BK, 1e-300)
        if not self.is_several:
            log_BK: np.ndarray = np.log(safe_BK)
            return log_BK
        odds_BK: np.ndarray = np.log(safe_BK) - np.log(np.maximum(1 - probability_BK, 1e-16))
        return odds_BK

    def said(self, probability_BK: np.ndarray) -> np.ndarray:
        """said_BK bool: the most probable class of one label; of several labels those that reach their threshold."""
        num_classes = probability_BK.shape[1]
        if self.is_several:
            said_BK: np.ndarray = probability_BK >= self.threshold_K(num_classes)
            return said_BK
        best_BK: np.ndarray = np.arange(num_classes) == probability_BK.argmax(axis=1)[:, None]
        return best_BK

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


def images_right(label_N: np.ndarray, said_NK: np.ndarray) -> np.ndarray:
    """bool (N,): whether what was said of an image is all of its labels, and nothing else."""
    rows_NK = label_N.astype(bool) if label_N.ndim == 2 else np.arange(said_NK.shape[1]) == label_N[:, None]
    right_N: np.ndarray = (rows_NK == said_NK).all(axis=1)
    return right_N


def classes_of(label_N: np.ndarray, row: int) -> tuple[int, ...]:
    """The classes of one image of a label array, ascending."""
    return (int(label_N[row]),) if label_N.ndim == 1 else tuple(np.flatnonzero(label_N[row]).tolist())


def images_a_class(label_N: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 (K,): how many images have each class."""
    if label_N.ndim == 2:
        count_K: np.ndarray = (label_N > 0).sum(axis=0).astype(np.int64)
        return count_K
    return np.bincount(label_N, minlength=num_classes)
