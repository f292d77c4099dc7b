"""`saccade runs [DIR]`: the runs of a folder, how each stands, and its verdict."""

import os
from pathlib import Path

import typer

from .output import format_table, print_json, print_result

DEFAULT = Path("runs")


def runs(
    folder: Path = typer.Argument(DEFAULT, metavar="DIR", help="The folder they lie in, at any depth."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """List the runs in DIR: running, finished, stopped or damaged, with the verdict of each and its interval."""
    from ..classify.run_list import RunList, read_run_list

    found = (
        RunList(folder=folder, runs=()) if folder == DEFAULT and not os.path.exists(folder) else read_run_list(folder)
    )
    if as_json:
        print_json(found.as_json())
        return
    lines = "\n".join(found.display_lines())
    print_result(f"{format_table(*found.display_rows(), left=6)}\n\n{lines}" if found.runs else lines)
