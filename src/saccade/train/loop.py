"""The loop: epochs of steps, validation, the best epoch kept, a checkpoint before anything can be lost."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from ..core.agreement import agreed, as_stop
from ..core.errors import GroupError, SaccadeError, Stopped, TrainingError, counted, printable
from ..core.ranks import Ranks
from ..core.runtime import wait_for
from ..core.task import Task, images_right
from ..core.types import Batch
from ..data.loading.loader import Loader
from ..evaluate.forward import Outputs, collect_outputs
from ..evaluate.label_metrics import image_label_losses, mean_average_precision
from ..evaluate.metrics import compute_metrics
from ..evaluate.number_metrics import compute_number_metrics
from ..evaluate.scores import as_logits
from ..runs.checkpoint import save_checkpoint
from ..runs.log import MetricsLog, NoLog
from ..runs.manifest import Manifest
from ..runs.names import BEST, LAST
from .diagnose import describe_divergence, place_of_step
from .micro_batches import has_batch_norm
from .schedule import input_size, learning_rate_factor
from .single_images import without_effect
from .state import Cursor, state_tensors
from .step import EpochTotals, TrainingStep
from .stop import StopSignal
from .time_left import TrainingTime

GO_ON, SAVE, STOP, END = range(4)  # what comes between two steps
CHOSEN_BY = ("validation_map", "validation_mae")  # what the kept epoch is chosen by, where it is not the accuracy
TOLD_EVERY_S = 1.0  # how long is left
MOST_JUDGING_S = 60.0  # behind a deadline, which has its own share for it


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One row of the table a person watches. Rates are fractions; `seconds` is training and validation together.

    Of several labels an accuracy is the share of images with every label right at 0.5, and `validation_map`, by which
    the epoch is kept, is set. Of a number it is the share of images whose answer is near, and `validation_mae` is set.
    """

    epoch: int
    num_epochs: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    is_best: bool
    validation_map: float | None = None
    validation_mae: float | None = None
    is_number: bool = False

    def logged(self) -> dict[str, Any]:
        """What the log says of it: the mAP, or the mean absolute error, only where there is one."""
        values = {name: value for name, value in vars(self).items() if name != "is_number"}
        return {name: value for name, value in values.items() if name not in CHOSEN_BY or value is not None}


class Progress(Protocol):
    """Who watches a training: a terminal, a log file, a test."""

    def step(self, epoch: int, batch: int, num_batches: int, means: Callable[[], tuple[float, float]]) -> None:
        """Called after each step; `means()` gives (loss, accuracy) of the epoch so far and waits for the device; of a
        number the accuracy is NaN."""

    def epoch(self, result: EpochResult) -> None:
        """Called after each epoch."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def working(self, text: str) -> None:
        """What goes on now."""

    def logged(self, event: str, values: dict[str, Any]) -> None:
        """What `metrics.jsonl` has got."""

    def time_left(self, low_s: float, high_s: float) -> None:
        """All of the work, to its verdict and report, still takes between so many seconds."""


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """What `fit` needs besides the training itself. `validation` is None where no image can be spared for it; `told`
    are the files that left their batches, by name, once a person has heard of them."""

    run_dir: Path
    train: Loader
    validation: Loader | None
    manifest: Manifest
    log: MetricsLog | NoLog
    progress: Progress
    stop: StopSignal
    key_of: Callable[[int], str]
    save_clock: Callable[[], float] = field(default=time.monotonic)
    deadline_s: float | None = None
    num_judged: int = 0  # images that are judged at the end
    told: set[str] = field(default_factory=set)

    def is_over(self, ahead_s: float = 0.0) -> bool:
        """Whether the deadline (`time.monotonic`) will have passed in `ahead_s` seconds; never without one."""
        return self.deadline_s is not None and time.monotonic() + ahead_s > self.deadline_s

    def write_event(self, event: str, values: dict[str, Any]) -> None:
        """Log an event, and tell it. Raises StorageError."""
        self.log.write(event, values)
        self.progress.logged(event, values)


def fit(training: TrainingStep, plan: FitPlan, cursor: Cursor) -> Cursor:
    """Train from `cursor` to the end. Raises Stopped (saved), TrainingError (last good checkpoint intact)."""
    config = training.config
    for told in without_effect(config, plan.validation is not None):
        plan.progress.note(told)
    taken = _training_time(training, plan)
    while cursor.epoch < config.epochs and not cursor.finished:
        started_s = time.monotonic()
        first_batch = cursor.batch
        cursor = _run_epoch(training, plan, cursor, taken)
        wait_for(training.runtime.device)  # or the time of what a GPU still computes would be validation's
        try:
            taken.begin()
            cursor = _finish_epoch(training, plan, cursor, time.monotonic() - started_s, first_batch, taken)
        except Stopped:  # in the middle of validation: it begins again when the run goes on
            _save_last(training, plan, cursor)
            raise
        _save_last(training, plan, cursor)
        if _is_stopped(training.runtime.ranks, plan.stop) and not cursor.finished:
            raise _stopped(training.runtime.ranks, plan.stop)
    return cursor


def _training_time(training: TrainingStep, plan: FitPlan) -> TrainingTime:
    """What is known of the time that training takes: nothing yet. Images may grow from epoch to epoch."""
    config, full_HW = training.config, training.preprocessing.input_CHW[1:]

    def units_of(epoch: int) -> float:
        height_px, width_px = input_size(config.input, full_HW, epoch, config.epochs)
        return plan.train.num_batches * height_px * width_px / (full_HW[0] * full_HW[1])

    return TrainingTime(
        units_of=units_of,
        num_batches=max(1, plan.train.num_batches),
        num_images=plan.train.num_samples,
        num_validated=0 if plan.validation is None else plan.validation.num_samples,
        num_judged=plan.num_judged,
    )


def _tell_left(training: TrainingStep, plan: FitPlan, cursor: Cursor, taken: TrainingTime) -> None:
    """Say how long all of it still takes; the low end where no later epoch may be better."""
    config = training.config
    left = taken.left(cursor.epoch, cursor.batch, config.epochs)
    soonest = left
    if config.stop.patience_epochs and plan.validation is not None:
        last_epoch = min(config.epochs, max(cursor.best_epoch + config.stop.patience_epochs, cursor.epoch + 1))
        soonest = taken.left(cursor.epoch, cursor.batch, last_epoch)
    deadline_s = math.inf if plan.deadline_s is None else max(0.0, plan.deadline_s - time.monotonic())
    plan.progress.time_left(min(soonest.low_s, deadline_s), min(left.high_s, deadline_s + MOST_JUDGING_S))


def _run_epoch(training: TrainingStep, plan: FitPlan, cursor: Cursor, taken: TrainingTime) -> Cursor:
    """The rest of an epoch's steps. Raises Stopped, with everything saved, TrainingError and DataError."""
    taken.begin()
    told_s = -math.inf
    start_s = time.monotonic() - cursor.training_s
    between = BetweenSteps(training, plan)
    training.set_epoch(cursor.epoch)
    try:
        for batch in _batches(training, plan, cursor):
            between.announce()
            num_bad = _take_step(training, plan, cursor, batch)
            position = {"batch": cursor.batch + 1, "step": cursor.step + 1, "bad_steps": num_bad}
            cursor = cursor.model_copy(update=position | {"training_s": time.monotonic() - start_s})
            taken.stepped(cursor.epoch)
            if time.monotonic() - told_s > TOLD_EVERY_S:
                told_s = time.monotonic()
                _tell_left(training, plan, cursor, taken)
            plan.progress.step(cursor.epoch, cursor.batch, plan.train.num_batches, training.told_means)
            if cursor.batch == plan.train.num_batches:
                continue  # the end of an epoch saves
            what = between.decided()
            if what == END:
                break
            if what == STOP:
                raise _stopped(training.runtime.ranks, plan.stop)
            if what == SAVE:
                _save_last(training, plan, cursor)
                between.saved()
    except Stopped:  # behind a step, or while a file is waited for
        _save_last(training, plan, cursor)
        raise
    return cursor


class BetweenSteps:
    """What comes between two steps: a save, a stop, the end. Of several processes any may be stopped, and all are; the
    first looks at the clock. They tell each other within the step, so what holds behind it was known in front of it."""

    def __init__(self, training: TrainingStep, plan: FitPlan) -> None:
        self._training, self._plan = training, plan
        self._ranks = training.runtime.ranks
        self.saved()

    def saved(self) -> None:
        """Everything has been saved now."""
        self._saved_s = self._plan.save_clock()

    def announce(self) -> None:
        """Tell the other processes, within the step that follows, what this one knows."""
        if not self._ranks.is_alone:
            self._training.signals = (self._plan.stop.signal, self._by_the_clock() if self._ranks.is_first else GO_ON)

    def decided(self) -> int:
        """What comes now, the same on all processes."""
        if self._ranks.is_alone:
            exit_code, what = self._plan.stop.signal, self._by_the_clock()
        else:
            exit_code, what = self._training.signals
            if exit_code:
                self._plan.stop.take_up(exit_code)
        return STOP if exit_code and what != END else what

    def _by_the_clock(self) -> int:
        is_due = self._plan.save_clock() - self._saved_s > self._training.config.stop.save_every_s
        return END if self._plan.is_over() else SAVE if is_due else GO_ON


def _batches(training: TrainingStep, plan: FitPlan, cursor: Cursor) -> Iterator[Batch]:
    """The rest of an epoch. What keeps one process from its batch keeps all from their step."""
    ranks = training.runtime.ranks
    batches = plan.train.epoch(cursor.epoch, first_batch=cursor.batch, check=plan.stop.check)
    if ranks.is_alone:
        for batch in batches:
            _tell_left_out(ranks, plan)
            yield batch
        _tell_left_out(ranks, plan)
        return
    with agreed(ranks):  # the first batch may take long, and longer on one machine than on another
        next_batch = next(batches, None)
    while next_batch is not None:
        yield next_batch
        try:
            next_batch = next(batches, None)
        except Exception as error:  # noqa: BLE001 - it is raised again
            if isinstance(error, SaccadeError):
                error.is_agreed = True
            try:
                training.give_up(error)
            except GroupError as told:
                raise as_stop(told) from None


def _take_step(training: TrainingStep, plan: FitPlan, cursor: Cursor, batch: Batch) -> int:
    """One step; how many in a row have now been bad. Raises TrainingError where these are too many."""
    config = training.config
    factor = learning_rate_factor(config.schedule, cursor.step, config.epochs * plan.train.num_batches)
    num_parts = training.num_micro_batches
    try:
        num_bad = 0 if training.run(batch, cursor.step, factor) else cursor.bad_steps + 1
    except GroupError as error:
        raise as_stop(error) from None
    if training.num_micro_batches != num_parts:
        _tell_memory(training, plan, cursor)
    if training.graphs and training.graphs.refusal:
        because = training.graphs.refusal
        plan.progress.note(f"CUDA graphs are off from here on, which costs time and nothing else: {because}")
        training.graphs = None
    if num_bad > config.stop.max_bad_steps:
        keys = [plan.key_of(int(index)) for index in batch.index_B[:3]]
        where = place_of_step(cursor, keys, factor * config.optimizer.learning_rate, num_bad)
        raise TrainingError(describe_divergence(training, batch, where, (plan.run_dir / LAST).exists()))
    return num_bad


def _tell_left_out(ranks: Ranks, plan: FitPlan) -> None:
    """Say and log which files could not be read any more and left their batch, in whichever process."""
    found: list[dict[str, Any]] = [
        {"key": printable(one.key), "reason": one.reason, "epoch": one.epoch + 1}
        for one in plan.train.left_out
        if printable(one.key) not in plan.told
    ]
    if not ranks.is_alone:  # another process may meet, in another epoch, a file that was told
        told = ranks.gather(json.dumps(found).encode(), patiently=True)
        found = list({one["key"]: one for content in told for one in json.loads(content)}.values())
    with agreed(ranks):
        for values in found:
            plan.told.add(values["key"])
            plan.write_event("dropped", values)
            plan.progress.note(f"left out: {values['key']} in epoch {values['epoch']}: {printable(values['reason'])}")


def _tell_memory(training: TrainingStep, plan: FitPlan, cursor: Cursor) -> None:
    """Say and log that memory ran out and a step is now computed in more parts."""
    num_parts, batch_size = training.num_micro_batches, training.config.batch_size
    plan.write_event("memory", {"step": cursor.step + 1, "num_micro_batches": num_parts})
    but = f", but batch normalisation sees {batch_size // num_parts} images at a time"
    plan.progress.note(
        f"memory ran out: each batch of {batch_size} images is now computed in {num_parts} parts; "
        f"the step is the same{but if has_batch_norm(training.model) else ''}"
    )


def _finish_epoch(
    training: TrainingStep, plan: FitPlan, cursor: Cursor, seconds: float, first_batch: int, taken: TrainingTime
) -> Cursor:
    """Validate, log, keep the epoch if it is the best, and move the cursor to the next one."""
    config = training.config
    started_s = time.monotonic()
    train_loss, train_accuracy = training.totals.means()
    if not train_loss < float("inf"):
        where = f"in epoch {cursor.epoch + 1}, which step {cursor.step} ended"
        raise TrainingError(describe_divergence(training, None, where, (plan.run_dir / LAST).exists()))
    if plan.validation is not None:
        plan.progress.working(f"epoch {cursor.epoch + 1} is judged on the validation images")
    validation = _validate(training, plan)
    taken.validated()
    is_best = validation is None or _is_better(validation, cursor)
    epoch = cursor.epoch + 1
    if is_best:
        value, loss = (validation.value, validation.loss) if validation else (0.0, 0.0)
        cursor = cursor.model_copy(update={"best_value": value, "best_loss": loss, "best_epoch": epoch})
        _save(training, plan, cursor, plan.run_dir / BEST, with_state=False)
    validation_s = time.monotonic() - started_s
    share = (plan.train.num_batches - first_batch) / max(1, plan.train.num_batches)
    factor = learning_rate_factor(config.schedule, max(0, cursor.step - 1), config.epochs * plan.train.num_batches)
    result = EpochResult(
        epoch=epoch,
        num_epochs=config.epochs,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation.loss if validation else None,
        validation_accuracy=validation.accuracy if validation else None,
        learning_rate=config.optimizer.learning_rate * factor,
        seconds=seconds + validation_s,
        images_per_second=share * int(training.totals.num_seen) / max(seconds, 1e-9),
        is_best=is_best,
        validation_map=validation.map if validation else None,
        validation_mae=validation.mae if validation else None,
        is_number=training.task.is_number,
    )
    ranks = training.runtime.ranks
    with agreed(ranks):
        plan.write_event("epoch", result.logged() | {"step": cursor.step})
    _tell_left(training, plan, cursor.model_copy(update={"epoch": epoch, "batch": 0}), taken)
    plan.progress.epoch(result)
    training.totals = EpochTotals.zero(training.runtime.device)
    waited = epoch - cursor.best_epoch
    patience = config.stop.patience_epochs
    is_over = plan.is_over(ahead_s=seconds + validation_s)
    if plan.deadline_s is not None:
        is_over = ranks.tell(b"1" if is_over else b"0", patiently=True) == b"1"
    finished = epoch == config.epochs or is_over or bool(patience and waited >= patience)
    if is_over and (epoch < config.epochs or cursor.batch < plan.train.num_batches):
        part = "" if cursor.batch == plan.train.num_batches else ", in its middle"
        plan.progress.note(f"the time is up: training ends with epoch {epoch} of {config.epochs}{part}")
    elif finished and epoch < config.epochs:
        plan.progress.note(
            f"{counted(waited, 'epoch')} {'was' if waited == 1 else 'were'} no better than epoch {cursor.best_epoch}: "
            f"training ends here"
        )
    seconds_so_far = cursor.training_s + validation_s
    moved = {"epoch": epoch, "batch": 0, "finished": finished, "training_s": seconds_so_far}
    return cursor.model_copy(update=moved)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the validation images say of an epoch; `map` of several labels only, `mae` (and `deviation`, that of the
    training numbers) of a number only."""

    accuracy: float
    loss: float
    map: float | None = None
    mae: float | None = None
    deviation: float = 1.0

    @property
    def value(self) -> float:
        """What the kept epoch has most of, 0 to 1: of a number 1 / (1 + mean absolute error in standard deviations)."""
        if self.mae is not None:
            return 1 / (1 + self.mae / self.deviation)
        return self.accuracy if self.map is None else self.map


def _validate(training: TrainingStep, plan: FitPlan) -> Validation | None:
    """What the validation images say, None where there are none."""
    if plan.validation is None:
        return None
    runtime = training.runtime
    outputs = collect_outputs(
        training.judged_model, plan.validation, training.preprocessing, runtime, runtime.precision, plan.stop.check
    )
    return validation_of(outputs, plan.manifest.classes, training.task)


def validation_of(outputs: Outputs, classes: Sequence[str], task: Task) -> Validation:
    """What `outputs` on the validation images are worth."""
    if task.is_number:
        found_number = compute_number_metrics(outputs.logits_NK, outputs.label_N, classes, task)
        return Validation(
            accuracy=found_number.near, loss=found_number.loss, mae=found_number.mae, deviation=task.deviation
        )
    if not task.is_several:
        metrics = compute_metrics(outputs.logits_NK, outputs.label_N, classes, task)
        return Validation(accuracy=metrics.top1, loss=metrics.loss)
    logits_NK = as_logits(outputs.logits_NK, len(classes))
    found = mean_average_precision(logits_NK, outputs.label_N)
    return Validation(
        accuracy=float(images_right(outputs.label_N, logits_NK >= 0).mean()),
        loss=float(image_label_losses(logits_NK, outputs.label_N).mean()),
        map=0.0 if math.isnan(found) else found,  # no image has a label: the loss alone decides
    )


def _is_better(validation: Validation, cursor: Cursor) -> bool:
    is_equal = validation.value == cursor.best_value
    return validation.value > cursor.best_value or (is_equal and validation.loss < cursor.best_loss)


def _is_stopped(ranks: Ranks, stop: StopSignal) -> bool:
    """Whether this process, or another one of the run, was asked to stop."""
    exit_code = max(int(content) for content in ranks.gather(str(stop.signal).encode(), patiently=True))
    if exit_code:
        stop.take_up(exit_code)
    return bool(exit_code)


def _stopped(ranks: Ranks, stop: StopSignal) -> Stopped:
    """What is raised where all processes know that they are stopped."""
    error = stop.stopped()
    error.is_agreed = not ranks.is_alone
    return error


def _save_last(training: TrainingStep, plan: FitPlan, cursor: Cursor) -> None:
    if not training.runtime.ranks.is_alone:
        _tell_left_out(training.runtime.ranks, plan)
    _save(training, plan, cursor, plan.run_dir / LAST, with_state=True)


def _save(training: TrainingStep, plan: FitPlan, cursor: Cursor, folder: Path, with_state: bool) -> None:
    cursor = cursor.model_copy(
        update={"log_bytes": plan.log.committed_bytes, "num_micro_batches": training.num_micro_batches}
    )
    manifest = plan.manifest.model_copy(
        update={
            "step": cursor.step,
            "epoch": cursor.epoch + (0 if with_state else 1),
            "training": cursor.model_dump() if with_state else {},
        }
    )
    weights: dict[str, torch.Tensor] = training.judged_model.state_dict()
    state = state_tensors(training) if with_state else None
    ranks = training.runtime.ranks
    with agreed(ranks):
        if ranks.is_first:
            save_checkpoint(folder, manifest, weights, state, keep_previous=with_state)
