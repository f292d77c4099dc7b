"""`saccade inspect SOURCE`: a check-up of the images before anything is trained on them."""

import typer

from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .live_line import show
from .output import print_json, print_opening, print_result, result_width


def inspect(
    source: str = typer.Argument(metavar="SOURCE", help="The images: a folder, a file or a name (saccade sources)."),
    keep: bool = typer.Option(True, "--keep/--no-keep", help="Keep measurements for the next time."),
    file_column: str = FILE_COLUMN,
    label_column: str = LABEL_COLUMN,
    split_column: str = SPLIT_COLUMN,
    group_column: str = GROUP_COLUMN,
    labels: str = LABELS,
    target: str = TARGET,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Look at every image of SOURCE: the same image in two splits or classes, bad files, duplicates, counts, sizes."""
    source = chosen_source(source, file_column, label_column, split_column, group_column, labels, target)
    from .. import api
    from ..data.checkup.text import inspection_text

    def progress(done: int, total: int) -> None:
        show(f"looked at {done:,} of {total:,} images")

    inspection = api.inspect(source, progress=progress, keep=keep, opened=print_opening)
    if as_json:
        print_json(inspection.as_json())
    else:
        print_result(inspection_text(inspection, result_width()))
