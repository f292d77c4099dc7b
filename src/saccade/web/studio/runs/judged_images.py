"""The judged images of a run, as cards: which were answered wrongly, which lie behind a cell of the matrix."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....core.errors import CheckpointError, printable
from ....evaluate.scores import probabilities_from_logits
from ....evaluate.verdict import percent
from ....report.html import Markup
from ....report.record import RunRecord
from ....report.sections.mistakes import probability_bar
from ....runs.marks_file import Mark, read_marks
from ...refusal import Reason
from .index import Run
from .own_images import are_here
from .records import not_shown

MAX_OF_CELL = 60
NUM_BARS = 5
NO_SUCH_IMAGE = Reason(404, "no_such_image", "The run has no such image.", "It may have been judged again.")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One judged image. `address` is that of its pictures, "" where the run keeps none; `is_here`: its source is on
    this machine and may have it; `is_whole`: it is kept at the size that the network sees."""

    position: int
    name: str
    true: str
    said: str
    bars: tuple[Markup, ...]
    address: str
    is_here: bool
    is_whole: bool
    is_right: bool
    may_be_mislabelled: bool
    mark: str


def said_of(record: RunRecord) -> np.ndarray:
    """int64 (N,): the class that was said of each image."""
    probability_NK = record.probability_NK
    found: np.ndarray = record.task.answer_of(probability_NK if record.task.is_grade else record.logits_NK)
    return found


def marks_of(run: Run) -> dict[str, Mark]:
    """The marks of a run by the name of the image. Raises Refusal."""
    try:
        return read_marks(run.path)
    except CheckpointError as error:
        raise not_shown(error) from None


def cells_with_images(record: RunRecord) -> set[tuple[int, int]]:
    """Every cell of the matrix that is not empty: its images can be listed, with and without a picture."""
    true_M, said_M = np.nonzero(record.metrics.confusion_KK)
    return set(zip(true_M.tolist(), said_M.tolist(), strict=True))


def cell_of(run: Run, record: RunRecord | None, true: int, said: int) -> dict[str, Any] | None:
    """The images behind a cell: of mistakes the surest first, of right answers the least sure; None outside the
    matrix."""
    if record is None or max(true, said) >= len(record.classes):
        return None
    said_N = said_of(record)
    position_M = np.flatnonzero((record.label_N == true) & (said_N == said))
    confidence_M = probabilities_from_logits(record.logits_NK[position_M], record.temperature)[:, said]
    order = np.argsort(confidence_M if true == said else -confidence_M, kind="stable")
    positions = position_M[order].tolist()
    names = [printable(record.classes[k]) for k in (true, said)]
    title = f"'{names[0]}' predicted as '{names[1]}'" if true != said else f"'{names[0]}', right, the least sure first"
    return {
        "title": title,
        "num": len(positions),
        "cards": cards_of(run, record, positions[:MAX_OF_CELL]),
        "address": f"/runs/{run.id}?true={true}&said={said}#cell",
    }


def cards_of(run: Run, record: RunRecord, positions: Sequence[int], suspected: Container[int] = ()) -> list[Card]:
    """A card for each position among the judged images."""
    if not len(positions):
        return []
    chosen = list(positions)
    probability_MK = probabilities_from_logits(record.logits_NK[chosen], record.temperature)
    said_N, marks, is_here = said_of(record), marks_of(run), are_here(run)
    return [
        _card(run, record, position, int(said_N[position]), probability_K, position in suspected, marks, is_here)
        for position, probability_K in zip(chosen, probability_MK, strict=True)
    ]


def details_of(run: Run, record: RunRecord, position: int) -> dict[str, Any]:
    """All that is told of one image: its card, and the most probable classes besides."""
    (card,) = cards_of(run, record, [position])
    probability_K = probabilities_from_logits(record.logits_NK[[position]], record.temperature)[0]
    order = np.argsort(-probability_K, kind="stable")[:NUM_BARS].tolist()
    true = int(record.label_N[position])
    order += [] if true in order else [true]
    rows = [
        {
            "index": k,
            "name": printable(record.classes[k]),
            "percent": percent(float(probability_K[k])),
            "width": round(100 * float(probability_K[k]), 1),
            "is_true": k == true,
        }
        for k in order
    ]
    return {"card": card, "rows": rows, "root": f"/runs/{run.id}/images/{position}"}


def _card(
    run: Run,
    record: RunRecord,
    position: int,
    said: int,
    probability_K: np.ndarray,
    is_suspected: bool,
    marks: Mapping[str, Mark],
    is_here: bool,
) -> Card:
    true = int(record.label_N[position])
    is_right = true == said
    names = [printable(record.classes[k]) for k in (true, said)]
    said_bar = probability_bar("predicted", names[1], float(probability_K[said]), "good" if is_right else "bad")
    bars = (
        (said_bar,) if is_right else (said_bar, probability_bar("true", names[0], float(probability_K[true]), "good"))
    )
    pictures = record.pictures
    is_whole = pictures is not None and position in pictures.seen
    has_picture = is_whole or (pictures is not None and position in pictures.thumbnails)
    return Card(
        position=position,
        name=printable(record.keys[position]),
        true=names[0],
        said=names[1],
        bars=bars,
        address=f"/runs/{run.id}/images/{position}" if has_picture else "",
        is_here=is_here,
        is_whole=is_whole,
        is_right=is_right,
        may_be_mislabelled=is_suspected,
        mark=marks[record.keys[position]].mark if record.keys[position] in marks else "",
    )
