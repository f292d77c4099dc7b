"""`saccade report RUN`: one page about a finished run, for people."""

from pathlib import Path

import typer

from .argument_order import refuse_swapped
from .missing import refuse_missing
from .output import print_json, print_result


def report(
    run: Path = typer.Argument(metavar="RUN", help="Run directory."),
    out: Path | None = typer.Option(
        None, "--out", metavar="FILE", help="Where to write it; default: report.html in the run."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Write the report of RUN as one HTML file that needs nothing else and opens in any browser."""
    if out is not None:
        refuse_swapped("report", [str(run)], [str(out)], mark="--out")
    refuse_missing(run)
    from .. import api
    from ..core.errors import printable

    path = api.report(run, out)
    if as_json:
        print_json({"run": str(run), "report": str(path), "num_bytes": path.stat().st_size})
    else:
        print_result(f"Report: {printable(str(path))}")
