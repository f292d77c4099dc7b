"""A network as a drawing: one box a layer, its width by the channels, its height by the side of the map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....design.layers import Layer
from ....design.text import DesignTable, pair, shape
from ....report.html import Markup, element

HEIGHT, GAP, EDGE = 132, 3, 8
MIN_SIDE, MAX_SIDE = 8.0, 104.0
MIN_WIDTH, MAX_WIDTH = 4.0, 26.0
MOST_BOXES = 160
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


def diagram(table: DesignTable) -> Markup:
    """The SVG; a click on a box finds its row by `data-row`."""
    found = boxes(table)
    width = found[-1].x + found[-1].width + EDGE
    shapes = [
        element(
            "rect",
            {
                "x": round(box.x, 1),
                "y": round((HEIGHT - box.height) / 2, 1),
                "width": round(box.width, 1),
                "height": round(box.height, 1),
                "class": f"box {box.kind}",
                "data-row": box.row,
            },
        )
        for box in found
    ]
    titled = [
        element("g", {}, element("title", {}, box.title), drawn) for box, drawn in zip(found, shapes, strict=True)
    ]
    words = f"{len(table.layers)} layers from left to right; wide boxes have many channels, high ones large maps."
    return element(
        "svg",
        {"viewBox": f"0 0 {width:.0f} {HEIGHT}", "class": "network", "role": "img", "aria-label": words},
        *titled,
    )


def boxes(table: DesignTable) -> list[Box]:
    """One for the input and one for each layer, of which very many are drawn thinner."""
    channels, height, width = table.input_CHW
    thin = min(1.0, MOST_BOXES / max(1, len(table.layers)))
    found = [_box(EDGE, (channels, height, width), "input", -1, f"input {height}x{width}x{channels}", height, thin)]
    for row, layer in enumerate(table.layers):
        x = found[-1].x + found[-1].width + GAP * thin
        kind = _colour(layer)
        found.append(_box(x, layer.output, kind, row, _title(layer), height, thin))
    return found


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
