"""What the page says of numbers: the verdict, answers against truths, where it errs, the largest errors."""

import numpy as np

from ...classify.classifier import Member
from ...core.display import figure as shown
from ...evaluate.number_metrics import COVERED, NumberMetrics
from ...evaluate.number_words import NumberMistake, find_number_mistakes, range_rows
from ...evaluate.rates import percent
from ...evaluate.shown_images import MAX_CARDS, spread_of_numbers
from ...explain.gradcam import EvidenceMap
from ..charts import figure, number_chart
from ..evidence import evidence_maps
from ..html import Child, Markup, element, join, section, table
from ..pictures import Pictures
from ..record import RunRecord
from .mistakes import evidence_picture, pictured

MAX_POINTS = 600  # of the picture; more are thinned evenly


def number_headline(metrics: NumberMetrics, kind: str) -> tuple[str, str]:
    """The heading of the page and the line below it."""
    images = "image" if metrics.num_samples == 1 else "images"
    title = f"Mean absolute error {shown(metrics.mae)} of '{metrics.name}' on {metrics.num_samples:,} {kind} {images}"
    return title, (
        f"95 % interval {shown(metrics.mae_low)} to {shown(metrics.mae_high)}. Always saying the median of these "
        f"images, {shown(metrics.median)}: {shown(metrics.baseline_mae)}."
    )


def number_figures(metrics: NumberMetrics) -> list[tuple[str, str]]:
    """The key figures at the top of the page."""
    found = [
        ("R2", "-" if np.isnan(metrics.r2) else f"{metrics.r2:.3f}"),
        ("Root mean squared error", shown(metrics.rmse)),
        ("Median error", shown(metrics.median_error)),
        ("Mean of answer less truth", f"{metrics.bias:+.3g}"),
    ]
    if metrics.half_width:
        found.append((f"Interval for {100 * COVERED:.0f} %", f"answer ± {shown(metrics.half_width)}"))
    return found


def answers_section(record: RunRecord) -> Markup:
    """Answers against truths, and the errors by range of the truth."""
    said_N, value_N = record.numbers_N, record.label_N
    kept_N = np.unique(np.linspace(0, len(said_N) - 1, min(len(said_N), MAX_POINTS)).round().astype(np.int64))
    order_N = np.argsort(value_N, kind="stable")[kept_N]
    metrics = record.number_metrics
    svg = number_chart(value_N[order_N].tolist(), said_N[order_N].tolist(), metrics.half_width)
    thinned = f" {len(order_N):,} of {len(said_N):,} images are drawn." if len(order_N) < len(said_N) else ""
    summary = f"On the line answer and truth agree. R2 is {metrics.r2:.3f}.{thinned}"
    rows: list[list[Child]] = [
        [shown(float(value_N[i])), shown(float(said_N[i]))] for i in order_N[:: max(1, len(order_N) // 20)]
    ]
    chart = figure(f"{metrics.name}: answer over truth", svg, summary, ["truth", "answer"], rows)
    headings, plain = range_rows(said_N, value_N)
    listing = table([*headings], [[*row] for row in plain], "Errors by range of the truth")
    return section(
        "answers",
        "Answers",
        element("p", {}, _interval_words(record)),
        element("div", {"class": "charts two"}, chart),
        listing,
    )


def _interval_words(record: RunRecord) -> str:
    metrics, task = record.number_metrics, record.task
    if not metrics.half_width:
        return "How wide an interval holds the truth is not known: there were too few validation images."
    return (
        f"An answer ± {shown(metrics.half_width)} holds the truth of {100 * COVERED:.0f} % of images like those of "
        f"training, by the errors on {task.half_width_images:,} validation images (split conformal prediction). Of "
        f"these images it holds {percent(metrics.covered)} %."
    )


def errors_section(record: RunRecord, member: Member, pictures: Pictures) -> Markup:
    """Up to twelve cards, the largest error first, each with what pushed the number up; a row of images in the order of
    their answers."""
    mistakes = find_number_mistakes(record.numbers_N, record.label_N, record.keys)[:MAX_CARDS]
    prepared = [pictures.seen(mistake.position) for mistake in mistakes]
    maps, why = evidence_maps(member, record.classes, prepared, [[0] for _ in mistakes])
    cards = [_card(mistake, next(iter(found), None), pictures) for mistake, found in zip(mistakes, maps, strict=True)]
    words = (
        f"The {len(mistakes)} largest errors of {record.number_metrics.num_samples:,} images. Beside each image: "
        f"Grad-CAM for what pushes the number up, from none (grey) to most (light)."
    )
    body = [element("p", {}, words), element("p", {}, why) if why else None]
    ladder = _in_order(record, pictures)
    return section("mistakes", "Largest errors", *body, element("ul", {"class": "cards"}, *cards), ladder)


def _in_order(record: RunRecord, pictures: Pictures) -> Markup | None:
    """Images in the order of the numbers that were said."""
    cards = []
    for position in spread_of_numbers(record.numbers_N):
        words = f"{shown(float(record.numbers_N[position]))} (truth {shown(float(record.label_N[position]))})"
        picture = pictured(pictures.thumbnail(position, f"{record.keys[position]}: {words}"), words)
        if picture is not None:
            cards.append(picture)
    if not cards:
        return None
    title = element("h3", {}, "Images in the order of their answers")
    return join([title, element("div", {"class": "pictures"}, *cards)])


def _card(mistake: NumberMistake, evidence: EvidenceMap | None, pictures: Pictures) -> Markup:
    row: list[Child] = []
    image_HWC = pictures.seen(mistake.position)
    image_HWC = image_HWC if image_HWC is not None else pictures.small(mistake.position)
    if image_HWC is not None:
        row.append(pictured(pictures.picture(image_HWC, mistake.key), "seen"))
        if evidence is not None:
            row.append(evidence_picture(evidence, image_HWC, pictures, "what pushes it up"))
    words = f"said {shown(mistake.said)}, truth {shown(mistake.truth)}: off by {mistake.said - mistake.truth:+.4g}"
    return element(
        "li",
        {"class": "card"},
        element("div", {"class": "pictures"}, *row) if row else None,
        element("p", {}, words),
        element("p", {"class": "key"}, f"image {mistake.key}" if mistake.key.isdigit() else mistake.key),
    )
