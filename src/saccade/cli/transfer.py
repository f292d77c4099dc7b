"""`saccade transfer SOURCE [--backbone NAME] [--weights FILE]`: a pretrained network, adapted and judged."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError
from ..core.placed_setting import placed
from .bad_image_option import ON_BAD_IMAGE, bad_image_settings
from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .config import CONFIG_FILE, read_config
from .console import RunConsole, choose_output
from .input_size import FIT, INPUT, input_settings
from .launch import PROCESSES, is_first_process, is_member, number_of_processes, refuse_together
from .output import print_json
from .train import (
    DRY_RUN,
    FOLDS,
    LOG,
    launch_run,
    print_judged,
    print_plan,
    result_json,
    result_text,
    write_report,
)

if TYPE_CHECKING:
    from ..transfer.run import TransferResult


def transfer(
    source: str = typer.Argument(
        "", metavar="SOURCE", show_default=False, help="A folder, CSV, Parquet or tar file, hub:NAME: see sources."
    ),
    backbone: str = typer.Option(
        "", "--backbone", metavar="NAME", help="Pretrained network, several (A,B), or auto. [chosen]"
    ),
    weights: list[str] = typer.Option(
        [],
        "--weights",
        metavar="WEIGHTS",
        help="File, folder, run, hub:OWNER/NAME or name of weights; repeatable. [best]",
    ),
    budget_ms: float | None = typer.Option(
        None,
        "--budget-ms",
        metavar="MS",
        show_default=False,
        help="Of several, none slower than this an answer.",
    ),
    budget_mb: float | None = typer.Option(
        None, "--budget-mb", metavar="MB", show_default=False, help="Of several, none with larger weights."
    ),
    freeze: str = typer.Option(
        "", "--freeze", metavar="DEPTH", help="auto, all, none, or a part such as stage2. [auto: by evidence]"
    ),
    minutes: float | None = typer.Option(
        None, "--minutes", metavar="N", help="At most so long from start to verdict. [as long as it takes]"
    ),
    views: int | None = typer.Option(
        None, "--views", metavar="N", help="Fixed augmented views of each image for features. [1]"
    ),
    recipe: str = typer.Option(
        "", "--recipe", metavar="NAME", help="Named set of values for the fine-tuning. [transfer]"
    ),
    policy: str = typer.Option(
        "", "--policy", metavar="NAME", help="Augmentation policy: see augmentations. [the recipe's]"
    ),
    epochs: int | None = typer.Option(None, "--epochs", metavar="N", help="Passes of the fine-tuning. [the recipe's]"),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Run directory. [runs/SOURCE-BACKBONE-N]"),
    seed: int | None = typer.Option(None, "--seed", metavar="N", help="Everything random derives from it. [0]"),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in --out where it was stopped."),
    folds: int = FOLDS,
    processes: str = PROCESSES,
    cache: str = typer.Option(
        "", "--cache", metavar="DIR", help="Folder that keeps features, or none. [~/.cache/saccade]"
    ),
    cache_limit: float = typer.Option(10.0, "--cache-limit", metavar="GB", help="GB of features kept at most."),
    preprocessing: Path | None = typer.Option(
        None, "--preprocessing", metavar="FILE", help="JSON: how the weights expect pixels."
    ),
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
    """Adapt a pretrained network to SOURCE: features once, the depth of freezing by evidence, then fine-tuning."""
    console = RunConsole(choose_output(quiet, plain))
    num_processes = number_of_processes(processes, "transfer")
    from ..data.source import refuse_absent

    if config_file is None:
        refuse_absent(source)  # before torch is imported, which takes seconds
    from .. import api
    from ..transfer.request import DEFAULT_RECIPE

    file = read_config(config_file)
    if file is not None:
        file.refuse_another_model(str(config_file))
        source, backbone = file.source_beside(source), backbone or file.backbone
        weights = file.weights_beside(weights)
        recipe = recipe or file.recipe
    request = api.TransferRequest(
        source=chosen_source(source, file_column, label_column, split_column, group_column, labels, target),
        backbone=backbone,
        weights=weights,
        budget_ms=_above_zero("--budget-ms", budget_ms) or 0.0,
        budget_mb=_above_zero("--budget-mb", budget_mb) or 0.0,
        freeze=freeze,
        minutes=_above_zero("--minutes", minutes),
        views=views,
        recipe=recipe or DEFAULT_RECIPE,
        policy=policy,
        epochs=epochs,
        seed=seed,
        out=out,
        resume=resume,
        folds=folds,
        cache=cache,
        cache_limit_gb=cache_limit,
        preprocessing=preprocessing,
        log=tuple(log),
        settings=[
            *(file.settings if file is not None else []),
            *placed(settings),
            *input_settings(input_size, fit),
            *bad_image_settings(on_bad_image),
        ],
    )
    if num_processes > 1 or is_member():
        refuse_together({"--dry-run": dry_run})
    if dry_run:
        print_plan(request, console, as_json)
        return
    if num_processes > 1:
        launch_run(request, num_processes)
    is_first = is_first_process()
    console = console if is_first else RunConsole(choose_output(quiet=True))
    try:
        result = api.transfer(request, console, "saccade " + shlex.join(sys.argv[1:]))
    finally:
        console.close()
    if not is_first:
        return
    report = write_report(result.run.run_dir)
    if as_json:
        print_json(transfer_json(result) | {"report": str(report) if report else None})
    else:
        print_judged(transfer_text(result, report, console.seconds, minutes or 0.0), result.run)


def transfer_json(result: "TransferResult") -> dict[str, Any]:
    """The object of `transfer --json`: that of `train --json` and how the run began."""
    begun = result.start
    return result_json(result.run) | {
        "frozen": begun.frozen,
        "why": begun.sentence,
        "ladder": [rung.model_dump(mode="json") for rung in begun.rungs],
        "backbones": [backbone.model_dump(mode="json") for backbone in begun.backbones],
        "features_seconds": begun.features_s,
        "heads_seconds": begun.heads_s,
        "depth_seconds": begun.depth_s,
        "fine_tuning_seconds": round(result.run.training_s, 3),
        "images_computed": begun.num_computed,
        "images_found": begun.num_found,
    }


def transfer_text(
    result: "TransferResult", report: Path | None = None, seconds: float | None = None, minutes: float = 0.0
) -> str:
    """The verdict, what was frozen and why, where the time went, and what to do next. `seconds` as in `result_text`;
    `minutes` are what was allowed, 0 without a bound."""
    from .console import duration

    begun = result.start
    counted_s = begun.features_s + begun.heads_s + result.run.training_s
    is_whole = counted_s <= result.run.seconds
    times = [
        f"features {duration(begun.features_s)} ({features_words(begun.num_computed, begun.num_found)})",
        f"choosing the depth {duration(begun.depth_s)}" if begun.depth_s else "",
        f"last layer {duration(begun.heads_s - begun.depth_s)}",
        f"fine-tuning {duration(result.run.training_s)}" if result.run.training_s else "",
        f"starting, judging and the report {duration(seconds - counted_s)}" if seconds and is_whole else "",
    ]
    lines = result_text(result.run, report).splitlines()
    kept = next(number for number, line in enumerate(lines) if line.startswith("Kept epoch"))
    whole = "in all" if is_whole else "since resuming; over all starts"
    taken_s = seconds or result.run.seconds
    is_over = is_whole and 0 < 60 * minutes < taken_s
    over = f" That is more than --minutes {minutes:g} allow: less could not be done." if is_over else ""
    lines[kept : kept + 1] = [
        *([begun.backbone_sentence] if begun.backbone_sentence else []),
        *_kept(result),
        f"{duration(taken_s)} {whole}: {', '.join(filter(None, times))}.{over}",
    ]
    return "\n".join(lines)


def features_words(num_computed: int, num_found: int) -> str:
    """Of how many images features were computed, and whether others were in the cache; those that were computed may be
    read from there again."""
    from ..core.errors import counted

    if not num_found:
        return counted(num_computed, "image")
    if not num_computed:
        return "all read from the cache"
    others = "" if num_found <= num_computed else " computed, others read from the cache"
    return f"{counted(num_computed, 'image')}{others}"


def _above_zero(option: str, value: float | None) -> float | None:
    """A bound as it was given. Raises UsageError for one that nothing keeps to: 0, less, or no number."""
    if value is not None and not value > 0:
        raise UsageError(f"{option} must be above 0, or be left out: nothing keeps to a bound of 0.")
    return value


def _kept(result: "TransferResult") -> list[str]:
    if result.run.training_s == 0:
        from ..runs.start_point import validation_use

        metrics = result.run.judgement.checkpoint.manifest.metrics
        names = ("temperature_images", "calibration_images", "half_width_images")
        fitted = next((metrics[name] for name in names if name in metrics), 0)
        used = validation_use(result.start, int(fitted), result.run.judgement.folds is not None)
        return [text for text in (result.start.sentence, used) if text]
    return [result.start.sentence, result.run.kept()]
