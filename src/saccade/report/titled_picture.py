"""A picture with a sentence above it, as a run keeps it beside its files."""

from pathlib import Path
from typing import Any

from ..core import atomic
from ..core.drawing import drawing_engine
from .palette import LIGHT


def write_titled(path: Path, chart: Any, sentence: str, line_width: int) -> None:
    """Write an altair chart as SVG, durably, under `sentence` in lines of `line_width` characters.

    Raises StorageError.
    """
    import altair  # a second; only who asks for a picture pays it

    title = altair.TitleParams(
        _wrapped(sentence, line_width), fontSize=12, fontWeight=400, anchor="start", color=LIGHT["ink"], offset=12
    )
    chart = chart.properties(title=title, background=LIGHT["surface"])
    chart = chart.configure_axis(labelColor=LIGHT["ink"], titleColor=LIGHT["muted"], gridColor=LIGHT["line"])
    atomic.write_text(path, drawing_engine().vegalite_to_svg(chart.to_dict(validate=False)))


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
