"""What the page says of several labels an image: the verdict, class by class, the surest mistakes, calibration."""

import numpy as np

from ...classify.classifier import Member
from ...evaluate.calibration import calibration_curve
from ...evaluate.label_metrics import LabelMetrics, loss_and_calibration_error
from ...evaluate.label_mistakes import LabelMistake, find_label_mistakes
from ...evaluate.label_words import label_rows
from ...evaluate.rates import FEW_IMAGES, percent
from ...evaluate.shown_images import MAX_CARDS
from ...explain.gradcam import EvidenceMap
from ..evidence import evidence_maps
from ..html import Child, Markup, element, join, section, table
from ..pictures import Pictures
from ..record import RunRecord
from .classes import calibration_figure, interval_strip
from .mistakes import evidence_picture, pictured, probability_bar


def label_headline(metrics: LabelMetrics, kind: str) -> tuple[str, str]:
    """The heading of the page and the line below it."""
    images = "image" if metrics.num_samples == 1 else "images"
    title = f"mAP {percent(metrics.map)} % on {metrics.num_samples:,} {kind} {images}"
    lead = (
        f"95 % interval {percent(metrics.map_low)} to {percent(metrics.map_high)}, {len(metrics.classes)} classes, "
        f"{metrics.labels_an_image:.1f} labels an image. Answering by how often each class occurs: "
        f"{percent(metrics.map_baseline)} %. Every label right: {percent(metrics.exact_match)} % of the images "
        f"({percent(metrics.exact_low)} to {percent(metrics.exact_high)}); always saying the most frequent labels: "
        f"{percent(metrics.exact_baseline)} %."
    )
    return title, lead


def label_classes_section(record: RunRecord) -> Markup:
    """Average precision, AUC, recall and precision with intervals, and the threshold of each class."""
    metrics = record.label_metrics
    headings, plain_rows = label_rows(metrics)
    headings = [*headings[:2], "AP, 0 to 100 %", *headings[2:]]
    rows: list[list[Child]] = []
    for k, row in enumerate(plain_rows):
        few = metrics.support_K[k] < FEW_IMAGES
        name: Child = join([row[0], element("small", {"class": "few"}, " few images")]) if few else row[0]
        ends = [float(values[k]) for values in (metrics.ap_K, metrics.ap_low_K, metrics.ap_high_K)]
        rows.append([name, row[1], None if np.isnan(ends).any() else interval_strip(*ends), *row[2:]])
    task = record.task
    chosen = f", chosen for {task.thresholds_for} on the validation images" if task.thresholds_for else ""
    words = (
        f"A class is said from the probability in the last column on{chosen}. Average precision (AP) and AUC do not "
        f"depend on it; precision, recall and F1 do."
    )
    body = table([*headings], rows, "Average precision, AUC, recall, precision and F1 of each class")
    return section("classes", "Class by class", element("p", {}, words), body)


def label_mistakes_section(record: RunRecord, member: Member, pictures: Pictures) -> Markup:
    """Up to twelve cards, the surest mistake first, each with the evidence for the label that is wrong."""
    mistakes = find_label_mistakes(record.logits_NK, record.label_N, record.keys, record.classes, record.task)
    if not mistakes:
        return section("mistakes", "Surest mistakes", element("p", {}, "None: every label of every image is right."))
    shown = mistakes[:MAX_CARDS]
    prepared = [pictures.seen(mistake.position) for mistake in shown]
    maps, why = evidence_maps(member, record.classes, prepared, [[_surest(mistake, record)] for mistake in shown])
    cards = [_card(mistake, next(iter(found), None), pictures) for mistake, found in zip(shown, maps, strict=True)]
    num = len(mistakes)
    has = "has" if num == 1 else "have"
    words = f"{num:,} of {record.label_metrics.num_samples:,} answers {has} a label too many or too few"
    words += f"; these are the {len(shown)} surest." if len(shown) < num else "."
    words += " Beside each image: Grad-CAM for the label that is most surely wrong, from none (grey) to most (light)."
    body = [element("p", {}, words), element("p", {}, why) if why else None]
    return section("mistakes", "Surest mistakes", *body, element("ul", {"class": "cards"}, *cards))


def _surest(mistake: LabelMistake, record: RunRecord) -> int:
    """The class that is wrong by most: of what was missed and said for nothing, the one farther from a half."""
    first = [group[0] for group in (mistake.missed, mistake.extra) if group]
    return record.classes.index(max(first, key=lambda found: abs(found[1] - 0.5))[0])


def _card(mistake: LabelMistake, evidence: EvidenceMap | None, pictures: Pictures) -> Markup:
    image_HWC = pictures.seen(mistake.position)
    image_HWC = pictures.small(mistake.position) if image_HWC is None else image_HWC
    row: list[Child] = []
    if image_HWC is not None:
        row.append(pictured(pictures.picture(image_HWC, mistake.key), "seen"))
        if evidence is not None:
            row.append(evidence_picture(evidence, image_HWC, pictures, f"for '{evidence.class_name}'"))
    bars = [probability_bar("wrongly said", name, value, "bad") for name, value in mistake.extra[:3]]
    bars += [probability_bar("true, but missed", name, value, "good") for name, value in mistake.missed[:3]]
    rest = len(mistake.extra) + len(mistake.missed) - len(bars)
    right = [name for name in mistake.said if name in mistake.labels]
    words = f"right: {', '.join(right)}" if right else "no label right"
    return element(
        "li",
        {"class": "card"},
        element("div", {"class": "pictures"}, *row) if row else None,
        *bars,
        element("p", {}, f"and {rest} more that are wrong or missed") if rest else None,
        element(
            "p",
            {"class": "key"},
            f"{words}; image {mistake.key}" if mistake.key.isdigit() else f"{words}; {mistake.key}",
        ),
    )


def label_confidence_section(record: RunRecord) -> Markup:
    """How far a probability can be believed: all classes together, and each class's error."""
    metrics, task = record.label_metrics, record.task
    probability_NK = record.probability_NK
    words = (
        f"Expected calibration error, mean of the classes: {percent(metrics.ece)} %; log loss {metrics.loss:.3f} an "
        f"image."
    )
    if task.slopes:
        plain = task.model_copy(update={"slopes": (), "shifts": ()})
        loss, error = loss_and_calibration_error(record.logits_NK, record.label_N, plain)
        fitted = f" of {record.temperature_images:,} validation images" if record.temperature_images else ""
        words += (
            f" Every probability on this page is calibrated, each class by a slope and a shift{fitted}; without it: "
            f"{percent(error)} %, log loss {loss:.3f}."
        )
    curve = calibration_curve(probability_NK.reshape(-1), (record.label_N > 0).reshape(-1))
    summary = "On the dashed line they agree: of labels given 80 %, 80 % are there. All classes together."
    chart = calibration_figure(
        "Labels that are there at each probability (%)",
        curve,
        summary,
        ["probability", "labels", "mean", "there", "95 % interval"],
    )
    errors: list[list[Child]] = [
        [name, f"{percent(metrics.ece_K[k])} %", *_fit(record, k)] for k, name in enumerate(metrics.classes)
    ]
    listing = table(["class", "calibration error", "slope", "shift"], errors, "Calibration of each class")
    return section(
        "confidence", "Calibration", element("p", {}, words), element("div", {"class": "charts two"}, chart), listing
    )


def _fit(record: RunRecord, k: int) -> list[str]:
    task = record.task
    return [f"{task.slopes[k]:.2f}", f"{task.shifts[k]:+.2f}"] if task.slopes else ["1", "0"]
