"""The page of one evaluation, `evaluate --report`: one file like a run's report, of whatever was measured."""

from pathlib import Path

from .. import __version__
from ..classify.evaluation import Evaluation
from ..classify.label_check import LabelCheck
from ..core import atomic
from ..core.errors import printable
from ..core.types import Metrics
from ..evaluate.label_metrics import LabelMetrics
from ..evaluate.number_metrics import NumberMetrics
from ..evaluate.number_words import range_rows
from ..evaluate.verdict import class_rows
from .html import Markup, element, join, section, table
from .page import document
from .pictures import Pictures
from .sections.classes import by_threshold
from .sections.confusion import matrix_and_pairs
from .sections.parts import corruptions_section, costs_section, slices_section
from .sections.ranking import label_curves, ranking_section
from .sections.suspects import checked_labels_section
from .sections.verdict import headline, warning_list


def write_evaluation_page(path: Path, evaluation: Evaluation, checked: LabelCheck | None = None) -> None:
    """Write the page of `evaluation`, and of `checked` labels, durably. Raises StorageError."""
    atomic.write_text(path, evaluation_html(evaluation, checked))


def evaluation_html(evaluation: Evaluation, checked: LabelCheck | None = None) -> str:
    """The page as text."""
    runs = printable(evaluation.answered_by)
    source = printable(evaluation.source)
    sections = _sections(evaluation, checked)
    links = [element("a", {"href": f"#{identifier}"}, title) for identifier, title, _ in sections]
    header = element(
        "header",
        {},
        headline(f"{evaluation.model} on {source}, {runs}", evaluation.metrics, evaluation.kind),
        element("nav", {"aria-label": "Parts of the page"}, *links),
    )
    body = [warning_list([*evaluation.caveats, *evaluation.notes, *evaluation.image_notes]), _judged(evaluation)]
    main = element("main", {"id": "main"}, *body, *(part for _, _, part in sections))
    skip = element("a", {"class": "skip", "href": "#main"}, "Skip to the content")
    footer = element("footer", {}, element("p", {}, f"Written by Saccade {__version__}."))
    return document(f"{evaluation.model} on {source}", join([skip, header, main, footer]))


def _judged(evaluation: Evaluation) -> Markup:
    """What the images were, and every figure that is one sentence."""
    together = evaluation.together.sentences() if evaluation.together else []
    told = [
        f"Judged on {evaluation.judged_on}.",
        *evaluation.answering_sentences(),
        *evaluation.unlike_sentences(),
        *together,
    ]
    return section("judged", "What was judged", *(element("p", {}, text) for text in told))


def _sections(evaluation: Evaluation, checked: LabelCheck | None) -> list[tuple[str, str, Markup]]:
    """(identifier, title in the list of parts, section) of all that was measured."""
    metrics = evaluation.metrics
    headings, rows = class_rows(metrics)
    classes = section(
        "classes", "Class by class", table([*headings], [[*row] for row in rows], "Figures of each class")
    )
    parts: list[tuple[str, str, Markup]] = []
    if isinstance(metrics, LabelMetrics):
        drawn = label_curves(evaluation.probabilities(), evaluation.label_N, metrics)
        parts = [("classes", "Classes", classes), ("ranking", "Curves", drawn)]
    elif isinstance(metrics, NumberMetrics):
        columns, cells = range_rows(evaluation.probabilities()[:, 0], evaluation.label_N)
        by_range = table([*columns], [[*row] for row in cells], "Errors by range of the truth")
        parts = [("ranges", "By range", section("ranges", "By range of the truth", by_range))]
    elif isinstance(metrics, Metrics):
        probability_NK, names = evaluation.probabilities(), metrics.classes
        matrix = section("confusion", "Confusion matrix", *matrix_and_pairs(metrics, set()))
        curves = ranking_section(probability_NK, evaluation.label_N, evaluation.ranking())
        sure = section(
            "thresholds", "Sure answers", *by_threshold(probability_NK, evaluation.label_N, names, evaluation.task)
        )
        parts = [
            ("confusion", "Confusion matrix", matrix),
            ("classes", "Classes", classes),
            ("ranking", "Curves", curves),
            ("thresholds", "Sure answers", sure),
        ]
    if evaluation.costs:
        parts.append(("costs", "Costs", costs_section(evaluation.costs)))
    if evaluation.slices is not None:
        parts.append(("slices", "Parts", slices_section(evaluation.slices, evaluation.task.right_note())))
    if evaluation.robustness:
        parts.append(("corruptions", "Corruptions", corruptions_section(evaluation.robustness)))
    if checked is not None:
        parts.append(("labels", "Labels", checked_labels_section(checked, Pictures(None))))
    return parts
