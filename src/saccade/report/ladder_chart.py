"""The picture of a ladder: accuracy on images left out, against the depth that is frozen and the number of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.start_point import Rung
from .palette import LIGHT
from .titled_picture import write_titled

PANEL_WIDTH, PANEL_HEIGHT = 200, 240
WORDS = {
    "linear": "a linear last layer",
    "hidden": "a last layer with a hidden one",
    "tail": "everything after it",
}
COLOURS = {"linear": "series1", "hidden": "good", "tail": "series2"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measurement: `trained` (linear, hidden or tail) behind `depth`; accuracy and its interval are fractions."""

    depth: str
    trained: str
    num_images: int
    accuracy: float
    low: float
    high: float


def measured_steps(rungs: Sequence[Rung]) -> list[Step]:
    """What a transfer measured at every depth, as its picture shows it."""
    shown = {"depth", "trained", "num_images", "low", "high"}
    return [Step(accuracy=rung.accuracy, **rung.model_dump(include=shown)) for rung in rungs]


def write_ladder_chart(path: Path, steps: Sequence[Step], sentence: str) -> None:
    """Write the chart of `steps`, which come in the order of depth from the input on, as SVG, durably.

    Raises StorageError.
    """
    write_titled(path, _chart(steps), sentence, line_width=100)


def _chart(steps: Sequence[Step]) -> Any:
    import altair  # a second; only who asks for a picture pays it

    order = list(reversed(dict.fromkeys(step.depth for step in steps)))
    sizes = sorted({step.num_images for step in steps})
    x = altair.X("depth:N", sort=order, axis=altair.Axis(title="frozen up to", labelAngle=0, grid=False))
    low = min(step.low for step in steps)
    y_scale = altair.Scale(domain=[max(0, 10 * int(10 * low)), 100])
    colour = altair.Color(
        "trained:N",
        scale=altair.Scale(domain=list(WORDS.values()), range=[LIGHT[COLOURS[name]] for name in WORDS]),
        legend=altair.Legend(title="what is trained", orient="bottom", labelLimit=320),
    )
    panels = []
    for size in sizes:
        rows = [_row(step) for step in steps if step.num_images == size]
        base = altair.Chart(altair.Data(values=rows)).encode(x=x, color=colour)
        axis_title = "correct on images left out, %" if size == sizes[0] else None
        y = altair.Y("accuracy:Q", scale=y_scale, title=axis_title)
        panel = altair.layer(
            base.mark_rule(strokeWidth=1).encode(y=altair.Y("low:Q", scale=y_scale), y2="high:Q"),
            base.mark_line(strokeWidth=2).encode(y=y),
            base.mark_point(filled=True, size=50, opacity=1).encode(y=y),
        )
        caption = altair.TitleParams(f"{size:,} images", fontSize=12, fontWeight=600, color=LIGHT["ink"])
        panels.append(panel.properties(width=PANEL_WIDTH, height=PANEL_HEIGHT, title=caption))
    return altair.hconcat(*panels)


def _row(step: Step) -> dict[str, object]:
    return {
        "depth": step.depth,
        "trained": WORDS[step.trained],
        "accuracy": 100 * step.accuracy,
        "low": 100 * step.low,
        "high": 100 * step.high,
    }
