"""From images to answers: what a classifier says of each, in the order asked."""

import time
from collections.abc import Generator, Iterable

from ..core.errors import ImageError
from ..core.types import Prediction
from ..data.sources.in_memory import HeldImage
from .classifier import Classifier
from .seen_images import SeenImages
from .stream import stream


def predict(
    classifier: Classifier, items: Iterable[HeldImage], seen: SeenImages | None = None, min_confidence: float = 0.0
) -> Generator[Prediction | ImageError, None, None]:
    """An answer for each image, or the ImageError that says why there is none. `seen` counts training images.

    `latency_ms` is the time of the image's batch, reading included where it is waited for, shared among its images.
    """
    started_s = time.perf_counter()
    thresholds = classifier.task.label_thresholds(len(classifier.classes))
    for batch in stream(classifier, items, recognises=seen.recognises if seen else None):
        answers = classifier.answer(batch.prepared) if batch.num_good else None
        if seen:
            good = [place for place in range(len(batch.keys)) if place not in batch.errors]
            unlike_B = None if answers is None else answers.unlike_B
            unlike = set() if unlike_B is None else {place for place, is_unlike in zip(good, unlike_B) if is_unlike}
            seen.count(batch.num_good, batch.num_recognised, len(unlike & batch.recognised))
        latency_ms = 1000 * (time.perf_counter() - started_s) / max(batch.num_good, 1)
        num_before = 0
        for place, key in enumerate(batch.keys):
            if place in batch.errors or answers is None:
                yield batch.errors[place]
                continue
            value, interval = classifier.task.number_of(answers.probability_BK[num_before])
            yield Prediction(
                key=key,
                classes=classifier.classes,
                probabilities=() if value is not None else tuple(answers.probability_BK[num_before].tolist()),
                logits=tuple(answers.logits_BK[num_before].tolist()),
                latency_ms=latency_ms,
                notes=batch.notes.get(place, ()),
                labels=classifier.task.labels_of(answers.probability_BK[num_before], classifier.classes),
                thresholds=thresholds,
                unlike_training=None if answers.unlike_B is None else bool(answers.unlike_B[num_before]),
                min_confidence=min_confidence,
                value=value,
                interval=interval,
                grade=classifier.task.grade_of(answers.probability_BK[num_before], classifier.classes),
            )
            num_before += 1
        started_s = time.perf_counter()
