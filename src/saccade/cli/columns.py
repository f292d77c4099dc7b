"""The options that choose columns of a table as SOURCE; every verb that reads a SOURCE has the same six."""

import typer

from .argument_order import refuse_run

FILE_COLUMN: str = typer.Option(
    "", "--file-column", metavar="NAME", show_default=False, help="Column of a CSV: file names or ids."
)
LABEL_COLUMN: str = typer.Option(
    "", "--label-column", metavar="NAME", show_default=False, help="Column of a CSV: the classes."
)
SPLIT_COLUMN: str = typer.Option(
    "",
    "--split-column",
    metavar="NAME",
    show_default=False,
    help="Column of a CSV: train and test; fold:0 holds out fold 0.",
)
GROUP_COLUMN: str = typer.Option(
    "",
    "--group-column",
    "--group",
    metavar="NAME",
    show_default=False,
    help="Column of a CSV: what stays on one side, as patients.",
)
LABELS: str = typer.Option(
    "",
    "--labels",
    metavar="KIND",
    show_default=False,
    help="Of a CSV: one, several, or the sign between several. [as they look]",
)
TARGET: str = typer.Option(
    "", "--target", metavar="KIND", show_default=False, help="What labels are: number or grade. [classes]"
)


def chosen_source(source: str, file: str, label: str, split: str, group: str, labels: str, target: str) -> str:
    """SOURCE with the chosen columns behind it: the text that a run keeps.

    Raises UsageError, for a run too, and DataError where nothing is there; torch is not imported for it.
    """
    from ..data.source import refuse_absent
    from ..data.source_text import ChosenColumns, with_columns

    refuse_run(source)
    refuse_absent(source)
    chosen = ChosenColumns(file=file, label=label, split=split, group=group, labels=labels, target=target)
    return with_columns(source, chosen)
