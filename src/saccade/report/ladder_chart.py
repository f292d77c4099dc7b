"""The picture of a ladder: accuracy on images left out, against the depth that is frozen and the number of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.surgery import ALL
from ..runs.start_point import Rung
from .palette import LIGHT
from .titled_picture import write_titled

FONT_PX = 16
DEPTH_WIDTH, LEAST_WIDTH, PANEL_HEIGHT = 84, 320, 340
WORDS = {
    "linear": "a new last layer",
    "hidden": "two new layers",
    "tail": "everything after that part",
}
ALL_WORDS = "all of it"
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


def write_ladder_chart(path: Path, steps: Sequence[Step], sentence: str, chosen: str = "") -> None:
    """Write the chart of `steps`, which come in the order of depth from the input on, as SVG, durably; the depth that
    was `chosen` is marked.

    Raises StorageError.
    """
    write_titled(path, _chart(steps, chosen), sentence, line_width=88, font_px=FONT_PX)


def _chart(steps: Sequence[Step], chosen: str) -> Any:
    import altair  # a second; only who asks for a picture pays it

    order = [_place(depth) for depth in reversed(dict.fromkeys(step.depth for step in steps))]
    sizes = sorted({step.num_images for step in steps})
    x_title = "how much of the network stays as it came"
    x = altair.X("depth:N", sort=order, axis=altair.Axis(title=x_title, labelAngle=0, grid=False, labelLimit=0))
    low = min(step.low for step in steps)
    y_scale = altair.Scale(domain=[max(0, 10 * int(10 * low)), 100])
    colour = altair.Color(
        "trained:N",
        scale=altair.Scale(domain=list(WORDS.values()), range=[LIGHT[COLOURS[name]] for name in WORDS]),
        legend=altair.Legend(title="what is trained", orient="bottom", labelLimit=0, columns=3),
    )
    width = max(LEAST_WIDTH, DEPTH_WIDTH * len(order))
    panels = []
    for size in sizes:
        rows = [_row(step) for step in steps if step.num_images == size]
        base = altair.Chart(altair.Data(values=rows)).encode(x=x, color=colour)
        axis_title = "right, of images left out of the training (%)" if size == sizes[0] else None
        y = altair.Y("accuracy:Q", scale=y_scale, title=axis_title)
        layers = [
            base.mark_rule(strokeWidth=1.5).encode(y=altair.Y("low:Q", scale=y_scale), y2="high:Q"),
            base.mark_line(strokeWidth=2).encode(y=y),
            base.mark_point(filled=True, size=80, opacity=1).encode(y=y),
        ]
        if chosen in {step.depth for step in steps} and size == sizes[-1]:
            layers = [*_chosen_mark(altair, _place(chosen), x), *layers]
        caption = altair.TitleParams(
            f"learning from {size:,} images", fontSize=FONT_PX, fontWeight=600, color=LIGHT["ink"]
        )
        panels.append(altair.layer(*layers).properties(width=width, height=PANEL_HEIGHT, title=caption))
    return altair.hconcat(*panels)


def _chosen_mark(altair: Any, place: str, x: Any) -> list[Any]:
    """A dotted line through the depth that was chosen, and the word above it."""
    base = altair.Chart(altair.Data(values=[{"depth": place, "words": "chosen"}])).encode(x=x)
    text = base.mark_text(
        baseline="top", dy=4, dx=6, align="left", fontSize=FONT_PX, fontWeight=600, color=LIGHT["ink"]
    )
    rule = base.mark_rule(strokeDash=[3, 3], strokeWidth=2, color=LIGHT["ink"])
    return [rule, text.encode(text="words:N", y=altair.value(0))]


def _place(depth: str) -> str:
    """`to stage2`: up to that part; of all, `all of it`."""
    return ALL_WORDS if depth == ALL else f"to {depth}"


def _row(step: Step) -> dict[str, object]:
    return {
        "depth": _place(step.depth),
        "trained": WORDS[step.trained],
        "accuracy": 100 * step.accuracy,
        "low": 100 * step.low,
        "high": 100 * step.high,
    }
