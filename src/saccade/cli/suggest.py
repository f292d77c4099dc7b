"""`saccade suggest RUN IMAGES...`: which of many unlabelled images to label next."""

from pathlib import Path

import typer

from .argument_order import refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad
from .missing import refuse_missing
from .output import format_table
from .outputs import Output, check_outputs


def suggest(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    images: list[str] = typer.Argument(
        metavar="FILE-OR-FOLDER-OR-SOURCE...", help="Images without labels, their folders, or - for a list on stdin."
    ),
    count: int = typer.Option(50, "--count", min=1, metavar="N", help="How many images to suggest."),
    seed: int = typer.Option(0, "--seed", metavar="N", min=0, help="Images are drawn by it."),
    csv: Path | None = typer.Option(None, "--csv", metavar="FILE", help="Write the list there, too."),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Suggest images to label next: those the network is unsure of, each unlike the others, the most useful first.

    A file that cannot be read is named; the others are still looked at (exit status 1).
    """
    from ..core.errors import printable

    refuse_swapped("suggest", [str(run)], images)
    refuse_missing(run, () if as_json else images)
    from .. import api

    check_outputs([Output(option="--csv", path=csv, endings=(".csv",))], images)
    asked = AskedImages(images, quiet, as_json, allow_url)
    found = api.suggest(run, asked.items, count, seed, csv, bad=print_bad)
    headings, rows = found.display_rows()
    lines = [format_table(headings, [[printable(cell) for cell in row] for row in rows], left=2)] if rows else []
    lines += found.display_lines()
    lines += [f"The list is in {printable(str(csv))}."] if csv is not None else []
    lines += ["Next: label these, put them among the training images, and train again."] if rows else []
    asked.print_answer(run, lines, found.as_json() | {"csv": None if csv is None else str(csv)})
    refuse_bad(len(found.errors), found.num_images + found.num_known, "the others were looked at")
