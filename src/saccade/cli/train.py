"""`saccade train SOURCE`: from images to a judged classifier."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from ..core.errors import SaccadeError, UsageError
from ..core.placed_setting import placed
from .bad_image_option import ON_BAD_IMAGE, bad_image_settings
from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .config import CONFIG_FILE, read_config
from .console import RunConsole, choose_output
from .evaluate import print_evaluated, together_text
from .input_size import FIT, INPUT, input_settings
from .launch import PROCESSES, is_first_process, is_member, number_of_processes, refuse_together
from .live_line import say
from .output import print_json, print_notes, print_result

if TYPE_CHECKING:
    from ..api import TrainRequest, TransferRequest
    from ..train.config import RunConfig
    from ..train.run import TrainResult

FOLDS: int = typer.Option(
    0, "--folds", show_default=False, metavar="N", help="Judge by cross-validation: N runs, then one on all images."
)

LOG: list[str] = typer.Option(
    [], "--log", metavar="NAME", help="Tell tensorboard, mlflow, wandb or trackio, too; repeatable."
)
DRY_RUN: bool = typer.Option(
    False, "--dry-run", help="Say what would run: images, split, network, cost, settings. Nothing is written."
)


def train(
    source: str = typer.Argument(
        "",
        metavar="SOURCE",
        show_default=False,
        help="A folder, CSV, Parquet or tar file, hub:NAME, digits: see sources.",
    ),
    model: str = typer.Option(
        "", "--model", metavar="NAME", help="Network by name, or as one line of notation. [lenet5]"
    ),
    recipe: str = typer.Option("", "--recipe", metavar="NAME", help="Named set of values. [the network's own]"),
    policy: str = typer.Option(
        "", "--policy", metavar="NAME", help="Augmentation policy: see augmentations. [the recipe's]"
    ),
    epochs: int | None = typer.Option(
        None, "--epochs", metavar="N", help="Passes over the training images. [the recipe's]"
    ),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Run directory. [runs/SOURCE-MODEL-N]"),
    seed: int | None = typer.Option(None, "--seed", metavar="N", help="Everything random derives from it. [0]"),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in --out where it was stopped."),
    ensemble: int = typer.Option(
        0, "--ensemble", show_default=False, metavar="N", help="Train 2 to 15 runs, judged together."
    ),
    folds: int = FOLDS,
    teacher: list[Path] = typer.Option(
        [], "--teacher", metavar="RUN", help="Learn from this run or ensemble; repeatable."
    ),
    processes: str = PROCESSES,
    find_lr: bool = typer.Option(False, "--find-lr", help="Try learning rates, draw them to --out, do not train."),
    on_bad_image: str = ON_BAD_IMAGE,
    input_size: str = INPUT,
    fit: str = FIT,
    config_file: Path | None = CONFIG_FILE,
    settings: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Any value of the configuration; repeatable."
    ),
    file_column: str = FILE_COLUMN,
    label_column: str = LABEL_COLUMN,
    split_column: str = SPLIT_COLUMN,
    group_column: str = GROUP_COLUMN,
    labels: str = LABELS,
    target: str = TARGET,
    log: list[str] = LOG,
    dry_run: bool = DRY_RUN,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
    plain: bool = typer.Option(False, "--plain", help="No live line: one line an epoch."),
) -> None:
    """Train a network on SOURCE and judge it on images held out."""
    console = RunConsole(choose_output(quiet, plain))
    num_processes = number_of_processes(processes, "train")
    from ..data.source import refuse_absent

    if config_file is None:
        refuse_absent(source)  # before torch is imported, which takes seconds
    from .. import api

    file = read_config(config_file)
    if file is not None:
        file.refuse_transfer(str(config_file))
        source, model, recipe = file.source_beside(source), model or file.model, recipe or file.recipe
    request = api.TrainRequest(
        source=chosen_source(source, file_column, label_column, split_column, group_column, labels, target),
        model=model,
        recipe=recipe,
        policy=policy,
        epochs=epochs,
        seed=seed,
        out=out,
        resume=resume,
        ensemble=ensemble,
        folds=folds,
        teachers=tuple(teacher),
        log=tuple(log),
        settings=[
            *(file.settings if file is not None else []),
            *placed(settings),
            *input_settings(input_size, fit),
            *bad_image_settings(on_bad_image),
        ],
    )
    if dry_run and find_lr:
        raise UsageError("--dry-run and --find-lr both train nothing that lasts: leave one of them out.")
    if num_processes > 1 or is_member():
        refuse_together({"--find-lr": find_lr, "--dry-run": dry_run})
    if dry_run:
        print_plan(request, console, as_json)
        return
    if num_processes > 1:
        launch_run(request, num_processes)
    is_first = is_first_process()
    console = console if is_first else RunConsole(choose_output(quiet=True))
    if find_lr:
        _find_learning_rate(request, console, as_json)
        return
    command = "saccade " + shlex.join(sys.argv[1:])
    if ensemble or (resume and out is not None and api.is_ensemble(out)):
        _train_ensemble(request, console, command, as_json, is_first)
        return
    try:
        result = api.train(request, console, command)
    finally:
        console.close()
    if not is_first:
        return
    report = write_report(result.run_dir)
    if as_json:
        print_json(result_json(result) | {"report": str(report) if report else None})
    else:
        print_judged(result_text(result, report, console.seconds), result)


def print_plan(request: "TrainRequest | TransferRequest", console: RunConsole, as_json: bool) -> None:
    """Print what `request` would do."""
    from .. import api

    try:
        found = api.plan(request, console)
    finally:
        console.close()
    if as_json:
        print_json(found.as_json())
    else:
        print_result("\n".join(found.display_lines()))


def launch_run(request: "TrainRequest | TransferRequest", num_processes: int) -> NoReturn:
    """Run this command on so many processes, and end with their status. Raises UsageError where it cannot be."""
    from ..train.config import RunConfig
    from ..train.request import TrainRequest
    from .agent import launch

    if request.resume and request.out is not None:
        config = _begun_config(Path(request.out)).with_overrides(request.settings)
    elif isinstance(request, TrainRequest):
        config = request.config()
    else:  # what it would be needs weights
        config = RunConfig().with_overrides(request.settings)
    sys.exit(launch(sys.argv[1:], num_processes, config.scale.max_restarts))


def _begun_config(path: Path) -> "RunConfig":
    """The configuration of the run, or of the several runs, that were begun in `path`."""
    from .. import api
    from ..ensemble.training import read_plan as read_members
    from ..folds.training import read_plan as read_folds
    from ..runs.folds_folder import has_folds
    from ..train.run_directory import RunFolder

    if api.is_ensemble(path):
        return read_members(path).run
    return read_folds(path).run if has_folds(path) else RunFolder(path=path, resume=True).load_config()


def _find_learning_rate(request: "TrainRequest", console: RunConsole, as_json: bool) -> None:
    from dataclasses import asdict

    from .. import api
    from ..core.errors import printable

    if request.resume or request.ensemble:
        raise UsageError("--find-lr trains nothing that lasts: leave out --resume and --ensemble.")
    if request.folds:
        raise UsageError("--find-lr trains nothing that lasts: leave out --folds.")
    out = request.out or Path("learning-rates.svg")
    found = api.find_learning_rate(request, out, console.note)
    if as_json:
        values = {key.removesuffix("_S"): value for key, value in asdict(found).items()}
        print_json({"learning_rate": values.pop("chosen"), **values, "picture": str(out)})
        return
    print_result(
        f"Learning rate {found.chosen:g}: {found.reason}.\nPicture: {printable(str(out))}\n"
        f"Train with it: {' '.join(f'--set {setting}' for setting in found.settings)}"
    )


def _train_ensemble(request: "TrainRequest", console: RunConsole, command: str, as_json: bool, is_first: bool) -> None:
    from .. import api
    from ..core.errors import printable, shell_word

    try:
        result = api.train_ensemble(request, console, command)
    finally:
        console.close()
    if not is_first:
        return
    for member in result.members:
        write_report(member)
    if as_json:
        print_json(result.as_json())
        return
    where = printable(str(result.path))
    print_evaluated(
        f"{together_text(result.evaluation)}\nEnsemble: {where}, a report in each member\n"
        f"Next: saccade evaluate {shell_word(result.path)} {shell_word(result.plan.run.source)} --crops 10",
        result.evaluation,
    )


def print_judged(text: str, result: "TrainResult") -> None:
    """Print what a training came to, its verdict and its warnings in their colours."""
    from ..core.errors import printable
    from ..evaluate.verdict import verdicts

    judgement = result.judgement
    print_result(text, verdicts(judgement.metrics, judgement.kind), [printable(text) for text in judgement.caveats])


def write_report(run: Path) -> Path | None:
    """Write report.html; a report that cannot be written, or was not waited for, is said: the run is whole on disk."""
    from .. import api
    from ..core.errors import shell_word

    say("writing the report")
    try:
        return api.report(run)
    except SaccadeError as error:
        print_notes([f"the report could not be written: {error.message}"])
    except KeyboardInterrupt:
        print_notes([f"stopped in the report; write it with: saccade report {shell_word(run)}"])
    return None


def result_json(result: "TrainResult") -> dict[str, Any]:
    """The object of `train --json`; its keys are a contract."""
    from ..evaluate.verdict import metrics_json
    from ..train.cross_validated import folds_json

    return {
        "run": str(result.run_dir),
        "model": result.config.model,
        "source": result.config.source,
        **metrics_json(result.judgement.metrics),
        "split": result.judgement.split,
        "folds": folds_json(result.judgement.folds) if result.judgement.folds else None,
        **result.judgement.copies.as_json(result.judgement.checkpoint.manifest.task),
        "caveats": list(result.judgement.caveats),
        "unlike_training_unknown": result.judgement.unlike_unknown or None,
        "seconds": round(result.seconds, 3),
        "training_seconds": round(result.training_s, 3),
        "images_per_second": round(result.images_per_second, 1),
        "seed": result.config.seed,
        "best_epoch": result.best_epoch,
    }


def result_text(result: "TrainResult", report: Path | None = None, seconds: float | None = None) -> str:
    """The verdict, what was kept, and what to do next. `seconds` are those of the whole command, where it is known."""
    from ..core.errors import printable, shell_word
    from ..evaluate.verdict import verdicts
    from .console import duration

    where = printable(str(result.run_dir))
    page = f"Report: {printable(str(report))}\n" if report else ""
    caveats = "".join(
        f"{printable(caveat)}\n"
        for caveat in (
            *result.judgement.caveats,
            *result.judgement.folds_lines(),
            *filter(None, [result.judgement.unlike_unknown]),
        )
    )
    times = f"{duration(seconds or result.seconds)} in all, {duration(result.training_s)} of it training"
    if result.training_s > result.seconds:
        times = f"{duration(result.seconds)} since resuming; {duration(result.training_s)} of training over all starts"
    judged = "\n".join(verdicts(result.judgement.metrics, result.judgement.kind))
    return (
        f"{judged}\n{caveats}"
        f"Kept epoch {result.best_epoch} of {result.config.epochs}; {times} "
        f"({result.images_per_second:,.0f} images/s).\n"
        f"Run: {where}\n{page}{_better_way(result)}"
        f"Next: saccade predict {shell_word(result.run_dir)} PHOTO.jpg"
    )


def _better_way(result: "TrainResult") -> str:
    """A line on public weights where they would probably give a better network; else nothing."""
    from ..core.errors import shell_word
    from ..core.types import Metrics
    from ..report.sections.next_steps import weights_would_help

    metrics, checkpoint = result.judgement.metrics, result.judgement.checkpoint
    if not isinstance(metrics, Metrics) or result.config.transfer.backbone:
        return ""
    if not weights_would_help(metrics, result.num_train, checkpoint.manifest.preprocessing):
        return ""
    return f"Better on few photos, from public weights: saccade transfer {shell_word(result.config.source)}\n"
