"""An export is run by its own engine before it is kept: where it answers otherwise than the run, it is refused.

This is not caution. Exporters lose operations without a word: a tracing one gives zeros for every layer that writes in
place, and an engine may compute in bfloat16 where the processor can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..classify.classifier import Classifier
from ..core.errors import ExportError
from ..core.types import Preprocessing
from ..data.images.preprocess import prepare_image
from .check_images import SIZES_HW, check_pixels

# (logits_BK, then probability_BK or number_B1, and distance_B where the graph gives it) of prepared images
Engine = Callable[[np.ndarray], tuple[np.ndarray, ...]]
BATCHES = (1, 2, 7)  # the size of a batch must not be part of the graph
FLOAT32_TOLERANCE = 1e-4  # of logits, and of their largest where that is above 1: another order of float32 sums
HALF_TOLERANCE = 5e-2  # of weights that are rounded to 11 bits
FLOAT32_STEP = 2.0**-23  # of a number: the graph gives float32


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the run itself says of prepared images: image_NHWC, logits_NK and probability_NK, and distance_N from the
    training images, None where it keeps nothing to tell that by. Where a number is asked for, probability_NK are the
    numbers, (N, 1), and `deviation` is that of the training images' numbers, by which differences are divided.
    """

    image_NHWC: np.ndarray
    logits_NK: np.ndarray
    probability_NK: np.ndarray
    distance_N: np.ndarray | None = None
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far an engine's answers lie from the run's, at most, over all images and sizes of batch.

    Distances are compared as squares, which rounding moves equally wherever they lie; None where there are none. Of a
    number there are `numbers` in the place of `probabilities`, in standard deviations of the training images' numbers.
    """

    logits: float
    probabilities: float | None
    num_images: int
    squared_distances: float | None = None
    numbers: float | None = None


def reference_of(classifier: Classifier, preprocessing: Preprocessing) -> Reference:
    """The answers to the generated photographs and to as many images of noise, upright and mirrored."""
    photos = [prepare_image(check_pixels(number, preprocessing), preprocessing) for number in range(len(SIZES_HW))]
    draw, white = np.random.Generator(np.random.PCG64(23)), preprocessing.full_scale
    noise = draw.integers(0, white + 1, (1, *photos[0].shape), dtype=preprocessing.pixel_type)
    image_NHWC = np.concatenate([np.stack(photos), np.stack(photos)[:, :, ::-1], noise])
    return answered(classifier, preprocessing, image_NHWC)


def answered(classifier: Classifier, preprocessing: Preprocessing, image_NHWC: np.ndarray) -> Reference:
    """What the one network of `classifier` says of prepared images."""
    answers = classifier.answer({preprocessing: image_NHWC[:, None]})
    image_NCHW = torch.from_numpy(np.ascontiguousarray(image_NHWC)).permute(0, 3, 1, 2)
    return Reference(
        image_NHWC=image_NHWC,
        logits_NK=answers.logits_BK,
        probability_NK=answers.probability_BK,
        distance_N=classifier.members[0].logits_and_distance(image_NCHW)[1],
        deviation=classifier.task.deviation if classifier.task.is_number else None,
    )


def compare(reference: Reference, engine: Engine, batches: Sequence[int] = BATCHES) -> Difference:
    """How far `engine` is from the run, in batches of each of these sizes."""
    found = no_difference(reference)
    for size in batches:
        for first in range(0, len(reference.image_NHWC), size):
            rows = slice(first, first + size)
            found = further(found, engine(np.ascontiguousarray(reference.image_NHWC[rows])), reference, rows)
    return found


def no_difference(reference: Reference) -> Difference:
    """Nothing was compared yet."""
    is_number = reference.deviation is not None
    return Difference(
        logits=0.0,
        probabilities=None if is_number else 0.0,
        numbers=0.0 if is_number else None,
        num_images=len(reference.image_NHWC),
    )


def further(found: Difference, said: Sequence[np.ndarray], reference: Reference, rows: slice) -> Difference:
    """`found`, with what an engine `said` of the images `rows` of the reference."""
    logits_BK, answer_BK, *distances = said
    squared = None
    if reference.distance_N is not None:
        squared = float("inf")  # of a graph that gives none
        if distances:
            squared = largest(distances[0] ** 2 - reference.distance_N[rows] ** 2)
        squared = max(squared, found.squared_distances or 0.0)
    answers = largest(answer_BK - reference.probability_NK[rows])
    return Difference(
        logits=max(found.logits, largest(logits_BK - reference.logits_NK[rows])),
        probabilities=None if found.probabilities is None else max(found.probabilities, answers),
        numbers=None if found.numbers is None else max(found.numbers, answers / (reference.deviation or 1.0)),
        num_images=found.num_images,
        squared_distances=squared,
    )


def require_equal(reference: Reference, found: Difference, engine: str, tolerance: float) -> None:
    """Raise ExportError where `engine` answers otherwise than the run."""
    scale = max(1.0, largest(reference.logits_NK))
    allowed, answers, what = tolerance * 10, found.probabilities, "probabilities by up to {:.3g}"
    if found.numbers is not None:
        rounded = largest(reference.probability_NK) * FLOAT32_STEP / (reference.deviation or 1.0)
        allowed, answers, what = (
            tolerance * scale + rounded,
            found.numbers,
            "numbers by up to {:.3g} standard deviations",
        )
    is_far = found.squared_distances is not None and not found.squared_distances <= tolerance
    if found.logits <= tolerance * scale and answers is not None and answers <= allowed and not is_far:
        return
    if is_far and found.logits <= tolerance * scale:
        raise ExportError(
            f"{engine} tells otherwise than the run how far images lie from those of training: squared distances of "
            f"generated images differ by up to {found.squared_distances:.3g}; allowed are {tolerance:.0e}.\n"
            f"Nothing was written. Report it with the network's name."
        )
    raise ExportError(
        f"{engine} answers otherwise than the run: logits of generated images differ by up to {found.logits:.3g}, "
        f"{what.format(answers)}; allowed are {tolerance * scale:.0e} and {allowed:.0e}.\n"
        f"Nothing was written. A layer of this network is not translated rightly; report it with the network's name."
    )


def largest(values: np.ndarray) -> float:
    """The largest absolute value; without end where one is not a number, which compares as equal to everything."""
    return float(np.abs(values).max(initial=0.0)) if np.isfinite(values).all() else float("inf")
