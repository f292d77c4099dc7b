"""The most confident mistakes: what the network saw, where its evidence lay, and what it was torn between."""

import numpy as np

from ...classify.classifier import Member
from ...evaluate.mistakes import Mistake, find_mistakes
from ...evaluate.shown_images import MAX_CARDS
from ...evaluate.verdict import percent
from ...explain.colour import overlay
from ...explain.gradcam import EvidenceMap
from ..evidence import NOT_KEPT, evidence_maps
from ..html import Child, Markup, element, section
from ..pictures import Pictures
from ..record import RunRecord

ENLARGED_PX = 224  # of what the network saw, and of maps on it


def mistakes_section(record: RunRecord, member: Member, pictures: Pictures) -> Markup:
    """Up to twelve cards, the most confident mistake first."""
    known = (record.keys, record.classes, record.temperature, record.task)
    mistakes = find_mistakes(record.logits_NK, record.label_N, *known)
    if not mistakes:
        return section(
            "mistakes", "Most confident mistakes", element("p", {}, "None: every image is classified correctly.")
        )
    shown = mistakes[:MAX_CARDS]
    prepared = [pictures.seen(mistake.position) for mistake in shown]
    small = [pictures.small(mistake.position) for mistake in shown]
    asked = [[record.classes.index(mistake.said), record.classes.index(mistake.label)] for mistake in shown]
    why_none = f"The images cannot be shown: {record.no_pictures}." if record.no_pictures else NOT_KEPT
    maps, why = evidence_maps(member, record.classes, prepared, asked, why_none)
    cards = [
        _card(mistake, image if image is not None else instead, pair, pictures)
        for mistake, image, instead, pair in zip(shown, prepared, small, maps, strict=True)
    ]
    words = f"{len(mistakes):,} of {record.metrics.num_samples:,} answers {'is' if len(mistakes) == 1 else 'are'} wrong"
    words += f"; these are the {len(shown)} most confident." if len(shown) < len(mistakes) else "."
    words += " Beside each image: Grad-CAM for the predicted and for the true class, from none (grey) to most (light)."
    suspects = sum(mistake.may_be_mislabelled is True for mistake in mistakes)
    if record.task.is_grade:
        words += " The grade that is said is the median of the probabilities; another one may be more probable."
    hint = f"The labels of {suspects:,} of them may be wrong: see Labels." if suspects else ""
    notes = [element("p", {}, hint)] if hint else []
    body = [element("p", {}, words), *notes, element("p", {}, why) if why else None]
    return section("mistakes", "Most confident mistakes", *body, element("ul", {"class": "cards"}, *cards))


def _card(mistake: Mistake, image_HWC: np.ndarray | None, maps: list[EvidenceMap], pictures: Pictures) -> Markup:
    row: list[Child] = []
    if image_HWC is not None:
        row.append(pictured(pictures.picture(image_HWC, mistake.key, ENLARGED_PX), "seen"))
        for evidence, name in zip(maps, ("for the predicted class", "for the true class")):
            row.append(evidence_picture(evidence, image_HWC, pictures, name))
    tag = element("span", {"class": "tag"}, "may be mislabelled") if mistake.may_be_mislabelled else None
    return element(
        "li",
        {"class": "card"},
        element("div", {"class": "pictures"}, *row) if row else None,
        probability_bar("predicted", mistake.said, mistake.said_probability, "bad"),
        probability_bar("true", mistake.label, mistake.label_probability, "good"),
        element("p", {"class": "key"}, f"image {mistake.key}" if mistake.key.isdigit() else mistake.key, tag),
    )


def evidence_picture(evidence: EvidenceMap, image_HWC: np.ndarray, pictures: Pictures, name: str) -> Markup | None:
    """A Grad-CAM over its image, with `name` below it."""
    if evidence.message:
        return element("div", {"class": "picture words"}, element("p", {}, evidence.message))
    rgb_HWC = np.broadcast_to(pictures.shown(image_HWC), (*image_HWC.shape[:2], 3))
    words = f"Grad-CAM: evidence {name}, '{evidence.class_name}'"
    return pictured(pictures.picture(overlay(rgb_HWC, evidence.map_HW), words, ENLARGED_PX), name)


def pictured(picture: Markup | None, words: str) -> Markup | None:
    """A picture with words below it; None without one."""
    if picture is None:
        return None
    return element("div", {"class": "picture"}, picture, element("small", {}, words))


def probability_bar(kind: str, name: str, probability: float, colour: str) -> Markup:
    """`said cat 93.9 %` over a bar; the sign before the name keeps right and wrong apart without colour."""
    sign = "\u2715" if colour == "bad" else "\u2713"
    width = round(max(0.5, 100 * probability), 1)
    bar = element(
        "svg",
        {"viewBox": "0 0 100 4", "preserveAspectRatio": "none", "aria-hidden": "true"},
        element("rect", {"class": "track", "width": 100, "height": 4}),
        element("rect", {"class": colour, "width": width, "height": 4}),
    )
    words = element("span", {"class": f"name {colour}"}, f"{sign} {kind}: {name}")
    figure = element("span", {"class": "number"}, f"{percent(probability)} %")
    return element("div", {"class": "bar"}, element("p", {}, words, figure), bar)
