"""Charts as SVG that belongs to the page: its colours are the page's, its text is selectable, no script. They are
written in the words of Vega-Lite itself: altair, which checks and copies them, takes longer than to draw them.

Vega writes the colours it is given, so each role gets a stand-in colour that is replaced by the page's variable.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.drawing import drawing_engine
from ..core.errors import SaccadeError, printable
from .html import Child, Markup, element, folded, table

STAND_INS = {"#010101": "ink", "#020202": "muted", "#030303": "line"}
STAND_INS |= {f"#{3 * f'0{number + 3}'}": f"series{number}" for number in range(1, 7)}
INK, MUTED, LINE, FIRST, SECOND, *_ = STAND_INS
SERIES = [*STAND_INS][3:]
WIDTH, HEIGHT = 320, 220
FONT_PX = 12
SMALL = 0.001
PERCENT_RANGES = (0.05, 0.005, 0.0005)  # of an axis, from which 0, 1, 2 digits after the point tell its ticks apart
FAINT = 0.35  # of the values behind their mean
DASHED, SOLID = [5, 3], [1, 0]
DASHES = [SOLID, DASHED, [2, 2], [9, 3], [9, 3, 2, 3], [1, 4]]
PLOT = re.compile(
    r'transform="translate\(([\d.]+),([\d.]+)\)"><g><g transform="translate\(0,0\)"><path d="M0,0h([\d.]+)v([\d.]+)h'
)
IS_SO_ANYWAY = re.compile(
    r' (?:opacity="1"|stroke-width="1"|[xy]2="0"|font-weight="400"|transform="translate\(0,0\)"'
    rf'|font-family="sans-serif"|font-size="{FONT_PX}px")'
)
PAINTS_NOTHING = re.compile(r'<path d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>')
PLACES = re.compile(r' (?:d|transform)="[^"]*"')
FEW_POINTS = 3  # of a line of fewer than so many the points are drawn, too
LABEL_GAP = 0.075  # of the height of a chart, between the names of two lines
Layer = dict[str, Any]  # a part of a chart, as Vega-Lite names it
WHOLE: Layer = {"domain": [0, 1]}
GUESS: Layer = {"type": "line", "color": MUTED, "strokeDash": DASHED, "strokeWidth": 1}
AXES: Layer = {
    **{"labelColor": INK, "titleColor": MUTED, "gridColor": LINE, "domainColor": MUTED, "tickColor": MUTED},
    **{"labelFont": "sans-serif", "titleFont": "sans-serif", "labelFontSize": FONT_PX, "titleFontSize": FONT_PX},
    "titleFontWeight": 400,
}


@dataclass(frozen=True)
class Series:
    """A named line over `x`; the first of a chart is blue and solid, the second orange and dashed. None: no value.
    `behind` is drawn faint behind it, such as the values of which it is the mean."""

    name: str
    values: Sequence[float | None]
    x: Sequence[float]
    behind: "Series | None" = None

    def all_values(self) -> list[float]:
        """What is known of it and of what lies behind it."""
        behind = self.behind.all_values() if self.behind else []
        return [*behind, *(value for value in self.values if value is not None)]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis says (None: the heading says it), and what its numbers are: `linear`, `log`, a `percent` (of a
    fraction), whole `epochs`. `ends` are its ends; None: those of what is drawn."""

    title: str | None = None
    kind: str = "linear"
    ends: tuple[float, float] | None = None


def line_chart(series: Sequence[Series], axes: tuple[Axis, Axis], mark: float | None) -> str:
    """SVG of one or two lines, named at their ends, with a vertical line at `mark`."""
    rows = [row for line in series for row in _points(line)]
    behind = [row for line in series if line.behind for row in _points(line.behind)]
    names = [line.name for line in series]
    named: Layer = {"field": "series", "type": "nominal", "legend": None}
    colour = named | {"scale": {"domain": names, "range": [FIRST, SECOND][: len(names)]}}
    encoding = {
        "x": _number("x", **_axis(axes[0], [row["x"] for row in [*behind, *rows]], 0.0)),
        "y": _number("y", **_axis(axes[1], [row["y"] for row in [*behind, *rows]], 0.14)),
        "color": colour,
        "strokeDash": named | {"scale": {"domain": names, "range": [SOLID, DASHED][: len(names)]}},
    }
    is_short = max(len(line.values) for line in series) < 3
    layers = [_layer(behind, {"type": "line", "strokeWidth": 1, "opacity": FAINT}, encoding)] if behind else []
    layers.append(_layer(rows, {"type": "line", "strokeWidth": 2, "point": is_short}, encoding))
    if len(series) > 1:
        layers += _end_labels(series, colour)
    if mark is not None:
        layers.append(_mark(mark))
    return _svg(layers)


def _points(line: Series) -> list[Layer]:
    return [
        {"x": place, "y": value, "series": line.name}
        for place, value in zip(line.x, line.values, strict=True)
        if value is not None
    ]


@dataclass(frozen=True)
class Line:
    """A line of several: `number` (1 to 6) is its colour and its dash, in every chart the same."""

    name: str
    number: int
    x: Sequence[float]
    y: Sequence[float]


def overlay_chart(lines: Sequence[Line], axes: tuple[Axis, Axis]) -> str:
    """SVG of up to six lines, each with its own colour and dash, named at its end."""
    rows: list[Layer] = [
        {"x": a, "y": b, "series": line.name} for line in lines for a, b in zip(line.x, line.y, strict=True)
    ]
    names, places = [line.name for line in lines], [line.number - 1 for line in lines]
    named: Layer = {"field": "series", "type": "nominal", "legend": None}
    across = _axis(axes[0], [row["x"] for row in rows], 0.04)
    down = _axis(axes[1], [row["y"] for row in rows], 0.06)
    encoding = {
        "x": _number("x", **across),
        "y": _number("y", **down),
        "color": named | {"scale": {"domain": names, "range": [SERIES[place] for place in places]}},
        "strokeDash": named | {"scale": {"domain": names, "range": [DASHES[place] for place in places]}},
    }
    ends = _apart([{"x": line.x[-1], "y": line.y[-1], "series": line.name} for line in lines], down["scale"]["domain"])
    text: Layer = {"type": "text", "align": "left", "dx": 4, "fontSize": FONT_PX, "fontWeight": 600, "color": INK}
    label = {"x": _number("x"), "y": _number("y"), "text": {"field": "series", "type": "nominal"}}
    mark: Layer = {"type": "line", "strokeWidth": 2}
    short = {line.name for line in lines if len(line.x) < FEW_POINTS}
    dots: Layer = {"type": "circle", "size": 40, "opacity": 1}
    dotted = [_layer([row for row in rows if row["series"] in short], dots, encoding)] if short else []
    return _svg([_layer(rows, mark, encoding), *dotted, _layer(ends, text, label)])


def line_key(number: int) -> Markup:
    """How line `number` of a chart of several is drawn, as a small picture beside its name."""
    dash = " ".join(map(str, DASHES[number - 1])) if number > 1 else "none"
    line: dict[str, str | int] = {
        "x1": 1,
        "y1": 4,
        "x2": 27,
        "y2": 4,
        "stroke": f"var(--series{number})",
        "stroke-width": 2,
    }
    return element(
        "svg",
        {"viewBox": "0 0 28 8", "width": 28, "height": 8, "aria-hidden": "true"},
        element("line", {**line, "stroke-dasharray": dash}),
    )


def _apart(ends: list[Layer], domain: Sequence[float]) -> list[Layer]:
    """The places of names with room between them, from the highest line down, and none below the chart."""
    low, high = domain
    gap = LABEL_GAP * (high - low)
    ends = sorted(ends, key=lambda end: -end["y"])
    for before, end in zip(ends, ends[1:]):
        end["y"] = min(end["y"], before["y"] - gap)
    lift = max(0.0, low + gap / 2 - ends[-1]["y"]) if ends else 0.0
    return [end | {"y": end["y"] + lift} for end in ends]


def calibration_chart(rows: Sequence[dict[str, float]]) -> str:
    """SVG of accuracy against confidence; the diagonal is perfect. Rows hold confidence, accuracy, low and high."""
    points, diagonal = list(rows), [{"c": 0, "a": 0}, {"c": 1, "a": 1}]
    x = _number("confidence", scale=WHOLE, axis=_share_axis("confidence"))
    interval = {"x": x, "y": _number("low", scale=WHOLE), "y2": {"field": "high"}}
    accuracy = {"x": x, "y": _number("accuracy", scale=WHOLE, axis=_share_axis(None))}
    return _svg(
        [
            _layer(diagonal, GUESS, {"x": _number("c", scale=WHOLE), "y": _number("a")}),
            _layer(points, {"type": "rule", "color": FIRST, "strokeWidth": 1.5}, interval),
            _layer(points, {"type": "circle", "color": FIRST, "size": 60, "opacity": 1}, accuracy),
        ]
    )


def number_chart(truth: Sequence[float], said: Sequence[float], half_width: float) -> str:
    """SVG of what was said over the truth; on the solid line they agree, and between the dashed ones, `half_width` away
    (0: not drawn), nine of ten truths are expected."""
    low, high = min(*truth, *said), max(*truth, *said)
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    scale = {"domain": [low - room, high + room], "nice": False, "zero": False}
    encoding = {
        "x": _number("truth", scale=scale, axis={"title": "truth", "tickCount": 5}),
        "y": _number("said", scale=scale, axis={"title": "answer", "tickCount": 5}),
    }
    layers = []
    for shift in (0.0, half_width, -half_width) if half_width else (0.0,):
        ends = [(low - room, low - room + shift), (high + room, high + room + shift)]
        dash = {"strokeDash": SOLID if shift == 0 else DASHED, "clip": True}
        layers.append(_layer([{"truth": t, "said": s} for t, s in ends], GUESS | dash, encoding))
    points: list[Layer] = [{"truth": t, "said": s} for t, s in zip(truth, said, strict=True)]
    circle = {"type": "circle", "color": FIRST, "size": 22, "opacity": 0.6, "clip": True}
    return _svg([*layers, _layer(points, circle, encoding)])


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
    rows: list[Layer] = [{"i": i, "x": float(a), "y": float(b)} for i, (a, b) in enumerate(zip(x, y, strict=True))]
    encoding = {
        "x": _number("x", scale=WHOLE, axis=_share_axis(titles[0])),
        "y": _number("y", scale=WHOLE, axis=_share_axis(titles[1])),
    }
    line: Layer = {"type": "line", "color": FIRST, "strokeWidth": 2}
    line |= {"interpolate": "step-before"} if chance[0] == chance[1] else {}
    layers = [
        _layer([{"x": 0, "y": chance[0]}, {"x": 1, "y": chance[1]}], GUESS, encoding),
        _layer(rows, line, encoding | {"order": _number("i")}),
    ]
    return _svg(layers + ([] if mark is None else [_mark(mark)]))


def bar_chart(values: Sequence[tuple[str, float]], title: str) -> str:
    """SVG of a bar for each named share, 0 to 100 %, in the order given, its figure at its end."""
    rows: list[Layer] = [{"name": name, "y": value, "words": f"{100 * value:.0f} %"} for name, value in values]
    order = [name for name, _ in values]
    x = {"field": "name", "type": "nominal", "sort": order, "axis": {"title": title, "labelAngle": 0}}
    y = _number("y", scale=WHOLE, axis=_percent(0) | {"values": [0, 0.5, 1], "title": None})
    words = {"field": "words", "type": "nominal"}
    return _svg(
        [
            _layer(rows, {"type": "bar", "color": FIRST, "width": 24}, {"x": x, "y": y}),
            _layer(
                rows,
                {"type": "text", "color": INK, "dy": -8, "fontSize": FONT_PX},
                {"x": x, "y": y, "text": words},
            ),
        ]
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


def _number(field: str, scale: Layer | None = None, axis: Layer | None = None) -> Layer:
    """A channel that shows the numbers in `field`."""
    given = {"scale": scale, "axis": axis}
    return {"field": field, "type": "quantitative"} | {key: value for key, value in given.items() if value is not None}


def _share_axis(title: str | None) -> Layer:
    return _percent(0) | {"values": [0, 0.25, 0.5, 0.75, 1], "title": title}


def _percent(num_digits: int) -> Layer:
    """How an axis writes shares: `99.2 %`, as everywhere; Vega's own format leaves out the space."""
    return {"labelExpr": f"format(100 * datum.value, '.{num_digits}f') + ' %'"}


def _layer(rows: list[Layer], mark: Layer, encoding: dict[str, Layer]) -> Layer:
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def _end_labels(series: Sequence[Series], colour: Layer) -> list[Layer]:
    """The name of each line at its end; the higher line's above it, the lower one's below, so that they never meet."""
    ends: list[Layer] = []
    for line in series:
        ends += _points(line)[-1:]
    ends.sort(key=lambda end: -end["y"])
    text: Layer = {"type": "text", "align": "right", "dx": -2, "fontSize": FONT_PX, "fontWeight": 600}
    encoding = {"x": _number("x"), "y": _number("y"), "text": {"field": "series", "type": "nominal"}, "color": colour}
    return [_layer([end], text | {"dy": -9 if number == 0 else 12}, encoding) for number, end in enumerate(ends)]


def _mark(place: float) -> Layer:
    rule = {"type": "rule", "color": INK, "strokeDash": [2, 2], "strokeWidth": 1.5}
    return _layer([{"x": place}], rule, {"x": _number("x")})


def _axis(axis: Axis, values: Sequence[float], padding: float) -> dict[str, Layer]:
    """`axis` and `scale` of a channel that shows `values`, with a share of their range as room on either side."""
    low, high = axis.ends or (min(values), max(values))
    if axis.kind == "log":
        factor = max(high / low, 1.1) ** padding
        scale = {"type": "log", "domain": [low / factor, high * factor]}
        return {"axis": {"title": axis.title, "tickCount": 4}, "scale": scale}
    options: Layer = {"title": axis.title, "tickCount": 5}
    if axis.kind == "percent":
        digits = next((number for number, least in enumerate(PERCENT_RANGES) if high - low >= least), 3)
        options |= _percent(digits)
    if axis.kind == "linear" and high < SMALL:
        options["format"] = ".1~e"
    if axis.kind == "epochs":
        options |= {"values": _whole_ticks(math.ceil(low), math.floor(high)), "format": ",d"}
    room = padding * ((high - low) or abs(high) or 1.0)
    return {"axis": options, "scale": {"domain": [low - room, high + room], "nice": False, "zero": False}}


def _whole_ticks(low: int, high: int) -> list[int]:
    """At most six whole numbers from `low` to `high`, evenly spaced but for the last one; none where there is none."""
    if high < low:
        return []
    step = max(1, -(-(high - low) // 5))
    ticks = list(range(low, high + 1, step))
    return ticks if ticks[-1] == high else [*(tick for tick in ticks if high - tick > step / 2), high]


def _svg(layers: list[Layer]) -> str:
    chart = {
        "layer": layers,
        "width": WIDTH,
        "height": HEIGHT,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {
            "background": "transparent",
            "padding": {"left": 8, "right": 2, "top": 2, "bottom": 2},
            "view": {"stroke": None},
            "axis": AXES,
        },
    }
    plain = json.loads(json.dumps(chart, default=lambda number: number.item()))  # without NumPy's own numbers
    try:
        svg: str = drawing_engine().vegalite_to_svg(plain)
    except ValueError as error:  # its engine did not start: no memory, no threads
        raise SaccadeError(f"The charts cannot be drawn: {printable(str(error).splitlines()[0])}") from error
    svg = re.sub(r' (?:role|aria-[a-z]+|style|class|xmlns:xlink|version|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(r'<rect width="[\d.]+" height="[\d.]+" fill="transparent"/>', "", svg, count=1)
    for stand_in, name in STAND_INS.items():
        svg = svg.replace(f'"{stand_in}"', f'"var(--{name})"')
    if plot := PLOT.search(svg):  # where in the drawing the axes are, for what measures on it
        svg = svg.replace("<svg ", f'<svg data-plot="{" ".join(plot.groups())}" ', 1)
    return _short(svg)


def _short(svg: str) -> str:
    """The same drawing in fewer bytes: without what is so anyway, or paints nothing, and to a hundredth of a pixel."""
    svg = IS_SO_ANYWAY.sub("", svg)
    svg = PAINTS_NOTHING.sub("", svg)
    svg = PLACES.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    return svg.replace("<svg ", f'<svg font-size="{FONT_PX}px" ', 1)
