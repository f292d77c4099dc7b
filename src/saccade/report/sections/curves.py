"""How training went: loss, accuracy and learning rate by epoch, with the kept epoch marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np

from ...core.display import figure as shown
from ...runs.log import EpochEvent
from ..charts import Axis, Series, figure, line_chart
from ..html import Child, Markup, element, section

LOG_RANGE = 30.0
MAX_DRAWN = 150  # epochs of a table
MAX_POINTS = 2 * MAX_DRAWN  # of a line; of more the extremes of MAX_DRAWN stretches are drawn
NO_RECORD = "The record of the epochs is not in the run directory."
TIME_UNITS = (("hours", 3600.0, 3 * 3600.0), ("minutes", 60.0, 180.0))  # name, seconds, from how many seconds on
By = Literal["epoch", "step", "time"]
Value = Callable[[EpochEvent], float | None]


@dataclass(frozen=True, kw_only=True)
class CurveView:
    """How curves are looked at. `scale` of the loss is linear, log, or "" for what fits; along the x axis run epochs,
    steps or seconds of training, of which `low` to `high` are drawn (None: all). `smoothing`, 0 to below 1, is the
    weight of what went before in the mean that is drawn over the values, which stay, faint."""

    scale: str = ""
    by: By = "epoch"
    low: float | None = None
    high: float | None = None
    smoothing: float = 0.0


ALL = CurveView()


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """The epochs that a view shows: `x` of each, in units of the axis; what the axis is; the place of the kept one."""

    epochs: tuple[EpochEvent, ...]
    x: tuple[float, ...]
    axis: Axis
    unit_s: float
    mark: float | None
    first: int  # how many epochs lie before, which smoothing knows of
    all_epochs: Sequence[EpochEvent]


def curves_section(epochs: Sequence[EpochEvent], is_number: bool, view: CurveView = ALL) -> Markup:
    """Three small charts side by side, each with its figures."""
    if not epochs:
        return section("curves", "Training", element("p", {}, NO_RECORD))
    drawn = _drawn(epochs, view)
    charts = [
        _pair_chart(drawn, "Loss", False, view),
        *([] if is_number else [_pair_chart(drawn, "Accuracy", True, view)]),
        *([_mae_chart(drawn, view)] if any(event.validation_mae is not None for event in drawn.epochs) else []),
        *([_map_chart(drawn, view)] if any(event.validation_map is not None for event in drawn.epochs) else []),
    ]
    charts += [_rate_chart(drawn, view)] if any(event.learning_rate is not None for event in drawn.epochs) else []
    words = element("p", {}, _words(epochs, drawn, view))
    return section("curves", "Training", words, element("div", {"class": "charts"}, *charts))


def _words(epochs: Sequence[EpochEvent], drawn: _Drawn, view: CurveView) -> str:
    kept = max((event.epoch for event in epochs if event.is_best), default=None)
    marked = f"The dotted line marks epoch {kept}, whose weights were kept."
    told = (
        [marked if drawn.mark is not None else f"Epoch {kept}, whose weights were kept, is not in view."]
        if kept
        else []
    )
    num = len(drawn.epochs)
    if num < len(epochs):
        told.append(f"{num:,} of {len(epochs):,} epochs are in view.")
    if num > MAX_POINTS:
        told.append(f"Of each of {MAX_DRAWN} stretches of {num:,} epochs the least and the greatest value are drawn.")
    if num > MAX_DRAWN:
        told.append(f"Tables name {MAX_DRAWN} of {num:,} epochs.")
    if view.smoothing:
        told.append(f"Strong lines are means in which what went before weighs {view.smoothing:.2f}.")
    return " ".join(told)


def _drawn(epochs: Sequence[EpochEvent], view: CurveView) -> _Drawn:
    """What `view` shows of `epochs`; all of them where it would show none."""
    given = places_by(epochs, view.by)
    low, high = (given[0] if view.low is None else view.low), (given[-1] if view.high is None else view.high)
    inside = [place for place, value in enumerate(given) if low <= value <= high]
    if not inside:
        inside, low, high = list(range(len(epochs))), given[0], given[-1]
    name, unit_s = _unit(view.by, high)
    chosen = slice(inside[0], inside[-1] + 1)
    is_cut = len(inside) < len(epochs)
    axis = Axis(
        title=name,
        kind="linear" if view.by == "time" else "epochs",
        ends=(low / unit_s, high / unit_s) if is_cut and high > low else None,
    )
    kept = [place for place, event in enumerate(epochs) if event.is_best and place in range(chosen.start, chosen.stop)]
    is_last_kept = kept and not any(event.is_best for event in epochs[chosen.stop :])
    return _Drawn(
        epochs=tuple(epochs[chosen]),
        x=tuple(value / unit_s for value in given[chosen]),
        axis=axis,
        unit_s=unit_s,
        mark=given[kept[-1]] / unit_s if is_last_kept else None,
        first=chosen.start,
        all_epochs=epochs,
    )


def places_by(epochs: Sequence[EpochEvent], by: By) -> list[float]:
    """Where each epoch ends along an axis of epochs, steps or seconds; epochs where steps were not written down."""
    if by == "time":
        return list(accumulate(event.seconds for event in epochs))
    if by == "step" and all(event.step is not None for event in epochs):
        return [float(event.step or 0) for event in epochs]
    return [float(event.epoch) for event in epochs]


def _unit(by: By, most: float) -> tuple[str, float]:
    """(what the axis says, how much of what is given one of it is)."""
    if by != "time":
        return by, 1.0
    return next(((name, unit_s) for name, unit_s, least in TIME_UNITS if most >= least), ("seconds", 1.0))


def thinned(epochs: Sequence[EpochEvent]) -> tuple[EpochEvent, ...]:
    """At most MAX_DRAWN of `epochs`, evenly spaced, the first, the last and the one that was kept among them."""
    if len(epochs) <= MAX_DRAWN:
        return tuple(epochs)
    places = {round(i * (len(epochs) - 1) / (MAX_DRAWN - 2)) for i in range(MAX_DRAWN - 1)}
    kept = [place for place, event in enumerate(epochs) if event.is_best]
    return tuple(epochs[place] for place in sorted({*places, *kept[-1:]}))


def extremes(values: Sequence[float | None]) -> list[int]:
    """The places of a line that looks as the whole one does: the first and last value, and the least and the greatest
    of each of MAX_DRAWN equal stretches. Where there are few values, all of them."""
    known = [place for place, value in enumerate(values) if value is not None]
    if len(known) <= MAX_POINTS:
        return known
    value_N = np.array([values[place] for place in known], dtype=np.float64)
    edges = [len(known) * number // MAX_DRAWN for number in range(MAX_DRAWN + 1)]
    places = {0, len(known) - 1}
    for start, stop in pairwise(edges):
        stretch = value_N[start:stop]
        places |= {start + int(stretch.argmin()), start + int(stretch.argmax())}
    return [known[place] for place in sorted(places)]


def smoothed(values: Sequence[float | None], weight: float) -> list[float | None]:
    """The exponential moving mean of what is known, without the pull of its beginning towards zero (Kingma and Ba 2015,
    arXiv:1412.6980, section 3)."""
    total, scale = 0.0, 0.0
    found: list[float | None] = []
    for value in values:
        if value is not None:
            total, scale = weight * total + (1 - weight) * value, weight * scale + (1 - weight)
        found.append(None if value is None else total / scale)
    return found


def _series(drawn: _Drawn, view: CurveView, lines: Sequence[tuple[str, Value]]) -> list[Series]:
    """The lines in view; where they are smoothed, the values as they are behind them."""
    found = []
    for name, value_of in lines:
        values = [value_of(event) for event in drawn.epochs]
        places = extremes(values)
        raw = Series(name, [values[place] for place in places], x=[drawn.x[place] for place in places])
        if not view.smoothing:
            found.append(raw)
            continue
        every = smoothed([value_of(event) for event in drawn.all_epochs], view.smoothing)
        means = every[drawn.first : drawn.first + len(drawn.epochs)]
        places = extremes(means)
        found.append(
            Series(name, [means[place] for place in places], x=[drawn.x[place] for place in places], behind=raw)
        )
    return found


def _chart(drawn: _Drawn, series: Sequence[Series], axis: Axis) -> str:
    """The lines as SVG, which says what its x axis spans, in epochs, steps or seconds."""
    svg = line_chart(series, (drawn.axis, axis), drawn.mark)
    low, high = drawn.axis.ends or (drawn.x[0], drawn.x[-1])
    return svg.replace("<svg ", f'<svg data-x="{low * drawn.unit_s:.10g} {high * drawn.unit_s:.10g}" ', 1)


def _map_chart(drawn: _Drawn, view: CurveView) -> Markup:
    """Of several labels: what the kept epoch was chosen by. Accuracies are shares of images with every label right."""
    series = _series(drawn, view, [("validation", lambda event: event.validation_map)])
    svg = _chart(drawn, series, Axis(kind="percent"))
    told = [event for event in thinned(drawn.epochs) if event.validation_map is not None]
    rows: list[list[Child]] = [[str(event.epoch), _percent(event.validation_map)] for event in told]
    summary = f"mAP: {_percent(told[-1].validation_map)} on the validation images in the last epoch."
    return figure("mAP (validation, %)", svg, summary, ["epoch", "validation"], rows)


def _mae_chart(drawn: _Drawn, view: CurveView) -> Markup:
    """Of numbers: what the kept epoch was chosen by."""
    series = _series(drawn, view, [("validation", lambda event: event.validation_mae)])
    svg = _chart(drawn, series, Axis())
    told = [event for event in thinned(drawn.epochs) if event.validation_mae is not None]
    rows: list[list[Child]] = [[str(event.epoch), shown(event.validation_mae or 0.0)] for event in told]
    summary = (
        f"Mean absolute error: {shown(told[-1].validation_mae or 0.0)} on the validation images in the last epoch."
    )
    return figure("Mean absolute error (validation)", svg, summary, ["epoch", "validation"], rows)


def _pair_chart(drawn: _Drawn, title: str, is_accuracy: bool, view: CurveView) -> Markup:
    train: Value = (lambda event: event.train_accuracy) if is_accuracy else (lambda event: event.train_loss)
    validation: Value = (
        (lambda event: event.validation_accuracy) if is_accuracy else (lambda event: event.validation_loss)
    )
    has_validation = any(validation(event) is not None for event in drawn.epochs)
    lines = [("train", train), *([("validation", validation)] if has_validation else [])]
    series = _series(drawn, view, lines)
    values = [value for line in series for value in line.all_values()]
    spread = max(values) / max(min(values), 1e-9)
    kind = "percent" if is_accuracy else "log" if spread > LOG_RANGE and min(values) > 0 else "linear"
    if view.scale and not is_accuracy and min(values) > 0:
        kind = view.scale
    svg = _chart(drawn, series, Axis(kind=kind))
    show = _percent if is_accuracy else _number
    last = drawn.epochs[-1]
    summary = f"{title}: training {show(train(last))} in the last epoch"
    summary += f", validation {show(validation(last))}." if has_validation else "."
    headings: list[Child] = ["epoch", *(name for name, _ in lines)]
    rows: list[list[Child]] = [
        [str(event.epoch), *(show(value_of(event)) for _, value_of in lines)] for event in thinned(drawn.epochs)
    ]
    heading = {"percent": f"{title} (% correct)", "log": f"{title} (logarithmic)"}.get(kind, title)
    return figure(heading, svg, summary, headings, rows)


def _rate_chart(drawn: _Drawn, view: CurveView) -> Markup:
    series = _series(drawn, ALL, [("rate", lambda event: event.learning_rate)])
    svg = _chart(drawn, series, Axis())
    known = [event.learning_rate for event in drawn.epochs if event.learning_rate is not None]
    summary = f"Learning rate at the end of each epoch: at most {max(known):.3g}."
    rows: list[list[Child]] = [
        [
            str(e.epoch),
            f"{e.learning_rate or 0:.3g}",
            f"{e.seconds:.1f}",
            f"{e.images_per_second:,.0f}",
        ]
        for e in thinned(drawn.epochs)
    ]
    return figure("Learning rate", svg, summary, ["epoch", "learning rate", "seconds", "images/s"], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
