"""A transfer: weights of another network, features of the images, a new last layer, the depth, fine-tuning, a verdict.

What comes before fine-tuning is in `start_point.py`; it leaves `checkpoint-start` and `transfer.json` in the run. What
comes after is an ordinary training from that checkpoint, by the same engine, or none where all is frozen.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes
from torch import nn

from ..core.agreement import agreed, from_first
from ..core.apart import one_of_each_machine
from ..core.display import Displayed
from ..core.errors import ConfigError, Stopped
from ..core.ranks import Ranks, current_ranks
from ..core.runtime import Runtime, seeded
from ..data.augmenter import measure_colours
from ..evaluate.verdict import metrics_json
from ..models.build import resolve_model
from ..models.penultimate import as_head_sees
from ..models.surgery import ALL, find_depth, last_layer, transplant
from ..runs.checkpoint import open_checkpoint, save_checkpoint, settle_checkpoint
from ..runs.manifest import Manifest, manifest_text, read_manifest
from ..runs.names import BEST, START
from ..runs.start_point import StartPoint, read_start
from ..train.config import RunConfig
from ..train.cross_validated import CrossValidated
from ..train.final_evaluation import judge, kept_checkpoint
from ..train.held_back import KeptFeatures
from ..train.loop import Validation
from ..train.prepare import Images, Scanned, divide, scan_images
from ..train.progress import BegunOnce, RunProgress
from ..train.resume_images import as_begun, begun_white, other_images
from ..train.run import (
    FitContext,
    TrainResult,
    begin_run,
    check_growing,
    compare_processes,
    describe_weights,
    fit_and_judge,
    held_run,
    leave_out_branches,
    num_judged,
    opening_lines,
    resumed,
    settled,
    stopped,
    told_judging,
    training_of,
    training_runtime,
    watched_run,
)
from ..train.run_directory import RunFolder
from ..train.seen_before import begin_with, go_on_with
from ..train.state import Cursor
from ..train.stop import StopSignal
from ..weights.licence import restricted
from ..weights.public import BackboneWeights, find_weights, load_backbone
from .backbone_search import BackboneSearch
from .feature_plan import without_mixing
from .features import FeatureWork, collect_features
from .known_weights import with_weights
from .start_point import AUTO, LAST, StartWork, feature_plan, find_start

KNOWN_AT_ONCE = ("data ", "device ", "run ")  # opening lines that no choice changes: a person has them before the work


@dataclass(frozen=True, kw_only=True)
class FeatureStore:
    """Where features are kept between runs: `folder`, None for nowhere, and at most `limit_bytes` of them."""

    folder: Path | None
    limit_bytes: int

    @property
    def cache(self) -> tuple[Path, int] | None:
        """(folder, limit in bytes), None for nowhere."""
        return (self.folder, self.limit_bytes) if self.folder else None


@dataclass(frozen=True, kw_only=True, repr=False)
class TransferResult(Displayed):
    """What a transfer came to: the result of the run, and how it began."""

    run: TrainResult
    start: StartPoint

    def display_lines(self) -> list[str]:
        """The verdict, what was frozen and why, and where the run lies."""
        lines = self.run.display_lines()
        return [lines[0], self.start.sentence, *lines[1:]]


def transfer(
    config: RunConfig,
    folder: RunFolder,
    store: FeatureStore,
    progress: RunProgress,
    command: str,
    preprocessing: Path | None = None,
    search: BackboneSearch | None = None,
    images: Images | None = None,
    scanned: Scanned | None = None,
    crossed: CrossValidated | None = None,
) -> TransferResult:
    """Transfer as `config` says in `folder`, from the beginning or from where it was stopped, and judge the result.

    `preprocessing` is a JSON file that says how the weights expect their pixels, instead of their card. `search` is
    what chose the network, where several were compared. `images` that were prepared already are not read again, those
    of `scanned`, or of the search, not looked at again; `crossed` is what the run's folds gave.

    The processes of a run share features, the fits that choose the depth, the fine-tuning and the judging out; the
    first one writes. Raises what `train` raises, and WeightsError.
    """
    progress = progress if isinstance(progress, BegunOnce) else BegunOnce(progress)
    started_s = time.monotonic() - progress.seconds
    ranks = current_ranks()
    config, runtime = settled(config, folder)
    with agreed(ranks):
        check_views(config)
    begun_start = found = _found_start(folder, ranks) if folder.resume else None
    weights = None if found else one_of_each_machine(ranks, lambda: _weights(config, preprocessing, progress.note))
    with agreed(ranks):
        asked, config = config, with_weights(config, weights) if weights else config
        begun = begun_white(folder.path) if folder.resume else None
        if images is None:
            scanned = scanned or (search.scanned if search else None)
            scanned = scanned or scan_images(config, runtime, progress.note, progress.scan, begun)
            images = divide(config, scanned, progress.note)
        if weights:
            licence, images = weights.licence, begin_with(images, weights.path, config.transfer.weights)
            images = _under_licence(images, licence, config, progress.note)
        elif found:
            licence = read_manifest(folder.path / START).origin.transfer.licence
            images = go_on_with(images, folder.path / START, config.transfer.weights)
            images = _under_licence(images, licence, config, progress.note)
        images = as_begun(images, folder.path, config, found.data_digest if found else "") if folder.resume else images
        white = images.preprocessing.white_16_bit
        augment = measure_colours(config.augment, images.source, images.split.train_N, config.seed, white)
        name, model = network_of_run(config, folder, weights, images)
        config = config.model_copy(update={"augment": augment, "model": name})
    compare_processes(images, runtime, progress.note)
    with held_run(folder, ranks), StopSignal() as stop:
        begin_run(folder, asked, config, images, runtime)
        context = FitContext(progress=progress, stop=stop, command=command, started_s=started_s, crossed=crossed)
        try:
            if found is None:
                known = opening_lines(config, images, runtime.describe(), folder.path, 0)
                progress.begin([line for line in known if line.startswith(KNOWN_AT_ONCE)])
                work = StartWork(
                    config=config,
                    images=images,
                    runtime=runtime,
                    cache=store.cache,
                    check=stop.check,
                    progress=progress,
                    started_s=started_s,
                    backbones=search.backbones if search else (),
                    backbone_sentence=search.sentence if search else "",
                )
                manifest = _manifest(config, weights, images, runtime, command)
                found = find_start(work, model, manifest, folder.path)
            context = replace(context, deadline_s=_deadline(config, begun_start, found, started_s))
            return _finish(found, model, folder, images, context, (config, runtime), store)
        except Stopped as error:
            if error.message:
                raise
            told = stopped(config, folder, error.exit_code)
            told.is_agreed = error.is_agreed
            raise told from None


def _found_start(folder: RunFolder, ranks: Ranks) -> StartPoint | None:
    """What the first process finds of where the run in `folder` starts; None where that is not found out yet."""

    def read() -> bytes:
        found = read_start(folder.path)
        return found.model_dump_json().encode() if found else b""

    content = from_first(ranks, read)
    return StartPoint.model_validate_json(content) if content else None


def _under_licence(images: Images, licence: str, config: RunConfig, note: Callable[[str], None]) -> Images:
    """`images` of a run whose figures say, and `note` hears, that its weights are not free for any use, where so."""
    told = restricted(config.transfer.weights, licence)
    if not told:
        return images
    note(told)
    return replace(images, caveats=(*images.caveats, told))


def _deadline(config: RunConfig, begun: StartPoint | None, found: StartPoint, started_s: float) -> float | None:
    """When all epochs must end (`time.monotonic`), so that judging ends within `transfer.minutes` of work; None without
    a limit. `begun` was found by an earlier start of the run; epochs of earlier starts do not count yet."""
    if not config.transfer.minutes:
        return None
    before_s = begun.features_s + begun.heads_s if begun else 0.0
    return started_s + 60 * config.transfer.minutes - before_s - found.judging_s


def check_views(config: RunConfig) -> None:
    """Raise ConfigError where further views are asked for and nothing would make them differ from the image."""
    if config.transfer.views > 1 and not without_mixing(config.augment).active():
        raise ConfigError(
            f"'transfer.views' {config.transfer.views} asks for augmented views of each image, and no augmentation of "
            f"single images is set, so all of them would be equal.\n"
            f"Leave it out, or set one, such as --set augment.mirror.probability=0.5."
        )


def network_of_run(
    config: RunConfig, folder: RunFolder, weights: BackboneWeights | None, images: Images
) -> tuple[str, nn.Module]:
    """(name, network) of the run: the backbone with a new last layer, or an empty one for a start that is there."""
    if weights is None:
        folder.refuse_another_network(config.model)
        with seeded(config.seed):
            model = resolve_model(config.model, images.spec)
        leave_out_branches(model, config)
        return config.model, model
    with seeded(config.seed):  # for what the weights do not bring
        name, model = transplant(load_backbone(weights), weights.model, images.spec, config.transfer.head)
    leave_out_branches(model, config.model_copy(update={"model": name}))
    freeze = config.transfer.freeze  # what cannot be done is told before any work is done
    if freeze == AUTO or find_depth(model, freeze) != ALL:
        check_growing(model, config.model_copy(update={"model": name}), images.preprocessing)
    return name, model


def with_weights_read(config: RunConfig, preprocessing: Path | None, note: Callable[[str], None]) -> RunConfig:
    """`config` with what is known of its weights. Raises WeightsError."""
    return with_weights_known(config, preprocessing, note)[1]


def with_weights_known(
    config: RunConfig, preprocessing: Path | None, note: Callable[[str], None]
) -> tuple[BackboneWeights, RunConfig]:
    """(the weights of `config`, `config` with what is known of them). Raises WeightsError."""
    weights = _weights(config, preprocessing, note)
    return weights, with_weights(config, weights)


def _weights(config: RunConfig, preprocessing: Path | None, note: Callable[[str], None]) -> BackboneWeights:
    known = config.transfer
    weights = find_weights(known.weights, known.backbone, preprocessing or known.preprocessing)
    for text in weights.notes:
        note(text)
    return weights


def _manifest(
    config: RunConfig, weights: BackboneWeights | None, images: Images, runtime: Runtime, command: str
) -> Manifest:
    manifest = describe_weights(config, images, runtime, command)
    known = config.transfer
    origin = {"backbone": known.backbone, "weights": known.weights, "weights_sha256": known.weights_sha256}
    origin["licence"] = weights.licence if weights else ""
    return manifest.model_copy(update={"provenance": manifest.provenance | {"transfer": origin}})


def _refuse_other_images(found: StartPoint, images: Images, config: RunConfig, run_dir: Path) -> None:
    if found.data_digest != images.digest() and not images.begun:
        raise other_images(config, run_dir)


def _take_start(model: nn.Module, folder: RunFolder, ranks: Ranks) -> Manifest:
    """Give `model` the weights that the fine-tuning starts with, which the first process reads; their manifest."""
    read: list[Manifest] = []

    def content_of_start() -> bytes:
        begun = open_checkpoint(folder.path / START, check_content=True)
        model.load_state_dict(begun.load_weights_of(model))
        read.append(begun.manifest)
        told = {"manifest": manifest_text(begun.manifest)}
        return b"" if ranks.is_alone else tensor_bytes(_plain(model), told)

    content = from_first(ranks, content_of_start)
    if read:
        return read[0]
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    model.load_state_dict(parse_tensors(content))
    return Manifest.parse(json.loads(header["__metadata__"]["manifest"]), "the manifest of the first process")


def _plain(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of `model` as they can be told."""
    return {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}


def _finish(
    found: StartPoint,
    model: nn.Module,
    folder: RunFolder,
    images: Images,
    context: FitContext,
    plan: tuple[RunConfig, Runtime],
    store: FeatureStore,
) -> TransferResult:
    """Fine-tune what is not frozen and judge."""
    config, runtime = plan
    ranks = runtime.ranks
    with agreed(ranks):
        _refuse_other_images(found, images, config, folder.path)
    manifest = _take_start(model, folder, ranks)
    known = config.model_copy(update={"transfer": config.transfer.model_copy(update={"frozen": found.frozen})})
    with agreed(ranks):
        if ranks.is_first and settle_checkpoint(folder.path / BEST)[0] is None:
            save_checkpoint(folder.path / BEST, manifest, model.state_dict())
    if found.frozen == ALL:
        head = last_layer(model)
        num_parameters = sum(parameter.numel() for parameter in head.parameters())
        context.progress.begin(opening_lines(known, images, runtime.describe(), folder.path, num_parameters))
        best = kept_checkpoint(folder.path, runtime)
        frozen = feature_plan(model, config, images, runtime)
        work = FeatureWork(cache=store.cache, check=context.stop.check, ranks=ranks)
        kept = KeptFeatures(
            of=lambda index_N: collect_features(frozen, [LAST], index_N, work)[LAST],
            last=head,
            as_head_sees=as_head_sees(model),
            is_exact=frozen.dtype == "float32" and runtime.precision == torch.float32,
        )
        with watched_run(context.progress, folder.path, known, 0) as tell_verdict:
            split = images.split
            num_images = len(split.indices(split.judged_part)) if kept.as_head_sees else num_judged(images)
            passed = told_judging(images, num_images, ranks, context.progress)
            check, crossed = context.stop.check, context.crossed
            judgement = judge(folder.path, best, images, known, runtime, check, kept, crossed, passed)
            tell_verdict(metrics_json(judgement.metrics))
        result = TrainResult(
            run_dir=folder.path,
            config=config,
            judgement=judgement,
            best_epoch=0,
            num_train=len(images.split.train_N),
            seconds=time.monotonic() - context.started_s,
            training_s=0.0,
            images_per_second=0.0,
            stop_exit_code=context.stop.exit_code if context.stop.requested else 0,
        )
        return TransferResult(run=result, start=found)
    context.progress.note(found.sentence)
    config = known.model_copy(update={"epochs": found.epochs or known.epochs})
    with agreed(ranks):
        training = training_of(model, config, images, training_runtime(config, runtime))
    cursor = resumed(training, folder, images, context.progress)
    if cursor is None:
        value = found.validation_map if images.task.is_several else found.validation_accuracy
        if images.task.is_number:
            mae, deviation = found.validation_mae, images.task.deviation
            value = Validation(accuracy=0.0, loss=0.0, mae=mae, deviation=deviation).value if mae >= 0 else -1.0
        cursor = Cursor(data_digest=images.digest(), best_value=value, best_loss=found.validation_loss)
    deadline_s = None if context.deadline_s is None else context.deadline_s - cursor.training_s
    origin = {"transfer": manifest.provenance.get("transfer", {})}
    context = replace(context, deadline_s=deadline_s, origin=origin)
    return TransferResult(run=fit_and_judge(training, folder, images, cursor, context), start=found)
