"""Cross-validation: a run for each fold, judged on images that it has not seen, then one on all of them, for use.

Killed anywhere, it goes on where it was: folds that are finished stay, the run under way is resumed to the same bits.
The images are read and checked once for all runs; which are in a fold follows from their content and the seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field

from ..core import lock
from ..core.agreement import agreed
from ..core.config import FrozenConfig
from ..core.display import figure
from ..core.errors import CheckpointError, DataError, Stopped, printable, storable
from ..core.ranks import current_ranks
from ..core.runtime import environment, start
from ..data.folds import MAX_FOLDS
from ..evaluate.copies import WithoutCopies
from ..evaluate.forward import Outputs
from ..evaluate.label_metrics import LabelMetrics
from ..evaluate.number_metrics import NumberMetrics
from ..evaluate.verdict import AnyMetrics, metrics_of, percent
from ..runs.checkpoint import open_checkpoint
from ..runs.ensemble_folder import is_finished
from ..runs.evaluation_files import JudgedOutputs, Verdict, read_verdict
from ..runs.files import damaged, refuse_link
from ..runs.folds_folder import REMEDY, FoldVerdict, fold_path, plan_path, read_plan_settings, refuse_begun
from ..runs.names import BEST, EVALUATION, FOLDS, fold_name
from ..runs.settings import with_found, write_settings
from ..runs.start_point import read_start
from ..train.config import RunConfig
from ..train.cross_validated import CrossValidated, figure_of
from ..train.data_caveats import loss_caveats
from ..train.prepare import Images, Scanned, divide, scan_images
from ..train.progress import RunProgress
from ..train.resume_images import begun_white
from ..train.resume_references import resume_command
from ..train.run import TrainResult, compare_processes, held_run
from ..train.run_directory import RunFolder, refuse_unregistered
from ..train.scale import keep_threads, refuse_more_processes
from ..train.side_by_side import stopped_together, train_side_by_side
from ..train.together import described_job, refuse_own_folders, write_job
from ..transfer.run import TransferResult

Result = TypeVar("Result", TrainResult, TransferResult)
NumFolds = Annotated[int, Field(ge=2, le=MAX_FOLDS)]


# Trains, or goes on training, the run of a configuration in a folder, and judges it; its folds gave what is handed in.
TrainOne = Callable[[RunConfig, RunFolder, Scanned, CrossValidated | None], Result]


class FoldsPlan(FrozenConfig):
    """What a run with folds is made of."""

    num_folds: NumFolds = Field(description="runs that are judged, each on images of its own, before the run for use")
    data_digest: str = Field("", description="digest of the images and their labels; found when it begins")
    run: RunConfig = Field(description="the run, without its folds")

    def config(self, number: int = 0) -> RunConfig:
        """The configuration of the run of a fold, counted from 1; 0: of the run for use."""
        split = self.run.split.model_copy(update={"folds": self.num_folds, "fold": number})
        return self.run.model_copy(update={"split": split})


def read_plan(run: Path) -> FoldsPlan:
    """What the folds of `run` were begun with. Raises ConfigError, or CheckpointError where it is damaged."""
    path, settings = plan_path(run), read_plan_settings(run)
    refuse_unregistered(settings, path, "run")
    return with_found(FoldsPlan.parse(settings.values, printable(str(path))), settings, path, REMEDY)


@dataclass(frozen=True, kw_only=True)
class FoldsWork:
    """What is trained where: `path` is the run for use, `resume` says that it goes on with what stands there."""

    plan: FoldsPlan
    path: Path
    resume: bool
    progress: RunProgress


def train_folds(work: FoldsWork, train_one: TrainOne[Result]) -> Result:
    """Train, or go on training, the folds of a run and then the run, whose figure is that of the folds.

    Several processes train folds side by side, each in one of them. Raises what a training raises, RunInUseError where
    another process trains it, and Stopped with the command to go on with all of it.
    """
    plan, path, note = work.plan, work.path, work.progress.note
    ranks = current_ranks()
    with agreed(ranks):
        for place in (path, path / FOLDS):
            refuse_link(place, "run")
            lock.refuse_held(place)
        refuse_more_processes(plan.config(), ranks)
        white = begun_white(fold_path(path, 1)) if work.resume else None
        runtime = start(plan.run.runtime)
        scanned = scan_images(plan.config(), runtime, note, work.progress.scan, white)
        images = divide(plan.config(), scanned, note)
        parts = [divide(plan.config(number), scanned, _unheard) for number in range(1, plan.num_folds + 1)]
    compare_processes(images, runtime, note)
    if not work.resume:
        plan = plan.model_copy(update={"run": keep_threads(plan.run, runtime)})
        work = replace(work, plan=plan)
    with held_run(RunFolder(path=path / FOLDS), ranks):
        refuse_own_folders(ranks, path / FOLDS)
        job = {} if ranks.is_alone else environment(runtime) | described_job(ranks)
        with agreed(ranks):
            plan = _begin(work, images, job)
        _train_all(work, scanned, train_one)
        with agreed(ranks):
            crossed = _collect(path, images, parts)
            folder = RunFolder(path=path, resume=RunFolder(path=path).has_run)
            config = _config(plan, folder, 0)
        note(f"all {plan.num_folds} folds are judged; now the run for use, on all images")
        return train_one(config, folder, scanned, crossed)


def _train_all(work: FoldsWork, scanned: Scanned, train_one: TrainOne[Result]) -> None:
    """Train the folds that are not finished, in however many processes there are."""
    plan, ranks = work.plan, current_ranks()

    def is_done(number: int) -> bool:
        refuse_link(fold_path(work.path, number), "run")
        return is_finished(fold_path(work.path, number))

    def train_fold(number: int, own: Sequence[int]) -> str:
        return _train_fold(work, number, scanned, train_one)

    try:
        came = train_side_by_side(ranks, range(1, plan.num_folds + 1), is_done, train_fold)
    except Stopped as error:
        if error.message:
            raise
        raise stopped_together(plan.run, work.path, error) from None
    for number in came:
        work.progress.note(came[number])  # those of this process are told already, and each note once


def _unheard(text: str) -> None:
    """Notes on a fold are those on all images, or told by its own run."""


def _begin(work: FoldsWork, images: Images, job: dict[str, object]) -> FoldsPlan:
    """Write what the folds are made of, or check that the images are still those: the folder is ours now."""
    plan, path = work.plan, work.path
    if not work.resume:
        asked, plan = plan, plan.model_copy(update={"data_digest": images.digest()})
        if current_ranks().is_first:
            refuse_begun(path, plan.run.verb)  # again: another process may have begun them while images were read
            write_job(path / FOLDS, job)
            write_settings(plan_path(path), asked, plan)
    elif plan.data_digest != images.digest():
        raise CheckpointError(
            f"The images in {printable(plan.run.source)} are not those this run was begun with, and its folds may not "
            f"be dealt out anew.\n"
            f"Put the images back as they were, or start a new run with another --out."
        )
    return plan


def _config(plan: FoldsPlan, folder: RunFolder, number: int) -> RunConfig:
    """What the run of a fold, or the run for use (0), is trained by: what it found stays, how images are read and where
    the weights lie is as it is wanted now."""
    wanted = plan.config(number)
    if not folder.resume:
        return wanted
    begun = folder.load_config()
    transfer = begun.transfer.model_copy(update={"weights": wanted.transfer.weights})
    return begun.model_copy(update={"loader": wanted.loader, "stop": wanted.stop, "transfer": transfer})


def _train_fold(work: FoldsWork, number: int, scanned: Scanned, train_one: TrainOne[Result]) -> str:
    """Train the run of a fold, and say what it gave."""
    plan, path = work.plan, fold_path(work.path, number)
    work.progress.note(f"fold {number} of {plan.num_folds}")
    folder = RunFolder(path=path, resume=RunFolder(path=path).has_run)
    try:
        result = train_one(_config(plan, folder, number), folder, scanned, None)
    except Stopped as error:
        raise _stopped(work, number, error.exit_code) from None
    run = result.run if isinstance(result, TransferResult) else result
    if run.stop_exit_code:
        raise _stopped(work, number, run.stop_exit_code)
    told = f"fold {number} of {plan.num_folds}: {_figure_words(run.judgement.metrics)}"
    work.progress.note(told)
    return told


def _figure_words(metrics: AnyMetrics) -> str:
    """What a fold gave, in a few words."""
    if not metrics.num_samples:
        return "no image could be judged"
    if isinstance(metrics, LabelMetrics):
        return f"mAP {percent(metrics.map)} % of {metrics.num_samples:,} images"
    if isinstance(metrics, NumberMetrics):
        return f"mean absolute error {figure(metrics.mae)} on {metrics.num_samples:,} images"
    return f"{percent(metrics.top1)} % of {metrics.num_samples:,} images correct"


def _stopped(work: FoldsWork, number: int, exit_code: int) -> Stopped:
    error = Stopped(
        f"Stopped in fold {number} of {work.plan.num_folds}; everything is saved in {printable(str(work.path))}.\n"
        f"Go on with: {resume_command(work.plan.run, work.path)}"
    )
    error.exit_code = exit_code
    return error


def _collect(run: Path, images: Images, parts: Sequence[Images]) -> CrossValidated:
    """What all folds of `run` said, in the order of the source. Raises CheckpointError where a fold is damaged, or was
    judged on other images than its own."""
    found = [_fold_outputs(fold_path(run, number), part) for number, part in enumerate(parts, start=1)]
    outputs = [fold.outputs for fold in found]
    num_copies = sum(fold.num_copies for fold in found)
    whole = Outputs(
        logits_NK=np.concatenate([each.logits_NK for each in outputs]),
        label_N=np.concatenate([each.label_N for each in outputs]),
        index_N=np.concatenate([each.index_N for each in outputs]),
    )
    if not len(whole.index_N):
        raise DataError(
            f"Every image of {printable(images.source.name)} is a copy of one in its validation part, so no fold can "
            f"judge any.\nRemove the copies there."
        )
    order_N = np.argsort(whole.index_N)
    num_right = sum(fold.num_right_with_copies for fold in found)
    num_all = len(order_N) + num_copies
    return CrossValidated(
        outputs=Outputs(
            logits_NK=whole.logits_NK[order_N], label_N=whole.label_N[order_N], index_N=whole.index_N[order_N]
        ),
        copies=WithoutCopies(
            is_judged_N=np.arange(num_all) < len(order_N), num_copies=num_copies, top1_with=num_right / num_all
        ),
        folds=tuple(fold.verdict for fold in found if len(fold.outputs.label_N)),
        num_trained=len(images.split.train_N),
        num_lost=sum(len(part.split.test_N) for part in parts) - num_all,
        caveats=tuple(
            f"In {FOLDS}/{fold_name(number)}: {text}"
            for number in range(1, len(parts) + 1)
            for text in loss_caveats(fold_path(run, number), 0)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _FoldOutputs:
    """What one fold said of its images, less `num_copies` of images in a given validation part."""

    outputs: Outputs
    verdict: FoldVerdict
    num_copies: int
    num_right_with_copies: float


def _fold_outputs(run: Path, images: Images) -> _FoldOutputs:
    manifest = open_checkpoint(run / BEST).manifest
    found = read_verdict(run, manifest.classes, manifest.task)
    if found is None or manifest.classes != images.classes:
        raise damaged(run / EVALUATION, "it is not the verdict of a fold on these images", REMEDY)
    verdict, judged = found
    _check_images(run, verdict, judged, images)
    task, num_judged = manifest.task, len(judged.label_N) if verdict.kind == "held-out" else 0
    metrics = metrics_of(judged.logits_NK, judged.label_N, manifest.classes, manifest.task)
    num_copies = int(np.isin(images.split.test_N, images.split.copied_N).sum())
    with_copies = manifest.metrics.get(f"{task.right_figure}_with_copies")
    rate = with_copies if isinstance(with_copies, float) and 0 <= with_copies <= 1 else metrics.top1
    logits_NK = judged.logits_NK
    if task.is_several:
        logits_NK = task.scaled(logits_NK).astype(np.float32)
    elif task.is_number:
        logits_NK = task.probabilities_of(logits_NK)  # each fold has its own scale
    return _FoldOutputs(
        outputs=Outputs(
            logits_NK=logits_NK[:num_judged], label_N=judged.label_N[:num_judged], index_N=judged.index_N[:num_judged]
        ),
        verdict=_fold_verdict(run, metrics, images, num_judged),
        num_copies=num_copies,
        num_right_with_copies=rate * (num_judged + num_copies),
    )


def _check_images(run: Path, verdict: Verdict, judged: JudgedOutputs, images: Images) -> None:
    """Raise CheckpointError where a fold was judged on images that are not its own, or on other labels."""
    own = set(images.split.test_N.tolist())
    index_N = judged.index_N.tolist()
    is_own = len(set(index_N)) == len(index_N) and own.issuperset(index_N)
    if is_own:
        is_own = list(verdict.keys) == [storable(images.key(index)) for index in index_N] and bool(
            (images.labels(judged.index_N).numpy() == judged.label_N).all()
        )
    if not is_own:
        raise CheckpointError(
            f"{printable(str(run))} was judged on other images, or by other labels, than those of its fold.\n"
            f"Put the images back as they were, or start a new run with another --out."
        )


def _fold_verdict(run: Path, metrics: AnyMetrics, images: Images, num_judged: int) -> FoldVerdict:
    name = figure_of(metrics)
    values = [float(getattr(metrics, name + end)) for end in ("", "_low", "_high")]
    value, low, high = (None if math.isnan(values[0]) else each for each in values)
    begun = read_start(run)
    return FoldVerdict(
        name=f"{FOLDS}/{run.name}",
        num_train=len(images.split.train_N),
        num_judged=num_judged,
        value=value,
        low=low,
        high=high,
        frozen=begun.frozen if begun else "",
    )
