"""`saccade inspect SOURCE`: a check-up of the images before anything is trained on them."""

from typing import TYPE_CHECKING

import typer

from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .live_line import show
from .output import print_json, print_opening, print_result, result_width

if TYPE_CHECKING:
    from ..data.checkup.inspection import Inspection

PHOTO_PX = 64  # the median image is a photo from this width and height on, which pretrained networks are for


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
        print_result("\n".join([inspection_text(inspection, result_width()), *_next_lines(inspection)]))


def _next_lines(inspection: "Inspection") -> list[str]:
    """What is done with a set that training takes."""
    from ..core.errors import shell_word

    if any(finding.kind == "refused" for finding in inspection.findings) or not inspection.size_quantiles:
        return []
    short_px = min(inspection.size_quantiles["width_px"][1], inspection.size_quantiles["height_px"][1])
    verb = "transfer" if short_px >= PHOTO_PX else "train"
    is_measured = any(note.endswith("learn them as numbers, --target number") for note in inspection.notes)
    option = " --target number" if is_measured else ""
    return [f"Next: saccade {verb} {shell_word(inspection.source)}{option}"]
