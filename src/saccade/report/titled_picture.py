"""A picture with a sentence above it, as a run keeps it beside its files."""

from pathlib import Path
from typing import Any

from ..core import atomic
from ..core.drawing import drawing_engine
from .palette import DARK, LIGHT


def write_titled(path: Path, chart: Any, sentence: str, line_width: int, font_px: int = 12) -> None:
    """Write an altair chart as SVG, durably, under `sentence` in lines of `line_width` characters of `font_px`. Where
    the system is dark, its colours are those of the dark theme.

    Raises StorageError.
    """
    import altair  # a second; only who asks for a picture pays it

    title = altair.TitleParams(
        _wrapped(sentence, line_width), fontSize=font_px, fontWeight=400, anchor="start", color=LIGHT["ink"], offset=12
    )
    chart = chart.properties(title=title, background=LIGHT["surface"])
    chart = chart.configure_axis(
        labelColor=LIGHT["ink"],
        titleColor=LIGHT["muted"],
        gridColor=LIGHT["line"],
        domainColor=LIGHT["muted"],
        tickColor=LIGHT["muted"],
        labelFontSize=font_px,
        titleFontSize=font_px,
        titleFontWeight=400,
    )
    chart = chart.configure_legend(
        labelColor=LIGHT["ink"],
        titleColor=LIGHT["muted"],
        labelFontSize=font_px,
        titleFontSize=font_px,
        titleFontWeight=400,
        columnPadding=36,  # a viewer's font may be wider than the one that the labels are measured in
    )
    atomic.write_text(path, in_both_themes(drawing_engine().vegalite_to_svg(chart.to_dict(validate=False))))


def in_both_themes(svg: str) -> str:
    """SVG in the colours of the light theme, with a style that a dark system goes by; viewers that know none show the
    light one."""
    rules = [
        f'[{what}="{colour}" i]{{{what}:{DARK[name]}}}' for name, colour in LIGHT.items() for what in ("fill", "stroke")
    ]
    style = f"<style>@media (prefers-color-scheme:dark){{{''.join(rules)}}}</style>"
    end = svg.index(">", svg.index("<svg")) + 1
    return svg[:end] + style + svg[end:]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
