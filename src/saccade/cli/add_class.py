"""`saccade add-class RUN FOLDER`: a run learns a further class, by its features as they are, as a new run."""

import shlex
import sys
from pathlib import Path

import typer

from ..core.placed_setting import placed
from .argument_order import refuse_swapped
from .console import RunConsole, choose_output
from .missing import refuse_missing
from .output import print_json
from .train import print_judged, write_report
from .transfer import transfer_json, transfer_text


def add_class(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    more: str = typer.Argument(
        metavar="FOLDER", help="Images of the new class, or a folder for each of several; of several labels, a table."
    ),
    source: str = typer.Option(
        "", "--source", metavar="SOURCE", help="Where the images of RUN lie, if not where they were."
    ),
    out: Path | None = typer.Option(
        None, "--out", metavar="DIR", help="Run directory of the result. [runs/FOLDER-added-to-RUN-N]"
    ),
    cache: str = typer.Option(
        "", "--cache", metavar="DIR", help="Folder that keeps features, or none. [~/.cache/saccade]"
    ),
    settings: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Any value of the configuration; repeatable."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
    plain: bool = typer.Option(False, "--plain", help="No live line."),
) -> None:
    """Add the class of FOLDER to those RUN knows: a last layer is fitted to all, and judged on all; RUN stays."""
    from ..data.source import refuse_absent

    refuse_swapped("add-class", [str(run)], [more])
    refuse_missing(run)
    refuse_absent(more)
    console = RunConsole(choose_output(quiet, plain))
    from .. import api

    try:
        added = api.add_class(
            run, more, out, source, cache, placed(settings), console, "saccade " + shlex.join(sys.argv[1:])
        )
    finally:
        console.close()
    report = write_report(added.transfer.run.run_dir)
    if as_json:
        print_json(transfer_json(added.transfer) | added.as_json() | {"report": str(report) if report else None})
        return
    first, *others = transfer_text(added.transfer, report, console.seconds).splitlines()
    print_judged("\n".join([first, added.sentence(), *others]), added.transfer.run)
