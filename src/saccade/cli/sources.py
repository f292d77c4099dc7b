"""`saccade sources`: the kinds of labelled images that can be trained on."""

import typer

from .output import format_table, print_json, print_result


def sources(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """List the sources: what a SOURCE can be, and how it is recognised."""
    from ..data.source import SOURCES

    entries = sorted((SOURCES.get(name) for name in SOURCES), key=lambda entry: (entry.priority, entry.name))
    if as_json:
        listed = [{"name": entry.name, "summary": entry.summary, "example": entry.example} for entry in entries]
        print_json({"sources": listed})
        return
    rows = [[entry.name, entry.summary, f"saccade train {entry.example}"] for entry in entries]
    print_result(format_table(["source", "what it is", "example"], rows, left=3))
