"""How much accuracy noise, blur, weather and compression cost: images corrupted as in ImageNet-C, and judged again.

The corruptions change what the network sees, the decoded pixels at its input size (docs/judging.md). Every corrupted
version of an image is compared with the same image as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.random_numbers import permutation
from ..data.source import DataSource
from ..evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt, generator_of
from ..evaluate.significance import paired_bootstrap
from ..evaluate.words import percent
from .classifier import Classifier, MeanProbability
from .crops import CENTRE
from .stream import items_of_source, stream

MAX_IMAGES = 300  # that are corrupted, each in 60 ways


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """`right_NKS[image, corruption, strength]` (bool) and `right_N`, whether the image as it is was answered rightly.
    `num_judged` are all images that the N were drawn from."""

    right_NKS: np.ndarray
    right_N: np.ndarray
    num_judged: int

    @property
    def accuracy_KS(self) -> np.ndarray:
        """The share of right answers by corruption and strength."""
        mean_KS: np.ndarray = self.right_NKS.mean(axis=0)
        return mean_KS

    def change(self) -> tuple[float, float, float]:
        """(mean accuracy of all corrupted versions less that of the images as they are, low, high), 95 %."""
        mean_N, plain_N = self.right_NKS.mean(axis=(1, 2)), self.right_N.astype(np.float64)
        low, high = paired_bootstrap(plain_N, mean_N)
        return float(mean_N.mean() - plain_N.mean()), low, high

    def sentence(self) -> str:
        """The mean accuracy under corruption, what it costs, and the corruption that costs most."""
        change, low, high = self.change()
        by_kind_K = self.accuracy_KS.mean(axis=1)
        worst = int(by_kind_K.argmin())
        drawn = f", drawn from {self.num_judged:,}," if self.num_judged > len(self.right_N) else ""
        versions = self.right_NKS.shape[1] * self.right_NKS.shape[2]
        return (
            f"Corrupted in {versions} ways, {len(self.right_N):,} images{drawn} are {percent(float(by_kind_K.mean()))} "
            f"% correct instead of {percent(float(self.right_N.mean()))} % ({100 * change:+.1f} points, 95 % interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}); worst under {list(CORRUPTIONS)[worst]}, "
            f"{percent(float(by_kind_K[worst]))} %."
        )

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and the accuracy of each corruption by strength."""
        rows = [
            [name, *(percent(float(value)) for value in self.accuracy_KS[number]), percent(float(mean))]
            for number, (name, mean) in enumerate(zip(CORRUPTIONS, self.accuracy_KS.mean(axis=1), strict=True))
        ]
        return ["correct % when corrupted", *(str(strength) for strength in STRENGTHS), "mean"], rows

    def as_json(self) -> dict[str, Any]:
        """The value of `corruptions` in `evaluate --json`; its keys are a contract."""
        change, low, high = self.change()
        return {
            "num_samples": len(self.right_N),
            "top1": float(self.right_N.mean()),
            "top1_corrupted": float(self.right_NKS.mean()),
            "change": change,
            "change_low": low,
            "change_high": high,
            "kinds": {name: self.accuracy_KS[number].tolist() for number, name in enumerate(CORRUPTIONS)},
        }


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
    right_NKS = np.zeros((len(chosen_N), len(CORRUPTIONS), len(STRENGTHS)), bool)
    right_N, start = np.zeros(len(chosen_N), bool), 0
    for batch in stream(classifier, items_of_source(source, chosen_N), (CENTRE,)):
        batch.refuse_bad_images()
        part = slice(start, start + batch.num_good)
        start = part.stop
        plain = {kind: image_BVHWC[:, 0] for kind, image_BVHWC in batch.prepared.items()}
        right_N[part] = _answers(classifier, plain) == labels[part]
        for number, name in enumerate(CORRUPTIONS):
            for place, strength in enumerate(STRENGTHS):
                changed = {
                    kind: np.stack(
                        [
                            corrupt(image_HWC, name, strength, generator_of(seed, int(index), name, strength))
                            for image_HWC, index in zip(image_BHWC, chosen_N[part], strict=True)
                        ]
                    )
                    for kind, image_BHWC in plain.items()
                }
                right_NKS[part, number, place] = _answers(classifier, changed) == labels[part]
            progress(part.start * len(CORRUPTIONS) + (number + 1) * batch.num_good, len(chosen_N) * len(CORRUPTIONS))
    return Robustness(right_NKS=right_NKS, right_N=right_N, num_judged=len(index_N))


def _answers(classifier: Classifier, image_of: dict[Any, np.ndarray]) -> np.ndarray:
    """int64 (B,): the most probable class by the mean of all members, of prepared images by preprocessing."""
    mean = MeanProbability(len(next(iter(image_of.values()))), len(classifier.classes))
    for number, member in enumerate(classifier.members):
        mean.add(classifier.logits(number, image_of[member.preprocessing]), member.temperature)
    said_B: np.ndarray = mean.value().argmax(axis=1)
    return said_B
