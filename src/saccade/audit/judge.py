"""Judge a deployed model on a source: the metrics and intervals of `evaluate`, of what the server answers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from ..classify.chosen_threshold import Answering
from ..classify.crops import CENTRE
from ..classify.evaluation import Evaluation
from ..classify.further import Further, prepare
from ..classify.judge import run_labels
from ..classify.judged_images import test_part
from ..classify.stream import items_of_source, prepared_stream
from ..core.errors import UsageError, printable
from ..core.processors import available_cpus
from ..core.task import ONE_LABEL
from ..data.images.encode import file_content
from ..data.labels import labels_of
from ..data.opening_line import Told, opening_line, untold
from ..data.scan import scan_source
from ..data.source import DataSource, open_source
from ..evaluate.caveats import sentences
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.words import metrics_of, warnings
from .endpoint import SUM_TOLERANCE, Endpoint

AT_ONCE = 4  # requests: enough to hide the way there, few enough for a small server
UNKNOWN = (
    "nothing says which images the deployed model was trained on: if some of these are among them, the figure flatters."
)


def judge_endpoint(
    endpoint: Endpoint,
    source_text: str,
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
) -> Evaluation:
    """Judge `endpoint` on the test part of a source, or on all of it where it has none; each image is sent once.

    `opened`, `answering` and `further` are those of `evaluate`. Raises UsageError, DataError, ImageError, and
    EndpointError where the server refuses an image or gives up.
    """
    started_s = time.monotonic()
    asked = further or Further()
    if asked.corruptions:
        raise UsageError("Corruptions are measured on a run, not on an endpoint: leave out --corruptions.")
    source = open_source(source_text, verb="evaluate --endpoint")
    opened(opening_line(source))
    match = match_classes(endpoint.classes, source.classes)
    refuse_extra_classes(match)
    ready = prepare(asked, source_text, endpoint.classes, ONE_LABEL, has_bands=False)
    good_N = scan_source(source, available_cpus(), "error", channels="colour").good_N
    test_N, where = test_part(source, good_N), printable(source.name)
    index_N, judged_on = (test_N, f"the test part of {where}") if len(test_N) else (good_N, f"all images of {where}")
    value_NK = _answers(endpoint, source, index_N)
    are_probabilities, logits_NK = _as_logits(value_NK)
    label_N = run_labels(labels_of(source, index_N), match.label_map_S, len(endpoint.classes))
    metrics = metrics_of(logits_NK, label_N, endpoint.classes, ONE_LABEL)
    evaluation = Evaluation(
        runs=(),
        endpoint=endpoint.client.address,
        model=endpoint.client.model,
        source=source_text,
        metrics=metrics,
        judged_on=judged_on,
        notes=(*source.notes, *match.messages, *_notes(endpoint, are_probabilities)),
        caveats=tuple(sentences([UNKNOWN, *warnings(metrics, "")])),
        seed=0,
        seconds=time.monotonic() - started_s,
        temperature=1.0,
        logits_NK=logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in index_N),
        kind="",
        min_confidence=answering.min_confidence if answering else None,
    )
    return ready.measure(evaluation, source, index_N)


def _answers(endpoint: Endpoint, source: DataSource, index_N: np.ndarray) -> np.ndarray:
    """value_NK float64, in the order of `index_N`; a few requests are under way at once."""
    found: list[np.ndarray] = []
    waiting = _images(endpoint, source, index_N)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        while part := list(islice(waiting, 8 * AT_ONCE)):  # so that few images are in memory
            found += pool.map(lambda image: endpoint.answer(*image), part)
    finally:
        pool.shutdown(cancel_futures=True)
    return np.stack(found)


def _images(endpoint: Endpoint, source: DataSource, index_N: np.ndarray) -> Iterator[tuple[np.ndarray | bytes, str]]:
    """Every image as the endpoint takes it, with its key."""
    items = items_of_source(source, index_N)
    if endpoint.preparation is None:
        for item in items:
            yield file_content(item.read()), item.key
        return
    kind = endpoint.preparation.preprocessing
    for batch in prepared_stream(items, [kind], (CENTRE,), available_cpus()):
        batch.refuse_bad_images()
        yield from zip(batch.prepared[kind][:, 0], batch.keys, strict=True)


def _as_logits(value_NK: np.ndarray) -> tuple[bool, np.ndarray]:
    """(whether the values are probabilities, logits_NK whose softmax is what the server says): values from 0 to 1 that
    add up to 1 for every image are taken to be probabilities."""
    adds_up = bool((np.abs(value_NK.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
    if not adds_up or value_NK.min() < 0:
        return False, value_NK
    return True, np.log(np.maximum(value_NK, np.finfo(np.float64).tiny))


def _notes(endpoint: Endpoint, are_probabilities: bool) -> list[str]:
    output = printable(endpoint.output[:80])
    told = [
        f"Output '{output}' holds probabilities."
        if are_probabilities
        else f"Output '{output}' does not add up to 1: it is taken for logits, and confidences are their softmax."
    ]
    if not endpoint.takes_files:
        told.append("Images were prepared here, as --preprocessing says.")
    busy = endpoint.client.num_busy
    return [*told, f"The server was busy {busy:,} times; those requests were sent again."] if busy else told
