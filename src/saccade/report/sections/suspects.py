"""Labels that may be wrong: how many of them are expected to be, and their images; or why none is suspected."""

from collections.abc import Sequence

import numpy as np

from ...classify.label_check import LabelCheck
from ...evaluate.mistakes import Suspect, name_suspects, suspect_answers
from ...evaluate.shown_images import MAX_SUSPECTS
from ...evaluate.verdict import percent
from ..html import Markup, element, section
from ..pictures import Pictures
from ..record import RunRecord
from .mistakes import pictured, probability_bar

TITLE = "Labels that may be wrong"
METHOD = (
    "Of the labels that the classifier disagrees with those are shown that are more likely wrong than right, given how "
    "often it is wrong at that confidence. A hint where to look, not a verdict. Where wrong labels go to a class that "
    "looks alike, fewer are found."
)
METHOD_OF_NUMBERS = (
    "Numbers are named that lie farther from what is said of their image than the errors of these answers explain, and "
    "are more likely wrong than right. A hint where to look, not a verdict."
)


def suspects_section(record: RunRecord, pictures: Pictures) -> Markup:
    """Suspected labels of the judged images, with the pictures that the run keeps."""
    task = record.task
    probability_NK = record.probability_NK
    found = suspect_answers(task, probability_NK, record.label_N)
    suspects = name_suspects(task, found.listed(), probability_NK, record.label_N, record.keys, record.classes)
    shown = [pictures.small(suspect.position) for suspect in suspects[:MAX_SUSPECTS]]
    more = "All images, those of training too: saccade evaluate RUN SOURCE --label-errors FILE."
    method = METHOD_OF_NUMBERS if task.is_number else METHOD
    return _section([found.sentence(), more], suspects, shown, pictures, found.has_enough, method)


def checked_labels_section(checked: LabelCheck, pictures: Pictures) -> Markup:
    """Suspected labels of a whole source, with the pictures that the check took."""
    are_numbers = any(suspect.numbers is not None for suspect in checked.suspects)
    return _section(
        [checked.sentence()],
        checked.suspects,
        checked.pictures,
        pictures,
        checked.found.has_enough,
        METHOD_OF_NUMBERS if are_numbers else METHOD,
    )


def _section(
    told: Sequence[str],
    suspects: Sequence[Suspect],
    shown: Sequence[np.ndarray | None],
    pictures: Pictures,
    says_how_likely: bool,
    method: str = METHOD,
) -> Markup:
    cards = [
        _card(suspect, image_HWC, pictures, says_how_likely)
        for suspect, image_HWC in zip(suspects, shown, strict=False)
    ]
    words = [*told, method]
    if len(cards) < len(suspects):
        words.append(f"These are the {len(cards)} that are most likely wrong.")
    return section(
        "labels",
        TITLE,
        *(element("p", {}, text) for text in words),
        element("ul", {"class": "cards"}, *cards) if cards else None,
    )


def _sides(suspect: Suspect) -> list[Markup]:
    """What is believed instead, and the label; of numbers there are no probabilities."""
    if suspect.numbers is not None:
        return [element("p", {}, f"label {suspect.label}, rather {suspect.suggested}")]
    return [
        probability_bar("suggested", suspect.suggested, suspect.suggested_probability, "good"),
        probability_bar("label", suspect.label, suspect.label_probability, "bad"),
    ]


def _card(suspect: Suspect, image_HWC: np.ndarray | None, pictures: Pictures, says_how_likely: bool) -> Markup:
    picture = None if image_HWC is None else pictured(pictures.picture(image_HWC, suspect.key), "seen")
    likely = f"wrong: {percent(suspect.wrong_probability)} %" if says_how_likely else ""
    tag = element("span", {"class": "tag"}, likely) if likely else None
    return element(
        "li",
        {"class": "card"},
        element("div", {"class": "pictures"}, picture) if picture is not None else None,
        *_sides(suspect),
        element("p", {"class": "key"}, f"image {suspect.key}" if suspect.key.isdigit() else suspect.key, tag),
    )
