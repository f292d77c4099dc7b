"""How much accuracy noise, blur, weather and compression cost: images corrupted as in ImageNet-C, and judged again.

The corruptions change what the network sees, the decoded pixels at its input size (docs/judging.md). Every corrupted
version of an image is compared with the same image as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.display import figure
from ..core.task import ONE_LABEL, Task
from ..core.types import Preprocessing
from ..data.random_numbers import permutation
from ..data.source import DataSource
from ..evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt, generator_of, kinds_of
from ..evaluate.significance import paired_bootstrap
from ..evaluate.verdict import percent
from .classifier import Classifier
from .crops import CENTRE
from .mean_probability import MeanProbability
from .stream import items_of_source, stream

MAX_IMAGES = 300  # that are corrupted, each in 60 ways

Found = tuple[np.ndarray, np.ndarray | None]  # right_B, and how far numbers and grades are off


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """`right_NKS[image, kind, strength]` (bool) and `right_N`, whether the image as it is was answered rightly; `kinds`
    are the names of the corruptions. `num_judged` are all images that the N were drawn from.

    Of numbers and grades `error_NKS` and `error_N` say how far the answers are off; None of classes.
    """

    right_NKS: np.ndarray
    right_N: np.ndarray
    num_judged: int
    kinds: tuple[str, ...] = tuple(CORRUPTIONS)
    task: Task = ONE_LABEL
    error_NKS: np.ndarray | None = None
    error_N: np.ndarray | None = None

    @property
    def accuracy_KS(self) -> np.ndarray:
        """The share of right answers by corruption and strength."""
        mean_KS: np.ndarray = self.right_NKS.mean(axis=0)
        return mean_KS

    def change(self) -> tuple[float, float, float]:
        """(mean accuracy of all corrupted versions less that of the images as they are, low, high), 95 %."""
        return _change(self.right_N.astype(np.float64), self.right_NKS.mean(axis=(1, 2)))

    def sentence(self) -> str:
        """The mean accuracy under corruption, what it costs, and the corruption that costs most."""
        change, low, high = self.change()
        by_kind_K = self.accuracy_KS.mean(axis=1)
        worst = int(by_kind_K.argmin())
        drawn = f", drawn from {self.num_judged:,}," if self.num_judged > len(self.right_N) else ""
        versions = self.right_NKS.shape[1] * self.right_NKS.shape[2]
        left_out = [name for name in CORRUPTIONS if name not in self.kinds]
        told = (
            f"Corrupted in {versions} ways, {len(self.right_N):,} images{drawn} are {percent(float(by_kind_K.mean()))} "
            f"% correct instead of {percent(float(self.right_N.mean()))} % ({100 * change:+.1f} points, 95 % interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}); worst under {self.kinds[worst]}, "
            f"{percent(float(by_kind_K[worst]))} %."
        )
        none = f"Left out, since it is for grey and colours: {', '.join(left_out)}." if left_out else ""
        return " ".join(filter(None, [told, self._error_sentence(), self.task.right_note(), none]))

    def _error_sentence(self) -> str:
        if self.error_N is None or self.error_NKS is None:
            return ""
        change, low, high = _change(self.error_N, self.error_NKS.mean(axis=(1, 2)))
        plain = float(self.error_N.mean())
        return (
            f"They are off by {figure(plain + change)} on average instead of {figure(plain)} ({change:+.3g}, 95 % "
            f"interval {low:+.3g} to {high:+.3g})."
        )

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and the accuracy of each corruption by strength."""
        rows = [
            [name, *(percent(float(value)) for value in self.accuracy_KS[number]), percent(float(mean))]
            for number, (name, mean) in enumerate(zip(self.kinds, self.accuracy_KS.mean(axis=1), strict=True))
        ]
        return ["correct % when corrupted", *(str(strength) for strength in STRENGTHS), "mean"], rows

    def as_json(self) -> dict[str, Any]:
        """The value of `corruptions` in `evaluate --json`; its keys are a contract."""
        change, low, high = self.change()
        name = self.task.right_figure
        values = {
            "num_samples": len(self.right_N),
            name: float(self.right_N.mean()),
            f"{name}_corrupted": float(self.right_NKS.mean()),
            "change": change,
            "change_low": low,
            "change_high": high,
            "kinds": {name: self.accuracy_KS[number].tolist() for number, name in enumerate(self.kinds)},
        }
        if self.error_N is None or self.error_NKS is None:
            return values
        change, low, high = _change(self.error_N, self.error_NKS.mean(axis=(1, 2)))
        return values | {
            "mae": float(self.error_N.mean()),
            "mae_corrupted": float(self.error_NKS.mean()),
            "mae_change": change,
            "mae_change_low": low,
            "mae_change_high": high,
        }


def _change(plain_N: np.ndarray, mean_N: np.ndarray) -> tuple[float, float, float]:
    low, high = paired_bootstrap(plain_N, mean_N)
    return float(mean_N.mean() - plain_N.mean()), low, high


def measure_robustness(
    classifier: Classifier,
    source: DataSource,
    index_N: np.ndarray,
    label_N: np.ndarray,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Robustness:
    """Judge `classifier`, by one look, on corrupted versions of up to 300 of the images `index_N`; label_N are theirs
    in the order of the classifier's classes. Raises ImageError naming a file that cannot be read."""
    drawn_N = np.sort(permutation(seed, 0, len(index_N))[:MAX_IMAGES])
    chosen_N, labels = index_N[drawn_N], label_N[drawn_N]
    kinds = kinds_of(any(pixels.has_bands for pixels in classifier.preprocessings))
    right_NKS = np.zeros((len(chosen_N), len(kinds), len(STRENGTHS)), bool)
    error_NKS = np.zeros(right_NKS.shape) if classifier.task.target else None
    right_N, error_N, start = np.zeros(len(chosen_N), bool), np.zeros(len(chosen_N)), 0
    for batch in stream(classifier, items_of_source(source, chosen_N), (CENTRE,)):
        batch.refuse_bad_images()
        part = slice(start, start + batch.num_good)
        start = part.stop
        plain = {pixels: image_BVHWC[:, 0] for pixels, image_BVHWC in batch.prepared.items()}
        right_N[part], error_B = _judged(classifier, plain, labels[part])
        error_N[part] = 0.0 if error_B is None else error_B
        for number, name in enumerate(kinds):
            for place, strength in enumerate(STRENGTHS):
                changed = {
                    pixels: _corrupted(image_BHWC, pixels, name, strength, seed, chosen_N[part])
                    for pixels, image_BHWC in plain.items()
                }
                right_NKS[part, number, place], error_B = _judged(classifier, changed, labels[part])
                if error_NKS is not None and error_B is not None:
                    error_NKS[part, number, place] = error_B
            progress(part.start * len(kinds) + (number + 1) * batch.num_good, len(chosen_N) * len(kinds))
    return Robustness(
        right_NKS=right_NKS,
        right_N=right_N,
        num_judged=len(index_N),
        kinds=kinds,
        task=classifier.task,
        error_NKS=error_NKS,
        error_N=None if error_NKS is None else error_N,
    )


def _corrupted(
    image_BHWC: np.ndarray, pixels: Preprocessing, name: str, strength: int, seed: int, index_B: np.ndarray
) -> np.ndarray:
    return np.stack(
        [
            corrupt(image_HWC, name, strength, generator_of(seed, int(index), name, strength), pixels.full_scale)
            for image_HWC, index in zip(image_BHWC, index_B, strict=True)
        ]
    )


def _judged(classifier: Classifier, image_of: dict[Preprocessing, np.ndarray], label_B: np.ndarray) -> Found:
    """Whether the mean of all members answers prepared images rightly, and how far numbers and grades are off."""
    mean = MeanProbability(len(next(iter(image_of.values()))), len(classifier.classes))
    for number, member in enumerate(classifier.members):
        task = classifier.task_of(number)
        mean.add(classifier.logits(number, image_of[member.preprocessing]), member.temperature, task)
    score_BK = mean.value()
    return classifier.task.right(label_B, score_BK), classifier.task.error(label_B, score_BK)
