"""How well the probabilities order the images: ROC curves, precision over recall, areas, and Cohen's kappa."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...evaluate.label_metrics import LabelMetrics
from ...evaluate.ranked_scores import RankedScores, RankingCurve
from ...evaluate.ranking import Ranking
from ...evaluate.rates import percent
from ..charts import figure, rate_chart
from ..html import Child, Markup, element, join, section, table
from .classes import interval_strip

TITLE = "ROC and precision-recall curves"
MAX_CURVES, MAX_ROWS = 6, 20
GRID = 150  # points of a drawn curve that fall on one of so many by so many places are drawn once


@dataclass(frozen=True, kw_only=True)
class RankedClass:
    """One class against all others: the score of every image, which have the class, its area and average precision as
    sentences say them. `said_from` is (the threshold from which it is said, the recall there), where it has its own."""

    name: str
    score_N: np.ndarray
    has_N: np.ndarray
    area: float
    area_words: str
    average_precision: float
    said_from: tuple[float, float] | None = None


def ranking_section(probability_NK: np.ndarray, label_N: np.ndarray, ranking: Ranking) -> Markup:
    """The curves of the classes that are told apart worst, and the figures of all; of one label an image."""
    known = [k for k, area in enumerate(ranking.area_K) if not np.isnan(area.value)]
    if not known:
        return section(
            "ranking", TITLE, element("p", {}, "All judged images have one class: there is nothing to rank.")
        )
    chosen = known
    if len(ranking.classes) == 2:  # the curves of both are one curve
        chosen = [min(known, key=lambda k: int((label_N == k).sum()))]
    ranked = [
        RankedClass(
            name=ranking.classes[k],
            score_N=probability_NK[:, k],
            has_N=label_N == k,
            area=ranking.area_K[k].value,
            area_words=(
                f"Area {percent(ranking.area_K[k].value)} % (95 % interval {percent(ranking.area_K[k].low)} to "
                f"{percent(ranking.area_K[k].high)})"
            ),
            average_precision=float(ranking.average_precision_K[k]),
        )
        for k in chosen
    ]
    return section(
        "ranking", TITLE, element("p", {}, ranking.sentence()), _areas(label_N, ranking), curves(ranked, len(known))
    )


def _areas(label_N: np.ndarray, ranking: Ranking) -> Markup:
    rows: list[list[Child]] = []
    for k, name in enumerate(ranking.classes):
        area, precision, num = ranking.area_K[k], float(ranking.average_precision_K[k]), int((label_N == k).sum())
        has_area = not np.isnan(area.value)
        rows.append(
            [
                name,
                f"{num:,}",
                interval_strip(area.value, area.low, area.high) if has_area else None,
                percent(area.value) if has_area else "-",
                f"{percent(area.low)} to {percent(area.high)}" if has_area else "-",
                percent(precision) if num else "-",
                percent(num / len(label_N)),
            ]
        )
    headings: list[Child] = [
        "class",
        "images",
        "area, 0 to 100 %",
        "area %",
        "95 % interval",
        "average precision %",
        "by guessing %",
    ]
    return table(headings, rows, "Area under the ROC curve and average precision of each class against all others")


def label_curves(probability_NK: np.ndarray, label_NK: np.ndarray, metrics: LabelMetrics) -> Markup:
    """The curves where an image may have several labels; the figures of all classes stand class by class."""
    ranked = [
        RankedClass(
            name=name,
            score_N=probability_NK[:, k],
            has_N=label_NK[:, k] > 0,
            area=float(metrics.auc_K[k]),
            area_words=(
                f"Area {percent(metrics.auc_K[k])} % (95 % interval {percent(metrics.auc_low_K[k])} to "
                f"{percent(metrics.auc_high_K[k])})"
            ),
            average_precision=float(metrics.ap_K[k]),
            said_from=(float(metrics.threshold_K[k]), float(metrics.recall_K[k])),
        )
        for k, name in enumerate(metrics.classes)
        if not np.isnan(metrics.auc_K[k])
    ]
    nothing = element("p", {}, "No class has images with it and images without it: there is nothing to rank.")
    return section("ranking", TITLE, curves(ranked, len(ranked)) or nothing)


def curves(ranked: Sequence[RankedClass], num_known: int) -> Markup | None:
    """ROC curves and precision over recall of the classes with the lowest areas."""
    shown = sorted((found for found in ranked if not np.isnan(found.area)), key=lambda found: found.area)[:MAX_CURVES]
    if not shown:
        return None
    fewer = 1 < len(shown) < num_known
    words = f"The {len(shown)} classes with the lowest areas, of {num_known}." if fewer else ""
    found = [(each, RankedScores(each.score_N, each.has_N).curve()) for each in shown]
    return join(
        [
            element("h3", {}, "True positive rate over false positive rate (ROC)"),
            element("p", {}, words) if words else None,
            element("div", {"class": "charts"}, *(_roc(each, curve) for each, curve in found)),
            element("h3", {}, "Precision over recall"),
            element("div", {"class": "charts"}, *(_precision(each, curve) for each, curve in found)),
        ]
    )


def _roc(ranked: RankedClass, curve: RankingCurve) -> Markup:
    kept = _kept(curve.false_rate_T, curve.true_rate_T)
    svg = rate_chart(
        curve.false_rate_T[kept].tolist(),
        curve.true_rate_T[kept].tolist(),
        ("false positive rate", "true positive rate"),
        (0, 1),
    )
    summary = f"{ranked.area_words}; on the dashed line the order is chance."
    return _figure(ranked, svg, summary, curve, kept, ("true positive rate", "false positive rate"))


def _precision(ranked: RankedClass, curve: RankingCurve) -> Markup:
    kept = _kept(curve.true_rate_T, curve.precision_T)
    share = float(ranked.has_N.mean())
    mark = ranked.said_from[1] if ranked.said_from else None
    svg = rate_chart(
        curve.true_rate_T[kept].tolist(),
        curve.precision_T[kept].tolist(),
        ("recall", "precision"),
        (share, share),
        mark,
    )
    summary = (
        f"Average precision {percent(ranked.average_precision)} %; the dashed line, {percent(share)} %, is the share "
        f"of the class."
    )
    if ranked.said_from:
        summary += f" The dotted line is the recall from {ranked.said_from[0]:.2f} on, where the class is said."
    return _figure(ranked, svg, summary, curve, kept, ("recall", "precision"))


def _figure(
    ranked: RankedClass, svg: str, summary: str, curve: RankingCurve, kept: list[int], names: tuple[str, str]
) -> Markup:
    values = {
        "true positive rate": curve.true_rate_T,
        "recall": curve.true_rate_T,
        "false positive rate": curve.false_rate_T,
        "precision": curve.precision_T,
    }
    told = [place for place in kept if np.isfinite(curve.threshold_T[place])]
    rows: list[list[Child]] = [
        [f"{curve.threshold_T[place]:.3f}", *(f"{percent(float(values[name][place]))} %" for name in names)]
        for place in told[:: max(1, len(told) // MAX_ROWS)]
    ]
    return figure(ranked.name, svg, summary, ["threshold", *names], rows)


def _kept(x_T: np.ndarray, y_T: np.ndarray) -> list[int]:
    """Points that differ where they are drawn, in order, the first and last among them."""
    place_T = np.rint(GRID * x_T) * (GRID + 1) + np.rint(GRID * y_T)
    is_new_T = np.append(True, place_T[1:] != place_T[:-1])
    is_new_T[-1] = True
    kept: list[int] = np.flatnonzero(is_new_T).tolist()
    return kept
