"""The picture of a comparison of networks: accuracy on images left out, against the time of an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs.start_point import Backbone
from .palette import LIGHT
from .titled_picture import write_titled

WIDTH_PX, HEIGHT_PX = 460, 280
CHOSEN, OTHER = "chosen", "compared"


def write_backbone_chart(path: Path, backbones: Sequence[Backbone], sentence: str) -> None:
    """Write the chart of those of `backbones` that were judged as SVG, durably; `sentence` stands above it.

    Raises StorageError.
    """
    judged = [backbone for backbone in backbones if backbone.num_judged]
    write_titled(path, _chart(judged), sentence, line_width=75)


def _chart(judged: Sequence[Backbone]) -> Any:
    import altair  # a second; only who asks for a picture pays it

    rows = [_row(backbone) for backbone in judged]
    low = min(row["low"] for row in rows)
    x = altair.X(
        "ms:Q",
        scale=altair.Scale(type="log", nice=False, padding=75),
        axis=altair.Axis(title="milliseconds an answer on this machine", grid=False, tickCount=5),
    )
    y_scale = altair.Scale(domain=[max(0, 5 * int(low / 5 - 0.5)), 100])
    y = altair.Y("accuracy:Q", scale=y_scale, title="correct on images left out, %")
    colour = altair.Color(
        "kind:N",
        scale=altair.Scale(domain=[CHOSEN, OTHER], range=[LIGHT["series2"], LIGHT["series1"]]),
        legend=altair.Legend(title=None, orient="bottom"),
    )
    base = altair.Chart(altair.Data(values=rows)).encode(x=x, color=colour)
    chart = altair.layer(
        base.mark_rule(strokeWidth=1).encode(y=altair.Y("low:Q", scale=y_scale), y2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=y),
        base.mark_text(dy=13, fontSize=12).encode(y=altair.Y("low:Q", scale=y_scale), text="label:N"),
    )
    return chart.properties(width=WIDTH_PX, height=HEIGHT_PX)


def _row(backbone: Backbone) -> dict[str, Any]:
    return {
        "label": f"{backbone.name}, {backbone.megabytes:.1f} MB",
        "kind": CHOSEN if backbone.chosen else OTHER,
        "ms": backbone.ms,
        "accuracy": 100 * backbone.accuracy,
        "low": 100 * backbone.low,
        "high": 100 * backbone.high,
    }
