"""From images to answers: what a classifier says of each, in the order asked."""

import time
from collections.abc import Generator, Iterable

import numpy as np

from ..core.errors import ImageError
from ..core.types import Prediction
from ..data.sources.in_memory import HeldImage
from .classifier import Classifier
from .seen_images import SeenImages
from .stream import stream


def said_labels(classifier: Classifier, probability_K: np.ndarray) -> tuple[str, ...] | None:
    """The classes that are said, most probable first; None of one label."""
    if not classifier.task.is_several:
        return None
    said = np.flatnonzero(classifier.task.said(probability_K[None])[0])
    return tuple(classifier.classes[k] for k in said[np.argsort(-probability_K[said], kind="stable")].tolist())


def predict(
    classifier: Classifier, items: Iterable[HeldImage], seen: SeenImages | None = None
) -> Generator[Prediction | ImageError, None, None]:
    """An answer for each image, or the ImageError that says why there is none. `seen` counts training images.

    `latency_ms` is the time of the image's batch, reading included where it is waited for, shared among its images.
    """
    started_s = time.perf_counter()
    thresholds = (
        tuple(classifier.task.threshold_K(len(classifier.classes)).tolist()) if classifier.task.is_several else ()
    )
    for batch in stream(classifier, items, recognises=seen.recognises if seen else None):
        if seen:
            seen.count(batch.num_good, batch.num_recognised)
        probability_BK, logits_BK = classifier.probabilities(batch.prepared) if batch.num_good else ((), ())
        answers = zip(probability_BK, logits_BK, strict=True)
        latency_ms = 1000 * (time.perf_counter() - started_s) / max(batch.num_good, 1)
        for place, key in enumerate(batch.keys):
            if place in batch.errors:
                yield batch.errors[place]
                continue
            probability_K, logits_K = next(answers)
            yield Prediction(
                key=key,
                classes=classifier.classes,
                probabilities=tuple(probability_K.tolist()),
                logits=tuple(logits_K.tolist()),
                latency_ms=latency_ms,
                notes=batch.notes.get(place, ()),
                labels=said_labels(classifier, probability_K),
                thresholds=thresholds,
            )
        started_s = time.perf_counter()
