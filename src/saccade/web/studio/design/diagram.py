"""A network as a drawing: one box a layer, its width by the channels, its height by the side of the map; arcs for what
a layer reads besides the box before it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.errors import counted
from ....design.layers import Layer
from ....design.text import DesignTable, pair, shape
from ....report.html import Markup, element

HEIGHT, GAP, EDGE = 132, 3, 8
MIN_SIDE, MAX_SIDE = 8.0, 104.0
MIN_WIDTH, MAX_WIDTH = 4.0, 26.0
MOST_BOXES = 160
ARC_ROOM = 48  # above the boxes
BRANCH_GAP = 9.0  # before a layer that does not read the one before it
MAX_ARCS = 400
OTHER = "other"
KINDS = (  # a word of a layer's kind, and what the drawing calls it
    ("pool", "pooling"),
    ("conv", "convolution"),
    ("dense", "dense"),
    ("attention", "attention"),
    ("add", "joining"),
    ("concat", "joining"),
)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a layer stands in the drawing; `row` is its place in the table, -1 for the input."""

    x: float
    width: float
    height: float
    kind: str
    row: int
    title: str

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return ARC_ROOM + (HEIGHT - self.height) / 2


def diagram(table: DesignTable) -> Markup:
    """The SVG; a click on a box finds its row by `data-row`."""
    found, arcs = boxes(table), skips(table)
    width = found[-1].x + found[-1].width + EDGE
    room = ARC_ROOM if arcs else 0  # a chain needs none
    drawn = [_arc(found[source + 1], found[target + 1], table) for source, target in arcs[:MAX_ARCS]]
    words = f"{len(table.layers)} layers from left to right; wide boxes have many channels, high ones large maps."
    words += f" {counted(len(arcs), 'arc')} to layers that read more than the one before." if arcs else ""
    return element(
        "svg",
        {
            "viewBox": f"0 {ARC_ROOM - room} {width:.0f} {HEIGHT + room}",
            "preserveAspectRatio": "xMinYMid meet",
            "class": "network with-arcs" if arcs else "network",
            "role": "img",
            "aria-label": words,
        },
        *drawn,
        *map(_drawn, found),
    )


def arcs_words(table: DesignTable) -> str:
    """What the arcs and gaps of the drawing mean; "" of a chain."""
    arcs = skips(table)
    if not arcs:
        return ""
    told = (
        f"Arcs: the {len(arcs):,} places where a layer reads another box than the one to its left, such as a shortcut"
    )
    told += f"; the shortest {MAX_ARCS} are drawn" if len(arcs) > MAX_ARCS else ""
    gaps = any(source_gap(table, row) for row in range(1, len(table.layers)))
    return f"{told}. A gap: nothing flows across it." if gaps else f"{told}."


def skips(table: DesignTable) -> list[tuple[int, int]]:
    """(source, target) as rows, -1 the image: what layers read besides the row before them, the shortest first."""
    found = [
        (source, row) for row, flow in enumerate(table.flows) for source in flow.sources if source not in (row - 1, row)
    ]
    return sorted(found, key=lambda pair: (pair[1] - pair[0], pair))


def source_gap(table: DesignTable, row: int) -> bool:
    """Whether a row reads others than the row before it, and not that."""
    return bool(table.flows) and bool(table.flows[row].sources) and row - 1 not in table.flows[row].sources


def boxes(table: DesignTable) -> list[Box]:
    """One for the input and one for each layer, of which very many are drawn thinner."""
    channels, height, width = table.input_CHW
    thin = min(1.0, MOST_BOXES / max(1, len(table.layers)))
    found = [_box(EDGE, (channels, height, width), "input", -1, f"input {height}x{width}x{channels}", height, thin)]
    for row, layer in enumerate(table.layers):
        gap = BRANCH_GAP if row and source_gap(table, row) else GAP
        x = found[-1].x + found[-1].width + gap * thin
        kind = _colour(layer)
        found.append(_box(x, layer.output, kind, row, _title(layer), height, thin))
    return found


def _drawn(box: Box) -> Markup:
    rect = element(
        "rect",
        {
            "x": round(box.x, 1),
            "y": round(box.top, 1),
            "width": round(box.width, 1),
            "height": round(box.height, 1),
            "class": f"box {box.kind}",
            "data-row": box.row,
        },
    )
    return element("g", {}, element("title", {}, box.title), rect)


def _arc(source: Box, target: Box, table: DesignTable) -> Markup:
    """From the top of one box over those between to the top of another, the wider the higher."""
    rise = min(ARC_ROOM - 4.0, 14 + 5 * math.log2(max(2.0, target.middle - source.middle) / 8))
    peak = min(source.top, target.top) - max(8.0, rise)
    control = peak - (min(source.top, target.top) - peak) / 3  # a cubic curve rises to three quarters of its handles
    from_x, to_x = round(source.middle, 1), round(target.middle, 1)
    path = f"M{from_x} {source.top:.1f}C{from_x} {control:.1f} {to_x} {control:.1f} {to_x} {target.top:.1f}"
    names = ["input" if box.row < 0 else table.layers[box.row].name for box in (source, target)]
    return element(
        "g", {}, element("title", {}, f"{names[0]} to {names[1]}"), element("path", {"class": "arc", "d": path})
    )


def _box(x: float, sides: Sequence[int], kind: str, row: int, title: str, input_px: int, thin: float) -> Box:
    is_map = len(sides) >= 3
    channels = sides[-3] if is_map else sides[-1] if sides else 1
    side_px = max(sides[-2:]) if is_map else 1
    largest = math.log2(max(2, input_px))
    height = MIN_SIDE + (MAX_SIDE - MIN_SIDE) * min(1.0, math.log2(max(1, side_px)) / largest)
    width = MIN_WIDTH + (MAX_WIDTH - MIN_WIDTH) * min(1.0, math.log2(max(1, channels)) / 12)
    return Box(x=x, width=width * thin, height=height, kind=kind, row=row, title=title)


def _colour(layer: Layer) -> str:
    return next((kind for word, kind in KINDS if word in layer.kind), OTHER)


def _title(layer: Layer) -> str:
    field = f", sees {pair(layer.receptive_field)} px" if layer.receptive_field else ""
    return f"{layer.name}: {layer.kind}, {shape(layer)}{field}"
