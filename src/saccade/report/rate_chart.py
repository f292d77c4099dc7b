"""The picture of a learning-rate range test: loss against rate, with the chosen one marked, as a file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import atomic
from ..core.drawing import drawing_engine
from ..core.errors import UsageError, printable
from .palette import LIGHT

ENDINGS = (".svg", ".png")
WIDTH, HEIGHT = 560, 320


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """What is drawn: a loss and a smoothed loss for each rate, the chosen rate, and one line of text."""

    rate_S: Sequence[float]
    loss_S: Sequence[float]
    smooth_S: Sequence[float]
    chosen: float
    text: str


def check_picture(path: Path) -> None:
    """Raise UsageError where `path` cannot become a picture."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"--find-lr writes a .svg or .png file; got '{printable(path.name)}'.\n"
            f"Change the ending of --out, or leave it out."
        )


def write_rate_chart(path: Path, curve: RateCurve) -> None:
    """Write the chart of `curve`, durably. Raises StorageError, UsageError for another ending."""
    check_picture(path)
    engine = drawing_engine()
    specification = _chart(curve).to_dict(validate=False)
    if path.suffix.lower() == ".svg":
        atomic.write_text(path, engine.vegalite_to_svg(specification))
    else:
        atomic.write_bytes(path, engine.vegalite_to_png(specification, scale=2))


def _chart(curve: RateCurve) -> Any:
    import altair  # a second; only who asks for a picture pays it

    rows = [{"rate": r, "loss": a, "smooth": b} for r, a, b in zip(curve.rate_S, curve.loss_S, curve.smooth_S)]
    top = max(curve.smooth_S[0] * 1.3, curve.smooth_S[-1])
    x = altair.X(
        "rate:Q", scale=altair.Scale(type="log"), axis=altair.Axis(title="learning rate", format=".0e", grid=False)
    )
    scale = altair.Scale(domain=[0.9 * min(curve.loss_S), top], clamp=True, nice=False, zero=False)
    base = altair.Chart(altair.Data(values=rows))
    mark = altair.Chart(altair.Data(values=[{"rate": curve.chosen, "label": f"{curve.chosen:g}"}]))
    layers = [
        base.mark_line(color=LIGHT["line"], strokeWidth=1).encode(x=x, y=altair.Y("loss:Q", scale=scale, title="loss")),
        base.mark_line(color=LIGHT["series1"], strokeWidth=2).encode(x=x, y=altair.Y("smooth:Q", scale=scale)),
        mark.mark_rule(color=LIGHT["ink"], strokeDash=[3, 2]).encode(x=x),
        mark.mark_text(align="left", dx=4, dy=-HEIGHT // 2 + 10, color=LIGHT["ink"], fontWeight=600).encode(
            x=x, text="label:N"
        ),
    ]
    title = altair.TitleParams(curve.text, fontSize=12, fontWeight=400, anchor="start", color=LIGHT["ink"])
    chart = altair.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title, background=LIGHT["surface"])
    return chart.configure_axis(labelColor=LIGHT["ink"], titleColor=LIGHT["muted"], gridColor=LIGHT["line"])
