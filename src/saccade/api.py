"""The Python interface: one function per verb of the command line. They return values and print nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .core import atomic
from .core.errors import ImageError, SaccadeError, UsageError, printable, shell_word
from .core.runtime import RuntimeConfig, available_cpus
from .core.types import Prediction
from .data.checkup.inspection import Inspection, inspect_source
from .design.compare import Comparison
from .design.desk import TableRequest, draw_comparison, draw_table
from .design.table import DesignTable
from .evaluate import mistakes
from .explain.explanation import Explanation, explain_image
from .explain.sheet import check_out as check_sheet
from .explain.sheet import write_sheet
from .explain.subject import load_classifier, read_image_file
from .predict import ensemble_folder, label_check
from .predict.answer_together import load_ensemble_predictor
from .predict.crops import looks
from .predict.evaluation import Evaluation
from .predict.judge import evaluate_run
from .predict.predictor import list_images, load_predictor
from .predict.together import evaluate_together
from .report.ladder_chart import Step, write_ladder_chart
from .report.page import write_report
from .report.rate_chart import RateCurve, check_picture, write_rate_chart
from .runs.checkpoint import holds_checkpoint
from .runs.names import ENSEMBLE_PLAN, LADDER_PICTURE
from .train.config import RunConfig
from .train.folder import RunFolder, naming_config, new_run_path, refuse_changes
from .train.members import EnsemblePlan, EnsembleResult, read_plan, train_members
from .train.preview import PreviewRequest
from .train.preview import as_json as preview_values
from .train.preview import preview as preview_run
from .train.progress import RunProgress, Silent
from .train.range_test import RangeTest
from .train.range_test import find_learning_rate as find_rate
from .train.request import TrainRequest, TransferRequest, asked_for, asked_of_transfer, where_weights_lie
from .train.run import TrainResult
from .train.run import train as run_training
from .train.transfer import TransferResult
from .train.transfer import transfer as run_transfer


def train(
    request: TrainRequest, progress: RunProgress | None = None, command: str = "saccade.api.train"
) -> TrainResult:
    """Train, or go on with a stopped training, and judge the result. Raises SaccadeError."""
    if request.ensemble:
        raise UsageError("api.train trains one run; api.train_ensemble trains several.")
    if request.resume:
        config, folder = _resumed(request.out, "train", lambda begun: asked_for(request, begun))
    else:
        config = request.config()
        folder = RunFolder(path=request.out or new_run_path(config.source, config.model))
        ensemble_folder.refuse_begun(folder.path)
    try:
        with naming_config(folder):
            return run_training(config, folder, progress or Silent(), command)
    finally:
        if request.out is None and not request.resume:
            _remove_if_empty(folder.path)


def transfer(
    request: TransferRequest, progress: RunProgress | None = None, command: str = "saccade.api.transfer"
) -> TransferResult:
    """Adapt a pretrained network to the images of a source, or go on with it, and judge it. Raises SaccadeError.

    The picture of what was measured, `ladder.svg`, lies in the run where the depth was chosen by evidence.
    """
    store = request.store()
    if request.resume:
        config, folder = _resumed(request.out, "transfer", lambda begun: asked_of_transfer(request, begun))
        config = where_weights_lie(request, config)
    else:
        config = request.config()
        folder = RunFolder(path=request.out or new_run_path(config.source, config.transfer.backbone))
        ensemble_folder.refuse_begun(folder.path)
    try:
        with naming_config(folder):
            result = run_transfer(config, folder, store, progress or Silent(), command, request.preprocessing)
    finally:
        if request.out is None and not request.resume:
            _remove_if_empty(folder.path)
    if result.start.rungs:
        try:
            write_ladder_chart(folder.path / LADDER_PICTURE, ladder_steps(result), result.start.sentence)
        except SaccadeError as error:  # the run is whole without its picture
            (progress or Silent()).note(f"{LADDER_PICTURE} could not be written: {error.message}")
    return result


def ladder_steps(result: TransferResult) -> list[Step]:
    """What a transfer measured at every depth, as its picture shows it."""
    shown = {"depth", "trained", "num_images", "low", "high"}
    return [Step(accuracy=rung.accuracy, **rung.model_dump(include=shown)) for rung in result.start.rungs]


def find_learning_rate(request: TrainRequest, out: Path, note: Callable[[str], None] = lambda text: None) -> RangeTest:
    """Try learning rates on a fresh network, write the picture to `out` (.svg or .png), and choose one.

    Nothing is trained that lasts. Raises SaccadeError.
    """
    check_picture(out)
    atomic.make_folder(out.parent)
    found = find_rate(request.config(), note)
    curve = RateCurve(
        rate_S=found.rate_S, loss_S=found.loss_S, smooth_S=found.smooth_S, chosen=found.chosen, text=found.reason
    )
    write_rate_chart(out, curve)
    return found


def train_ensemble(
    request: TrainRequest, progress: RunProgress | None = None, command: str = "saccade.api.train_ensemble"
) -> EnsembleResult:
    """Train `request.ensemble` runs that differ by their seed, or go on with them, and judge them together.

    Raises SaccadeError.
    """
    if request.resume:
        plan, path = _resumed_plan(request)
    else:
        config = request.config()
        ensemble_folder.check_size(request.ensemble)
        plan = EnsemblePlan(num_members=request.ensemble, run=config)
        path = request.out or new_run_path(config.source, f"{config.model}-ensemble")
        ensemble_folder.refuse_begun(path)
        RunFolder(path=path).check()
    try:
        with naming_config(RunFolder(path=path, resume=request.resume), ENSEMBLE_PLAN):
            return train_members(plan, path, request.resume, progress or Silent(), command)
    finally:
        if request.out is None and not request.resume:
            _remove_if_empty(path)


def is_ensemble(path: Path) -> bool:
    """Whether an ensemble was begun in the folder `path`."""
    return ensemble_folder.is_ensemble(path)


def is_run(path: Path) -> bool:
    """Whether a run, a checkpoint or an ensemble stands in the folder `path`, finished or not."""
    return is_ensemble(path) or holds_checkpoint(path)


def evaluate(
    runs: list[Path],
    source: str,
    crops: int = 1,
    scales: Sequence[float] = (1.0,),
    runtime: RuntimeConfig | None = None,
) -> Evaluation:
    """Judge a run, or the mean probability of several, on the images of `source` that are for judging.

    With `crops` above 1 (5, 10, or a grid) and `scales`, several looks at every image are averaged too; what that
    gains and costs is in `Evaluation.together`. Raises SaccadeError.
    """
    if not runs:
        raise UsageError("evaluate needs at least one run.")
    wanted = looks(crops, scales)
    runs = ensemble_folder.expand_runs(runs)
    if len(runs) == 1 and wanted == looks(1):
        return evaluate_run(runs[0], source, runtime or RuntimeConfig())
    return evaluate_together(runs, source, wanted, runtime or RuntimeConfig())


def write_mistakes(evaluation: Evaluation, path: Path) -> None:
    """Write every wrong answer of `evaluation` to a CSV file, the most confident first. Raises StorageError."""
    mistakes.write_mistakes(path, evaluation.mistakes())


def check_labels(
    run: Path, source: str, out: Path | None = None, runtime: RuntimeConfig | None = None
) -> label_check.LabelCheck:
    """Which labels of `source`, training images included, may be wrong, by the features of `run`.

    With `out` they are written there as CSV, the least believed first. Raises SaccadeError.
    """
    ensemble_folder.refuse_ensemble(run, "evaluate --label-errors")
    found = label_check.check_labels(run, source, runtime or RuntimeConfig())
    if out is not None:
        mistakes.write_suspects(out, found.suspects)
    return found


def predict(
    runs: Path | Sequence[Path], paths: Iterable[Path], runtime: RuntimeConfig | None = None
) -> Iterator[Prediction | ImageError]:
    """An answer, or the reason why there is none, for each image of `paths` in order. Raises SaccadeError.

    Several runs, and the members of an ensemble's folder, answer together: the mean of their probabilities.
    """
    files = list_images(paths)
    members = ensemble_folder.expand_runs([runs] if isinstance(runs, Path) else runs)
    if len(members) > 1:
        return load_ensemble_predictor(members, runtime).predict_files(files)
    return load_predictor(members[0], runtime).predict_files(files)


def explain(
    run: Path, image: Path, out: Path | None = None, class_name: str = "", layer: str = "", source: str = ""
) -> Explanation:
    """Why `run` says what it says of an image file: Grad-CAM, occlusion, maps and filters as arrays.

    With `out` the sheet is written there, .svg or .png; with `source` it shows images of that set that excite the
    strongest channels most. Raises SaccadeError.
    """
    if out is not None:
        check_sheet(out)
    ensemble_folder.refuse_ensemble(run, "explain")
    classifier = load_classifier(run)
    explanation = explain_image(classifier, read_image_file(image), str(image), class_name, layer, source)
    if out is not None:
        write_sheet(out, explanation)
    return explanation


def inspect(source: str, progress: Callable[[int, int], None] | None = None, keep: bool = True) -> Inspection:
    """A check-up of the images of `source`: faults first, then figures. Raises DataError where it cannot be opened."""
    return inspect_source(source, available_cpus(), progress, keep)


def table(target: str, request: TableRequest | None = None, fold: bool = True) -> DesignTable:
    """The layer table of a name, a line of notation, a run, or module.py:function (docs/design-desk.md)."""
    return draw_table(target, request or TableRequest(), fold)


def compare(targets: Sequence[str], request: TableRequest | None = None) -> Comparison:
    """The totals of several networks side by side."""
    return draw_comparison(targets, request or TableRequest())


def report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a finished run as one HTML file (default: `report.html` in it). Raises SaccadeError."""
    ensemble_folder.refuse_ensemble(run, "report")
    return write_report(run, out)


def preview(request: PreviewRequest, out: Path) -> dict[str, Any]:
    """Write a picture of what augmentation does to some images of a source; returns what was drawn in words.

    Raises SaccadeError.
    """
    result = preview_run(request.config(), request.num_images)
    picture = result.picture()
    atomic.write_with(out, lambda temporary: picture.save(temporary, "PNG"))
    return preview_values(result)


def _resumed(out: Path | None, verb: str, asked: Callable[[RunConfig], RunConfig]) -> tuple[RunConfig, RunFolder]:
    """What goes on in `out`, begun by `saccade <verb>`; `asked` is the configuration that is wanted of it now."""
    if out is None:
        raise UsageError(
            f"Say which run to resume: saccade {verb} --resume --out RUN, for example --out runs/digits-lenet5-1."
        )
    folder = RunFolder(path=out, resume=True)
    folder.check()
    config = folder.load_config()
    if config.verb != verb:
        where = printable(str(out))
        raise UsageError(
            f"{where} was begun by saccade {config.verb}.\n"
            f"Go on with: saccade {config.verb} --resume --out {shell_word(out)}"
        )
    wanted = asked(config)
    refuse_changes(config, wanted)
    return wanted, folder


def _resumed_plan(request: TrainRequest) -> tuple[EnsemblePlan, Path]:
    if request.out is None or not is_ensemble(request.out):
        raise UsageError(
            "Say which ensemble to resume: saccade train --resume --out FOLDER, the one that --ensemble made."
        )
    plan = read_plan(request.out)
    if request.ensemble not in (0, plan.num_members):
        raise UsageError(
            f"A resumed ensemble goes on as it began: it has {plan.num_members} members, now {request.ensemble}.\n"
            f"Leave --ensemble out, or start a new one with another --out."
        )
    wanted = asked_for(request, plan.run)
    refuse_changes(plan.run, wanted)
    return plan.model_copy(update={"run": wanted}), request.out


def _remove_if_empty(path: Path) -> None:
    """A run that failed before it began leaves no folder behind."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
