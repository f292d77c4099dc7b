"""`report.html`: one file that needs nothing else. No network; light or dark as the system is. Its one script sorts
tables, enlarges pictures, and draws the matrix of more than 20 classes; without scripts all the rest is there."""

from importlib.resources import files
from pathlib import Path

from .. import __version__
from ..classify.chosen_threshold import Answering, promised_precision
from ..classify.classifier import Member, join_members, open_member
from ..core import atomic
from ..core.runtime import RuntimeConfig
from ..evaluate.ranking import rank
from ..models.new_head import network_words
from ..models.surgery import ALL
from ..runs.names import REPORT
from .document import closed_document
from .html import Markup, element, join
from .palette import stylesheet
from .pictures import Pictures
from .record import RunRecord, read_run
from .sections.classes import classes_section, confidence_section
from .sections.confusion import confusion_section
from .sections.curves import curves_section
from .sections.data import data_section, reproduce_section
from .sections.folds import folds_section
from .sections.labels import (
    label_classes_section,
    label_confidence_section,
    label_mistakes_section,
)
from .sections.mistakes import mistakes_section
from .sections.network import network_section
from .sections.next_steps import next_section
from .sections.numbers import answers_section, errors_section
from .sections.ranking import label_curves, ranking_section
from .sections.suspects import suspects_section
from .sections.transfer import transfer_section
from .sections.verdict import run_warnings, verdict_header, warning_list

FOLDS = ("folds", "Folds")
TRANSFER = ("transfer", "Transfer")
NEXT = ("next", "What next")
PLACES = (
    ("curves", "Training"),
    ("confusion", "Confusion matrix"),
    ("mistakes", "Mistakes"),
    ("labels", "Labels"),
    ("classes", "Classes"),
    ("ranking", "Curves"),
    ("confidence", "Calibration"),
    ("network", "Network"),
    ("data", "Data"),
    ("reproduce", "Reproduce"),
)


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a finished run (default: `report.html` in it). Raises CheckpointError, StorageError."""
    path = out or run / REPORT
    atomic.write_text(path, report_html(read_run(run), open_member(run, RuntimeConfig(device="cpu"))))
    return path


def report_html(record: RunRecord, member: Member) -> str:
    """The page as text."""
    pictures = Pictures(record)
    judged = judged_sections(record, member, pictures)
    has_epochs = bool(record.epochs) or record.transfer is None or record.transfer.frozen != ALL
    body = [
        *([curves_section(record.epochs, record.task.is_number)] if has_epochs else []),
        *judged,
        network_section(member, pictures),
        data_section(record),
        reproduce_section(record),
    ]
    places: tuple[tuple[str, str], ...] = PLACES if has_epochs else PLACES[1:]
    places = tuple(place for place in places if place[0] not in LEFT_OUT[record.task.kind])
    if record.task.is_number:
        at = next(number for number, place in enumerate(places) if place[0] == "mistakes")
        places = (*places[:at], ("answers", "Answers"), ("mistakes", "Largest errors"), *places[at + 1 :])
    if record.folds:
        body, places = [folds_section(record.folds, record), *body], (FOLDS, *places)
    if record.transfer:
        body, places = [transfer_section(record.transfer, record), *body], (TRANSFER, *places)
    body, places = [next_section(record), *body], (NEXT, *places)
    links = [element("a", {"href": f"#{identifier}"}, title) for identifier, title in places]
    main = element(
        "main", {"id": "main"}, warning_list([*run_warnings(record), *_picture_notes(record, pictures)]), *body
    )
    header = element(
        "header", {}, verdict_header(record), element("nav", {"aria-label": "Parts of the report"}, *links)
    )
    skip = element("a", {"class": "skip", "href": "#main"}, "Skip to the content")
    footer = element("footer", {}, element("p", {}, f"Written by Saccade {__version__}."))
    return document(
        f"{network_words(record.manifest.model)} on {record.source_name}", join([skip, header, main, footer])
    )


def _sections(record: RunRecord, member: Member, pictures: Pictures) -> list[Markup]:
    """What was answered rightly and wrongly, of one label an image."""
    mistakes = mistakes_section(record, member, pictures)  # before the matrix: its pictures come first in the budget
    probability_NK = record.probability_NK
    ranking = rank(probability_NK, record.label_N, record.classes, record.metrics.confusion_KK)
    promised = promised_precision(join_members([member]), [record.path], Answering().precision)
    return [
        confusion_section(record, pictures),
        mistakes,
        *([suspects_section(record, pictures)] if record.task.tells_wrong_labels else []),
        classes_section(record),
        ranking_section(probability_NK, record.label_N, ranking),
        confidence_section(record, promised),
    ]


def _label_sections(record: RunRecord, member: Member, pictures: Pictures) -> list[Markup]:
    """The same of several labels an image, which no matrix can show."""
    mistakes = label_mistakes_section(record, member, pictures)
    return [
        mistakes,
        suspects_section(record, pictures),
        label_classes_section(record),
        label_curves(record.probability_NK, record.label_N, record.label_metrics),
        label_confidence_section(record),
    ]


def _number_sections(record: RunRecord, member: Member, pictures: Pictures) -> list[Markup]:
    """The same of numbers, which are near or far, not right or wrong."""
    return [
        answers_section(record),
        errors_section(record, member, pictures),
        suspects_section(record, pictures),
    ]


SECTIONS = {"one label": _sections, "grade": _sections, "several labels": _label_sections, "number": _number_sections}
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "one label": (),
    "grade": ("labels",),
    "several labels": ("confusion",),
    "number": ("confusion", "classes", "ranking", "confidence"),
}


def judged_sections(record: RunRecord, member: Member, pictures: Pictures) -> list[Markup]:
    """What was answered rightly and wrongly, as it suits the kind of labels."""
    return SECTIONS[record.task.kind](record, member, pictures)


def _picture_notes(record: RunRecord, pictures: Pictures) -> list[str]:
    why = record.no_pictures
    if why:
        return [f"The images cannot be shown: {why}."]
    if pictures.missing:
        num = len(pictures.missing)
        return [
            f"{num} image{'s' * (num > 1)} cannot be shown: the run keeps no picture of {'them' if num > 1 else 'it'}."
        ]
    return []


def page_script(body: Markup) -> str:
    """What a report does where scripts are on: its tables and large matrices, which the studio shows too, and its
    pictures."""
    has_large = 'class="scroll matrix large"' in body.text
    names = ["tables.js", *(["matrix.js"] if has_large else []), "page.js"]
    return "".join(files(__package__).joinpath(name).read_text(encoding="utf-8") for name in names)


def document(title: str, body: Markup) -> str:
    """A page with the style and the script of reports."""
    style = stylesheet() + files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return closed_document(title, body, style, page_script(body))
