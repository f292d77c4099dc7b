"""What the folds of a run gave: every image's answer by a model that has not seen it, and the figure of all of them.

The figure is that of the procedure (this configuration, on nearly as many images), not of one model. How far it lies
from what the run for use is worth cannot be computed from folds alone: what judges one model trains the others, and
from four folds on they share most of their images (Bengio and Grandvalet 2004, JMLR 5), so neither their spread nor the
interval of the figure holds what other images would change.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..core.display import figure
from ..core.errors import counted
from ..core.task import Task
from ..evaluate.copies import WithoutCopies
from ..evaluate.forward import Outputs
from ..evaluate.label_metrics import LabelMetrics
from ..evaluate.label_words import CROSS_VALIDATED
from ..evaluate.number_metrics import NumberMetrics
from ..evaluate.rates import percent
from ..evaluate.verdict import AnyMetrics, verdicts
from ..runs.folds_folder import FoldsVerdict, FoldVerdict

SMALLEST_SLOPE = 1e-3
UNKNOWN = "neither this nor the interval says what other training images or another seed would change."


def shared_sentence(num_folds: int) -> str:
    """Why the spread of so many folds does not say all. Of k equal folds two models share (k - 2) / (k - 1) of their
    images."""
    if num_folds == 2:
        return f"The images that one model learned from judge the other, so {UNKNOWN}"
    share = "about half" if num_folds == 3 else "most"
    return f"Their models share {share} of their images, so {UNKNOWN}"


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """`outputs` of all images by their folds' models, in the order of the source, and what the folds are worth.

    `logits_NK` of several labels are calibrated, each by its own fold, and of numbers they are the numbers (float64),
    since each fold has its own scale. `copies` are images that no figure holds: they
    are copies of a given validation part; `num_trained` images train the run for use, `num_lost` could
    not be read any more when they were to be judged. `caveats` say what was left out in the training of folds.
    """

    outputs: Outputs
    copies: WithoutCopies
    folds: tuple[FoldVerdict, ...]
    num_trained: int
    num_lost: int = 0
    caveats: tuple[str, ...] = ()

    def outputs_for(self, task: Task) -> Outputs:
        """`outputs` as logits that a run with `task` reads as their folds did: of several labels its slopes and shifts
        are undone, and numbers are put on its scale. Its thresholds hold."""
        if task.is_number:
            return replace(self.outputs, logits_NK=task.logits_of(self.outputs.logits_NK).astype(np.float32))
        if not task.slopes:
            return self.outputs
        slope_K = np.array(task.slopes)
        slope_K = np.where(np.abs(slope_K) < SMALLEST_SLOPE, SMALLEST_SLOPE, slope_K)
        logits_NK = (self.outputs.logits_NK.astype(np.float64) - np.array(task.shifts)) / slope_K
        return replace(self.outputs, logits_NK=logits_NK.astype(np.float32))

    def as_verdict(self, metrics: AnyMetrics) -> FoldsVerdict:
        """What `folds.json` holds; `metrics` are of all images."""
        name = figure_of(metrics)
        value, low, high = (float(getattr(metrics, name + end)) for end in ("", "_low", "_high"))
        return FoldsVerdict(
            figure=name,
            num_judged=metrics.num_samples,
            value=value,
            low=low,
            high=high,
            verdict=" ".join(verdicts(metrics, CROSS_VALIDATED)),
            notes=(self._estimate(), self._spread(metrics), *self._lost(), *self.caveats),
            folds=self.folds,
        )

    def _estimate(self) -> str:
        fewest = min(fold.num_train for fold in self.folds)
        return (
            f"This estimates the model of this run by cross-validation: {len(self.folds)} models like it, each trained "
            f"on {fewest:,} images or more where it has {self.num_trained:,}, were judged on images that they had not "
            f"seen. The estimate is rather too low than too high."
        )

    def _lost(self) -> list[str]:
        if not self.num_lost:
            return []
        images = "1 image is" if self.num_lost == 1 else f"{self.num_lost:,} images are"
        return [f"{images} judged by no fold: not to be read any more, or changed."]

    def _spread(self, metrics: AnyMetrics) -> str:
        values = [fold.value for fold in self.folds if fold.value is not None]
        if len(values) < 2:
            return "Too few folds have a label to say how they differ."
        deviation = float(np.std(values, ddof=1))
        chance = ""
        if isinstance(metrics, NumberMetrics):
            return (
                f"The folds lie between {figure(min(values))} and {figure(max(values))} (standard deviation "
                f"{deviation:.3g}). {shared_sentence(len(self.folds))}"
            )
        if not isinstance(metrics, LabelMetrics):
            by_chance = math.sqrt(np.mean([metrics.top1 * (1 - metrics.top1) / fold.num_judged for fold in self.folds]))
            few = min(fold.num_judged for fold in self.folds)
            chance = f"; chance alone gives {100 * by_chance:.1f} in folds of {counted(few, 'image')}"
        return (
            f"The folds lie between {percent(min(values))} and {percent(max(values))} % (standard deviation "
            f"{100 * deviation:.1f} points{chance}). {shared_sentence(len(self.folds))}"
        )


def figure_of(metrics: AnyMetrics) -> Literal["top1", "map", "mae"]:
    """The name of the figure that folds are told by."""
    if isinstance(metrics, LabelMetrics):
        return "map"
    return "mae" if isinstance(metrics, NumberMetrics) else "top1"


def folds_json(found: FoldsVerdict) -> dict[str, Any]:
    """The value of `folds` in `train --json` and `transfer --json`; its keys are a contract."""
    values = [fold.value for fold in found.folds if fold.value is not None]
    name = found.figure
    return {
        "num_folds": len(found.folds),
        "num_samples": found.num_judged,
        name: found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        "lowest": min(values, default=None),
        "highest": max(values, default=None),
        "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "verdict": found.verdict,
        "notes": list(found.notes),
        "each": [
            {
                "run": fold.name,
                "num_train": fold.num_train,
                "num_samples": fold.num_judged,
                name: fold.value,
                f"{name}_low": fold.low,
                f"{name}_high": fold.high,
                "frozen": fold.frozen or None,
            }
            for fold in found.folds
        ],
    }
