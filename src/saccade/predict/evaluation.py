"""What an evaluation found, for one run or several together: metrics, confidences, mistakes, gain and cost."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.types import Metrics
from ..evaluate.calibration import selective_sentence
from ..evaluate.compare import Comparison, comparison_sentence
from ..evaluate.metrics import compute_metrics
from ..evaluate.mistakes import Mistake, find_mistakes
from ..evaluate.scores import score_images


@dataclass(frozen=True, kw_only=True)
class Member:
    """One run of several: its own metrics with one look, and how it compares with the best one (None: it is that)."""

    run: Path
    metrics: Metrics
    against_best: Comparison | None


@dataclass(frozen=True, kw_only=True)
class Together:
    """What several runs or looks gain over the best member's single look, and what they cost.

    Computing time is that of the networks alone, without reading; memory is that of the weights.
    """

    members: tuple[Member, ...]
    num_looks: int
    gain: Comparison
    single_ms: float
    together_ms: float
    single_bytes: int
    together_bytes: int

    @property
    def times_slower(self) -> float:
        """Computing time an image against one look of the first run."""
        return self.together_ms / max(self.single_ms, 1e-9)

    def sentences(self) -> tuple[str, str]:
        """The gain and the cost in words."""
        single = "one crop" if len(self.members) == 1 else "the best single run"
        together = f"{self.num_looks} crops" if len(self.members) == 1 else f"the ensemble of {len(self.members)}"
        if len(self.members) > 1 and self.num_looks > 1:
            together += f" with {self.num_looks} crops"
        cost = (
            f"It computes {self.times_slower:.1f} times longer ({self.together_ms:.2f} instead of "
            f"{self.single_ms:.2f} ms an image) and holds {self.together_bytes / 1e6:.1f} instead of "
            f"{self.single_bytes / 1e6:.1f} MB of weights."
        )
        return _capitalised(comparison_sentence(self.gain, single, together)), cost


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What runs are worth on a source. `judged_on` says in words which images these were.

    `metrics` are of `logits_NK` as they are; confidences that a person sees are divided by `temperature` first.
    `together` is set where several runs, or several crops, answered together.
    """

    runs: tuple[Path, ...]
    model: str
    source: str
    metrics: Metrics
    judged_on: str
    notes: tuple[str, ...]
    seed: int
    seconds: float
    temperature: float
    logits_NK: np.ndarray
    label_N: np.ndarray
    keys: tuple[str, ...]
    together: Together | None = None

    def calibrated(self) -> Metrics:
        """The metrics of the confidences that a person sees: with the temperature applied."""
        return compute_metrics(self.logits_NK / self.temperature, self.label_N, self.metrics.classes)

    def answering_only_at(self, threshold: float) -> str:
        """What share of the images is answered at `threshold` or above, and how many of those answers are right."""
        scores = score_images(self.logits_NK / self.temperature, self.label_N)
        return selective_sentence(scores.confidence_N, scores.rank_N == 0, threshold)

    def mistakes(self) -> list[Mistake]:
        """Every wrong answer, the most confident first."""
        return find_mistakes(self.logits_NK, self.label_N, self.keys, self.metrics.classes, self.temperature)


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
