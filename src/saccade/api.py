"""The Python interface: one function per verb of the command line. They return values and print nothing.

A verb leaves its process as it found it: what it sets (threads, deterministic algorithms, random state and the rest of
`core/host_process.py`) holds while it computes. Paths are `str` or `PathLike`; images may be in memory
(docs/python.md).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .classify import label_check
from .classify.answers_file import AnswersFile, AnswersWritten, digest_of, write_answers, write_judged
from .classify.chosen_threshold import Answering, refuse_confidence_of_labels, require_promised
from .classify.classifier import Classifier, open_classifier, open_member
from .classify.crops import looks
from .classify.evaluation import Evaluation
from .classify.further import Further
from .classify.items import GivenImage, ManyImages, item_of, items_of, refuse_no_images
from .classify.judge import evaluate as evaluate_runs
from .classify.label_check import LabelCheck
from .classify.predict import predict as predict_items
from .classify.seen_images import SeenImages
from .core import atomic
from .core.errors import ImageError, SaccadeError, Stopped, UsageError, printable, shell_word
from .core.host_process import ScopedIterator, scoped_runtime
from .core.in_memory import short_name
from .core.runtime import RuntimeConfig, available_cpus
from .core.types import AnyPath, Metrics, Prediction, Preprocessing, Record
from .data.checkup.inspection import Inspection, inspect_source
from .data.opening_line import Told, untold
from .data.source import DataSource
from .data.sources.in_memory import ArraySource, FileSource, GivenImages, HeldImage, known_source
from .data.sources.shared.image_files import PassedOver
from .design.compare import Comparison
from .design.desk import TableRequest, draw_comparison, draw_table
from .design.table import DesignTable
from .ensemble.distillation import load_teachers
from .ensemble.training import EnsemblePlan, EnsembleResult, read_plan, train_members
from .evaluate import mistakes
from .evaluate.label_mistakes import write_label_mistakes
from .evaluate.number_words import write_number_mistakes
from .evaluate.thresholds import PromisedPrecision, check_confidence, check_precision
from .explain.explanation import Explanation, explain_image
from .explain.sheet import check_out as check_sheet
from .explain.sheet import write_sheet
from .models.network_in_memory import known_network
from .preview.request import PreviewRequest, named_preview
from .preview.request import as_json as preview_values
from .preview.request import preview as preview_run
from .report.backbone_chart import write_backbone_chart
from .report.ladder_chart import measured_steps, write_ladder_chart
from .report.page import write_report
from .report.rate_chart import RateCurve, check_picture, write_rate_chart
from .runs import ensemble_folder
from .runs.checkpoint import holds_checkpoint
from .runs.names import BACKBONE_PICTURE, ENSEMBLE_PLAN, LADDER_PICTURE
from .runs.start_point import StartPoint, read_start
from .train.config import RunConfig
from .train.more_epochs import refuse_more_epochs
from .train.progress import NotedOnce, RunProgress, Silent
from .train.range_test import RangeTest
from .train.range_test import find_learning_rate as find_rate
from .train.request import TrainRequest, asked_for, named_train
from .train.resume_references import refuse_unnamed_source, refuse_unnamed_weights
from .train.run import TrainResult
from .train.run import train as run_training
from .train.run_directory import RunFolder, naming_config, new_run_path, refuse_changes
from .train.stop import request_stop
from .transfer.choose_backbone import with_backbone
from .transfer.request import TransferRequest, asked_of_transfer, named_transfer, where_weights_lie
from .transfer.run import TransferResult
from .transfer.run import transfer as run_transfer

__all__ = [
    # verbs
    "train",
    "transfer",
    "train_ensemble",
    "find_learning_rate",
    "evaluate",
    "check_labels",
    "write_mistakes",
    "write_evaluated_answers",
    "predict",
    "predict_to_csv",
    "confidence_for",
    "explain",
    "inspect",
    "preview",
    "table",
    "compare",
    "report",
    "is_run",
    "is_ensemble",
    "request_stop",
    # what they are asked
    "TrainRequest",
    "TransferRequest",
    "PreviewRequest",
    "TableRequest",
    "Answering",
    "Further",
    "RuntimeConfig",
    "RunProgress",
    "Silent",
    # images in memory
    "ArraySource",
    "FileSource",
    "DataSource",
    "Record",
    # what they give
    "TrainResult",
    "TransferResult",
    "EnsembleResult",
    "RangeTest",
    "Evaluation",
    "LabelCheck",
    "Prediction",
    "AnswersWritten",
    "PromisedPrecision",
    "Explanation",
    "Inspection",
    "DesignTable",
    "Comparison",
    "Metrics",
    "Preprocessing",
    # what they raise
    "SaccadeError",
    "ImageError",
    "Stopped",
]


@scoped_runtime()
def train(
    request: TrainRequest, progress: RunProgress | None = None, command: str = "saccade.api.train"
) -> TrainResult:
    """Train, or go on with a stopped training, and judge the result. Raises SaccadeError.

    Ctrl-C and `request_stop` end it with everything saved (Stopped).
    """
    if request.ensemble:
        raise UsageError("api.train trains one run; api.train_ensemble trains several.")
    with named_train(request) as asked:
        out = _path(asked.out)
        if asked.resume:
            config, folder = _resumed(asked, "train", lambda begun: asked_for(asked, begun))
        else:
            config = asked.config()
            folder = RunFolder(path=out or _new_path(config, config.model))
            ensemble_folder.refuse_begun(folder.path)
        try:
            with naming_config(folder):
                return run_training(config, folder, progress or Silent(), command, find_extra_loss=load_teachers)
        finally:
            if out is None and not asked.resume:
                _remove_if_empty(folder.path)


@scoped_runtime()
def transfer(
    request: TransferRequest, progress: RunProgress | None = None, command: str = "saccade.api.transfer"
) -> TransferResult:
    """Adapt a pretrained network to the images of a source, or go on with it, and judge it. Raises SaccadeError.

    Pictures of what was measured lie in the run: `ladder.svg` where the depth was chosen by evidence, `backbones.svg`
    where networks were compared.
    """
    progress = NotedOnce(progress or Silent())
    with named_transfer(request) as asked:
        store, out, search = asked.store(), _path(asked.out), None
        if asked.resume:
            config, folder = _resumed(asked, "transfer", lambda begun: asked_of_transfer(asked, begun))
            if read_start(folder.path) is None:
                refuse_unnamed_weights(config, asked.one_weights(), folder.path)
            config = where_weights_lie(asked, config)
        else:
            asked, search = with_backbone(asked, store, progress)
            config = asked.config()
            folder = RunFolder(path=out or _new_path(config, config.transfer.backbone))
            ensemble_folder.refuse_begun(folder.path)
        try:
            with naming_config(folder):
                result = run_transfer(config, folder, store, progress, command, _path(asked.preprocessing), search)
        finally:
            if out is None and not asked.resume:
                _remove_if_empty(folder.path)
    _draw_start(result.start, folder.path, progress)
    return result


def _draw_start(start: StartPoint, run_dir: Path, progress: RunProgress) -> None:
    """The pictures of what was compared. The run is whole without them."""
    pictures: dict[str, Callable[[Path], None]] = {}
    if start.rungs:
        pictures[LADDER_PICTURE] = lambda path: write_ladder_chart(path, measured_steps(start.rungs), start.sentence)
    if start.backbones:
        pictures[BACKBONE_PICTURE] = lambda path: write_backbone_chart(path, start.backbones, start.backbone_sentence)
    for name, draw in pictures.items():
        try:
            draw(run_dir / name)
        except SaccadeError as error:
            progress.note(f"{name} could not be written: {error.message}")


@scoped_runtime()
def find_learning_rate(
    request: TrainRequest, out: AnyPath, note: Callable[[str], None] = lambda text: None
) -> RangeTest:
    """Try learning rates on a fresh network, write the picture to `out` (.svg or .png), and choose one.

    Nothing is trained that lasts. Raises SaccadeError.
    """
    picture = Path(out)
    check_picture(picture)
    atomic.make_folder(picture.parent)
    with named_train(request) as asked:
        found = find_rate(asked.config(), note, load_teachers)
    curve = RateCurve(
        rate_S=found.rate_S, loss_S=found.loss_S, smooth_S=found.smooth_S, chosen=found.chosen, text=found.reason
    )
    write_rate_chart(picture, curve)
    return found


@scoped_runtime()
def train_ensemble(
    request: TrainRequest, progress: RunProgress | None = None, command: str = "saccade.api.train_ensemble"
) -> EnsembleResult:
    """Train `request.ensemble` runs that differ by their seed, or go on with them, and judge them together.

    Raises SaccadeError.
    """
    if isinstance(request.model, nn.Module):
        raise UsageError(
            "The members of an ensemble begin with different weights; a network given from Python brings one set.\n"
            "Give a name or a line of notation, or train the members one by one with api.train."
        )
    with named_train(request) as asked:
        out = _path(asked.out)
        if asked.resume:
            plan, path = _resumed_plan(asked, out)
        else:
            config = asked.config()
            ensemble_folder.check_size(asked.ensemble)
            plan = EnsemblePlan(num_members=asked.ensemble, run=config)
            path = out or _new_path(config, f"{config.model}-ensemble")
            ensemble_folder.refuse_begun(path)
            RunFolder(path=path).check()
        try:
            with naming_config(RunFolder(path=path, resume=asked.resume), ENSEMBLE_PLAN):
                return train_members(plan, path, asked.resume, NotedOnce(progress or Silent()), command)
        finally:
            if out is None and not asked.resume:
                _remove_if_empty(path)


@scoped_runtime()
def is_ensemble(path: AnyPath) -> bool:
    """Whether an ensemble was begun in the folder `path`."""
    return ensemble_folder.is_ensemble(Path(path))


@scoped_runtime()
def is_run(path: AnyPath) -> bool:
    """Whether a run, a checkpoint or an ensemble stands in the folder `path`, finished or not."""
    return ensemble_folder.is_ensemble(Path(path)) or holds_checkpoint(Path(path))


@scoped_runtime()
def evaluate(
    runs: AnyPath | Sequence[AnyPath],
    source: GivenImages,
    crops: int = 1,
    scales: Sequence[float] = (1.0,),
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
) -> Evaluation:
    """Judge a run, or the mean probability of several, on the images of `source` that are for judging.

    With `crops` above 1 (5, 10, or a grid) and `scales`, several looks at every image are averaged too; what that
    gains and costs is in `Evaluation.together`. `model` is the network of a run that was given one from Python.
    `opened` hears the line that names the classes of `source` and their counts, once it is open. `answering` says from
    which confidence, or for which precision, answers count as sure; `further` asks for costs, parts of the images, or
    corrupted images.

    Raises SaccadeError.
    """
    wanted = looks(crops, scales)
    members = ensemble_folder.expand_runs(_paths(runs))
    if not members:
        raise UsageError("evaluate needs at least one run.")
    with known_source(source) as text, known_network(model):
        return evaluate_runs(members, text, wanted, runtime or RuntimeConfig(), opened, answering, further)


@scoped_runtime()
def write_mistakes(evaluation: Evaluation, path: AnyPath) -> None:
    """Write every wrong answer of `evaluation` to a CSV file, the most confident first; of numbers every answer, the
    largest error first. Raises StorageError."""
    if evaluation.task.is_several:
        write_label_mistakes(Path(path), evaluation.label_mistakes(), evaluation.metrics.classes)
    elif evaluation.task.is_number:
        write_number_mistakes(Path(path), evaluation.number_mistakes())
    else:
        mistakes.write_mistakes(Path(path), evaluation.mistakes())


@scoped_runtime()
def write_evaluated_answers(evaluation: Evaluation, path: AnyPath, top: int = 3) -> None:
    """Write every judged image's answer to a CSV file, in the columns of `predict_to_csv`, with its label behind them.

    Raises StorageError.
    """
    write_judged(Path(path), evaluation, min(top, len(evaluation.metrics.classes)))


@scoped_runtime()
def check_labels(
    run: AnyPath,
    source: GivenImages,
    out: AnyPath | None = None,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
) -> LabelCheck:
    """Which labels of `source`, training images included, may be wrong, by the features of `run`.

    With `out` they are written there as CSV, the least believed first. `model` as in `evaluate`. Raises SaccadeError.
    """
    ensemble_folder.refuse_ensemble(Path(run), "evaluate --label-errors")
    with known_source(source) as text, known_network(model):
        found = label_check.check_labels(Path(run), text, runtime or RuntimeConfig())
    if out is not None:
        mistakes.write_suspects(Path(out), found.suspects)
    return found


@scoped_runtime()
def predict(
    runs: AnyPath | Sequence[AnyPath],
    images: ManyImages | GivenImage,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    min_confidence: float = 0.0,
) -> Iterator[Prediction | ImageError]:
    """An answer, or the reason why there is none, for each of `images` in order. Raises SaccadeError.

    `images` are files and folders, uint8 arrays (height, width[, 3]), images of Pillow, or a `DataSource`. Several
    runs, and the members of an ensemble's folder, answer together: the mean of their probabilities. `model` as in
    `evaluate`. `note` hears, at the end, which files of folders are no images, and how many are training images.
    `min_confidence`: below it, a prediction has no `answer` (`confidence_for` chooses one).
    """
    check_confidence(min_confidence)
    refuse_no_images(images)  # now; what is read is opened when its turn comes, and listed nowhere
    members, classifier = _answering(runs, runtime, model)
    refuse_confidence_of_labels(classifier.task, min_confidence)
    return ScopedIterator(_noted_answers(members, classifier, _noted_items(images, note), note, min_confidence))


def _noted_answers(
    members: Sequence[Path],
    classifier: Classifier,
    items: Iterator[HeldImage],
    note: Callable[[str], None] | None,
    min_confidence: float,
) -> Iterator[Prediction | ImageError]:
    """The answers, and behind the last of them a note on the images that the runs were trained on."""
    if note is None:
        yield from predict_items(classifier, items, min_confidence=min_confidence)
        return
    seen = SeenImages(members)
    yield from predict_items(classifier, items, seen, min_confidence)
    for caveat in seen.caveats():
        note(caveat)


def _answering(
    runs: AnyPath | Sequence[AnyPath], runtime: RuntimeConfig | None, model: nn.Module | None
) -> tuple[list[Path], Classifier]:
    """The members of `runs`, and the classifier that they are together. Raises UsageError where there is none."""
    members = ensemble_folder.expand_runs(_paths(runs))
    if not members:
        raise UsageError("predict needs at least one run.")
    with known_network(model):
        return members, open_classifier(members, runtime)


@scoped_runtime()
def confidence_for(
    runs: AnyPath | Sequence[AnyPath],
    precision: float,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
) -> PromisedPrecision:
    """The confidence from which at least a share `precision` of the answers of `runs` is right (95 % sure).

    It is chosen on the validation images that the runs keep the outputs of; give its `min_confidence` to `predict`.
    Raises UsageError where no threshold can be promised.
    """
    check_precision(precision)
    members, classifier = _answering(runs, runtime, model)
    return require_promised(classifier, members, precision)


def _noted_items(images: ManyImages | GivenImage, note: Callable[[str], None] | None) -> Iterator[HeldImage]:
    """The images, and behind the last of them a note on the files of folders that are none."""
    passed_over = PassedOver()
    yield from items_of(images, passed_over)
    if note and passed_over.sentence():
        note(passed_over.sentence())


@scoped_runtime()
def predict_to_csv(
    runs: AnyPath | Sequence[AnyPath],
    images: ManyImages | GivenImage,
    out: AnyPath,
    top: int = 3,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    min_confidence: float = 0.0,
) -> tuple[AnswersWritten, Iterator[Prediction | ImageError]]:
    """`predict` into the CSV file `out`: what has been written, which grows, and the answers, each once it is written.

    Where `out` holds answers of the same runs to the same images, it goes on after them. Memory does not grow with the
    number of images. Raises UsageError where `out` holds anything else, and SaccadeError as `predict` does.
    """
    check_confidence(min_confidence)
    refuse_no_images(images)
    members, classifier = _answering(runs, runtime, model)
    refuse_confidence_of_labels(classifier.task, min_confidence)
    file = AnswersFile(
        Path(out),
        digest_of(members, classifier),
        min(top, len(classifier.classes)),
        min_confidence,
        classifier.task,
    )

    def answers() -> Iterator[Prediction | ImageError]:
        with file:
            items = file.remaining(_noted_items(images, note))
            yield from write_answers(file, _noted_answers(members, classifier, items, note, min_confidence))

    return file.written, ScopedIterator(answers())


@scoped_runtime()
def explain(
    run: AnyPath,
    image: GivenImage,
    out: AnyPath | None = None,
    class_name: str = "",
    layer: str = "",
    source: GivenImages = "",
    model: nn.Module | None = None,
    opened: Told = untold,
) -> Explanation:
    """Why `run` says what it says of an image: Grad-CAM, occlusion, maps and filters as arrays.

    `image` is a file, a uint8 array or an image of Pillow. With `out` the sheet is written there, .svg or .png; with
    `source` it shows images of that set that excite the strongest channels most. `model` and `opened` as in
    `evaluate`. Raises SaccadeError.
    """
    sheet = _path(out)
    if sheet is not None:
        check_sheet(sheet)
    ensemble_folder.refuse_ensemble(Path(run), "explain")
    with known_source(source) as text, known_network(model):
        member = open_member(Path(run), RuntimeConfig(device="cpu"))
        item = item_of(image, "array")
        explanation = explain_image(member, item.read(), item.key, class_name, layer, text, opened)
    if sheet is not None:
        write_sheet(sheet, explanation)
    return explanation


@scoped_runtime()
def inspect(
    source: GivenImages,
    progress: Callable[[int, int], None] | None = None,
    keep: bool = True,
    opened: Told = untold,
) -> Inspection:
    """A check-up of the images of `source`: faults first, then figures. Raises DataError where no image is found.

    With `keep`, what is measured of a set on disk is kept in the user's cache folder; of images in memory nothing is.
    `opened` as in `evaluate`.
    """
    with known_source(source) as text:
        return inspect_source(text, available_cpus(), progress, keep and short_name(text) == text, opened)


@scoped_runtime()
def table(target: AnyPath, request: TableRequest | None = None, fold: bool = True) -> DesignTable:
    """The layer table of a name, a line of notation, a run, or module.py:function (docs/design-desk.md).

    With `fold`, normalisations and nonlinearities stand in the row of the layer they follow. Raises SaccadeError.
    """
    return draw_table(os.fspath(target), request or TableRequest(), fold)


@scoped_runtime()
def compare(targets: Sequence[AnyPath], request: TableRequest | None = None) -> Comparison:
    """The totals of several networks side by side. Raises SaccadeError."""
    return draw_comparison([os.fspath(target) for target in targets], request or TableRequest())


@scoped_runtime()
def report(run: AnyPath, out: AnyPath | None = None, model: nn.Module | None = None) -> Path:
    """Write the report of a finished run as one HTML file (default: `report.html` in it). Raises SaccadeError.

    `model` as in `evaluate`.
    """
    ensemble_folder.refuse_ensemble(Path(run), "report")
    with known_network(model):
        return write_report(Path(run), _path(out))


@scoped_runtime()
def preview(request: PreviewRequest, out: AnyPath, opened: Told = untold) -> dict[str, Any]:
    """Write a picture of what augmentation does to some images of a source; returns what was drawn in words.

    `opened` as in `evaluate`. Raises SaccadeError.
    """
    with named_preview(request) as asked:
        result = preview_run(asked.config(), asked.num_images, opened=opened)
    picture = result.picture()
    atomic.write_with(Path(out), lambda temporary: picture.save(temporary, "PNG"))
    return preview_values(result)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]


def _new_path(config: RunConfig, network: str) -> Path:
    return new_run_path(short_name(config.source), short_name(network))


def _resumed(
    request: TrainRequest | TransferRequest, verb: str, asked: Callable[[RunConfig], RunConfig]
) -> tuple[RunConfig, RunFolder]:
    """What `request` goes on with, begun by `saccade <verb>`; `asked` is the configuration that is wanted of it now."""
    out = _path(request.out)
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
    refuse_more_epochs(config, wanted, out)
    refuse_changes(config, wanted)
    refuse_unnamed_source(config, str(request.source), out)
    return wanted, folder


def _resumed_plan(request: TrainRequest, out: Path | None) -> tuple[EnsemblePlan, Path]:
    if out is None or not ensemble_folder.is_ensemble(out):
        raise UsageError(
            "Say which ensemble to resume: saccade train --resume --out FOLDER, the one that --ensemble made."
        )
    plan = read_plan(out)
    if request.ensemble not in (0, plan.num_members):
        raise UsageError(
            f"A resumed ensemble goes on as it began: it has {plan.num_members} members, now {request.ensemble}.\n"
            f"Leave --ensemble out, or start a new one with another --out."
        )
    wanted = asked_for(request, plan.run)
    refuse_changes(plan.run, wanted)
    refuse_unnamed_source(plan.run, str(request.source), out)
    return plan.model_copy(update={"run": wanted}), out


def _remove_if_empty(path: Path) -> None:
    """A run that failed before it began leaves no folder behind."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
