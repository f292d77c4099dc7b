"""Answers as rows of Parquet: the units of `predict --out`.

    key              what the image is called, as `predict` calls it
    class            the answer; null where there is none
    probability      of the answer
    top              the most probable classes with their probabilities, also where there is no answer
    answered         whether there is an answer
    reason           why not: unlike_training, low_confidence or unreadable; null where there is one
    error            why an image is unreadable
    unlike_training  whether it is unlike anything seen in training; null where nothing tells

Where an image may have several labels, `labels` are those that are said. Where a number is asked for, `number`, `low`
and `high` (nine of ten truths lie within) and `withheld_number` stand in the place of class, probability and top.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import ImageError, printable, storable
from ..core.task import Task
from ..core.types import Prediction
from ..data.sources.parquet.row_groups import import_pyarrow
from ..runs.checkpoint import find_checkpoint
from ..runs.names import WEIGHTS
from .answers_file import digest_of
from .classifier import Classifier
from .units import ERROR, REASON, UNREADABLE, Row, UnitKind

NAME = "answers"


def answer_units(runs: Sequence[Path], classifier: Classifier, top: int, min_confidence: float) -> UnitKind:
    """What the units of the answers of `runs` are."""
    pyarrow, _ = import_pyarrow()
    schema = answer_schema(classifier.task)
    weights = [find_checkpoint(run).manifest.files.get(WEIGHTS) for run in runs]
    return UnitKind(
        name=NAME,
        schema=schema,
        to_batch=lambda rows: pyarrow.RecordBatch.from_pylist(rows, schema=schema),
        model_sha256=digest_of(runs, classifier),
        settings={"top": top, "min_confidence": min_confidence},
        facts={
            "runs": [printable(str(run)) for run in runs],
            "networks": [member.architecture for member in classifier.members],
            "weights_sha256": [file.sha256 if file else "" for file in weights],
            "preprocessing_sha256": [member.preprocessing.digest() for member in classifier.members],
            "classes": list(classifier.classes),
        },
    )


def answer_rows(
    answers: Iterable[Prediction | ImageError], top: int, task: Task, bad: Callable[[ImageError], None]
) -> Iterator[Row]:
    """A row for each answer; `bad` hears of each image that cannot be read."""
    for answer in answers:
        if isinstance(answer, ImageError):
            bad(answer)
            yield {
                "key": storable(answer.key),
                "answered": False,
                REASON: UNREADABLE,
                ERROR: storable(answer.reason),
            }
            continue
        said = _number_cells(answer) if task.is_number else _class_cells(answer, top)
        yield {
            "key": storable(answer.key),
            **said,
            "answered": not answer.no_answer,
            REASON: answer.no_answer or None,
            "unlike_training": answer.unlike_training,
        }


def _class_cells(answer: Prediction, top: int) -> Row:
    ranked = [{"class": name, "probability": probability} for name, probability in answer.top(top)]
    first: Row = ranked[0] if not answer.no_answer else {"class": None, "probability": None}
    labels = {} if answer.labels is None else {"labels": None if answer.no_answer else list(answer.labels)}
    return {**labels, **first, "top": ranked}


def _number_cells(answer: Prediction) -> Row:
    if answer.no_answer:
        return {"withheld_number": answer.value}
    low, high = answer.interval or (None, None)
    return {"number": answer.value, "low": low, "high": high}


def answer_schema(task: Task) -> Any:
    """The columns, as Arrow has them."""
    pa, _ = import_pyarrow()
    if task.is_number:
        said = [(name, pa.float64()) for name in ("number", "low", "high", "withheld_number")]
    else:
        ranked = pa.list_(pa.struct([("class", pa.string()), ("probability", pa.float64())]))
        said = [("class", pa.string()), ("probability", pa.float64()), ("top", ranked)]
        said = [("labels", pa.list_(pa.string())), *said] if task.is_several else said
    behind = [("answered", pa.bool_()), (REASON, pa.string()), (ERROR, pa.string()), ("unlike_training", pa.bool_())]
    return pa.schema([("key", pa.string()), *said, *behind])
