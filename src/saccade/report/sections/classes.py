"""Class by class, and calibration: how far a confidence can be believed."""

from collections.abc import Sequence

import numpy as np

from ...core.task import ONE_LABEL, Task
from ...core.types import Metrics
from ...evaluate.by_threshold import confusion_by_threshold, threshold_rows
from ...evaluate.calibration import (
    CalibrationCurve,
    answering_at,
    calibration_curve,
    selective_curve,
    selective_sentence,
)
from ...evaluate.novelty import unlike_sentence
from ...evaluate.scores import score_images
from ...evaluate.thresholds import PromisedPrecision
from ...evaluate.verdict import FEW_IMAGES, class_rows, percent
from ..charts import Axis, Series, calibration_chart, figure, line_chart
from ..html import Child, Markup, element, folded, join, section, table
from ..record import RunRecord

SURE = (0.9, 0.99)
MAX_POINTS = 60
MAX_MATRIX_CLASSES = 12
MAX_NAMES = 40


def classes_section(record: RunRecord) -> Markup:
    """Precision and recall with intervals; classes with few images are marked."""
    metrics = record.metrics
    headings, plain_rows = class_rows(metrics)
    headings = [*headings[:2], "recall, 0 to 100 %", *headings[2:]]
    rows: list[list[Child]] = []
    for k, row in enumerate(plain_rows):
        few = metrics.support_K[k] < FEW_IMAGES
        name: Child = join([row[0], element("small", {"class": "few"}, " few images")]) if few else row[0]
        rows.append([name, row[1], _strip(metrics, k), *row[2:]])
    body = table([*headings], rows, "Precision, recall and F1 of each class")
    return section("classes", "Class by class", body)


def _strip(metrics: Metrics, k: int) -> Markup | None:
    """The recall and its interval; the figures stand beside it."""
    if np.isnan(metrics.recall_K[k]):
        return None
    return interval_strip(float(metrics.recall_K[k]), float(metrics.recall_low_K[k]), float(metrics.recall_high_K[k]))


def interval_strip(rate: float, rate_low: float, rate_high: float) -> Markup:
    """A rate and its interval, fractions, on a strip from 0 to 100 %; silent, for figures that stand beside it."""
    low, high, value = (round(100 * part, 1) for part in (rate_low, rate_high, rate))
    interval = element("rect", {"x": f"{low:g}%", "width": f"{max(1.0, high - low):.3g}%"})
    place = element("rect", {"x": f"{min(value, 99):g}%"})
    return element("svg", {"class": "strip", "aria-hidden": "true"}, interval, place)


def confidence_section(record: RunRecord, promised: PromisedPrecision | None = None) -> Markup:
    """The calibration plot with its error before and after the temperature, answering only when sure, and what is
    confused then. `promised` is the threshold that validation images chose; None without any."""
    scores = score_images(record.logits_NK / record.temperature, record.label_N, record.task)
    right_N = scores.rank_N == 0
    after = percent(record.calibrated.ece)
    words = f"Expected calibration error: {after} %, log loss {record.calibrated.loss:.3f}."
    if record.temperature != 1:
        fitted = f", fitted on {record.temperature_images:,} validation images" if record.temperature_images else ""
        words += (
            f" Every confidence on this page is scaled by the temperature {record.temperature:.2f}{fitted}; without "
            f"it: {percent(record.metrics.ece)} %, log loss {record.metrics.loss:.3f}."
        )
    sentences = [element("p", {}, selective_sentence(scores.confidence_N, right_N, threshold)) for threshold in SURE]
    if promised is not None:
        sentences += [element("p", {}, words) for words in _promise(scores.confidence_N, right_N, promised)]
    probability_NK = record.probability_NK
    charts = [_calibration(scores.confidence_N, right_N, after), _selective(scores.confidence_N, right_N)]
    return section(
        "confidence",
        "Calibration",
        element("p", {}, words),
        element("div", {"class": "charts two"}, *charts),
        *sentences,
        *by_threshold(probability_NK, record.label_N, record.classes, record.task),
        *_unlike(record),
    )


def _promise(confidence_N: np.ndarray, right_N: np.ndarray, promised: PromisedPrecision) -> list[str]:
    """What answering from the promised threshold on gives, and what chose it; or why nothing is promised."""
    if promised.min_confidence is None:
        return [promised.sentence()]
    return [answering_at(confidence_N, right_N, promised.min_confidence, promised).sentence(), promised.sentence()]


def by_threshold(
    probability_NK: np.ndarray, label_N: np.ndarray, classes: Sequence[str], task: Task = ONE_LABEL
) -> list[Markup]:
    """What is answered, right and confused at or above each of some confidences; with few classes the matrices too."""
    answered = confusion_by_threshold(probability_NK, label_N, task)
    headings, rows = threshold_rows(answered, tuple(classes))
    matrices = [
        folded(
            f"Confusion matrix at {entry.threshold:.2f} or above",
            table(
                ["true \\ predicted", *classes],
                [
                    [name, *(f"{num:,}" if num else "" for num in entry.confusion_KK[k])]
                    for k, name in enumerate(classes)
                ],
                f"Confusion matrix of the answers at {entry.threshold:.2f} or above",
            ),
        )
        for entry in answered
        if entry.threshold > 0 and entry.num_answered and len(classes) <= MAX_MATRIX_CLASSES
    ]
    return [
        element("h3", {}, "What is confused when only sure answers count"),
        table([*headings], [[*row] for row in rows], "Answers and confusions at or above each confidence"),
        *matrices,
    ]


def _unlike(record: RunRecord) -> list[Markup]:
    """How many images are unlike anything seen in training, and their names, or why that is not known."""
    heading = element("h3", {}, "Unlike anything seen in training")
    if record.unlike_N is None:
        return [heading, element("p", {}, record.unlike_unknown)] if record.unlike_unknown else []
    keys = [record.keys[place] for place in np.flatnonzero(record.unlike_N).tolist()]
    words = unlike_sentence(len(keys), len(record.unlike_N), record.unlike_share)
    names = ", ".join(keys[:MAX_NAMES]) + (f" and {len(keys) - MAX_NAMES:,} more" if len(keys) > MAX_NAMES else "")
    return [
        heading,
        element("p", {}, f"{words} They are judged here all the same; 'saccade predict' gives them no answer."),
        *([folded("Which ones", element("p", {"class": "key"}, names))] if keys else []),
    ]


def _calibration(confidence_N: np.ndarray, right_N: np.ndarray, error: str) -> Markup:
    summary = (
        f"On the dashed line confidence and accuracy agree: of answers given at 80 %, 80 % are right. "
        f"Mean gap: {error} %."
    )
    headings: list[Child] = ["confidence", "images", "mean", "correct", "95 % interval"]
    curve = calibration_curve(confidence_N, right_N)
    return calibration_figure("Accuracy at each confidence (% correct)", curve, summary, headings)


def calibration_figure(title: str, curve: CalibrationCurve, summary: str, headings: list[Child]) -> Markup:
    """How often what is said at each probability is right: the chart, and the table of its points under `headings`."""
    bins = np.flatnonzero(curve.num)
    points = [
        {name: float(getattr(curve, name)[i]) for name in ("confidence", "accuracy", "low", "high")} for i in bins
    ]
    rows: list[list[Child]] = [
        [
            f"{100 * curve.edge[i]:.0f} to {100 * curve.edge[i + 1]:.0f} %",
            f"{curve.num[i]:,}",
            f"{percent(curve.confidence[i])} %",
            f"{percent(curve.accuracy[i])} %",
            f"{percent(curve.low[i])} to {percent(curve.high[i])} %",
        ]
        for i in bins
    ]
    return figure(title, calibration_chart(points), summary, headings, rows)


def _selective(confidence_N: np.ndarray, right_N: np.ndarray) -> Markup:
    curve = selective_curve(confidence_N, right_N)
    step = max(1, len(curve.coverage_M) // MAX_POINTS)
    keep = sorted({*range(0, len(curve.coverage_M), step), len(curve.coverage_M) - 1})
    coverage, accuracy = curve.coverage_M[keep].tolist(), curve.accuracy_M[keep].tolist()
    axes = (Axis(title="images answered", kind="percent"), Axis(kind="percent"))
    svg = line_chart([Series("correct", accuracy, coverage)], axes, None)
    rows: list[list[Child]] = [
        [f"{100 * coverage[i]:.1f} %", f"{curve.threshold_M[keep[i]]:.3f}", f"{100 * accuracy[i]:.1f} %"]
        for i in range(0, len(keep), max(1, len(keep) // 20))
    ]
    summary = "Answering only the surest images makes the answers that are given better."
    return figure("Answering only when sure (% correct)", svg, summary, ["answered", "threshold", "correct"], rows)
