"""`saccade similar RUN IMAGE IMAGES...`: the images of a set that are most like one."""

from pathlib import Path

import typer

from .argument_order import refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad
from .missing import refuse_missing
from .output import format_table
from .outputs import Output, check_outputs


def similar(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    image: Path = typer.Argument(metavar="IMAGE", help="The image to look for."),
    images: list[str] = typer.Argument(
        metavar="FILE-OR-FOLDER-OR-SOURCE...", help="Where to look: images, folders, sources, or - for a list on stdin."
    ),
    count: int = typer.Option(10, "--count", min=1, metavar="N", help="How many images to give."),
    sheet: Path | None = typer.Option(None, "--sheet", metavar="FILE", help="Draw them there: .svg or .png."),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Find the images most like IMAGE by what the network sees of them; exact copies are told apart.

    A file that cannot be read is named; the others are still compared (exit status 1).
    """
    from ..core.errors import printable

    refuse_swapped("similar", [str(run)], [str(image), *images])
    refuse_missing(run, () if as_json else [image])
    from .. import api

    check_outputs([Output(option="--sheet", path=sheet, endings=())], [image, *images])
    asked = AskedImages(images, quiet, as_json, allow_url)
    found = api.similar(run, image, asked.items, count, sheet, bad=print_bad)
    headings, rows = found.display_rows()
    first, *others = found.display_lines()
    cells = [[printable(cell) for cell in row] for row in rows]
    lines = [first, *([format_table(headings, cells)] if rows else []), *others]
    lines += [f"Sheet: {printable(str(sheet))}"] if sheet is not None else []
    asked.print_answer(run, lines, found.as_json() | {"sheet": None if sheet is None else str(sheet)})
    refuse_bad(len(found.errors), found.num_images, "the others were compared")
