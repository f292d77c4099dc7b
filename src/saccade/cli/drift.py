"""`saccade drift RUN IMAGES...`: whether new images are like those that a run was judged on."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .argument_order import refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad
from .missing import refuse_missing
from .output import format_table

if TYPE_CHECKING:
    from ..survey.drift import Drift


def drift(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    images: list[str] = typer.Argument(
        metavar="FILE-OR-FOLDER-OR-SOURCE...", help="New images, their folders, sources, or - for a list on stdin."
    ),
    source: str = typer.Option(
        "", "--source", metavar="SOURCE", help="Where the images of RUN lie, if not where they were."
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", min=0, help="Permutations are drawn by it."),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Compare new images with those RUN held out: do they differ, how surely, and which classes moved.

    A file that cannot be read is named; the others are still compared (exit status 1).
    """
    from ..core.errors import printable

    refuse_swapped("drift", [str(run)], images)
    refuse_missing(run, () if as_json else images)
    from .. import api

    asked = AskedImages(images, quiet, as_json, allow_url)
    found = api.drift(run, asked.items, source, seed, bad=print_bad, opened=asked.opened)
    headings, rows = found.display_rows()
    table = [format_table(headings, [[printable(cell) for cell in row] for row in rows])] if rows else []
    asked.print_answer(run, [*found.display_lines(), *table, *_next_lines(found, run, images)], found.as_json())
    refuse_bad(len(found.errors), found.num_new, "the others were compared")


def _next_lines(found: "Drift", run: Path, images: list[str]) -> list[str]:
    """What to do where the new images are others than those that the run was judged on, and where they are not."""
    from ..core.errors import shell_word

    new = shell_word(images[0]) if len(images) == 1 else "IMAGES"
    if not found.is_drifted:
        return [f"Next: saccade predict {shell_word(run)} {new}"]
    return [
        f"Next, choose some of them to label: saccade suggest {shell_word(run)} {new}",
        f"Then judge the run on those: saccade evaluate {shell_word(run)} LABELLED",
    ]
