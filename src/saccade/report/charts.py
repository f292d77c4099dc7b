"""Charts from altair as SVG that belongs to the page: its colours are the page's, its text is selectable, no script.

Vega writes the colours it is given, so each role gets a stand-in colour that is replaced by the page's variable.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..core.drawing import drawing_engine
from ..core.errors import SaccadeError, printable
from .html import Child, Markup, element, folded, table

if TYPE_CHECKING:
    import altair

STAND_INS = {"#010101": "ink", "#020202": "muted", "#030303": "line", "#040404": "series1", "#050505": "series2"}
INK, MUTED, LINE, FIRST, SECOND = STAND_INS
WIDTH, HEIGHT = 320, 220
FONT_PX = 12
FINE_RANGE, SMALL = 0.05, 0.001
DASHED, SOLID = [5, 3], [1, 0]


@dataclass(frozen=True)
class Series:
    """A named line; the first of a chart is blue and solid, the second orange and dashed. None: no value."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis says (None: the heading says it), and what its numbers are: `linear`, `log`, a `percent` (of a
    fraction), whole `epochs`."""

    title: str | None = None
    kind: str = "linear"


def line_chart(x: Sequence[float], series: Sequence[Series], axes: tuple[Axis, Axis], mark: float | None) -> str:
    """SVG of one or two lines over x, named at their ends, with a vertical line at `mark`."""
    alt = _altair()
    rows: list[dict[str, Any]] = [
        {"x": place, "y": value, "series": line.name}
        for line in series
        for place, value in zip(x, line.values)
        if value is not None
    ]
    names = [line.name for line in series]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_axis(alt.X("x:Q"), axes[0], list(x), 0.0), y=_axis(alt.Y("y:Q"), axes[1], [row["y"] for row in rows], 0.14)
    )
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[FIRST, SECOND][: len(names)]), legend=None)
    dash = alt.StrokeDash("series:N", scale=alt.Scale(domain=names, range=[SOLID, DASHED][: len(names)]), legend=None)
    layers = [base.mark_line(strokeWidth=2, point=len(x) < 3).encode(color=colour, strokeDash=dash)]
    if len(series) > 1:
        layers += _end_labels(alt, x, series, colour)
    if mark is not None:
        layers.append(_mark(alt, mark))
    return _svg(alt.layer(*layers))


def calibration_chart(rows: Sequence[dict[str, float]]) -> str:
    """SVG of accuracy against confidence; the diagonal is perfect. Rows hold confidence, accuracy, low and high."""
    alt = _altair()
    quarters = [0, 0.25, 0.5, 0.75, 1]
    scale = alt.Scale(domain=[0, 1])
    diagonal = alt.Chart(alt.Data(values=[{"c": 0, "a": 0}, {"c": 1, "a": 1}]))
    points = alt.Chart(alt.Data(values=list(rows)))
    x = alt.X("confidence:Q", scale=scale, axis=alt.Axis(format="%", values=quarters, title="confidence"))
    y = alt.Y("accuracy:Q", scale=scale, axis=alt.Axis(format="%", values=quarters, title=None))
    chart = alt.layer(
        diagonal.mark_line(color=MUTED, strokeDash=DASHED, strokeWidth=1).encode(x=alt.X("c:Q", scale=scale), y="a:Q"),
        points.mark_rule(color=FIRST, strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        points.mark_circle(color=FIRST, size=60, opacity=1).encode(x=x, y=y),
    )
    return _svg(chart)


def number_chart(truth: Sequence[float], said: Sequence[float], half_width: float) -> str:
    """SVG of what was said over the truth; on the solid line they agree, and between the dashed ones, `half_width` away
    (0: not drawn), nine of ten truths are expected."""
    alt = _altair()
    low, high = min(*truth, *said), max(*truth, *said)
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    x = alt.X("truth:Q", scale=scale, axis=alt.Axis(title="truth", tickCount=5))
    y = alt.Y("said:Q", scale=scale, axis=alt.Axis(title="answer", tickCount=5))
    points = alt.Chart(alt.Data(values=[{"truth": t, "said": s} for t, s in zip(truth, said, strict=True)]))
    layers = []
    for shift in (0.0, half_width, -half_width) if half_width else (0.0,):
        ends = [(low - room, low - room + shift), (high + room, high + room + shift)]
        line = alt.Chart(alt.Data(values=[{"truth": t, "said": s} for t, s in ends]))
        dash = SOLID if shift == 0 else DASHED
        layers.append(line.mark_line(color=MUTED, strokeDash=dash, strokeWidth=1, clip=True).encode(x=x, y=y))
    layers.append(points.mark_circle(color=FIRST, size=22, opacity=0.6, clip=True).encode(x=x, y=y))
    return _svg(alt.layer(*layers))


def rate_chart(
    x: Sequence[float],
    y: Sequence[float],
    titles: tuple[str, str],
    chance: tuple[float, float],
    mark: float | None = None,
) -> str:
    """SVG of one line between rates, both axes 0 to 100 %, in the order given, with a vertical line at `mark`. The
    dashed line from chance[0] to chance[1] is what guessing gives; where it is level, as for precision, the line goes
    in steps: each value holds back to the one before."""
    alt = _altair()
    quarters = [0, 0.25, 0.5, 0.75, 1]
    scale = alt.Scale(domain=[0, 1])
    rows = [{"i": place, "x": float(a), "y": float(b)} for place, (a, b) in enumerate(zip(x, y, strict=True))]
    guess = alt.Chart(alt.Data(values=[{"x": 0, "y": chance[0]}, {"x": 1, "y": chance[1]}]))
    x_axis = alt.X("x:Q", scale=scale, axis=alt.Axis(format="%", values=quarters, title=titles[0]))
    y_axis = alt.Y("y:Q", scale=scale, axis=alt.Axis(format="%", values=quarters, title=titles[1]))
    shape = {"interpolate": "step-before"} if chance[0] == chance[1] else {}
    line = alt.Chart(alt.Data(values=rows)).mark_line(color=FIRST, strokeWidth=2, **shape)
    layers = [
        guess.mark_line(color=MUTED, strokeDash=DASHED, strokeWidth=1).encode(x=x_axis, y=y_axis),
        line.encode(x=x_axis, y=y_axis, order=alt.Order("i:Q")),
    ]
    layers += [] if mark is None else [_mark(alt, mark)]
    return _svg(alt.layer(*layers))


def bar_chart(values: Sequence[tuple[str, float]], title: str) -> str:
    """SVG of a bar for each named share, 0 to 100 %, in the order given, its figure at its end."""
    alt = _altair()
    rows = [{"name": name, "y": value, "words": f"{100 * value:.0f} %"} for name, value in values]
    order = [name for name, _ in values]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("name:N", sort=order, axis=alt.Axis(title=title, labelAngle=0)),
        y=alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", values=[0, 0.5, 1], title=None)),
    )
    return _svg(
        alt.layer(
            base.mark_bar(color=FIRST, width=24),
            base.mark_text(dy=-8, color=INK, fontSize=FONT_PX).encode(text="words:N"),
        )
    )


def figure(title: str, svg: str, summary: str, headings: Sequence[Child], rows: Sequence[Sequence[Child]]) -> Markup:
    """A chart with its title, one sentence that says what it shows, and its figures as a table."""
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{element("i", {}, summary).text[3:-4]}" ', 1)
    return element(
        "figure",
        {},
        element("h3", {}, title),
        Markup(named),
        element("figcaption", {}, summary),
        folded("Figures", table(headings, rows, f"{title}: figures")),
    )


def _end_labels(alt: Any, x: Sequence[float], series: Sequence[Series], colour: Any) -> list[Any]:
    """The name of each line at its end; the higher line's above it, the lower one's below, so that they never meet."""
    ends: list[dict[str, Any]] = []
    for line in series:
        known = [(place, value) for place, value in zip(x, line.values) if value is not None]
        if known:
            ends.append({"x": known[-1][0], "y": known[-1][1], "series": line.name})
    ends.sort(key=lambda end: -end["y"])
    return [
        alt.Chart(alt.Data(values=[end]))
        .mark_text(align="right", dx=-2, dy=-9 if number == 0 else 12, fontSize=FONT_PX, fontWeight=600)
        .encode(x="x:Q", y="y:Q", text="series:N", color=colour)
        for number, end in enumerate(ends)
    ]


def _mark(alt: Any, place: float) -> Any:
    data = alt.Chart(alt.Data(values=[{"x": place}]))
    return data.mark_rule(color=INK, strokeDash=[2, 2], strokeWidth=1.5).encode(x="x:Q")


def _axis(channel: Any, axis: Axis, values: Sequence[float], padding: float) -> Any:
    alt = _altair()
    low, high = min(values), max(values)
    if axis.kind == "log":
        factor = max(high / low, 1.1) ** padding
        return channel.axis(alt.Axis(title=axis.title, tickCount=4)).scale(
            type="log", domain=[low / factor, high * factor]
        )
    options: dict[str, Any] = {"title": axis.title, "tickCount": 5}
    if axis.kind == "percent":
        options["format"] = ".1%" if high - low < FINE_RANGE else "%"
    if axis.kind == "linear" and high < SMALL:
        options["format"] = ".1~e"
    if axis.kind == "epochs":
        options |= {"values": _whole_ticks(int(low), int(high)), "format": "d"}
    room = padding * ((high - low) or abs(high) or 1.0)
    return channel.axis(alt.Axis(**options)).scale(domain=[low - room, high + room], nice=False, zero=False)


def _whole_ticks(low: int, high: int) -> list[int]:
    """At most six whole numbers from `low` to `high`, evenly spaced but for the last one."""
    step = max(1, -(-(high - low) // 5))
    ticks = list(range(low, high + 1, step))
    return ticks if ticks[-1] == high else [*(tick for tick in ticks if high - tick > step / 2), high]


@cache
def _altair() -> Any:
    import altair  # a second; only a report needs it

    return altair


def _svg(chart: "altair.LayerChart") -> str:
    text = {"labelFont": "sans-serif", "titleFont": "sans-serif", "labelFontSize": FONT_PX, "titleFontSize": FONT_PX}
    fitted = chart.properties(width=WIDTH, height=HEIGHT, autosize={"type": "fit", "contains": "padding"})
    config = fitted.configure(background="transparent", padding=2).configure_axis(
        labelColor=INK,
        titleColor=MUTED,
        gridColor=LINE,
        domainColor=MUTED,
        tickColor=MUTED,
        titleFontWeight=400,
        **text,
    )
    try:
        svg = drawing_engine().vegalite_to_svg(config.configure_view(stroke=None).to_dict(validate=False))
    except ValueError as error:  # its engine did not start: no memory, no threads
        raise SaccadeError(f"The charts cannot be drawn: {printable(str(error).splitlines()[0])}") from error
    svg = re.sub(r' (?:role|aria-[a-z]+|style|class|xmlns:xlink|version|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(r'<rect width="[\d.]+" height="[\d.]+" fill="transparent"/>', "", svg, count=1)
    for stand_in, name in STAND_INS.items():
        svg = svg.replace(f'"{stand_in}"', f'"var(--{name})"')
    return svg.replace('font-family="sans-serif"', 'font-family="inherit"')
