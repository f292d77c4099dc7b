"""`saccade table` and `saccade compare`: what networks are and cost, before anything runs."""

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ..core.errors import UsageError
from .argument_order import is_run, refuse_images
from .output import format_table, print_json, print_result, result_width

if TYPE_CHECKING:
    from ..design.desk import TableRequest

TARGET_HELP = "A name, a line of notation, a run's folder, or module.py:function."
INPUT_HELP = "HEIGHTxWIDTHxCHANNELS, or 224; default: the network's or run's own, else 224x224x3."


def table(
    target: str = typer.Argument(metavar="NETWORK", help=TARGET_HELP),
    input_size: str = typer.Option("", "--input", metavar="SIZE", help=INPUT_HELP),
    classes: int = typer.Option(
        0, "--classes", min=0, show_default=False, metavar="N", help="Classes; default: its own."
    ),
    batch: int = typer.Option(32, "--batch", min=1, metavar="N", help="Images in a batch, for the memory."),
    optimizer: str = typer.Option(
        "nesterov", "--optimizer", metavar="NAME", help="Whose state is counted in the memory."
    ),
    precision: str = typer.Option("float32", "--precision", metavar="TYPE", help="Of training: float32 or bfloat16."),
    freeze: str = typer.Option(
        "", "--freeze", metavar="DEPTH", help="Parts up to this one are not trained: stem, ..., all."
    ),
    unfolded: bool = typer.Option(False, "--unfolded", help="A row for every normalisation and nonlinearity."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    as_csv: bool = typer.Option(False, "--csv", help="Print comma-separated values."),
    as_markdown: bool = typer.Option(False, "--markdown", help="Print a Markdown table."),
) -> None:
    """Show every layer of NETWORK: shapes, parameters, multiply-adds, receptive field, and the memory it needs."""
    if as_json + as_csv + as_markdown > 1:
        raise UsageError("Choose one of --json, --csv and --markdown.")
    from .. import api
    from ..design.text import table_csv, table_markdown, table_text

    refuse_images("table", target)
    request = _request(input_size, classes, batch, optimizer, precision)
    if freeze:
        from ..models.surgery import freeze_named

        request = replace(request, prepare=lambda model: freeze_named(model, freeze))
    drawn = api.table(target, request, fold=not unfolded)
    if as_json:
        print_json(drawn.as_json())
    elif as_csv:
        print_result(table_csv(drawn))
    elif as_markdown:
        print_result(table_markdown(drawn))
    else:
        print_result(table_text(drawn, result_width()))


def compare(
    targets: list[str] = typer.Argument(metavar="NETWORK...", help=TARGET_HELP + " Two or more."),
    input_size: str = typer.Option("", "--input", metavar="SIZE", help=INPUT_HELP),
    classes: int = typer.Option(0, "--classes", min=0, metavar="N", help="Classes; default: each network's own."),
    batch: int = typer.Option(32, "--batch", min=1, metavar="N", help="Images in a batch, for the memory."),
    optimizer: str = typer.Option(
        "nesterov", "--optimizer", metavar="NAME", help="Whose state is counted in the memory."
    ),
    precision: str = typer.Option("float32", "--precision", metavar="TYPE", help="Of training: float32 or bfloat16."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show the totals of several networks side by side, with their ratios to the first.

    Of runs that were judged their verdicts, too: each against the first on the images that both were judged on.
    """
    if len(targets) < 2:
        raise UsageError("compare needs at least two networks: saccade compare plain34 resnet34.")
    from .. import api
    from ..design.compare import comparison_note, comparison_rows

    for target in targets:
        refuse_images("compare", target)
    comparison = api.compare(targets, _request(input_size, classes, batch, optimizer, precision))
    verdicts = api.compare_verdicts(targets) if all(map(_is_judged, targets)) else None
    if as_json:
        print_json(comparison.as_json() | {"verdicts": verdicts.as_json() if verdicts else None})
        return
    headings, rows = comparison_rows(comparison)
    text = format_table(headings, rows) + "\n\n" + comparison_note(comparison.tables)
    if verdicts is None:
        print_result(text)
        return
    lines = verdicts.display_lines()
    print_result("\n".join([text, "", format_table(*verdicts.display_rows(), left=2), "", *lines]), lines)


def _is_judged(text: str) -> bool:
    """Whether `text` is the folder of a run that has a verdict."""
    from pathlib import Path

    from ..runs.names import EVALUATION

    return is_run(text) and (Path(text) / EVALUATION).is_file()


def _request(input_size: str, classes: int, batch: int, optimizer: str, precision: str) -> "TableRequest":
    from ..design.desk import TableRequest
    from ..design.memory import StepPlan
    from ..design.target import parse_input

    return TableRequest(
        input_CHW=parse_input(input_size) if input_size else None,
        num_classes=classes or None,
        step=StepPlan(batch_size=batch, optimizer=optimizer, precision=precision),
    )
