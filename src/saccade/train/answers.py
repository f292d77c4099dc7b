"""What makes answers of a run's logits, fitted on its validation images, and what is counted with it at the end.

One label: a temperature. Several labels: a slope, a shift and a threshold for each class. A number: how wide an
interval around an answer holds nine of ten truths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.task import SEVERAL_LABELS, Task
from ..evaluate.calibration import shrunk_temperature
from ..evaluate.caveats import worse_calibrated, worse_scaled
from ..evaluate.forward import Outputs
from ..evaluate.label_answers import calibrated, with_thresholds
from ..evaluate.label_metrics import loss_and_calibration_error
from ..evaluate.metrics import compute_metrics
from ..evaluate.number_metrics import conformal_half_width
from ..evaluate.shown_images import choose_shown, choose_shown_labels, choose_shown_numbers
from ..evaluate.verdict import AnyMetrics, metrics_of
from ..runs.evaluation_files import JudgedOutputs
from .config import RunConfig
from .prepare import Images


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`temperature` of one label, 1 of several; `task` with what was fitted of several. `num_fitted` images of the
    validation part it comes from, 0 where there were none to spare; `notes` qualify it."""

    task: Task
    temperature: float = 1.0
    num_fitted: int = 0
    notes: tuple[str, ...] = ()

    def right(self, outputs: Outputs) -> np.ndarray:
        """bool (N,): whether the answer is right; of several labels, all of it."""
        return self.task.right(outputs.label_N, self.task.scores_of(outputs.logits_NK))

    def metrics(self, outputs: Outputs, classes: Sequence[str]) -> AnyMetrics:
        """How good the answers are: of one label the logits as they are, of several as they were fitted."""
        return metrics_of(outputs.logits_NK, outputs.label_N, classes, self.task)

    def values(self, outputs: Outputs, classes: Sequence[str]) -> dict[str, Any]:
        """What `evaluation.json` says of the fit."""
        if self.task.is_number:
            return {"half_width_images": self.num_fitted}
        if self.task.is_several:
            loss, error = loss_and_calibration_error(outputs.logits_NK, outputs.label_N, SEVERAL_LABELS)
            fitted = {"calibration_images": self.num_fitted, "thresholds_for": self.task.thresholds_for}
            return fitted | {"loss_uncalibrated": loss, "ece_uncalibrated": error}
        if self.task.is_grade:
            return {"temperature": 1.0, "temperature_images": 0}
        scaled = compute_metrics(outputs.logits_NK / self.temperature, outputs.label_N, classes)
        return {
            "temperature": self.temperature,
            "ece_calibrated": scaled.ece,
            "temperature_images": self.num_fitted,
            "loss_calibrated": scaled.loss,
        }

    def caveats(self, outputs: Outputs) -> list[str]:
        """That the fit makes these probabilities worse, where it does, and what else qualifies it."""
        if self.task.is_number:
            return list(self.notes)
        if not self.task.is_several:
            return worse_scaled(outputs.logits_NK, outputs.label_N, self.temperature, self.num_fitted)
        return [*self.notes, *worse_calibrated(outputs.logits_NK, outputs.label_N, self.task)]

    def shown(self, judged: JudgedOutputs, classes: Sequence[str]) -> tuple[list[int], list[int]]:
        """Which judged images the report will show."""
        if self.task.is_number:
            said_N = self.task.probabilities_of(judged.logits_NK)[:, 0]
            return choose_shown_numbers(said_N, judged.label_N, self.task)
        if self.task.is_several:
            return choose_shown_labels(judged.logits_NK, judged.label_N, classes, self.task)
        return choose_shown(judged.logits_NK, judged.label_N, classes, self.temperature, self.task)


def fit_answers(held_back: Outputs | None, images: Images, config: RunConfig) -> Answers:
    """What the validation images `held_back` say; nothing is scaled where there are none to spare."""
    task = images.task
    if task.is_number:
        return _fit_numbers(held_back, task)
    if not task.is_several:
        if held_back is None or task.is_grade:
            return Answers(task=task)
        temperature = shrunk_temperature(held_back.logits_NK, held_back.label_N)
        return Answers(task=task, temperature=temperature, num_fitted=len(held_back.label_N))
    if held_back is None:
        note = "No validation image could be spared: every class is said from a probability of 0.5."
        return Answers(task=task, notes=(note,))
    logits_NK, label_NK = held_back.logits_NK, held_back.label_N
    goal = config.labels
    fitted, notes = with_thresholds(
        calibrated(task, logits_NK, label_NK), logits_NK, label_NK, images.classes, goal.threshold_for, goal.wanted
    )
    return Answers(task=fitted, num_fitted=len(label_NK), notes=tuple(notes))


def _fit_numbers(held_back: Outputs | None, task: Task) -> Answers:
    """The width of the interval around an answer, from the errors on validation images."""
    if held_back is None:
        return Answers(task=task)
    said_N = task.probabilities_of(held_back.logits_NK)[:, 0]
    half_width, num = conformal_half_width(np.abs(said_N - held_back.label_N)), len(said_N)
    if not half_width:
        return Answers(task=task)
    fitted = task.model_copy(update={"half_width": half_width, "half_width_images": num})
    return Answers(task=fitted, num_fitted=num)
