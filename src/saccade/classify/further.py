"""What else an evaluation is asked for: costs, parts of the images, corrupted images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.errors import UsageError
from ..core.given import listed, settle_fields
from ..core.task import Task
from ..core.types import Preprocessing
from ..data.source import DataSource
from ..data.sources.manifest.other_column import read_column
from ..evaluate.costs import (
    CostTable,
    LabelCosts,
    measure_costs,
    measure_label_costs,
    read_costs,
    read_label_costs,
)
from .classifier import Classifier
from .corrupted import measure_robustness
from .evaluation import Evaluation
from .image_traits import Traits, column_texts, measure_picture


@dataclass(frozen=True, kw_only=True)
class Further:
    """`costs` is a CSV file; `slices` asks for parts by size, brightness, sharpness and folder, `columns` for parts by
    columns of the source's table; `corruptions` for the accuracy on corrupted images."""

    costs: Path | None = None
    slices: bool = False
    columns: tuple[str, ...] = ()
    corruptions: bool = False

    def __post_init__(self) -> None:
        settle_fields(self)
        object.__setattr__(self, "columns", tuple(listed(self.columns, "the name of a column")))


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What `Further` asks for, its files read before any image is."""

    asked: Further
    table: CostTable | LabelCosts | None
    columns: dict[str, dict[str, str]]

    def measure(
        self, evaluation: Evaluation, source: DataSource, index_N: np.ndarray, classifier: Classifier | None = None
    ) -> Evaluation:
        """`evaluation`, of the images `index_N` of `source`, with all that is asked for; corruptions need the
        classifier, too. Raises ImageError."""
        label_N, asked = evaluation.label_N, self.asked
        if asked == Further() or not len(label_N):
            return evaluation
        probability_NK = evaluation.probabilities()
        if isinstance(self.table, LabelCosts):
            said_NK = evaluation.task.said(probability_NK)
            evaluation = replace(evaluation, costs=measure_label_costs(probability_NK, label_N, self.table, said_NK))
        elif self.table is not None:
            said_N = evaluation.task.answer_of(probability_NK)
            evaluation = replace(evaluation, costs=measure_costs(probability_NK, label_N, self.table, said_N))
        if asked.slices or asked.columns:
            preprocessing = classifier.members[0].preprocessing if classifier else Preprocessing()
            traits = Traits(
                picture=measure_picture(source, index_N, preprocessing) if asked.slices else None,
                columns=column_texts(source, index_N, self.columns),
            )
            right_N = evaluation.task.right(label_N, probability_NK)
            others = [note for note in evaluation.notes if note not in source.notes]
            slices = traits.slices(right_N)
            notes = (*source.notes_besides(asked.columns), *others, *traits.told_uncompared(slices))
            evaluation = replace(evaluation, slices=slices, notes=notes)
        if asked.corruptions and classifier is not None:
            found = measure_robustness(classifier, source, index_N, label_N)
            evaluation = replace(evaluation, robustness=found)
        return evaluation


def prepare(asked: Further, source_text: str, classes: Sequence[str], task: Task) -> Ready:
    """Read the files that `asked` names. Raises UsageError, DataError."""
    if asked.costs is not None and task.is_number:
        raise UsageError(
            "A table of costs has a cell for each true class and each answer; this run says a number.\n"
            "Leave out --costs."
        )
    read = read_label_costs if task.is_several else read_costs
    return Ready(
        asked=asked,
        table=None if asked.costs is None else read(asked.costs, classes),
        columns={name: read_column(source_text, name) for name in asked.columns},
    )
