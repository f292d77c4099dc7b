"""An export is run by its own engine before it is kept: where it answers otherwise than the run, it is refused.

This is not caution. Exporters lose operations without a word: a tracing one gives zeros for every layer that writes in
place, and an engine may compute in bfloat16 where the processor can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..classify.classifier import Classifier
from ..core.errors import ExportError
from ..core.types import Preprocessing
from ..data.images.preprocess import prepare_image
from .check_images import SIZES_HW, check_image

Engine = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # (logits_BK, probability_BK) of prepared images
BATCHES = (1, 2, 7)  # the size of a batch must not be part of the graph
FLOAT32_TOLERANCE = 1e-4  # of logits, and of their largest where that is above 1: another order of float32 sums
HALF_TOLERANCE = 5e-2  # of weights that are rounded to 11 bits


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the run itself says of prepared images: image_NHWC uint8, logits_NK and probability_NK."""

    image_NHWC: np.ndarray
    logits_NK: np.ndarray
    probability_NK: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far an engine's answers lie from the run's, at most, over all images and sizes of batch."""

    logits: float
    probabilities: float
    num_images: int


def reference_of(classifier: Classifier, preprocessing: Preprocessing) -> Reference:
    """The answers to the generated photographs and to as many images of noise, upright and mirrored."""
    photos = [prepare_image(check_image(number), preprocessing) for number in range(len(SIZES_HW))]
    noise = np.random.Generator(np.random.PCG64(23)).integers(0, 256, (1, *photos[0].shape), dtype=np.uint8)
    image_NHWC = np.concatenate([np.stack(photos), np.stack(photos)[:, :, ::-1], noise])
    answers = classifier.answer({preprocessing: image_NHWC[:, None]})
    return Reference(image_NHWC=image_NHWC, logits_NK=answers.logits_BK, probability_NK=answers.probability_BK)


def compare(reference: Reference, engine: Engine, batches: Sequence[int] = BATCHES) -> Difference:
    """How far `engine` is from the run, in batches of each of these sizes."""
    logits = probabilities = 0.0
    for size in batches:
        for first in range(0, len(reference.image_NHWC), size):
            rows = slice(first, first + size)
            logits_BK, probability_BK = engine(np.ascontiguousarray(reference.image_NHWC[rows]))
            logits = max(logits, largest(logits_BK - reference.logits_NK[rows]))
            probabilities = max(probabilities, largest(probability_BK - reference.probability_NK[rows]))
    return Difference(logits=logits, probabilities=probabilities, num_images=len(reference.image_NHWC))


def require_equal(reference: Reference, found: Difference, engine: str, tolerance: float) -> None:
    """Raise ExportError where `engine` answers otherwise than the run."""
    scale = max(1.0, largest(reference.logits_NK))
    if found.logits <= tolerance * scale and found.probabilities <= tolerance * 10:
        return
    raise ExportError(
        f"{engine} answers otherwise than the run: logits of generated images differ by up to {found.logits:.3g}, "
        f"probabilities by up to {found.probabilities:.3g}; allowed are {tolerance * scale:.0e} and "
        f"{tolerance * 10:.0e}.\n"
        f"Nothing was written. A layer of this network is not translated rightly; report it with the network's name."
    )


def largest(values: np.ndarray) -> float:
    """The largest absolute value; without end where one is not a number, which compares as equal to everything."""
    return float(np.abs(values).max(initial=0.0)) if np.isfinite(values).all() else float("inf")
