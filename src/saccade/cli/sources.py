"""`saccade sources`: the kinds of labelled images that can be trained on, and the formats of image files."""

import typer

from .output import format_table, print_json, print_result


def sources(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """List the sources: what a SOURCE can be, and how it is recognised; and the formats of image files."""
    from ..data.images.formats.table import FORMATS
    from ..data.source import SOURCES

    entries = sorted((SOURCES.get(name) for name in SOURCES), key=lambda entry: (entry.priority, entry.name))
    if as_json:
        listed = [{"name": entry.name, "summary": entry.summary, "example": entry.example} for entry in entries]
        formats = [
            {"name": kind.name, "endings": list(kind.endings), "is_missing": kind.is_missing(), "extra": kind.extra}
            for kind in FORMATS
        ]
        print_json({"sources": listed, "formats": formats})
        return
    rows = [[entry.name, entry.summary, f"saccade train {entry.example}"] for entry in entries]
    kinds = [[kind.name, " ".join(kind.endings), kind.remedy if kind.is_missing() else ""] for kind in FORMATS]
    table = format_table(["source", "what it is", "example"], rows, left=3)
    print_result(f"{table}\n\n{format_table(['image', 'endings', 'not installed'], kinds, left=3)}")
