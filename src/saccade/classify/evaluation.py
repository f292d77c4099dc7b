"""What an evaluation found, for one run or several together: metrics, confidences, mistakes, gain and cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.display import Displayed, Rows, figure
from ..core.errors import UsageError, printable
from ..core.task import ONE_LABEL, Task
from ..core.types import Metrics, Prediction
from ..evaluate.by_threshold import Answered, confusion_by_threshold
from ..evaluate.calibration import Selective, answering_at
from ..evaluate.copies import NO_COPIES, WithoutCopies
from ..evaluate.costs import Costs
from ..evaluate.label_errors import SuspectedLabels
from ..evaluate.label_metrics import LabelMetrics
from ..evaluate.label_mistakes import LabelMistake, find_label_mistakes
from ..evaluate.metrics import compute_metrics
from ..evaluate.mistakes import Mistake, find_mistakes, suspect_answers
from ..evaluate.novelty import unlike_sentence
from ..evaluate.number_metrics import NumberMetrics
from ..evaluate.number_words import NumberMistake, find_number_mistakes
from ..evaluate.ranking import Ranking, rank
from ..evaluate.rates import number
from ..evaluate.scores import probabilities_from_logits, score_images
from ..evaluate.significance import Comparison, comparison_sentence
from ..evaluate.slices import Slice
from ..evaluate.thresholds import PromisedPrecision
from ..evaluate.verdict import AnyMetrics, class_rows, metrics_json, percent, verdicts
from .corrupted import Robustness

SURE = 0.9  # the confidence from which answers are counted where no threshold was chosen


@dataclass(frozen=True, kw_only=True)
class Gain:
    """`difference` over `single`, an accuracy (fractions) or a mean absolute error, within `low` to `high` (95 %,
    paired bootstrap)."""

    single: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MemberResult:
    """One run of several: its own metrics with one look, and how it compares with the best one (None: it is that):
    in right answers, and of numbers in mean absolute error."""

    run: Path
    metrics: AnyMetrics
    against_best: Comparison | None
    error_against_best: Gain | None = None

    @property
    def figure(self) -> tuple[str, float, float, float]:
        """The name of its figure in JSON, the figure, and the ends of its interval: of several labels the mAP, of
        numbers the mean absolute error."""
        metrics = self.metrics
        if isinstance(metrics, LabelMetrics):
            return "map", metrics.map, metrics.map_low, metrics.map_high
        if isinstance(metrics, NumberMetrics):
            return "mae", metrics.mae, metrics.mae_low, metrics.mae_high
        return "top1", metrics.top1, metrics.top1_low, metrics.top1_high

    def as_json(self) -> dict[str, Any]:
        """One entry of `members` in `evaluate --json`."""
        against = self.against_best
        name, *values = self.figure
        return {
            "run": str(self.run),
            **{name + end: value for end, value in zip(("", "_low", "_high"), values, strict=True)},
            "p_value_against_best": against.p_value if against else None,
            "against_best": against.difference if against else None,
            "against_best_low": against.low if against else None,
            "against_best_high": against.high if against else None,
            **_error_json("mae_against_best", self.error_against_best, isinstance(self.metrics, NumberMetrics)),
        }


@dataclass(frozen=True, kw_only=True)
class Together:
    """What several runs or looks gain over the best member's single look, and what they cost. Of numbers `error_gain`
    is the mean absolute error of that look, and by how much it changes.

    Computing time is that of the networks alone, without reading; memory is that of the weights, and of one batch of
    images with all its looks.
    """

    members: tuple[MemberResult, ...]
    num_looks: int
    gain: Comparison
    gain_over_mean: Gain | None
    single_ms: float
    together_ms: float
    single_bytes: int
    together_bytes: int
    single_batch_bytes: int
    together_batch_bytes: int
    error_gain: Gain | None = None

    @property
    def times_slower(self) -> float:
        """Computing time an image against one look of the best single run."""
        return self.together_ms / max(self.single_ms, 1e-9)

    def sentences(self) -> list[str]:
        """The gain over the best member, over the mean one, and the cost, in words."""
        single = "one crop" if len(self.members) == 1 else "the best single run"
        together = f"{self.num_looks} crops" if len(self.members) == 1 else f"the ensemble of {len(self.members)}"
        if len(self.members) > 1 and self.num_looks > 1:
            together += f" with {self.num_looks} crops"
        cost = (
            f"It computes {self.times_slower:.1f} times longer ({self.together_ms:.2f} instead of "
            f"{self.single_ms:.2f} ms an image) and holds {self._held(self.together_bytes, self.together_batch_bytes)} "
            f"instead of {self._held(self.single_bytes, self.single_batch_bytes)}."
        )
        if self.error_gain is not None:
            have = "have" if len(self.members) == 1 else "has"
            return [_error_sentence(self.error_gain, single, f"{together} {have}"), cost]
        gain = _capitalised(comparison_sentence(self.gain, single, together))
        return [*self._what_is_right(), *self._two_runs(), gain, *self._over_mean(), cost]

    def as_json(self) -> dict[str, Any]:
        """The value of `together` in `evaluate --json`; its keys are a contract."""
        mean = self.gain_over_mean
        return {
            "crops": self.num_looks,
            "members": [member.as_json() for member in self.members],
            "gain": self.gain.difference,
            "gain_low": self.gain.low,
            "gain_high": self.gain.high,
            "p_value": self.gain.p_value,
            "mean_top1": mean.single if mean else None,
            "gain_over_mean": mean.difference if mean else None,
            "gain_over_mean_low": mean.low if mean else None,
            "gain_over_mean_high": mean.high if mean else None,
            "times_slower": round(self.times_slower, 2),
            "single_ms": round(self.single_ms, 4),
            "together_ms": round(self.together_ms, 4),
            "single_weights_bytes": self.single_bytes,
            "weights_bytes": self.together_bytes,
            "single_batch_bytes": self.single_batch_bytes,
            "batch_bytes": self.together_batch_bytes,
            **_error_json("mae_gain", self.error_gain, self.error_gain is not None),
        }

    @staticmethod
    def _held(weights_bytes: int, batch_bytes: int) -> str:
        return f"{weights_bytes / 1e6:.1f} MB of weights and {batch_bytes / 1e6:.1f} MB of images a batch"

    def _what_is_right(self) -> list[str]:
        several = isinstance(self.members[0].metrics, LabelMetrics)
        return ["In these comparisons an image is right where every label of it is."] if several else []

    def _two_runs(self) -> list[str]:
        """Which of two runs is the better one, or that it cannot be told."""
        if len(self.members) != 2:
            return []
        best, other = sorted(self.members, key=lambda member: member.against_best is not None)
        if other.against_best is None:
            return []
        names = [printable(str(member.run)) for member in (best, other)]
        return [comparison_sentence(other.against_best, *names)]

    def _over_mean(self) -> list[str]:
        mean = self.gain_over_mean
        if mean is None:
            return []
        return [
            f"Against the mean of the single runs, {percent(mean.single)} %: {100 * mean.difference:+.1f} points "
            f"(95 % interval {100 * mean.low:+.1f} to {100 * mean.high:+.1f})."
        ]


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(Displayed):
    """What runs are worth on a source. `judged_on` says in words which images these were, `kind` in one (`verdict`);
    `caveats` are sentences that qualify every figure, `notes` say what else was done. `image_notes` name each judged
    file that is damaged beside its pixels.

    Copies of training images are left out of everything, which `copies` tells.
    `metrics` are of `logits_NK` as they are; confidences that a person sees are divided by `temperature` first.
    `together` is set where several runs, or several crops, answered together. `unlike_N` (bool) says which images are
    unlike anything seen in training, as about `unlike_share` of others are falsely; None where nothing tells, which
    `unlike_unknown` explains.
    `promised` is the threshold that validation images chose, for one look; None where there are none. `min_confidence`
    is the one that a person asked for. `costs`, `slices` and `robustness` are set where they were asked for. `endpoint`
    is the address of a deployed model that answered in place of runs.
    """

    runs: tuple[Path, ...]
    model: str
    source: str
    metrics: AnyMetrics
    judged_on: str
    notes: tuple[str, ...]
    caveats: tuple[str, ...]
    seed: int
    seconds: float
    temperature: float
    logits_NK: np.ndarray
    label_N: np.ndarray
    keys: tuple[str, ...]
    together: Together | None = None
    kind: str = "held-out"
    image_notes: tuple[str, ...] = ()
    copies: WithoutCopies = NO_COPIES
    task: Task = ONE_LABEL
    unlike_N: np.ndarray | None = None
    unlike_share: float = 0.0
    unlike_unknown: str = ""
    promised: PromisedPrecision | None = None
    min_confidence: float | None = None
    costs: Costs | None = None
    slices: tuple[Slice, ...] | None = None
    robustness: Robustness | None = None
    endpoint: str = ""

    @property
    def answered_by(self) -> str:
        """What gave the answers, as a person names it: the runs, or the address of a deployed model."""
        return self.endpoint or ", ".join(str(run) for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """The object of `evaluate --json`; its keys are a contract."""
        fitted: dict[str, Any] = {}
        if self.task.is_one:
            calibrated = self.calibrated()
            fitted = {
                "loss_calibrated": calibrated.loss,
                "ece_calibrated": calibrated.ece,
                "temperature": self.temperature,
            }
        elif self.task.is_several:
            fitted = {"thresholds_for": self.task.thresholds_for}
        return {
            "run": self.answered_by,
            "model": self.model,
            "source": self.source,
            **metrics_json(self.metrics),
            **self.copies.as_json(self.task),
            **fitted,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.metrics.num_samples / max(self.seconds, 1e-9), 1),
            "seed": self.seed,
            "judged_on": self.judged_on,
            "notes": [*self.notes, *self.caveats, *self.image_notes],
            "caveats": list(self.caveats),
            "together": self.together.as_json() if self.together else None,
            "num_unlike_training": None if self.unlike_N is None else int(self.unlike_N.sum()),
            "unlike_training_share": None if self.unlike_N is None else self.unlike_share,
            **self._one_label_json(),
            "costs": self.costs.as_json() if self.costs else None,
            "slices": None if self.slices is None else [part.as_json(self.task.right_figure) for part in self.slices],
            "corruptions": self.robustness.as_json() if self.robustness else None,
        }

    def _one_label_json(self) -> dict[str, Any]:
        """What only one label an image has: of several, each class has its own threshold and areas."""
        if not self.task.is_one:
            return {}
        return {
            "answering": self._answering_json(),
            "ranking": self.ranking().as_json(),
            "by_threshold": [entry.as_json() for entry in self.by_threshold()],
        }

    def _answering_json(self) -> dict[str, Any]:
        """The value of `answering`; its keys are a contract."""
        chosen = self.selective()
        return {
            "min_confidence": chosen.threshold,
            "promised_precision": chosen.promised.precision if chosen.promised else None,
            "coverage": number(chosen.coverage),
            "precision": number(chosen.precision),
            "precision_low": chosen.low,
            "precision_high": chosen.high,
        }

    def display_lines(self) -> list[str]:
        """The verdict, what the images were, and what a person should know of them."""
        together = self.together.sentences() if self.together else []
        return [*verdicts(self.metrics, self.kind), f"Judged on {self.judged_on}.", *self.notes, *together]

    def display_rows(self) -> Rows:
        """The rates of every class."""
        return class_rows(self.metrics)

    def calibrated(self) -> Metrics | LabelMetrics:
        """The metrics of the confidences that a person sees: with the temperature applied. Of several labels `metrics`
        are that already. Raises UsageError of numbers, which have no confidences."""
        if isinstance(self.metrics, LabelMetrics):
            return self.metrics
        if isinstance(self.metrics, NumberMetrics):
            raise UsageError("A number has no confidence that could be calibrated.")
        return compute_metrics(self.logits_NK / self.temperature, self.label_N, self.metrics.classes, self.task)

    def selective(self) -> Selective:
        """What share of the images is answered when only sure answers count, and how many of those are right.

        Sure is what was asked for, else what is promised to give the wanted precision, else 0.90."""
        scores = score_images(self.logits_NK / self.temperature, self.label_N, self.task)
        confidence_N, right_N = scores.confidence_N, scores.rank_N == 0
        promised = self.promised
        if self.min_confidence is not None or promised is None or promised.min_confidence is None:
            return answering_at(confidence_N, right_N, SURE if self.min_confidence is None else self.min_confidence)
        return answering_at(confidence_N, right_N, promised.min_confidence, promised)

    def answering_sentences(self) -> list[str]:
        """What answering only when sure gives, and how the threshold was chosen; nothing of several labels, where each
        class has a threshold."""
        if not self.task.is_one:
            return []
        told = [self.selective().sentence()]
        is_chosen = self.promised is not None and self.min_confidence is None
        return [*told, self.promised.sentence()] if self.promised and is_chosen else told

    def unlike_sentences(self) -> list[str]:
        """How many images are unlike anything seen in training, or why that is not known."""
        if self.unlike_N is None or not len(self.unlike_N):
            return [self.unlike_unknown] if self.unlike_unknown else []
        return [unlike_sentence(int(self.unlike_N.sum()), len(self.unlike_N), self.unlike_share)]

    def probabilities(self) -> np.ndarray:
        """probability_NK float64: what a person sees, with the temperature applied; of numbers the numbers, (N, 1)."""
        if not self.task.is_one:
            return self.task.probabilities_of(self.logits_NK)
        return probabilities_from_logits(self.logits_NK, self.temperature)

    def ranking(self) -> Ranking:
        """Areas under the ROC curves, average precisions, and kappa."""
        metrics = self.metrics
        if isinstance(metrics, LabelMetrics):
            raise UsageError("Several labels an image have the areas of each class in their metrics.")
        if isinstance(metrics, NumberMetrics):
            raise UsageError("Numbers are not ranked by class.")
        return rank(self.probabilities(), self.label_N, metrics.classes, metrics.confusion_KK)

    def by_threshold(self) -> tuple[Answered, ...]:
        """A confusion matrix for each of some thresholds."""
        return confusion_by_threshold(self.probabilities(), self.label_N, self.task)

    def predictions(self) -> Iterator[Prediction]:
        """Every image's answer, as `predict` gives it, in the order they were judged."""
        unlike_N = [None] * len(self.keys) if self.unlike_N is None else self.unlike_N.tolist()
        for key, probability_K, logits_K, unlike in zip(
            self.keys, self.probabilities(), self.logits_NK, unlike_N, strict=True
        ):
            value, interval = self.task.number_of(probability_K)
            yield Prediction(
                key=key,
                classes=self.metrics.classes,
                probabilities=() if value is not None else tuple(probability_K.tolist()),
                logits=tuple(logits_K.tolist()),
                latency_ms=1000 * self.seconds / max(len(self.keys), 1),
                unlike_training=unlike,
                min_confidence=self.min_confidence or 0.0,
                labels=self.task.labels_of(probability_K, self.metrics.classes),
                thresholds=self.task.label_thresholds(len(self.metrics.classes)),
                value=value,
                interval=interval,
                grade=self.task.grade_of(probability_K, self.metrics.classes),
            )

    def mistakes(self) -> list[Mistake]:
        """Every wrong answer, the most confident first. Those of several labels are `label_mistakes`, those of numbers
        `number_mistakes`."""
        if not self.task.is_one:
            return []
        known = (self.keys, self.metrics.classes, self.temperature, self.task)
        return find_mistakes(self.logits_NK, self.label_N, *known)

    def label_mistakes(self) -> list[LabelMistake]:
        """Of several labels, every image with a wrong one, the surest mistake first."""
        if not self.task.is_several:
            return []
        return find_label_mistakes(self.logits_NK, self.label_N, self.keys, self.metrics.classes, self.task)

    def number_mistakes(self) -> list[NumberMistake]:
        """Of numbers, every image, the largest error first."""
        if not self.task.is_number:
            return []
        return find_number_mistakes(self.probabilities()[:, 0], self.label_N, self.keys)

    def suspected_labels(self) -> SuspectedLabels:
        """Which labels of the judged images are probably wrong; of one label an image, as `mistakes` marks them. Raises
        UsageError of grades, of which near ones are mixed up."""
        self.task.refuse_unknown("Telling wrong labels", "several labels", "number")
        return suspect_answers(self.task, self.probabilities(), self.label_N)


def _error_json(name: str, gain: Gain | None, are_numbers: bool) -> dict[str, float | None]:
    """A change of the mean absolute error under its keys, null for the best member; nothing of classes."""
    if not are_numbers:
        return {}
    values = (gain.difference, gain.low, gain.high) if gain else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _error_sentence(gain: Gain, single: str, together: str) -> str:
    """Whether numbers that are said together are nearer to the truth, beyond chance."""
    ends = f"{gain.difference:+.3g}, 95 % interval {gain.low:+.3g} to {gain.high:+.3g}"
    errors = f"{figure(gain.single + gain.difference)} instead of {figure(gain.single)} ({ends})"
    said = _capitalised(f"{together} a mean absolute error of {errors}")
    if gain.low <= 0 <= gain.high:
        return f"{said}: it cannot be told from {single}."
    return f"{said}: {'better' if gain.high < 0 else 'worse'} than {single}."


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
