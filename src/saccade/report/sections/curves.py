"""How training went: loss, accuracy and learning rate by epoch, with the kept epoch marked."""

from typing import Any

from ..charts import Axis, Series, figure, line_chart
from ..html import Child, Markup, element, section
from ..record import RunRecord

LOG_RANGE = 30.0
NO_RECORD = "The record of the epochs is not in the run directory."
FITTED = "There are no epochs: everything but the last layer is as it came, and that was fitted in one go."


def curves_section(record: RunRecord) -> Markup:
    """Three small charts side by side, each with its figures."""
    epochs = record.epochs
    if not epochs:
        is_fitted = record.transfer.get("frozen") == "all"
        return section("curves", "Training", element("p", {}, FITTED if is_fitted else NO_RECORD))
    kept = max((e["epoch"] for e in epochs if e.get("is_best")), default=None)
    charts = [
        _pair_chart(epochs, kept, "Loss", "loss"),
        _pair_chart(epochs, kept, "Accuracy", "accuracy"),
        _rate_chart(epochs, kept),
    ]
    words = f"The dotted line marks epoch {kept}, whose weights were kept." if kept else ""
    return section("curves", "Training", element("p", {}, words), element("div", {"class": "charts"}, *charts))


def _pair_chart(epochs: list[dict[str, Any]], kept: int | None, title: str, key: str) -> Markup:
    is_accuracy = key == "accuracy"
    x = [e["epoch"] for e in epochs]
    train = [e.get(f"train_{key}") for e in epochs]
    validation = [e.get(f"validation_{key}") for e in epochs]
    has_validation = any(value is not None for value in validation)
    series = [Series("train", train)] + ([Series("validation", validation)] if has_validation else [])
    values = [value for line in series for value in line.values if value is not None]
    spread = max(values) / max(min(values), 1e-9)
    kind = "percent" if is_accuracy else "log" if spread > LOG_RANGE and min(values) > 0 else "linear"
    svg = line_chart(x, series, (Axis(title="epoch", kind="epochs"), Axis(kind=kind)), kept)
    show = _percent if is_accuracy else _number
    summary = f"{title}: training {show(train[-1])} in the last epoch"
    summary += f", validation {show(validation[-1])}." if has_validation else "."
    headings: list[Child] = ["epoch", "train", "validation"] if has_validation else ["epoch", "train"]
    rows: list[list[Child]] = [[str(place), *(show(line.values[i]) for line in series)] for i, place in enumerate(x)]
    heading = {"percent": f"{title} (% correct)", "log": f"{title} (logarithmic)"}.get(kind, title)
    return figure(heading, svg, summary, headings, rows)


def _rate_chart(epochs: list[dict[str, Any]], kept: int | None) -> Markup:
    x = [e["epoch"] for e in epochs]
    rates = [e.get("learning_rate") for e in epochs]
    svg = line_chart(x, [Series("rate", rates)], (Axis(title="epoch", kind="epochs"), Axis()), kept)
    known = [rate for rate in rates if rate is not None]
    summary = (
        f"Learning rate at the end of each epoch: at most {max(known):.3g}." if known else "No learning rate is known."
    )
    rows: list[list[Child]] = [
        [
            str(e["epoch"]),
            f"{e.get('learning_rate', 0):.3g}",
            f"{e.get('seconds', 0):.1f}",
            f"{e.get('images_per_second', 0):,.0f}",
        ]
        for e in epochs
    ]
    return figure("Learning rate", svg, summary, ["epoch", "learning rate", "seconds", "images/s"], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
