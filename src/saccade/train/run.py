"""One training run from images to a judged checkpoint: the only file that wires the parts together."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core import atomic, lock
from ..core.agreement import agreed, from_first, refuse_other_images, use_timeout
from ..core.apart import first_apart
from ..core.display import Displayed
from ..core.errors import ConfigError, Stopped, StorageError, counted, printable, storable
from ..core.ranks import ALONE, Ranks, current_ranks
from ..core.runtime import Runtime, environment, seeded, send, start
from ..core.types import Preprocessing
from ..data.augmentation_policy import AugmentConfig
from ..data.augmenter import measure_colours
from ..data.images.normalize import normalize
from ..data.loading.loader import build_loader
from ..data.opening_line import opening_line
from ..data.random_numbers import permutation
from ..evaluate.verdict import metrics_json, verdicts
from ..models.build import is_of_others, resolve_model
from ..models.layers import set_stochastic_depth
from ..models.network_in_memory import check_given, refuse_unusable
from ..models.new_head import network_words
from ..models.surgery import ALL
from ..runs.judging_work import num_passes
from ..runs.log import MetricsLog, NoLog
from ..runs.manifest import Manifest
from ..runs.names import METRICS_LOG
from ..runs.start_point import NO_BETTER_EPOCH
from .config import RunConfig
from .cross_validated import CrossValidated
from .extra_loss import FindExtraLoss, no_extra_loss
from .final_evaluation import Judgement, judge, kept_checkpoint, write_seen
from .loop import FitPlan, fit
from .loss import class_weights
from .memory_needed import refuse_too_large
from .prepare import Images, prepare_images
from .progress import RunProgress
from .resume import resume
from .resume_images import as_begun, begun_white, begun_with
from .resume_references import resume_command
from .run_directory import RunFolder
from .scale import is_for_the_first, keep_lanes, refuse_more_processes, settle_lanes
from .schedule import input_size
from .seen_before import learn_from
from .single_images import refuse_single_values
from .state import Cursor
from .step import TrainingStep
from .stop import StopSignal, request_stop
from .time_left import JudgingTime
from .together import described_job, refuse_own_folders, unlike_processors

NUM_INITIAL = 5000  # training images that a network may look at before its first step


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult(Displayed):
    """What a run came to: `seconds` from start to verdict, `training_s` of it in epochs, over all starts.

    `stop_exit_code` is that of a stop that was asked for when nothing was left to stop, else 0.
    """

    run_dir: Path
    config: RunConfig
    judgement: Judgement
    best_epoch: int
    num_train: int
    seconds: float
    training_s: float
    images_per_second: float
    stop_exit_code: int

    def kept(self) -> str:
        """Which epoch was kept; empty where there were none."""
        if self.best_epoch:
            return f"Kept epoch {self.best_epoch} of {self.config.epochs}."
        return NO_BETTER_EPOCH if self.training_s else ""

    def display_lines(self) -> list[str]:
        """The verdict, the epoch that was kept, and where the run lies."""
        told = [self.kept(), f"Run: {printable(str(self.run_dir))}"]
        return [
            *verdicts(self.judgement.metrics, self.judgement.kind),
            *self.judgement.folds_lines(),
            *filter(None, told),
        ]


def train(
    config: RunConfig,
    folder: RunFolder,
    progress: RunProgress,
    command: str,
    images: Images | None = None,
    find_extra_loss: FindExtraLoss = no_extra_loss,
    crossed: CrossValidated | None = None,
) -> TrainResult:
    """Train as `config` says in `folder`, from the start or from where it was stopped, and judge the result.

    `images` that were prepared for this configuration already are not read again. `find_extra_loss` gives what the
    configuration names beside the labels, such as teachers; `crossed` is what the run's folds gave.
    Raises DataError, ModelError, RunInUseError, StorageError, TrainingError, and Stopped with the command to go on.
    """
    started_s = time.monotonic()
    ranks = current_ranks()
    config, runtime = settled(config, folder)
    with agreed(ranks):
        white = begun_white(folder.path) if folder.resume else None
        images = images or prepare_images(config, runtime, progress.note, progress.scan, white)
        images = as_begun(images, folder.path, config, begun_with(folder.path)) if folder.resume else images
        white = images.preprocessing.white_16_bit
        augment = measure_colours(config.augment, images.source, images.split.train_N, config.seed, white)
        asked, config = config, config.model_copy(update={"augment": augment})
        config, extra_loss = find_extra_loss(config, images, runtime)
        folder.refuse_another_network(config.model)
        training = start_training(config, images, training_runtime(config, runtime))
        training.extra_loss = extra_loss
        if extra_loss is not None:
            images = learn_from(images, extra_loss.seen)
        check_growing(training.model, config, images.preprocessing)
    compare_processes(images, runtime, progress.note)
    with held_run(folder, ranks), StopSignal() as stop:
        begin_run(folder, asked, config, images, runtime)
        context = FitContext(progress=progress, stop=stop, command=command, started_s=started_s, crossed=crossed)
        cursor = resumed(training, folder, images, progress) or Cursor(data_digest=images.digest())
        return fit_and_judge(training, folder, images, cursor, context)


def settled(config: RunConfig, folder: RunFolder) -> tuple[RunConfig, Runtime]:
    """`config` with the lanes and threads that the run in `folder` has, and the runtime. Raises what keeps it from
    going on there, or on so many processes."""
    ranks = current_ranks()
    with agreed(ranks):
        folder.check()
        config = keep_lanes(config, folder) if folder.resume else config
        runtime = start(config.runtime)
        config = config if folder.resume else settle_lanes(config, runtime)
        refuse_more_processes(config, ranks)
        use_timeout(ranks, config.scale.timeout_s)
    return config, runtime


def training_runtime(config: RunConfig, runtime: Runtime) -> Runtime:
    """The runtime of the training, which of some runs the first of several processes computes alone."""
    return replace(runtime, ranks=ALONE) if is_for_the_first(config, runtime.ranks) else runtime


def resumed(training: TrainingStep, folder: RunFolder, images: Images, progress: RunProgress) -> Cursor | None:
    """Where the run in `folder` was saved last, with `training` put back there; None where it begins."""
    ranks = current_ranks()
    if not folder.resume or not is_for_the_first(training.config, ranks):
        return resume(training, folder, images, progress) if folder.resume else None

    def read() -> bytes:
        cursor = resume(training, folder, images, progress)
        return cursor.model_dump_json().encode() if cursor else b""

    content = from_first(ranks, read)
    return Cursor.model_validate_json(content) if content else None


def _fitted(training: TrainingStep, folder: RunFolder, images: Images, cursor: Cursor, context: "FitContext") -> Cursor:
    """The end of the training, wherever it is computed."""
    ranks = current_ranks()
    if not is_for_the_first(training.config, ranks):
        return _fit(training, folder, images, cursor, context)

    def train_alone(check: Callable[[], None]) -> bytes:
        return _fit(training, folder, images, cursor, context).model_dump_json().encode()

    return Cursor.model_validate_json(first_apart(ranks, train_alone, context.stop.check, request_stop))


def compare_processes(images: Images, runtime: Runtime, note: Callable[[str], None]) -> None:
    """Raise DataError where the processes of the run see other images; `note` hears of processors that are unlike."""
    ranks = runtime.ranks
    if not ranks.is_alone:
        test = hashlib.sha256(images.split.test_N.tobytes()).hexdigest()
        refuse_other_images(ranks, f"{images.digest()}-{test}", len(images.scan.good_N))
    if told := unlike_processors(runtime):
        note(told)


def begin_run(folder: RunFolder, asked: RunConfig, config: RunConfig, images: Images, runtime: Runtime) -> None:
    """Write what the run is made of, in the first process; its folder is held. Raises UsageError where another machine
    does not see it."""
    ranks = runtime.ranks
    refuse_own_folders(ranks, folder.path)
    facts = environment(runtime) | described_job(ranks)
    with agreed(ranks):
        if ranks.is_first:
            folder.begin(asked, config, facts, images.summary())
            write_seen(folder.path, images)


@contextmanager
def held_run(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    """The run's folder is made, and held against other jobs by the first process."""
    with ExitStack() as held:
        with agreed(ranks):
            if ranks.is_first:
                atomic.make_folder(folder.path)
                held.enter_context(lock.exclusive(folder.path))
        yield


def fit_and_judge(
    training: TrainingStep, folder: RunFolder, images: Images, cursor: Cursor, context: "FitContext"
) -> TrainResult:
    """Train from `cursor` to the end and judge the best weights. The folder is begun and held by the caller.

    Raises what `train` raises.
    """
    config = training.config
    runtime = replace(training.runtime, ranks=current_ranks())  # all judge, whoever has trained
    context.progress.begin(
        opening_lines(config, images, training.runtime.describe(), folder.path, model_parameters(training.model))
    )
    try:
        with watched_run(context.progress, folder.path, config, cursor.step) as tell_verdict:
            cursor = _fitted(training, folder, images, cursor, context)
            best = kept_checkpoint(folder.path, runtime)
            passed = told_judging(images, num_judged(images), runtime.ranks, context.progress)
            check, crossed = context.stop.check, context.crossed
            judgement = judge(folder.path, best, images, config, runtime, check, crossed=crossed, passed=passed)
            tell_verdict(metrics_json(judgement.metrics))
    except Stopped as error:
        told = stopped(config, folder, error.exit_code)
        told.is_agreed = error.is_agreed
        raise told from None
    except StorageError as error:
        raise StorageError(f"{error.message}\nGo on with: {resume_command(config, folder.path)}") from error.__cause__
    num_seen = cursor.epoch * len(images.split.train_N)
    return TrainResult(
        run_dir=folder.path,
        config=config,
        judgement=judgement,
        best_epoch=cursor.best_epoch,
        num_train=len(images.split.train_N),
        seconds=time.monotonic() - context.started_s,
        training_s=cursor.training_s,
        images_per_second=num_seen / max(cursor.training_s, 1e-9),
        stop_exit_code=context.stop.exit_code if context.stop.requested else 0,
    )


@contextmanager
def watched_run(
    progress: RunProgress, run_dir: Path, config: RunConfig, step: int
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """The enclosed work is a run that has taken so many steps; what is given takes its verdict, and without one it was
    stopped, or has failed."""
    verdicts_told: list[dict[str, Any]] = []
    progress.begun(run_dir, config, step)
    try:
        yield verdicts_told.append
    finally:
        progress.ended(verdicts_told[-1] if verdicts_told else None)


def start_training(config: RunConfig, images: Images, runtime: Runtime) -> TrainingStep:
    """A fresh network with all that trains it. Raises UnknownNameError, NotationError or ModelError."""
    refuse_too_large(config, images.spec, runtime)
    with seeded(config.seed):
        model = resolve_model(config.model, images.spec)
        if is_of_others(config.model):
            refuse_unusable(model)
            check_given(model, config.model, images.spec)
        initialise_from_images = getattr(model, "initialise_from_images", None)
        if initialise_from_images is not None:
            initialise_from_images(_some_inputs(config, images, runtime.device))
    leave_out_branches(model, config)
    return training_of(model, config, images, runtime)


def training_of(model: nn.Module, config: RunConfig, images: Images, runtime: Runtime) -> TrainingStep:
    """All that trains `model`, a network for these images, with the class weights that `config` asks for."""
    training = TrainingStep(model, config, images.preprocessing, runtime, images.task)
    refuse_single_values(training.model, config, images.preprocessing)
    weight_K = class_weights(config.loss, images.labels(images.split.train_N), images.classes)
    training.class_weight_K = None if weight_K is None else weight_K.to(runtime.device)
    return training


def leave_out_branches(model: nn.Module, config: RunConfig) -> None:
    """Give `model` the stochastic depth that `config` asks for. Raises ConfigError where it has none."""
    if config.stochastic_depth < 0 or set_stochastic_depth(model, config.stochastic_depth):
        return
    raise ConfigError(
        f"'stochastic_depth' {config.stochastic_depth:g} leaves out branches of residual blocks, and "
        f"{printable(network_words(config.model))} has none that can be left out.\n"
        f"Leave the value out, or take a network that has it: a ConvNeXt, EfficientNet or MobileNetV4."
    )


def _some_inputs(config: RunConfig, images: Images, device: torch.device) -> torch.Tensor:
    """image_BCHW float32, normalised: up to 5,000 training images as evaluation sees them, drawn by the seed.

    They lie on an NVIDIA GPU where training does, else on the CPU: others have no float64 to compute from them in."""
    train_N = images.split.train_N
    index_N = np.sort(train_N[permutation(config.seed, 0, len(train_N))[:NUM_INITIAL]])
    loader = config.loader.model_copy(update={"batch_size": min(500, len(index_N))})
    with build_loader(images.source, index_N, images.preprocessing, AugmentConfig(), loader, config.seed) as batches:
        image_BCHW = torch.cat([batch.image_BCHW for batch in batches.epoch(0, shuffle=False)])
    image_BCHW = send(image_BCHW, device) if device.type == "cuda" else image_BCHW
    return normalize(image_BCHW, images.preprocessing, torch.float32)


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """Who watches the training, what can stop it, the command that began it, when (`time.monotonic`), and when its
    epochs must end (None: never). `origin` is what the provenance of its checkpoints says besides, `crossed` what the
    run's folds gave."""

    progress: RunProgress
    stop: StopSignal
    command: str
    started_s: float
    deadline_s: float | None = None
    crossed: CrossValidated | None = None
    origin: dict[str, Any] = field(default_factory=dict)


def _fit(training: TrainingStep, folder: RunFolder, images: Images, cursor: Cursor, context: FitContext) -> Cursor:
    config = training.config
    manifest = describe_weights(config, images, training.runtime, context.command)
    ranks = training.runtime.ranks
    own_lanes = config.loader_of(ranks)
    train = build_loader(
        images.source, images.split.train_N, images.preprocessing, config.augment, own_lanes, config.seed
    )
    loader = config.loader.model_copy(update={"batch_size": config.batch_size})
    validation = None
    validation_N = images.split.without_copies("validation")
    if len(validation_N):
        validation = build_loader(
            images.source, validation_N, images.preprocessing, AugmentConfig(), loader, config.seed
        )
    if training.runtime.device.type != "cpu":
        for loaded in (train, validation) if validation else (train,):
            loaded.keep_on(training.runtime.device)
    with agreed(ranks):
        log = MetricsLog(folder.path / METRICS_LOG, cursor.log_bytes) if ranks.is_first else NoLog()
    plan = FitPlan(
        run_dir=folder.path,
        train=train,
        validation=validation,
        manifest=manifest.model_copy(update={"provenance": manifest.provenance | context.origin}),
        log=log,
        progress=context.progress,
        stop=context.stop,
        key_of=images.key,
        deadline_s=context.deadline_s,
        num_judged=num_judged(images),
    )
    try:
        return fit(training, plan, cursor)
    finally:
        log.close()
        train.close()
        if validation:
            validation.close()


def num_judged(images: Images) -> int:
    """How many images pass to judge."""
    split = images.split
    judged_N, validation_N = split.indices(split.judged_part), split.without_copies("validation")
    return num_passes(len(split.train_N), len(validation_N), len(judged_N), len(images.classes))


def told_judging(images: Images, num_images: int, ranks: Ranks, progress: RunProgress) -> Callable[[int], None]:
    """Say that the run is judged; what is given says how far that is, and how long all of it still takes.

    `num_images` pass, shared out among the processes.
    """
    taken = JudgingTime(num_passes=num_images / ranks.world_size)
    what = f"judging {counted(len(images.split.indices(images.split.judged_part)), 'image')}"
    progress.working(what)

    def passed(num_more: int) -> None:
        taken.passed(num_more)
        left = taken.left()
        if left.high_s:
            progress.time_left(left.low_s, left.high_s)
        progress.working(f"{what}, {100 * taken.share:.0f} % done")

    return passed


def describe_weights(config: RunConfig, images: Images, runtime: Runtime, command: str) -> Manifest:
    """The manifest of the run's checkpoints, before any step."""
    provenance = {"command": storable(command), "seed": config.seed, "config_digest": config.digest()}
    return Manifest(
        model=config.model,
        preprocessing=images.preprocessing,
        classes=images.classes,
        task=images.task,
        provenance=provenance | environment(runtime) | {"source": images.source.name},
        seen=images.seen_record,
    )


def check_growing(model: nn.Module, config: RunConfig, preprocessing: Preprocessing) -> None:
    """Raise ConfigError where images are to grow and `model` takes only their full size."""
    full_HW = preprocessing.input_CHW[1:]
    first_HW = input_size(config.input, full_HW, 0, config.epochs)
    if first_HW == full_HW:
        return
    device = next(model.parameters()).device
    image_BCHW = torch.zeros(2, preprocessing.num_channels, *first_HW, device=device)
    try:
        with torch.no_grad():
            model.eval()(image_BCHW)
    except RuntimeError:
        height_px, width_px = first_HW
        raise ConfigError(
            f"'input.start_fraction' {config.input.start_fraction:g} begins with images of {height_px}x{width_px}, "
            f"which {printable(config.model)} cannot take.\n"
            f"Its layers fit one size. Leave the value out, or take a network that averages its maps, such as resnet20."
        ) from None


def model_parameters(model: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def opening_lines(config: RunConfig, images: Images, device: str, run_dir: Path, num_parameters: int) -> list[str]:
    """What is about to run, for a person; `num_parameters` are those that training adjusts."""
    split = images.split
    validation_N, test_N = split.without_copies("validation"), split.without_copies("test")
    copies = ""
    if num_copies := len(split.validation_N) - len(validation_N) + len(split.test_N) - len(test_N):
        copies = "; a copy of a training image left out" if num_copies == 1 else f"; {num_copies:,} copies left out"
    judges = f", {len(test_N):,} to judge"
    if config.split.folds and not config.split.fold and not len(test_N):
        judges = ""  # the folds do
    kept_back = f"{len(validation_N):,} to choose the epoch{judges}"
    if config.transfer.frozen == ALL:  # no epoch is chosen
        kept_back = f"{len(validation_N):,} to judge"
        if len(test_N) or not judges:
            what = "thresholds" if images.task.is_several else "the temperature"
            what = "the width of intervals" if images.task.is_number else what
            kept_back = f"{len(validation_N):,} to fit {what}{judges}"
    epochs = f"{counted(config.epochs, 'epoch')}, {config.optimizer.name}"
    channels, height_px, width_px = images.spec.input_CHW
    return [
        opening_line(images.source, images.scan.good_N),
        f"split   {len(split.train_N):,} to train on, {kept_back} ({split.origin}{copies})",
        f"model   {printable(network_words(config.model))}: {num_parameters:,} parameters, "
        f"input {height_px}x{width_px}x{channels}; recipe {printable(config.recipe)}: "
        f"{'only the last layer is fitted' if config.transfer.frozen == ALL else epochs}",
        f"device  {device}",
        f"run     {printable(str(run_dir))}",
    ]


def stopped(config: RunConfig, folder: RunFolder, exit_code: int) -> Stopped:
    """What a person is told whose run was stopped."""
    where = printable(str(folder.path))
    error = Stopped(f"Stopped; everything is saved in {where}.\nGo on with: {resume_command(config, folder.path)}")
    error.exit_code = exit_code
    return error
