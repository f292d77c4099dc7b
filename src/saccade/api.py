"""The Python interface: one function per verb of the command line. They return values and print nothing.

A verb leaves its process as it found it: what it sets (threads, deterministic algorithms, random state and the rest of
`core/host_process.py`) holds while it computes. Paths are `str` or `PathLike`; images may be in memory
(docs/python.md).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from .audit.endpoint import open_endpoint, read_class_names, read_preparation
from .audit.judge import judge_endpoint
from .audit.protocol import open_client
from .classify import label_check
from .classify.answer_units import answer_rows, answer_units
from .classify.answers_file import AnswersFile, AnswersWritten, digest_of, write_answers, write_judged
from .classify.backbone import open_backbone, refuse_network_for_run
from .classify.chosen_threshold import Answering, promised_precision, refuse_confidence_of_labels, require_promised
from .classify.classifier import Classifier, Member, join_members, open_classifier, open_member
from .classify.compared_runs import ComparedRuns, compare_runs
from .classify.crops import looks
from .classify.evaluation import Evaluation
from .classify.exports import Exported, export_fiftyone, export_label_studio
from .classify.features import raise_bad, stream_features
from .classify.further import Further
from .classify.given_network import network_of_runs
from .classify.items import GivenImage, ManyImages, item_of, items_of, refuse_no_images
from .classify.judge import evaluate as evaluate_runs
from .classify.label_check import LabelCheck
from .classify.listing import ListedImages, listing_of
from .classify.predict import predict as predict_items
from .classify.run_list import RunList, read_run_list
from .classify.seen_images import SeenImages
from .classify.unit_share import parse_share
from .classify.units import Row, UnitFolder, UnitsWritten, require_parquet
from .core import atomic
from .core.agreement import agreed, from_first
from .core.apart import one_of_each_machine
from .core.errors import ImageError, SaccadeError, Stopped, UsageError, printable, shell_word
from .core.given import check_kind, listed, path_of, text_of
from .core.host_process import ScopedIterator, scoped_runtime
from .core.in_memory import short_name
from .core.plain_numbers import check_count, check_seed
from .core.processors import available_cpus
from .core.ranks import current_ranks
from .core.runtime import RuntimeConfig, start
from .core.types import AnyPath, Metrics, Prediction, Preprocessing, Record
from .data.checkup.inspection import Inspection, inspect_source
from .data.left_out import OnBadImage, PassedOver, check_on_bad_image
from .data.opening_line import Told, opening_line, untold
from .data.sharding.place import check_out as check_shards_out
from .data.sharding.place import refuse_among_images as refuse_shards_among_images
from .data.sharding.write import ShardSettings, ShardsWritten, write_shards
from .data.source import DataSource, open_source
from .data.source_text import target_named
from .data.sources.in_memory import ArraySource, FileSource, GivenImages, HeldImage, known_source
from .design.compare import Comparison
from .design.desk import TableRequest, draw_comparison, draw_table
from .design.table import DesignTable
from .ensemble.distillation import load_teachers
from .ensemble.training import EnsemblePlan, EnsembleResult, read_plan, train_members
from .evaluate import curves_file, mistakes
from .evaluate.label_mistakes import write_label_mistakes
from .evaluate.number_words import write_number_mistakes
from .evaluate.thresholds import PromisedPrecision, check_confidence, check_precision
from .explain.explanation import Explanation, explain_image
from .explain.sheet import check_out as check_sheet
from .explain.sheet import write_sheet
from .folds.training import FoldsPlan, FoldsWork, Result, TrainOne, train_folds
from .folds.training import read_plan as read_folds_plan
from .preview.request import PreviewRequest, named_preview
from .preview.request import as_json as preview_values
from .preview.request import preview as preview_run
from .report.backbone_chart import write_backbone_chart
from .report.evaluation_page import write_evaluation_page
from .report.ladder_chart import measured_steps, write_ladder_chart
from .report.page import write_report
from .report.rate_chart import RateCurve, check_picture, write_rate_chart
from .runs import at_path, ensemble_folder, folds_folder
from .runs.checkpoint import find_checkpoint
from .runs.names import BACKBONE_PICTURE, ENSEMBLE_PLAN, FOLDS_PLAN, LADDER_PICTURE
from .runs.start_point import StartPoint, read_start
from .ship.export import ExportedRun, export_run
from .ship.push import PushedRun, push_run
from .ship.quantize import AskedInt8
from .survey.drift import Drift, find_drift
from .survey.feature_file import FeaturesWritten, Seeing, facts_of, seeing_backbone, seeing_run, write_features
from .survey.feature_file import check_out as check_features
from .survey.feature_units import feature_rows, feature_units
from .survey.similar import Similar, find_similar
from .survey.similar_sheet import write_similar_sheet
from .survey.suggest import Suggestions, suggest_images, write_suggestions
from .track.tracker import check_trackers
from .train.config import RunConfig
from .train.cross_validated import CrossValidated
from .train.dry_run import DryRun, plan_training
from .train.more_epochs import refuse_more_epochs
from .train.own_images import held_out_images, run_folder
from .train.prepare import Scanned, divide
from .train.progress import BegunOnce, NotedOnce, OneOfSeveral, RunProgress, Silent
from .train.range_test import RangeTest
from .train.range_test import find_learning_rate as find_rate
from .train.request import TrainRequest, asked_for, named_train, refuse_test_fraction
from .train.resume_references import refuse_moved_source, refuse_unnamed_source, refuse_unnamed_weights
from .train.run import TrainResult
from .train.run import train as run_training
from .train.run_directory import (
    RUNS,
    RunFolder,
    free_run_path,
    naming_config,
    new_run_path,
    refuse_among_images,
    refuse_changes,
)
from .train.stop import request_stop
from .train.together import begun_before
from .train.tracking import Tracked
from .transfer.add_class import AddClassWork, AddedClasses, add_classes
from .transfer.choose_backbone import with_backbone, without_download
from .transfer.dry_run import plan_transfer
from .transfer.request import (
    TransferRequest,
    asked_of_transfer,
    named_transfer,
    refuse_with_folds,
    where_weights_lie,
)
from .transfer.run import FeatureStore, TransferResult, with_weights_read
from .transfer.run import transfer as run_transfer
from .web.process import RunningServer, start_server
from .web.serve.options import ServeOptions
from .web.serve.options import require_packages as require_serve_packages
from .web.studio.options import DEFAULT_FOLDER, StudioOptions, check_folder
from .web.studio.options import require_packages as require_studio_packages
from .weights.licence import restricted

__all__ = [
    # verbs
    "train",
    "transfer",
    "plan",
    "add_class",
    "train_ensemble",
    "find_learning_rate",
    "evaluate",
    "evaluate_endpoint",
    "check_labels",
    "write_mistakes",
    "write_evaluated_answers",
    "write_curves",
    "write_evaluation_report",
    "predict",
    "predict_to_csv",
    "predict_to_folder",
    "confidence_for",
    "predict_to_label_studio",
    "predict_to_fiftyone",
    "features",
    "features_to_folder",
    "similar",
    "suggest",
    "drift",
    "explain",
    "export",
    "serve",
    "studio",
    "push",
    "inspect",
    "shard",
    "preview",
    "table",
    "compare",
    "compare_verdicts",
    "report",
    "runs",
    "is_run",
    "is_ensemble",
    "request_stop",
    # what they are asked
    "TrainRequest",
    "TransferRequest",
    "PreviewRequest",
    "TableRequest",
    "ShardSettings",
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
    "DryRun",
    "AddedClasses",
    "EnsembleResult",
    "RangeTest",
    "Evaluation",
    "LabelCheck",
    "Prediction",
    "AnswersWritten",
    "UnitsWritten",
    "PromisedPrecision",
    "Exported",
    "AskedInt8",
    "ExportedRun",
    "RunningServer",
    "PushedRun",
    "ShardsWritten",
    "FeaturesWritten",
    "Similar",
    "Suggestions",
    "Drift",
    "Explanation",
    "Inspection",
    "DesignTable",
    "Comparison",
    "ComparedRuns",
    "RunList",
    "Metrics",
    "Preprocessing",
    # what they raise
    "SaccadeError",
    "ImageError",
    "Stopped",
]


NETWORK = "a name, a line of notation, a run, or module.py:function"
TRAIN_EXAMPLE = 'api.train(api.TrainRequest(source="photos"))'
TRANSFER_EXAMPLE = 'api.transfer(api.TransferRequest(source="photos"))'


@scoped_runtime()
def train(
    request: TrainRequest, progress: RunProgress | None = None, command: str = "saccade.api.train"
) -> TrainResult:
    """Train, or go on with a stopped training, and judge the result. Raises SaccadeError.

    Ctrl-C and `request_stop` end it with everything saved (Stopped).
    """
    check_kind(request, TrainRequest, TRAIN_EXAMPLE)
    if request.ensemble:
        raise UsageError("api.train trains one run; api.train_ensemble trains several.")
    with named_train(request) as asked:
        out, ranks = _path(asked.out), current_ranks()
        begun = begun_before(ranks, RUNS, out)  # by processes of this job that were killed
        if begun is not None and not asked.resume:
            asked = TrainRequest(source=asked.source, teachers=asked.teachers, out=begun, resume=True, log=asked.log)
        if _has_folds(asked):
            with agreed(ranks):
                watched = _watched(progress, asked)
            return _train_with_folds(asked, watched, command)
        if asked.resume:
            with agreed(ranks):
                config, folder = _resumed(asked, "train", lambda begun: asked_for(asked, begun))
        else:
            with agreed(ranks):
                config = asked.config()
            folder = _new_folder(config, out, config.model, "train")
        try:
            with naming_config(folder):
                with agreed(ranks):
                    watched = _watched(progress, asked if ranks.is_first else replace(asked, log=()))
                return run_training(config, folder, watched, command, find_extra_loss=load_teachers)
        finally:
            if out is None and not asked.resume and ranks.is_first:
                _remove_if_empty(folder.path)


@scoped_runtime()
def transfer(
    request: TransferRequest, progress: RunProgress | None = None, command: str = "saccade.api.transfer"
) -> TransferResult:
    """Adapt a pretrained network to the images of a source, or go on with it, and judge it. Raises SaccadeError.

    Pictures of what was measured lie in the run: `ladder.svg` where the depth was chosen by evidence, `backbones.svg`
    where networks were compared.
    """
    check_kind(request, TransferRequest, TRANSFER_EXAMPLE)
    ranks = current_ranks()
    with named_transfer(request) as asked:
        out, search = _path(asked.out), None
        begun = begun_before(ranks, RUNS, out)  # by processes of this job that were killed
        with agreed(ranks):
            progress = _watched(progress, asked if ranks.is_first or _has_folds(asked) else replace(asked, log=()))
            store = asked.store()
            if begun is not None and not asked.resume:
                asked = _going_on(asked, begun)
        if _has_folds(asked):
            result = _transfer_with_folds(asked, store, progress, command)
            if ranks.is_first:
                _draw_start(result.start, result.run.run_dir, progress)
            return result
        if asked.resume:
            with agreed(ranks):
                config, folder = _resumed(asked, "transfer", lambda begun: asked_of_transfer(asked, begun))
                if read_start(folder.path) is None:
                    refuse_unnamed_weights(config, asked.one_weights(), folder.path)
                config = where_weights_lie(asked, config)
        else:
            asked, search = with_backbone(asked, store, progress)
            with agreed(ranks):
                config = asked.config()
            folder = _new_folder(config, out, config.transfer.backbone, "transfer")
        try:
            with naming_config(folder):
                result = run_transfer(config, folder, store, progress, command, _path(asked.preprocessing), search)
        finally:
            if out is None and not asked.resume and ranks.is_first:
                _remove_if_empty(folder.path)
    if ranks.is_first:
        _draw_start(result.start, folder.path, progress)
    return result


def _going_on(asked: TransferRequest, begun: Path) -> TransferRequest:
    """`asked`, of the run that an earlier start of this job has begun: its weights are those that it chose."""
    config = read_folds_plan(begun).run if folds_folder.has_folds(begun) else RunFolder(path=begun).load_config()
    return TransferRequest(
        source=asked.source,
        weights=config.transfer.weights,
        out=begun,
        resume=True,
        log=asked.log,
        cache=asked.cache,
        cache_limit_gb=asked.cache_limit_gb,
    )


def _new_folder(config: RunConfig, out: Path | None, network: str, verb: str) -> RunFolder:
    """Where a new run lies: where the first process of the run says."""
    ranks = current_ranks()
    path = from_first(ranks, lambda: os.fsencode(_run_path(config, out, network)))
    folder = RunFolder(path=Path(os.fsdecode(path)))
    with agreed(ranks):
        _refuse_begun(folder.path, verb)
    return folder


@scoped_runtime()
def plan(request: TrainRequest | TransferRequest, progress: RunProgress | None = None) -> DryRun:
    """What `train`, `train_ensemble` or `transfer` would do with `request`: images, split, network, cost and settings.

    The images are looked at and a few steps are measured; nothing is written, and no weights are downloaded. Raises
    SaccadeError, as they do before their work.
    """
    if not isinstance(request, TransferRequest):
        check_kind(request, TrainRequest, 'api.plan(api.TrainRequest(source="photos")), or of a TransferRequest')
    watched = NotedOnce(progress or Silent())
    if request.resume:
        raise UsageError("A dry run is of a new run, and --resume goes on with one.\nLeave one of them out.")
    check_trackers(request.log)
    if isinstance(request, TransferRequest):
        with named_transfer(request) as asked:
            return _plan_transfer(asked, watched)
    with named_train(request) as asked_training:
        return _plan_training(asked_training, watched)


def _plan_training(asked: TrainRequest, progress: RunProgress) -> DryRun:
    config = asked.config()
    more: tuple[str, ...] = ()
    if asked.ensemble:
        ensemble_folder.check_size(asked.ensemble)
        more = (f"members {asked.ensemble} such runs, each with a seed of its own, then judged together",)
    if asked.folds:
        _check_folds(asked)
        more = (f"folds   {asked.folds} such runs, each judged on images of its own, then one for use on all images",)
    path = _planned_path(asked, config, f"{config.model}-ensemble" if asked.ensemble else config.model, "train")
    return replace(plan_training(config, path, progress, load_teachers), more=more)


def _plan_transfer(asked: TransferRequest, progress: RunProgress) -> DryRun:
    asked, is_here = without_download(asked, progress.note)
    config = asked.config()
    path = _planned_path(asked, config, config.transfer.backbone, "transfer")
    found = plan_transfer(config, is_here, path, progress, _path(asked.preprocessing))
    if not asked.folds:
        return found
    _check_folds(asked)
    refuse_with_folds(asked)
    told = f"folds   {asked.folds} such runs, each judged on images of its own, then one for use on all images"
    return replace(found, more=(told,))


def _planned_path(request: TrainRequest | TransferRequest, config: RunConfig, network: str, verb: str) -> Path:
    """Where a run that is not begun would lie. Raises what beginning it there would raise."""
    out = _path(request.out)
    refuse_among_images(config.source, out or RUNS)
    path = out or free_run_path(short_name(config.source), short_name(network))
    _refuse_begun(path, verb)
    RunFolder(path=path).check()
    return path


@scoped_runtime()
def add_class(
    run: AnyPath,
    more: AnyPath,
    out: AnyPath | None = None,
    source: GivenImages = "",
    cache: AnyPath = "",
    settings: Sequence[str] = (),
    progress: RunProgress | None = None,
    command: str = "saccade.api.add_class",
) -> AddedClasses:
    """Add the classes of `more`, a folder of one class or of several, to what `run` knows, as a new run (`out`).

    The features stay as they are; a last layer is fitted to all classes and judged on the held-out images of all.
    `source` is where the run's images lie, if not where they were; `cache` as in `TransferRequest`. Raises
    SaccadeError.
    """
    ensemble_folder.refuse_ensemble(path_of(run), "add-class")
    find_checkpoint(path_of(run)).manifest.task.refuse_unknown("saccade add-class", "several labels")
    path = path_of(out) if out is not None else new_run_path(text_of(more), f"added-to-{path_of(run).name}")
    folder = RunFolder(path=path)
    ensemble_folder.refuse_begun(path)
    try:
        with _own_source(source) as text:
            store = TransferRequest(cache=cache).store()
            work = AddClassWork(run=path_of(run), more=text_of(more), source=text, store=store, settings=settings)
            return add_classes(work, folder, NotedOnce(progress or Silent()), command)
    finally:
        if out is None:
            _remove_if_empty(path)


def _draw_start(start: StartPoint, run_dir: Path, progress: RunProgress) -> None:
    """The pictures of what was compared. The run is whole without them."""
    pictures: dict[str, Callable[[Path], None]] = {}
    if start.rungs:
        pictures[LADDER_PICTURE] = lambda path: write_ladder_chart(
            path, measured_steps(start.rungs), start.sentence, start.frozen
        )
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
    check_kind(request, TrainRequest, 'api.find_learning_rate(api.TrainRequest(source="photos"), "rates.svg")')
    picture = path_of(out)
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
    check_kind(request, TrainRequest, 'api.train_ensemble(api.TrainRequest(source="photos", ensemble=5))')
    if request.folds:
        raise UsageError(
            "--folds and --ensemble each train several runs, and for another purpose: leave one out.\n"
            "--folds judges one model on all images; --ensemble makes several answer together."
        )
    if isinstance(request.model, nn.Module):
        raise UsageError(
            "The members of an ensemble begin with different weights; a network given from Python brings one set.\n"
            "Give a name or a line of notation, or train the members one by one with api.train."
        )
    with named_train(request) as asked:
        out, ranks = _path(asked.out), current_ranks()
        begun = begun_before(ranks, RUNS, out)  # by processes of this job that were killed
        if begun is not None and not asked.resume:
            asked = TrainRequest(source=asked.source, teachers=asked.teachers, out=begun, resume=True, log=asked.log)
            out = begun
        with agreed(ranks):
            watched = _watched(progress, asked)
            if asked.resume:
                plan, path = _resumed_plan(asked, out)
            else:
                config = asked.config()
                ensemble_folder.check_size(asked.ensemble)
                plan = EnsemblePlan(num_members=asked.ensemble, run=config)
        if not asked.resume:
            path = _new_folder(config, out, f"{config.model}-ensemble", "train").path
            with agreed(ranks):
                RunFolder(path=path).check()
        try:
            with naming_config(RunFolder(path=path, resume=asked.resume), ENSEMBLE_PLAN):
                return train_members(plan, path, asked.resume, watched, command)
        finally:
            if out is None and not asked.resume and ranks.is_first:
                _remove_if_empty(path)


@scoped_runtime()
def is_ensemble(path: AnyPath) -> bool:
    """Whether an ensemble was begun in the folder `path`."""
    return at_path.is_ensemble(path_of(path))


@scoped_runtime()
def is_run(path: AnyPath) -> bool:
    """Whether a run, a checkpoint or an ensemble stands in the folder `path`, finished or not."""
    return at_path.is_run(path_of(path))


@scoped_runtime()
def evaluate(
    runs: AnyPath | Sequence[AnyPath],
    source: GivenImages,
    crops: int = 1,
    scales: float | Sequence[float] = (1.0,),
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
    on_bad_image: OnBadImage = "error",
) -> Evaluation:
    """Judge a run, or the mean probability of several, on the images of `source` that are for judging.

    With `crops` above 1 (5, 10, or a grid) and `scales`, several looks at every image are averaged too; what that
    gains and costs is in `Evaluation.together`. `model` is the network of a run that was given one from Python.
    `opened` hears the line that names the classes of `source` and their counts, once it is open. `answering` says from
    which confidence, or for which precision, answers count as sure; `further` asks for costs, parts of the images, or
    corrupted images. With `on_bad_image` "skip" one file that cannot be read, or 1 % of them, is left out and named.

    Raises SaccadeError.
    """
    wanted = looks(crops, scales)
    members = ensemble_folder.expand_runs(_paths(runs))
    if not members:
        raise UsageError("evaluate needs at least one run.")
    with known_source(source) as text, network_of_runs(model, members):
        how = runtime or RuntimeConfig()
        return evaluate_runs(members, text, wanted, how, opened, answering, further, check_on_bad_image(on_bad_image))


@scoped_runtime()
def evaluate_endpoint(
    url: str,
    model: str,
    source: GivenImages,
    token: str = "",
    preprocessing: AnyPath | None = None,
    class_names: AnyPath | None = None,
    output: str = "",
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
    on_bad_image: OnBadImage = "error",
) -> Evaluation:
    """Judge the model `model` of the server at `url`, which speaks the Open Inference Protocol (version 2, over HTTP),
    on the images of `source` that are for judging; every image is sent once.

    `token` is sent as a bearer token. `preprocessing` says how pixels become inputs where the server takes prepared
    ones: a run, an export, a JSON file, or a network as its public weights want it. `class_names` is a file of the
    classes in the order of the outputs, where the server does not say them; `output` names one of several outputs.
    `opened`, `answering`, `further` and `on_bad_image` are those of `evaluate`.

    Raises SaccadeError; EndpointError where the server cannot be asked or refuses an image.
    """
    preparation = None if preprocessing is None else read_preparation(text_of(preprocessing))
    classes = () if class_names is None else read_class_names(path_of(class_names))
    with known_source(source) as text, open_client(url, model, token) as client:
        endpoint = open_endpoint(client, preparation, classes, output, target_named(text))
        return judge_endpoint(endpoint, text, opened, answering, further, check_on_bad_image(on_bad_image))


@scoped_runtime()
def write_mistakes(evaluation: Evaluation, path: AnyPath) -> None:
    """Write every wrong answer of `evaluation` to a CSV file, the most confident first; of numbers every answer, the
    largest error first. Raises StorageError."""
    if evaluation.task.is_several:
        write_label_mistakes(path_of(path), evaluation.label_mistakes(), evaluation.metrics.classes)
    elif evaluation.task.is_number:
        write_number_mistakes(path_of(path), evaluation.number_mistakes())
    else:
        mistakes.write_mistakes(path_of(path), evaluation.mistakes())


@scoped_runtime()
def write_evaluated_answers(evaluation: Evaluation, path: AnyPath, top: int = 3) -> None:
    """Write every judged image's answer to a CSV file, in the columns of `predict_to_csv`, with its label behind them.

    Raises StorageError.
    """
    write_judged(path_of(path), evaluation, min(check_count(top, "--top"), len(evaluation.metrics.classes)))


@scoped_runtime()
def write_curves(evaluation: Evaluation, path: AnyPath) -> None:
    """Write the ROC and precision-recall curves of every class to a CSV or JSON file, a line for each threshold that
    changes anything. Raises StorageError, UsageError for another ending and for numbers."""
    evaluation.task.refuse_unknown("evaluate --curves", "several labels", "grade")
    label_NK = evaluation.label_N
    if label_NK.ndim == 1:
        label_NK = label_NK[:, None] == np.arange(len(evaluation.metrics.classes))
    curves_file.write_curves(path_of(path), evaluation.probabilities(), label_NK > 0, evaluation.metrics.classes)


@scoped_runtime()
def write_evaluation_report(evaluation: Evaluation, path: AnyPath, checked: LabelCheck | None = None) -> None:
    """Write a page of all that `evaluation` measured, and of the labels `checked`, as one HTML file.

    Raises StorageError.
    """
    write_evaluation_page(path_of(path), evaluation, checked)


@scoped_runtime()
def check_labels(
    run: AnyPath,
    source: GivenImages,
    out: AnyPath | None = None,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    count: int = 0,
    on_bad_image: OnBadImage = "error",
) -> LabelCheck:
    """Which labels of `source`, training images included, may be wrong, by the features of `run`.

    With `out` they are written there as CSV, the likeliest wrong first: those that are suspected, or `count` of them.
    `model` and `on_bad_image` as in `evaluate`. Raises SaccadeError.
    """
    count = check_count(count, "--label-errors-count", least=0)
    ensemble_folder.refuse_ensemble(path_of(run), "evaluate --label-errors")
    with known_source(source) as text, network_of_runs(model, [path_of(run)]):
        found = label_check.check_labels(
            path_of(run), text, runtime or RuntimeConfig(), count, check_on_bad_image(on_bad_image)
        )
    if out is not None:
        mistakes.write_suspects(path_of(out), found.listed)
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

    `images` are files and folders, uint8 or uint16 arrays (height, width[, channels]), images of Pillow, or a
    `DataSource`. Several runs, and the members of an ensemble's folder, answer together: the mean of their
    probabilities. `model` as in `evaluate`. `note` hears, at the end, which files of folders are no images, how many
    are training images, and why none is told to be unlike those of training, where that is so.
    `min_confidence`: below it, a prediction has no `answer` (`confidence_for` chooses one).
    """
    check_confidence(min_confidence)
    refuse_no_images(images)  # now; what is read is opened when its turn comes, and listed nowhere
    members, classifier = _answering(runs, runtime, model)
    refuse_confidence_of_labels(classifier.task, min_confidence)
    return ScopedIterator(
        _noted_answers(members, classifier, _noted_items(images, classifier, note), note, min_confidence)
    )


def _noted_answers(
    members: Sequence[Path],
    classifier: Classifier,
    items: Iterator[HeldImage],
    note: Callable[[str], None] | None,
    min_confidence: float,
) -> Iterator[Prediction | ImageError]:
    """The answers, and behind the last of them notes: on images the runs were trained on, on what is not told."""
    if note is None:
        yield from predict_items(classifier, items, min_confidence=min_confidence)
        return
    seen = SeenImages(members)
    yield from predict_items(classifier, items, seen, min_confidence)
    for caveat in [*seen.caveats(), *filter(None, [classifier.unlike_unknown])]:
        note(caveat)


def _answering(
    runs: AnyPath | Sequence[AnyPath], runtime: RuntimeConfig | None, model: nn.Module | None
) -> tuple[list[Path], Classifier]:
    """The members of `runs`, and the classifier that they are together. Raises UsageError where there is none."""
    members = ensemble_folder.expand_runs(_paths(runs))
    if not members:
        raise UsageError("predict needs at least one run.")
    with network_of_runs(model, members):
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


def _noted_items(
    images: ManyImages | GivenImage, classifier: Classifier, note: Callable[[str], None] | None
) -> Iterator[HeldImage]:
    """The images, and behind the last of them a note on the files of folders that are none."""
    passed_over = PassedOver()
    yield from items_of(images, passed_over, classifier.preprocessings[0].num_channels)
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
    top = check_count(top, "--top")
    refuse_no_images(images)
    members, classifier = _answering(runs, runtime, model)
    refuse_confidence_of_labels(classifier.task, min_confidence)
    file = AnswersFile(
        path_of(out),
        digest_of(members, classifier),
        min(top, len(classifier.classes)),
        min_confidence,
        classifier.task,
    )

    def answers() -> Iterator[Prediction | ImageError]:
        with file:
            items = file.remaining(_noted_items(images, classifier, note))
            yield from write_answers(file, _noted_answers(members, classifier, items, note, min_confidence))

    return file.written, ScopedIterator(answers())


@scoped_runtime()
def predict_to_folder(
    runs: AnyPath | Sequence[AnyPath],
    images: ListedImages,
    out: AnyPath,
    top: int = 5,
    unit_of: str = "",
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    min_confidence: float = 0.0,
    bad: Callable[[ImageError], None] = lambda error: None,
    told: Told = untold,
) -> UnitsWritten:
    """`predict` into the folder `out`: a Parquet file for each 4,096 images, those that are there already left out.

    Any number of processes may share the work (docs/scale.md): `unit_of` is this one's part, "K/N" or "env".
    `images` are paths and sources as on the command line, or a `DataSource`. An image that cannot be read is a row with
    the reason, of which `bad` hears; `told` hears of each file. `model`, `note` and `min_confidence` as in `predict`.
    Raises SaccadeError.
    """
    check_confidence(min_confidence)
    top = check_count(top, "--top")
    require_parquet()
    share = parse_share(unit_of, os.environ)
    members, classifier = _answering(runs, runtime, model)
    refuse_confidence_of_labels(classifier.task, min_confidence)
    top = min(top, len(classifier.classes))
    folder = UnitFolder(path_of(out), answer_units(members, classifier, top, min_confidence), listing_of(images))
    seen = SeenImages(members) if note else None

    def rows_of(items: Iterator[HeldImage]) -> Iterator[Row]:
        return answer_rows(predict_items(classifier, items, seen, min_confidence), top, classifier.task, bad)

    written = folder.work(share, rows_of, told)
    if note and seen and written.num_written:
        for caveat in [*seen.caveats(), *filter(None, [classifier.unlike_unknown])]:
            note(caveat)
    return written


@scoped_runtime()
def predict_to_label_studio(
    runs: AnyPath | Sequence[AnyPath],
    images: ManyImages | GivenImage,
    out: AnyPath,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    min_confidence: float = 0.0,
    bad: Callable[[ImageError], None] | None = None,
) -> Exported:
    """`predict` into a JSON file of Label Studio: tasks with the answers as pre-annotations (docs/collections.md).

    Beside `out` stands the labelling configuration, OUT.xml. The images are files below the folder of `out`. An image
    that cannot be used is raised, or, with `bad`, told and left out. `note` and `min_confidence` as in `predict`: an
    image without an answer has no pre-annotation. Raises SaccadeError.
    """
    check_confidence(min_confidence)
    refuse_no_images(images)
    members, classifier = _answering(runs, runtime, model)
    classifier.task.refuse_unknown("predict --label-studio", "several labels", "grade", "number")
    answers = _noted_answers(members, classifier, _noted_items(images, classifier, note), note, min_confidence)
    return export_label_studio(
        path_of(out),
        _version_of(members, classifier),
        classifier.classes,
        answers,
        bad or raise_bad,
        classifier.task,
    )


@scoped_runtime()
def predict_to_fiftyone(
    runs: AnyPath | Sequence[AnyPath],
    images: ManyImages | GivenImage,
    out: AnyPath,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    min_confidence: float = 0.0,
    bad: Callable[[ImageError], None] | None = None,
) -> Exported:
    """`predict` into the new folder `out` as FiftyOne reads it: copies of the images, and the answers as their labels.

    `note`, `min_confidence` and `bad` as in `predict_to_label_studio`. Raises SaccadeError.
    """
    check_confidence(min_confidence)
    refuse_no_images(images)
    members, classifier = _answering(runs, runtime, model)
    classifier.task.refuse_unknown("predict --fiftyone", "several labels", "grade")

    def answered(items: Iterable[HeldImage]) -> Iterator[Prediction | ImageError]:
        return _noted_answers(members, classifier, iter(items), note, min_confidence)

    return export_fiftyone(
        path_of(out), classifier.classes, _noted_items(images, classifier, note), answered, bad or raise_bad
    )


def _version_of(members: Sequence[Path], classifier: Classifier) -> str:
    """What a labelling tool calls these networks: their names, and what tells their weights from others."""
    names = "+".join(dict.fromkeys(member.architecture for member in classifier.members))
    return f"saccade {names} {digest_of(members, classifier)[:12]}"


@scoped_runtime()
def features(
    run: AnyPath,
    images: ManyImages | GivenImage,
    out: AnyPath,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    bad: Callable[[ImageError], None] | None = None,
    weights: AnyPath | None = None,
    note: Callable[[str], None] | None = None,
) -> FeaturesWritten:
    """Write what the head of `run` sees of each image to `out` (.parquet, .npz or .csv), in their order.

    With `weights`, which are what `transfer` takes, `run` is the name of their network, and `note` hears what a person
    should know of them. `images` as in `predict`; those of a source are written with their labels. An image that cannot
    be used is raised, or, with `bad`, told and left out. Memory does not grow with the number of images; `out` is whole
    or not there. `model` as in `evaluate`. Raises SaccadeError.
    """
    path = path_of(out)
    check_features(path)
    seeing = _seeing(run, weights, runtime, model, note or untold)
    refuse_no_images(images)
    items = items_of(images, None, seeing.member.preprocessing.num_channels)
    return write_features(path, facts_of(seeing), stream_features(seeing.member, items), bad or raise_bad)


@scoped_runtime()
def features_to_folder(
    run: AnyPath,
    images: ListedImages,
    out: AnyPath,
    half: bool = False,
    unit_of: str = "",
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    note: Callable[[str], None] | None = None,
    bad: Callable[[ImageError], None] = lambda error: None,
    told: Told = untold,
    weights: AnyPath | None = None,
) -> UnitsWritten:
    """`features` into the folder `out`: a Parquet file for each 4,096 images, in float32, or float16 with `half`.

    Work is shared, and the other arguments are, as in `predict_to_folder`; `weights` as in `features`. `note` hears
    what of the images is not used, and what a person should know of weights. Raises SaccadeError.
    """
    require_parquet()
    share = parse_share(unit_of, os.environ)
    seeing = _seeing(run, weights, runtime, model, note or untold)
    folder = UnitFolder(path_of(out), feature_units(seeing, half), listing_of(images, note or untold))
    return folder.work(share, lambda items: feature_rows(stream_features(seeing.member, items), bad), told)


def _seeing(
    run: AnyPath, weights: AnyPath | None, runtime: RuntimeConfig | None, model: nn.Module | None, note: Told
) -> Seeing:
    """What computes features: the run `run`, or the network of that name with `weights`."""
    if weights is None:
        refuse_network_for_run(text_of(run))
        return seeing_run(path_of(run), _survey_member(run, "features", runtime, model))
    if model is not None:
        raise UsageError("'model' is the network of a run, and with 'weights' there is none.\nLeave one of them out.")
    member, found = open_backbone(text_of(run), text_of(weights), start(runtime or RuntimeConfig()))
    for line in filter(None, (*found.notes, restricted(found.source, found.licence))):
        note(line)
    return seeing_backbone(member, found)


@scoped_runtime()
def similar(
    run: AnyPath,
    image: GivenImage,
    images: ManyImages | GivenImage,
    count: int = 10,
    sheet: AnyPath | None = None,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    bad: Callable[[ImageError], None] | None = None,
) -> Similar:
    """The `count` of `images` that are nearest to `image` by the cosine of what the head of `run` sees of them.

    Exact copies are told apart. With `sheet` (.svg or .png) the pictures are written there. `bad` as in `features`,
    `model` as in `evaluate`. Raises SaccadeError.
    """
    page = _path(sheet)
    if page is not None:
        check_sheet(page, "similar", "--sheet")
    count = check_count(count, "--count")
    member = _survey_member(run, "similar", runtime, model)
    if page is not None:
        atomic.check_file(page)
    refuse_no_images(images)
    found = find_similar(
        member,
        item_of(image, "the image"),
        items_of(images, None, member.preprocessing.num_channels),
        count,
        bad or raise_bad,
    )
    if page is not None:
        write_similar_sheet(page, found)
    return found


@scoped_runtime()
def suggest(
    run: AnyPath,
    images: ManyImages | GivenImage,
    count: int = 50,
    seed: int = 0,
    out: AnyPath | None = None,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    bad: Callable[[ImageError], None] | None = None,
) -> Suggestions:
    """Which `count` of `images` to label next: unsure to `run`, and unlike each other (docs/collections.md). Numbers
    know no doubt: unlike the training images, and each other.

    Images that the run was trained on are left out. With `out` the list is written there as CSV. `bad` as in
    `features`, `model` as in `evaluate`. Raises SaccadeError.
    """
    count, seed = check_count(count, "--count"), check_seed(seed)
    member = _survey_member(run, "suggest", runtime, model)
    refuse_no_images(images)
    table = _path(out)
    if table is not None:
        atomic.check_file(table)
    found = suggest_images(
        member,
        path_of(run),
        items_of(images, None, member.preprocessing.num_channels),
        count,
        seed,
        bad or raise_bad,
    )
    if table is not None:
        write_suggestions(table, found)
    return found


@scoped_runtime()
def drift(
    run: AnyPath,
    images: ManyImages | GivenImage,
    source: GivenImages = "",
    seed: int = 0,
    runtime: RuntimeConfig | None = None,
    model: nn.Module | None = None,
    bad: Callable[[ImageError], None] | None = None,
    opened: Told = untold,
) -> Drift:
    """Whether `images` are like those that `run` was judged on, and which classes moved (docs/collections.md).

    The run's own source is opened again; `source` is where its images lie, if not where they were. `bad` as in
    `features`, `model` and `opened` as in `evaluate`. Raises SaccadeError.
    """
    seed = check_seed(seed)
    member = _survey_member(run, "drift", runtime, model)
    refuse_no_images(images)
    folder = run_folder(path_of(run))
    manifest = find_checkpoint(path_of(run)).manifest
    with _own_source(source) as text:
        held_out = held_out_images(folder, manifest, text, member.runtime.num_threads)
        opened(opening_line(held_out.source))
        return find_drift(
            member,
            path_of(run),
            held_out,
            items_of(images, None, member.preprocessing.num_channels),
            seed,
            bad or raise_bad,
        )


@contextmanager
def _own_source(source: GivenImages) -> Iterator[str]:
    """The text of a source that a person names in place of a run's own; "" where none is named."""
    if isinstance(source, str) and not source:
        yield ""
    else:
        with known_source(source) as text:
            yield text


def _survey_member(run: AnyPath, verb: str, runtime: RuntimeConfig | None, model: nn.Module | None) -> Member:
    """The network of the one run that `verb` takes."""
    ensemble_folder.refuse_ensemble(path_of(run), verb)
    with network_of_runs(model, [path_of(run)]):
        return open_member(path_of(run), runtime)


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
    ensemble_folder.refuse_ensemble(path_of(run), "explain")
    with known_source(source) as text, network_of_runs(model, [path_of(run)]):
        member = open_member(path_of(run), RuntimeConfig(device="cpu"))
        item = item_of(image, "array")
        explanation = explain_image(member, item.read(), item.key, class_name, layer, text, opened)
        promised = promised_precision(join_members([member]), [path_of(run)], Answering().precision)
        explanation = replace(explanation, promised=promised)
    if sheet is not None:
        write_sheet(sheet, explanation)
    return explanation


@scoped_runtime()
def export(
    run: AnyPath,
    out: AnyPath | None = None,
    formats: Sequence[str] = ("onnx",),
    half: bool = False,
    runtime: AnyPath | None = None,
    note: Callable[[str], None] = lambda text: None,
    int8: AskedInt8 | None = None,
) -> ExportedRun:
    """Write the network of `run` as files that other programs read: any of `onnx`, `openvino`, `hub`, `browser` and
    `triton`, into the folder `out` (default `RUN/export`). With `half` OpenVINO's weights are stored as float16.
    `browser` needs onnxruntime-web: `runtime` says where it lies, else it is downloaded once, and `note` is told.
    With `int8` OpenVINO's file computes in 8 bits, and is kept only where the run's validation images show that it
    loses little.

    Each file is run by its own engine and compared with the run before it is kept. Raises SaccadeError.
    """
    return export_run(
        path_of(run),
        [text_of(name) for name in listed(formats, "a format")],
        _path(out),
        half,
        _path(runtime),
        note,
        int8,
    )


def serve(
    models: AnyPath | Sequence[AnyPath],
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 0,
    queue: int = 0,
    deadline_s: float = 2.0,
    together: bool = False,
) -> RunningServer:
    """Start a server of runs or exports, as `saccade serve` is one, in a process of its own, and wait until it answers.

    Port 0 takes a free one; `url` of the result says which. It ends by `stop`, at the end of a `with` block, or with
    this process. Raises SaccadeError.
    """
    options = ServeOptions(host=host, port=port, threads=threads, queue=queue, deadline_s=deadline_s, together=together)
    require_serve_packages()
    return start_server(["serve", *map(str, _paths(models)), *options.as_arguments()], options.needs_token)


def studio(folder: AnyPath = DEFAULT_FOLDER, host: str = "127.0.0.1", port: int = 0) -> RunningServer:
    """Start the studio of the runs in `folder`, as `saccade studio` is one, in a process of its own, and wait until it
    answers.

    Port 0 takes a free one; `url` of the result says which. It ends by `stop`, at the end of a `with` block, or with
    this process. Raises SaccadeError.
    """
    options = StudioOptions(host=host, port=port)
    require_studio_packages()
    check_folder(path_of(folder))
    arguments = ["studio", str(path_of(folder)), "--no-browser", *options.as_arguments()]
    return start_server(arguments, options.needs_token)


@scoped_runtime()
def push(run: AnyPath, name: str, private: bool = False, dry_run: bool = False) -> PushedRun:
    """Send what `export` writes as `hub`, and nothing else, to the repository `name` (OWNER/NAME) of the Hugging Face
    hub, as one commit. With `private` a repository that is made is private; with `dry_run` nothing is sent.

    The token is that of HF_TOKEN, or of `hf auth login`. Raises SaccadeError.
    """
    return push_run(path_of(run), name, private, dry_run)


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
def shard(
    source: GivenImages,
    out: AnyPath,
    settings: ShardSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    opened: Told = untold,
    on_bad_image: OnBadImage = "error",
    decoding: Callable[[int, int], None] | None = None,
) -> ShardsWritten:
    """Write the images of `source` as tar shards to a folder or an address, or go on where that was stopped.

    Every image is decoded first: one that cannot be is an error, or left out with `on_bad_image` "skip", as in
    training. `decoding(done, total)` and then `progress(done, total)` count images, `opened` as in `evaluate`. Raises
    SaccadeError.
    """
    if settings is not None:
        check_kind(settings, ShardSettings, 'api.shard("photos", "shards", api.ShardSettings(images_per_shard=1000))')
    check_shards_out(text_of(out))
    with known_source(source) as text:
        refuse_shards_among_images(text, text_of(out))
        images = open_source(text, verb="shard")
        opened(opening_line(images))
        return write_shards(
            images,
            text_of(out),
            settings or ShardSettings(),
            progress,
            check_on_bad_image(on_bad_image),
            decoding,
            available_cpus(),
        )


@scoped_runtime()
def table(target: AnyPath, request: TableRequest | None = None, fold: bool = True) -> DesignTable:
    """The layer table of a name, a line of notation, a run, or module.py:function (docs/design-desk.md).

    With `fold`, normalisations and nonlinearities stand in the row of the layer they follow. Raises SaccadeError.
    """
    return draw_table(text_of(target, NETWORK), request or TableRequest(), fold)


@scoped_runtime()
def compare(targets: Sequence[AnyPath], request: TableRequest | None = None) -> Comparison:
    """The totals of several networks side by side. Raises SaccadeError."""
    texts = [os.fspath(target) for target in listed(targets, NETWORK)]
    if not texts:
        raise UsageError("compare needs at least one network.")
    return draw_comparison(texts, request or TableRequest())


@scoped_runtime()
def compare_verdicts(runs: Sequence[AnyPath]) -> ComparedRuns:
    """The verdicts of several runs, each against the first, on the images that both were judged on (McNemar's test).

    Raises UsageError for fewer than two, CheckpointError for one that was not judged.
    """
    folders = _paths(runs)
    if len(folders) < 2:
        raise UsageError("Two runs or more are compared: saccade compare runs/one runs/other.")
    return compare_runs(folders)


@scoped_runtime()
def report(run: AnyPath, out: AnyPath | None = None, model: nn.Module | None = None) -> Path:
    """Write the report of a finished run as one HTML file (default: `report.html` in it). Raises SaccadeError.

    `model` as in `evaluate`.
    """
    ensemble_folder.refuse_ensemble(path_of(run), "report")
    with network_of_runs(model, [path_of(run)]):
        return write_report(path_of(run), _path(out))


@scoped_runtime()
def runs(folder: AnyPath = RUNS) -> RunList:
    """How each run in `folder` stands, at any depth, the one that was begun last first; nothing of them is computed.

    Raises UsageError where there is no such folder.
    """
    return read_run_list(path_of(folder))


@scoped_runtime()
def preview(request: PreviewRequest, out: AnyPath, opened: Told = untold) -> dict[str, Any]:
    """Write a picture of what augmentation does to some images of a source; returns what was drawn in words.

    `opened` as in `evaluate`. Raises SaccadeError.
    """
    check_kind(request, PreviewRequest, 'api.preview(api.PreviewRequest(source="photos"), "drawn.png")')
    with named_preview(request) as asked:
        result = preview_run(asked.config(), asked.num_images, opened=opened)
    picture = result.picture()
    atomic.write_with(path_of(out), lambda temporary: picture.save(temporary, "PNG"))
    return preview_values(result)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else path_of(path)


def _paths(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    return [path_of(path) for path in listed(paths)]


def _watched(progress: RunProgress | None, request: TrainRequest | TransferRequest) -> RunProgress:
    """Who watches, with the trackers that `request` names. Raises UsageError for one that is not there."""
    return Tracked(progress or Silent(), request.log) if request.log else NotedOnce(progress or Silent())


def _run_path(config: RunConfig, out: Path | None, network: str) -> Path:
    """Where a new run lies: `out`, or a folder nobody has. Raises UsageError where that is among its own images."""
    refuse_among_images(config.source, out or RUNS)
    return out or new_run_path(short_name(config.source), short_name(network))


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
        raise UsageError(_of_another_verb(out, config.verb))
    refuse_moved_source(config, out)
    wanted = asked(config)
    refuse_more_epochs(config, wanted, out)
    refuse_changes(config, wanted)
    refuse_unnamed_source(config, str(request.source), out)
    return wanted, folder


def _resumed_plan(request: TrainRequest, out: Path | None) -> tuple[EnsemblePlan, Path]:
    if out is None or not at_path.is_ensemble(out):
        raise UsageError(
            "Say which ensemble to resume: saccade train --resume --out FOLDER, the one that --ensemble made."
        )
    plan = read_plan(out)
    if request.ensemble not in (0, plan.num_members):
        raise UsageError(
            f"A resumed ensemble goes on as it began: it has {plan.num_members} members, now {request.ensemble}.\n"
            f"Leave --ensemble out, or start a new one with another --out."
        )
    refuse_moved_source(plan.run, out)
    wanted = asked_for(request, plan.run)
    refuse_changes(plan.run, wanted)
    refuse_unnamed_source(plan.run, str(request.source), out)
    return plan.model_copy(update={"run": wanted}), out


def _has_folds(request: TrainRequest | TransferRequest) -> bool:
    """Whether a run with folds is asked for, or gone on with."""
    return bool(request.folds) or (
        request.resume and request.out is not None and folds_folder.has_folds(Path(request.out))
    )


def _refuse_begun(path: Path, verb: str) -> None:
    """Raise CheckpointError where an ensemble, or a run with folds, stands in `path`."""
    ensemble_folder.refuse_begun(path)
    folds_folder.refuse_begun(path, verb)


def _train_with_folds(asked: TrainRequest, progress: RunProgress, command: str) -> TrainResult:
    config = None
    with agreed(current_ranks()):
        if asked.resume:
            plan, path = _resumed_folds(asked, "train", lambda begun: asked_for(asked, begun))
        else:
            _check_folds(asked)
            config = asked.config()
    if config is not None:
        plan, path = _new_folds(asked, config, "train")

    progress = BegunOnce(progress)

    def train_one(
        config: RunConfig, folder: RunFolder, scanned: Scanned, crossed: CrossValidated | None
    ) -> TrainResult:
        images = divide(config, scanned, progress.note)
        return run_training(config, folder, _of_folds(progress, config), command, images, load_teachers, crossed)

    return _with_folds(FoldsWork(plan=plan, path=path, resume=asked.resume, progress=progress), train_one, asked)


def _transfer_with_folds(
    asked: TransferRequest, store: FeatureStore, progress: RunProgress, command: str
) -> TransferResult:
    ranks = current_ranks()
    with agreed(ranks):
        refuse_with_folds(asked)
        if asked.resume:
            plan, path = _resumed_folds(asked, "transfer", lambda begun: asked_of_transfer(asked, begun))
            runs = [path, *(folds_folder.fold_path(path, number + 1) for number in range(plan.num_folds))]
            if any(read_start(run) is None for run in runs):
                refuse_unnamed_weights(plan.run, asked.one_weights(), path)
            plan = plan.model_copy(update={"run": where_weights_lie(asked, plan.run)})
        else:
            _check_folds(asked)
    if not asked.resume:
        asked, _ = with_backbone(asked, store, progress)
        with agreed(ranks):
            config = asked.config()
        known = one_of_each_machine(ranks, lambda: with_weights_read(config, _path(asked.preprocessing), progress.note))
        plan, path = _new_folds(asked, known, "transfer")
    if store.folder is None:
        progress.note(f"without a cache each of the {plan.num_folds + 1} runs computes the features of its images anew")

    progress = BegunOnce(progress)

    def train_one(
        config: RunConfig, folder: RunFolder, scanned: Scanned, crossed: CrossValidated | None
    ) -> TransferResult:
        watched = _of_folds(progress, config)
        return run_transfer(config, folder, store, watched, command, scanned=scanned, crossed=crossed)

    return _with_folds(FoldsWork(plan=plan, path=path, resume=asked.resume, progress=progress), train_one, asked)


def _of_folds(progress: RunProgress, config: RunConfig) -> RunProgress:
    """Who watches the run of a fold, or the run for use, which is the last of them. Of several processes the
    first one tells of a run that all compute."""
    if not current_ranks().is_first:
        return Silent()
    total = config.split.folds + 1
    return OneOfSeveral(progress, config.split.fold or total, total)


def _check_folds(request: TrainRequest | TransferRequest) -> None:
    folds_folder.check_number(request.folds)
    refuse_test_fraction(request.settings)


def _with_folds(work: FoldsWork, train_one: TrainOne[Result], asked: TrainRequest | TransferRequest) -> Result:
    try:
        with naming_config(RunFolder(path=folds_folder.plan_path(work.path).parent, resume=work.resume), FOLDS_PLAN):
            return train_folds(work, train_one)
    finally:
        if asked.out is None and not work.resume and current_ranks().is_first:
            _remove_if_empty(work.path)


def _new_folds(request: TrainRequest | TransferRequest, config: RunConfig, verb: str) -> tuple[FoldsPlan, Path]:
    plan = FoldsPlan(num_folds=request.folds, run=config)
    folder = _new_folder(config, _path(request.out), config.transfer.backbone or config.model, verb)
    with agreed(current_ranks()):
        folder.check()
    return plan, folder.path


def _resumed_folds(
    request: TrainRequest | TransferRequest, verb: str, asked: Callable[[RunConfig], RunConfig]
) -> tuple[FoldsPlan, Path]:
    out = _path(request.out)
    if out is None or not folds_folder.has_folds(out):
        raise UsageError(
            f"A run with folds has them from its beginning: --folds goes with --resume only where it began with it.\n"
            f"Leave --folds out, or say which run: saccade {verb} --resume --out RUN"
        )
    plan = read_folds_plan(out)
    if plan.run.verb != verb:
        raise UsageError(_of_another_verb(out, plan.run.verb))
    if request.folds not in (0, plan.num_folds):
        raise UsageError(
            f"A resumed run goes on as it began: it has {plan.num_folds} folds, now {request.folds}.\n"
            f"Leave --folds out, or start a new run with another --out."
        )
    refuse_moved_source(plan.run, out)
    wanted = asked(plan.run)
    refuse_more_epochs(plan.config(), wanted.model_copy(update={"split": plan.config().split}), out)
    refuse_changes(plan.run, wanted)
    refuse_unnamed_source(plan.run, str(request.source), out)
    return plan.model_copy(update={"run": wanted}), out


def _of_another_verb(run: Path, verb: str) -> str:
    again = f"saccade {verb} --resume --out {shell_word(run)}"
    return f"{printable(str(run))} was begun by saccade {verb}.\nGo on with: {again}"


def _remove_if_empty(path: Path) -> None:
    """A run that failed before it began leaves no folder behind."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
