"""The `saccade` command: one function per verb, each in its own file; errors become messages and exit codes here.

Nothing here imports torch: `saccade --help` answers at once. A verb imports what it needs when it runs.
"""

import os
import sys

import typer

from .. import __version__
from ..core.errors import SaccadeError
from . import (
    augmentations,
    convert,
    evaluate,
    explain,
    filter,
    inspect,
    models,
    predict,
    preview,
    recipes,
    report,
    sources,
    table,
    train,
    transfer,
)

app = typer.Typer(
    help="From a folder of images to a convolutional classifier you can trust.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _global_options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if version:
        print(f"saccade {__version__}")
        raise typer.Exit


app.command("train")(train.train)
app.command("transfer")(transfer.transfer)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("report")(report.report)
app.command("filter")(filter.filter_image)
app.command("inspect")(inspect.inspect)
app.command("preview")(preview.preview)
app.command("augmentations")(augmentations.augmentations)
app.command("table")(table.table)
app.command("compare")(table.compare)
app.command("convert")(convert.convert)
app.command("models")(models.models)
app.command("sources")(sources.sources)
app.command("recipes")(recipes.recipes)


def main() -> None:
    """Entry point. Exit status: 0 ok, 1 failed, 2 usage, 130 stopped."""
    try:
        app(prog_name="saccade")
    except SaccadeError as error:
        if "--debug" in sys.argv:
            raise
        _print_error(error.message)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _print_error("Stopped.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone. Python would complain at exit when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_error(message: str) -> None:
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(f"error: {message}\n".encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()
