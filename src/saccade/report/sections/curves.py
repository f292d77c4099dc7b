"""How training went: loss, accuracy and learning rate by epoch, with the kept epoch marked."""

from collections.abc import Sequence

from ...core.display import figure as shown
from ...runs.log import EpochEvent
from ..charts import Axis, Series, figure, line_chart
from ..html import Child, Markup, element, section

LOG_RANGE = 30.0
MAX_DRAWN = 150  # epochs of a chart
NO_RECORD = "The record of the epochs is not in the run directory."


def curves_section(epochs: Sequence[EpochEvent], is_number: bool, loss_scale: str = "") -> Markup:
    """Three small charts side by side, each with its figures. `loss_scale` is linear, log, or "" for what fits; of a
    long training not every epoch is drawn."""
    if not epochs:
        return section("curves", "Training", element("p", {}, NO_RECORD))
    kept = max((event.epoch for event in epochs if event.is_best), default=None)
    drawn = thinned(epochs)
    charts = [
        _pair_chart(drawn, kept, "Loss", False, loss_scale),
        *([] if is_number else [_pair_chart(drawn, kept, "Accuracy", True)]),
        *([_mae_chart(drawn, kept)] if any(event.validation_mae is not None for event in drawn) else []),
        *([_map_chart(drawn, kept)] if any(event.validation_map is not None for event in drawn) else []),
    ]
    charts += [_rate_chart(drawn, kept)] if any(event.learning_rate is not None for event in drawn) else []
    words = f"The dotted line marks epoch {kept}, whose weights were kept." if kept else ""
    words += f" {len(drawn):,} of {len(epochs):,} epochs are drawn." if len(drawn) < len(epochs) else ""
    return section("curves", "Training", element("p", {}, words), element("div", {"class": "charts"}, *charts))


def thinned(epochs: Sequence[EpochEvent]) -> tuple[EpochEvent, ...]:
    """At most MAX_DRAWN of `epochs`, evenly spaced, the first, the last and the one that was kept among them."""
    if len(epochs) <= MAX_DRAWN:
        return tuple(epochs)
    places = {round(i * (len(epochs) - 1) / (MAX_DRAWN - 2)) for i in range(MAX_DRAWN - 1)}
    kept = [place for place, event in enumerate(epochs) if event.is_best]
    return tuple(epochs[place] for place in sorted({*places, *kept[-1:]}))


def _map_chart(epochs: Sequence[EpochEvent], kept: int | None) -> Markup:
    """Of several labels: what the kept epoch was chosen by. Accuracies are shares of images with every label right."""
    told = [event for event in epochs if event.validation_map is not None]
    values: list[float | None] = [event.validation_map for event in told]
    x = [event.epoch for event in told]
    axes = (Axis(title="epoch", kind="epochs"), Axis(kind="percent"))
    svg = line_chart(x, [Series("validation", values)], axes, kept)
    rows: list[list[Child]] = [[str(epoch), _percent(value)] for epoch, value in zip(x, values, strict=True)]
    summary = f"mAP: {_percent(values[-1])} on the validation images in the last epoch."
    return figure("mAP (validation, %)", svg, summary, ["epoch", "validation"], rows)


def _mae_chart(epochs: Sequence[EpochEvent], kept: int | None) -> Markup:
    """Of numbers: what the kept epoch was chosen by."""
    told = [event for event in epochs if event.validation_mae is not None]
    values: list[float | None] = [event.validation_mae for event in told]
    x = [event.epoch for event in told]
    svg = line_chart(x, [Series("validation", values)], (Axis(title="epoch", kind="epochs"), Axis()), kept)
    rows: list[list[Child]] = [[str(epoch), shown(value or 0.0)] for epoch, value in zip(x, values, strict=True)]
    summary = f"Mean absolute error: {shown(values[-1] or 0.0)} on the validation images in the last epoch."
    return figure("Mean absolute error (validation)", svg, summary, ["epoch", "validation"], rows)


def _pair_chart(
    epochs: Sequence[EpochEvent], kept: int | None, title: str, is_accuracy: bool, scale: str = ""
) -> Markup:
    x = [event.epoch for event in epochs]
    train: list[float | None] = [e.train_accuracy if is_accuracy else e.train_loss for e in epochs]
    validation = [e.validation_accuracy if is_accuracy else e.validation_loss for e in epochs]
    has_validation = any(value is not None for value in validation)
    series = [Series("train", train)] + ([Series("validation", validation)] if has_validation else [])
    values = [value for line in series for value in line.values if value is not None]
    spread = max(values) / max(min(values), 1e-9)
    kind = "percent" if is_accuracy else "log" if spread > LOG_RANGE and min(values) > 0 else "linear"
    if scale and min(values) > 0:
        kind = scale
    svg = line_chart(x, series, (Axis(title="epoch", kind="epochs"), Axis(kind=kind)), kept)
    show = _percent if is_accuracy else _number
    summary = f"{title}: training {show(train[-1])} in the last epoch"
    summary += f", validation {show(validation[-1])}." if has_validation else "."
    headings: list[Child] = ["epoch", "train", "validation"] if has_validation else ["epoch", "train"]
    rows: list[list[Child]] = [[str(place), *(show(line.values[i]) for line in series)] for i, place in enumerate(x)]
    heading = {"percent": f"{title} (% correct)", "log": f"{title} (logarithmic)"}.get(kind, title)
    return figure(heading, svg, summary, headings, rows)


def _rate_chart(epochs: Sequence[EpochEvent], kept: int | None) -> Markup:
    x = [event.epoch for event in epochs]
    rates = [event.learning_rate for event in epochs]
    svg = line_chart(x, [Series("rate", rates)], (Axis(title="epoch", kind="epochs"), Axis()), kept)
    known = [rate for rate in rates if rate is not None]
    summary = f"Learning rate at the end of each epoch: at most {max(known):.3g}."
    rows: list[list[Child]] = [
        [
            str(e.epoch),
            f"{e.learning_rate or 0:.3g}",
            f"{e.seconds:.1f}",
            f"{e.images_per_second:,.0f}",
        ]
        for e in epochs
    ]
    return figure("Learning rate", svg, summary, ["epoch", "learning rate", "seconds", "images/s"], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
