"""The `saccade` command: one function per verb, each in its own file; errors become messages and exit codes here.

Nothing here imports torch: `saccade --help` answers at once. A verb imports what it needs when it runs.
"""

import errno
import os
import resource
import sys
from typing import Any, NoReturn

import typer

from .. import __version__
from ..core.addresses import http_allowed
from ..core.errors import TOO_LONG_NAME, SaccadeError, StorageError, UsageError, brief
from ..core.own_process import own_process
from . import (
    add_class,
    augmentations,
    completion,
    config,
    convert,
    drift,
    evaluate,
    explain,
    export,
    features,
    filter,
    inspect,
    launch,
    learn,
    models,
    predict,
    preview,
    push,
    recipes,
    report,
    runs,
    serve,
    shard,
    similar,
    sources,
    studio,
    suggest,
    table,
    train,
    transfer,
    weights,
)
from .colour import WHEN, choose_colour
from .number_options import refuse_odd_numbers
from .output import print_error
from .standard_streams import drop_stdout, open_standard_streams
from .starting import starting
from .usage import WRONG_ARGUMENTS, usage_message

SERVERS = (["serve"], ["studio"])  # which Ctrl-C ends, as they say
FLAGS = {"--debug", "--allow-http"}
FEWEST_FILES = 64
TOO_MANY_FILES = (
    "Too many files are open at once: the system gives this process no more.\n"
    "Allow more in this shell, then run again: ulimit -n 1024"
)

NO_PERMISSION = (
    "{name} may not be read or written: Permission denied.\n"
    "Name a place of your own, or ask its owner; 'ls -ld' shows who that is."
)

app = typer.Typer(
    help="From a folder of images to a convolutional classifier you can trust.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _global_options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    color: str = typer.Option("auto", "--color", metavar="WHEN", help="Colours on a terminal: auto, always or never."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    allow_http: bool = typer.Option(False, "--allow-http", help="Open http:// too: anybody on the way can change it."),
) -> None:
    if version:
        print(f"saccade {__version__}")
        raise typer.Exit


# What the list of commands says; each is at most 60 characters, so that no terminal cuts it.
app.command("train", short_help="Train a network on images and judge it.")(train.train)
app.command("transfer", short_help="Adapt a pretrained network to images and judge it.")(transfer.transfer)
app.command("add-class", short_help="Teach a run a further class.")(add_class.add_class)
app.command("evaluate", short_help="Judge a run, or several together, on other images.")(evaluate.evaluate)
app.command("predict", short_help="Classify image files.")(predict.predict)
app.command("features", short_help="Write what a network sees of images to a file.")(features.features)
app.command("similar", short_help="Find the images most like one.")(similar.similar)
app.command("suggest", short_help="Choose which images to label next.")(suggest.suggest)
app.command("drift", short_help="Tell whether new images are like those judged.")(drift.drift)
app.command("explain", short_help="Show why a network answers as it does.")(explain.explain)
app.command("export", short_help="Write a run as files that other programs read.")(export.export)
app.command("serve", short_help="Answer images over HTTP.")(serve.serve)
app.command("studio", short_help="Watch, judge and compare runs in a browser.")(studio.studio)
app.command("push", short_help="Send a run to the Hugging Face hub.")(push.push)
app.command("runs", short_help="List runs: running, finished, stopped or damaged.")(runs.runs)
app.command("report", short_help="Write the report of a run as one HTML file.")(report.report)
app.command("filter", short_help="Apply a kernel to a photo, or learn one from it.")(filter.filter_image)
app.command("learn", short_help="Show the ideas of the field, with things to move.")(learn.learn)
app.command("inspect", short_help="Find leaks, duplicates and bad files.")(inspect.inspect)
app.command("shard", short_help="Write images as tar shards, here or in a bucket.")(shard.shard)
app.command("preview", short_help="Draw what augmentation does to some images.")(preview.preview)
app.command("augmentations", short_help="List the augmentations and the policies.")(augmentations.augmentations)
app.command("table", short_help="Show the layers of a network and their costs.")(table.table)
app.command("compare", short_help="Show the totals of networks side by side.")(table.compare)
app.command("convert", short_help="Turn a pickled weight file into safetensors.")(convert.convert)
app.command("weights", short_help="List public weights, or fetch them.")(weights.weights)
app.command("config", short_help="Print a file of settings to edit.")(config.config)
app.command("completion", short_help="Print the script that completes in a shell.")(completion.completion)
app.command("models", short_help="List the networks.")(models.models)
app.command("sources", short_help="List the kinds of sources.")(sources.sources)
app.command("recipes", short_help="List the recipes.")(recipes.recipes)


OUT_OF_MEMORY = (
    "The memory ran out.\n"
    "A network, an image or a set is too large for this machine; 'saccade table' says what a network takes.\n"
    "--set batch_size=16 takes less, and so does --set accumulate=4. What was saved is intact."
)


def main() -> None:
    """Entry point. Exit status: 0 ok, 1 failed, 2 usage, 130 stopped by Ctrl-C, 143 by SIGTERM."""
    open_standard_streams()
    own_process()
    choose_colour("auto")
    arguments, flags = _without_flags(sys.argv[1:])
    debug = "--debug" in flags
    try:
        arguments = _without_colour(arguments)
        _refuse_few_files()
        with http_allowed("--allow-http" in flags), starting(arguments), launch.member(arguments):
            _exit(_run(arguments))
    except SaccadeError as error:
        if debug:
            raise
        _fail(error.message, error.exit_code, error)
    except (KeyboardInterrupt, typer.Abort):
        if arguments[:1] in SERVERS:
            _exit(130)
        _fail("Stopped.", 130)
    except BrokenPipeError:
        _exit(1)
    except (OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG and not debug:
            _fail(TOO_LONG_NAME.format(name=brief(error.filename, 80)), 2)
        if isinstance(error, PermissionError) and error.filename and not debug:
            _fail(NO_PERMISSION.format(name=brief(error.filename, 200)), 1)
        if debug or not is_too_many_files(error):
            _tell_of_plug_in(error, debug)
            raise
        _fail(TOO_MANY_FILES, 1)
    except (MemoryError, RuntimeError) as error:
        if debug or not _memory_ran_out(error):
            _tell_of_plug_in(error, debug)
            raise
        _fail(OUT_OF_MEMORY, 1)
    except Exception as error:
        _tell_of_plug_in(error, debug)
        raise


def _tell_of_plug_in(error: Exception, debug: bool) -> None:
    """End where it is a plug-in that fails; a fault of our own keeps its traceback."""
    from ..core.plug_ins import told_of_plug_in

    message = None if debug else told_of_plug_in(error)
    if message is not None:
        _fail(message, 1)


def _fail(message: str, status: int, error: SaccadeError | None = None) -> NoReturn:
    """Say why, and end with `status`."""
    launch.tell_failure(message, status, error)
    _exit(status)


def _memory_ran_out(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    from ..core.runtime import is_out_of_memory  # torch is there: it raised this

    return is_out_of_memory(error)


def _run(arguments: list[str]) -> int:
    """Run a command. What typer says of arguments is written here: it repeats them as they were typed."""
    command = next((known.callback for known in app.registered_commands if [known.name] == arguments[:1]), None)
    if command is not None:
        refuse_odd_numbers(arguments[0], command, arguments[1:])
    try:
        status = _commands()(args=arguments or ["--help"], prog_name="saccade", standalone_mode=False)
    except WRONG_ARGUMENTS as error:
        known = {command.name for command in app.registered_commands}
        told = UsageError(usage_message(error, arguments, known))
        _fail(told.message, int(error.exit_code), told)
    if status == 130:  # typer has caught Ctrl-C, and says nothing
        raise KeyboardInterrupt
    if not arguments:  # the help is shown, but no command was given
        return 2
    return status if isinstance(status, int) else 0


def _commands() -> Any:
    """The click command of all verbs. Newer typers write the Python type beside each argument (`SOURCE <str>`)."""
    group: Any = typer.main.get_command(app)
    for command in group.commands.values():
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: None
    return group


def _exit(status: int) -> NoReturn:
    """End with `status`, or 1 where the result cannot be written: told here, since Python would at exit, untidily."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, StorageError) as error:
        if isinstance(error, StorageError) and not status:  # else it is told, or its reader (`| head`) has gone
            print_error(error.message)
        drop_stdout()
        status = status or 1
    sys.exit(status)


def _without_flags(arguments: list[str]) -> tuple[list[str], set[str]]:
    """`arguments` without the flags that hold for every command and may stand behind it too, and those flags."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument not in FLAGS]
    return kept + arguments[end:], FLAGS & set(arguments[:end])


def _without_colour(arguments: list[str]) -> list[str]:
    """`arguments` without `--color WHEN`, which holds for every command and is obeyed from here on. Raises UsageError
    for another value."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept, waiting = [], list(arguments[:end])
    while waiting:
        argument = waiting.pop(0)
        if argument != "--color" and not argument.startswith("--color="):
            kept.append(argument)
            continue
        when = waiting.pop(0) if argument == "--color" and waiting else argument.partition("=")[2]
        if when not in WHEN:
            raise UsageError(
                f"--color must be one of: {', '.join(WHEN)}; not '{brief(when, 80)}'.\nHelp: saccade --help"
            )
        choose_colour(when)
    return kept + arguments[end:]


def _refuse_few_files() -> None:
    """Raise SaccadeError where the process may hardly open a file: libraries would fail in words of their own."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < FEWEST_FILES:
        raise SaccadeError(
            f"This process may open {limit} files at once, and Saccade needs at least {FEWEST_FILES}.\n"
            f"Allow more in this shell, then run again: ulimit -n 1024"
        )


def is_too_many_files(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, says that no more files may be opened; importing says it in words only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        if isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
