"""Judge a deployed model on a source: the metrics and intervals of `evaluate`, of what the server answers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from ..classify.chosen_threshold import Answering, refuse_confidence_of_labels
from ..classify.crops import CENTRE
from ..classify.evaluation import Evaluation
from ..classify.further import Further, prepare
from ..classify.judge import run_labels
from ..classify.judged_images import test_part
from ..classify.stream import items_of_source, prepared_stream
from ..core.errors import DataError, UsageError, printable
from ..core.processors import available_cpus
from ..core.task import NUMBER, Task
from ..data.images.encode import file_content
from ..data.labels import labels_of
from ..data.left_out import OnBadImage, left_out_caveats, left_out_notes
from ..data.opening_line import Told, opening_line, untold
from ..data.scan import Channels, channels_of, scan_source
from ..data.source import DataSource, open_source
from ..data.sources.shared.listing import one_class_is_enough
from ..data.sources.shared.targets import order_of_grades
from ..evaluate.caveats import sentences
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.verdict import metrics_of, warnings
from .endpoint import SUM_TOLERANCE, Endpoint

AT_ONCE = 4  # requests: enough to hide the way there, few enough for a small server
VERB = "evaluate --endpoint"
UNKNOWN = (
    "nothing says which images the deployed model was trained on: if some of these are among them, the figure flatters."
)


def judge_endpoint(
    endpoint: Endpoint,
    source_text: str,
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
    on_bad_image: OnBadImage = "error",
) -> Evaluation:
    """Judge `endpoint` on the test part of a source, or on all of it where it has none; each image is sent once.

    `opened`, `answering`, `further` and `on_bad_image` are those of `evaluate`. Raises UsageError, DataError,
    ImageError, and EndpointError where the server refuses an image or gives up.
    """
    started_s = time.monotonic()
    asked = further or Further()
    if asked.corruptions:
        raise UsageError("Corruptions are measured on a run, not on an endpoint: leave out --corruptions.")
    source, task = _labelled(endpoint, source_text)
    opened(opening_line(source))
    classes = (source.label_name or source.classes[0],) if task.is_number else endpoint.classes
    label_map_S, told = np.zeros(1, np.int64), tuple[str, ...]()
    if not task.is_number:
        match = match_classes(classes, source.classes)
        refuse_extra_classes(match)
        label_map_S, told = match.label_map_S, match.messages
    if task.is_grade:
        _refuse_unordered(endpoint)
    refuse_confidence_of_labels(task, answering.min_confidence if answering else None)
    ready = prepare(asked, source_text, classes, task)
    scan = scan_source(source, available_cpus(), on_bad_image, channels=_channels(endpoint))
    good_N = scan.good_N
    test_N, where = test_part(source, good_N), printable(source.name)
    index_N, judged_on = (test_N, f"the test part of {where}") if len(test_N) else (good_N, f"all images of {where}")
    label_N = run_labels(labels_of(source, index_N), label_map_S, len(classes))
    value_NK = _answers(endpoint, source, index_N)
    if task.is_number:
        task, notes = _with_scale(task, label_N)
        logits_NK = task.logits_of(value_NK)
    else:
        are_probabilities, logits_NK = _as_logits(value_NK)
        notes = [_output_note(endpoint, are_probabilities)]
    metrics = metrics_of(logits_NK, label_N, classes, task)
    evaluation = Evaluation(
        runs=(),
        endpoint=endpoint.client.address,
        model=endpoint.client.model,
        source=source_text,
        metrics=metrics,
        judged_on=judged_on,
        notes=(*source.notes, *left_out_notes(scan.bad), *told, *notes, *_notes(endpoint)),
        caveats=tuple(sentences([UNKNOWN, *left_out_caveats(scan.bad), *warnings(metrics, "")])),
        seed=0,
        seconds=time.monotonic() - started_s,
        temperature=1.0,
        logits_NK=logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in index_N),
        kind="",
        task=task,
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


def _labelled(endpoint: Endpoint, source_text: str) -> tuple[DataSource, Task]:
    """(the source, what is asked of its images): labels are read as the server answers, where it says how. Raises
    DataError for lists of labels, and where labels and answers are of two kinds."""
    told = endpoint.task
    with one_class_is_enough():
        source = open_source(source_text, verb=VERB, several=True, target=told.target if told else "")
    if source.task.is_several or (told is not None and told.is_several):
        what = printable(source.name[:200]) if source.task.is_several else printable(endpoint.client.address)
        raise DataError(
            f"{what} has several labels an image, and {VERB} knows one label, a number or a grade.\n"
            f"Choose one label for each image, or judge the run itself: saccade evaluate RUN SOURCE."
        )
    if told is not None and told.kind != source.task.kind:
        says, has = (f"a {kind}" if kind in ("number", "grade") else kind for kind in (told.kind, source.task.kind))
        raise DataError(
            f"The deployed model says {says} for an image, and {printable(source.name[:200])} has {has}: nothing says "
            f"which answers are right.\nJudge it on images that are labelled as those it learned from."
        )
    return source, told or source.task


def _refuse_unordered(endpoint: Endpoint) -> None:
    """Raise DataError where the model's classes are not grades in their order: their median would mean nothing."""
    places = order_of_grades(printable(endpoint.client.address), endpoint.classes)
    if places != sorted(places):
        raise DataError(
            f"{printable(endpoint.client.address)} does not give its grades in their order: "
            f"{printable(', '.join(endpoint.classes[:10]))}.\nJudge it by classes: leave --target out."
        )


def _channels(endpoint: Endpoint) -> Channels:
    """How images are looked through before they are sent."""
    return "colour" if endpoint.preparation is None else channels_of(endpoint.preparation.preprocessing)


def _with_scale(task: Task, value_N: np.ndarray) -> tuple[Task, list[str]]:
    """(a number's task with its scale: that of the training images where the server says it, else that of the judged
    ones, what a person should know of it)."""
    if task != NUMBER:
        return task, []
    note = (
        "The server does not say how far the numbers of the training images lie apart: an answer counts as near within "
        "half a standard deviation of the judged ones."
    )
    return task.of_numbers(value_N), [note]


def _output_note(endpoint: Endpoint, are_probabilities: bool) -> str:
    output = printable(endpoint.output[:80])
    if are_probabilities:
        return f"Output '{output}' holds probabilities."
    return f"Output '{output}' does not add up to 1: it is taken for logits, and confidences are their softmax."


def _notes(endpoint: Endpoint) -> list[str]:
    told = [] if endpoint.takes_files else ["Images were prepared here, as --preprocessing says."]
    busy = endpoint.client.num_busy
    return [*told, f"The server was busy {busy:,} times; those requests were sent again."] if busy else told
