"""The picture of a comparison of networks: accuracy on images left out, against the time of an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core import atomic
from ..core.drawing import drawing_engine
from ..runs.start_point import Backbone
from .drawn_text import wrapped
from .palette import LIGHT

WIDTH_PX, HEIGHT_PX = 460, 280
CHOSEN, OTHER = "chosen", "compared"


def write_backbone_chart(path: Path, backbones: Sequence[Backbone], sentence: str) -> None:
    """Write the chart of those of `backbones` that were judged as SVG, durably; `sentence` stands above it.

    Raises StorageError.
    """
    judged = [backbone for backbone in backbones if backbone.num_judged]
    atomic.write_text(path, drawing_engine().vegalite_to_svg(_chart(judged, sentence).to_dict(validate=False)))


def _chart(judged: Sequence[Backbone], sentence: str) -> Any:
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
    title = altair.TitleParams(
        wrapped(sentence, 75), fontSize=12, fontWeight=400, anchor="start", color=LIGHT["ink"], offset=12
    )
    chart = chart.properties(width=WIDTH_PX, height=HEIGHT_PX, title=title, background=LIGHT["surface"])
    return chart.configure_axis(labelColor=LIGHT["ink"], titleColor=LIGHT["muted"], gridColor=LIGHT["line"])


def _row(backbone: Backbone) -> dict[str, Any]:
    return {
        "label": f"{backbone.name}, {backbone.megabytes:.1f} MB",
        "kind": CHOSEN if backbone.chosen else OTHER,
        "ms": backbone.ms,
        "accuracy": 100 * backbone.accuracy,
        "low": 100 * backbone.low,
        "high": 100 * backbone.high,
    }
