"""Where fine-tuning starts: frozen features, a last layer fitted to them, and the depth that the evidence is for."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core import atomic
from ..core.agreement import agreed
from ..core.apart import first_apart
from ..core.errors import counted
from ..core.ranks import ALONE
from ..core.runtime import Runtime
from ..core.task import Task
from ..data.split import group_numbers
from ..evaluate.label_metrics import mean_average_precision
from ..models.penultimate import as_head_sees
from ..models.surgery import ALL, NONE, find_depth, last_layer
from ..runs.checkpoint import save_checkpoint
from ..runs.judging_work import num_passes
from ..runs.manifest import Manifest
from ..runs.names import START, TRANSFER
from ..runs.start_point import Backbone, StartPoint
from ..train.config import UNWEIGHTED, RunConfig
from ..train.loss import right_images
from ..train.prepare import Images
from ..train.progress import RunProgress
from ..train.time_left import TimeLeft
from .evidence import Fits
from .feature_plan import FeaturePlan
from .features import FeatureReport, FeatureWork, collect_features, refuse_alike
from .forecast import Amount, Looks, forecast
from .freeze_depth import Climb, FineTuning, climb
from .frozen import Dtype, Tap
from .ladder import Ladder, LadderWork
from .measurements import Measurements
from .probe import LinearProbe, fit_probe, folds_of_layer, probe_loss, stratified_folds
from .time_plan import COMPARED, NOTHING_KNOWN, Forecast, TimePlan, expected_sentence

AUTO = "auto"
LAST = Tap(depth=ALL, pooled=True)
QUICK = 1e11  # multiply-adds of all images through the network: less is done before a forecast is read
PASSES_OF_A_CHOICE = 10  # of all images through the network, at least, where the depth is chosen
FEWEST_EPOCHS = 3
NUMBERS_ARE_FROZEN = (
    "Only the last layer is trained: depths are compared by right answers, and a number has none. "
    "--freeze none, or a part of the network, trains more."
)


@dataclass(frozen=True, kw_only=True)
class StartWork:
    """What a start is made from. `cache` is (folder, limit in bytes) or None; `check` may stop the work. `backbones`
    are the networks that were compared before, and `backbone_sentence` why the run's was chosen. `started_s`
    (`time.monotonic`) is when the command began."""

    config: RunConfig
    images: Images
    runtime: Runtime
    cache: tuple[Path, int] | None
    check: Callable[[], None]
    progress: RunProgress
    started_s: float
    backbones: tuple[Backbone, ...] = ()
    backbone_sentence: str = ""

    def note(self, text: str) -> None:
        """Something a person should know."""
        self.progress.note(text)


def find_start(work: StartWork, model: nn.Module, manifest: Manifest, run_dir: Path) -> StartPoint:
    """Fit the last layer of `model` and choose the depth; leaves `checkpoint-start`, then `transfer.json`.

    The processes of a run share features and the fits by which a depth is chosen. The last layer is fitted, and all is
    written, by the first: `model` has that layer there alone.
    """
    ranks = work.runtime.ranks
    with agreed(ranks):
        starter = _Starter(work, model)
    ready = starter.prepare(starter.choose_depth(run_dir))

    def make(check: Callable[[], None]) -> bytes:
        found = starter.fit(ready)
        found = found.model_copy(update={"backbones": work.backbones, "backbone_sentence": work.backbone_sentence})
        save_checkpoint(run_dir / START, manifest, model.state_dict())
        task = work.images.task
        left_out = set() if task.is_several else {"validation_map"}
        left_out |= set() if task.is_number else {"held_out_mae", "validation_mae"}
        values = found.model_dump(mode="json", exclude=left_out)
        atomic.write_text(run_dir / TRANSFER, json.dumps(values, indent=1) + "\n")
        return found.model_dump_json().encode()

    found = StartPoint.model_validate_json(first_apart(ranks, make, work.check))
    for text in found.notes:
        work.note(text)
    return found


def forecast_start(work: StartWork, model: nn.Module, run_dir: Path) -> TimeLeft:
    """How long `find_start` and what follows it would take here; nothing is written. (0, 0): too short to ask."""
    return _Starter(work, model).forecast(run_dir)


def feature_plan(model: nn.Module, config: RunConfig, images: Images, runtime: Runtime) -> FeaturePlan:
    """What the features of the run are computed from."""
    return FeaturePlan(
        model=model,
        network=config.model,
        source=images.source,
        digest_NB=images.scan.bytes_digest_N,
        preprocessing=images.preprocessing,
        runtime=runtime,
        dtype=feature_dtype(config, runtime),
        augment=config.augment,
        num_views=config.transfer.views,
        seed=config.seed,
    )


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What the last layer is fitted to: feature_ND of the training images in `num_views` views, one behind the other,
    and those of the validation images; none but in the first process. `num_epochs` of fine-tuning fit the time."""

    chosen: Climb
    num_epochs: int
    feature_ND: torch.Tensor
    num_views: int
    label_N: torch.Tensor
    validation_ND: torch.Tensor
    validation_N: torch.Tensor
    features_s: float


class _Starter:
    """The features of a run, and what is fitted to them."""

    def __init__(self, work: StartWork, model: nn.Module) -> None:
        self.work = work
        self.model = model
        config, images = work.config, work.images
        self.plan = feature_plan(model, config, images, work.runtime)
        self.report = FeatureReport()
        self.time = self._time(NOTHING_KNOWN)
        self._expected_s: dict[str, float] = {}
        self._has_features = False
        self._compared: list[str] = []  # depths that will be
        self._fine_tuned: list[str] = []  # depths that may be fine-tuned from
        self.group_N = self._groups()
        self.features = FeatureWork(
            cache=work.cache,
            report=self.report,
            check=work.check,
            progress=self._tell_features,
            note=work.note,
            ranks=work.runtime.ranks,
        )

    def _time(self, known: Forecast) -> TimePlan:
        work = self.work
        return TimePlan(
            forecast=known,
            minutes=work.config.transfer.minutes,
            started_s=work.started_s,
            ranks=work.runtime.ranks,
        )

    def _tell_features(self, done: int, total: int) -> None:
        if not self._has_features and self.time.forecast.judging_s:  # else more is done than this
            self._tell_left(done / total)
        self.work.progress.working(f"features of {done:,} of {total:,} images")

    def _tell_left(self, done: float) -> None:
        """Say how long all of it still takes, with so much of the features there, before a depth is measured."""
        num_epochs = enough_epochs(self.work.config, len(self.work.images.split.train_N))
        self.work.progress.time_left(*self.time.left(self._compared, self._fine_tuned, num_epochs, done))

    def _groups(self) -> np.ndarray:
        """int64 numbers of the training images: those that share one are left out together."""
        images, train_N = self.work.images, self.work.images.split.train_N
        group_N, label_N = group_numbers(images.source, images.scan, train_N), images.labels(train_N).numpy()
        if images.task.is_number:
            has_several = [len(np.unique(group_N)) > 1]
        elif label_N.ndim == 2:
            has_several = [len(np.unique(group_N[has_N > 0])) > 1 for has_N in label_N.T if has_N.any()]
        else:
            has_several = [len(np.unique(group_N[label_N == label])) > 1 for label in np.unique(label_N)]
        if all(has_several):
            return group_N
        content_N = np.unique(images.scan.pixel_digest_N[train_N], axis=0, return_inverse=True)[1].reshape(-1)
        if len(np.unique(content_N)) > len(np.unique(group_N)):
            self.report.notes.append(
                "a class has all its images in one group, so single images are left out to choose by, not groups: "
                "the accuracy on images left out flatters"
            )
        return content_N

    def choose_depth(self, run_dir: Path) -> Climb:
        """The depth asked for, or that which the ladder finds. Says before how long all of it takes."""
        config, images = self.work.config, self.work.images
        if config.transfer.freeze == AUTO and images.task.is_number:
            self._plan_time([], None)
            return Climb(depth=ALL, sentence=NUMBERS_ARE_FROZEN, rungs=(), features_s=0.0, fits_s=0.0)
        if config.transfer.freeze != AUTO:
            depth = find_depth(self.model, config.transfer.freeze)
            self._plan_time([depth] if depth != ALL else [], None)
            words = {ALL: "All but the last layer frozen", NONE: "Nothing frozen"}
            sentence = f"{words.get(depth, f'Frozen up to {depth}')}, as asked."
            return Climb(depth=depth, sentence=sentence, rungs=(), features_s=0.0, fits_s=0.0)
        ladder = self._ladder(run_dir)
        self._plan_time(ladder.tail_depths[::-1] if ladder.has_enough(1) else [], ladder)
        fine_tuning = FineTuning(
            num_epochs=enough_epochs(config, len(images.split.train_N)),
            num_validation=len(images.split.without_copies("validation")),
        )
        found = climb(ladder, self.time, fine_tuning)
        self._has_features = bool(found.rungs)
        return found

    def _ladder(self, run_dir: Path) -> Ladder:
        config, images = self.work.config, self.work.images
        work = LadderWork(
            plan=self.plan,
            features=self.features,
            index_N=images.split.train_N,
            label_N=images.labels(images.split.train_N),
            group_N=self.group_N,
            classes=images.classes,
            config=config,
            measured=Measurements(run_dir, config, images.digest(), self.work.runtime.ranks),
            progress=self.work.progress,
        )
        with agreed(self.work.runtime.ranks):
            return Ladder(work)

    def forecast(self, run_dir: Path) -> TimeLeft:
        """How long all of it takes, by one batch of each kind of work; (0, 0) where it is too short to ask."""
        config, images = self.work.config, self.work.images
        if config.transfer.freeze == AUTO and not images.task.is_number:
            ladder = self._ladder(run_dir)
            self._plan_time(ladder.tail_depths[::-1] if ladder.has_enough(1) else [], ladder)
        else:
            depth = ALL if images.task.is_number else find_depth(self.model, config.transfer.freeze)
            self._plan_time([depth] if depth != ALL else [], None)
        num_epochs = enough_epochs(config, len(images.split.train_N))
        low_s, high_s = self.time.left(self._compared, self._fine_tuned, num_epochs, done=0.0)
        start_s = self.time.forecast.start_s  # a run begins in the same way
        return TimeLeft(low_s=low_s + start_s, high_s=high_s + start_s)

    def _plan_time(self, depths: list[str], ladder: Ladder | None) -> None:
        """Measure what the work costs, where that is worth it, and say it. `depths` may be fine-tuned from; without a
        limit of minutes no more of them are measured than are told."""
        config, split = self.work.config, self.work.images.split
        validation_N = split.without_copies("validation")
        num_images = len(split.train_N) + len(validation_N)
        cost = num_images * self.plan.multiply_adds_behind[NONE] * (PASSES_OF_A_CHOICE if ladder else 1)
        if not config.transfer.minutes and cost < QUICK:
            return
        self.work.progress.working("measuring a batch of each kind of work")
        task = self.work.images.task
        fits = Fits(config=config, runtime=self.work.runtime, check=self.work.check, task=task)
        num_judged = len(split.without_copies(split.judged_part))
        num_known = num_passes(len(split.train_N), len(validation_N), 0, len(self.work.images.classes))
        are_known = not depths and not ladder and as_head_sees(self.model) is not None
        amount = Amount(
            train_N=split.train_N,
            validation_N=validation_N,
            num_judged=num_judged + (0 if are_known else num_known),
            num_again=num_known if are_known and self.work.cache is None else 0,
            num_views=config.transfer.views,
            num_processes=self.work.runtime.ranks.world_size,
        )
        looks = Looks(first=ladder.first_look(), others_follow=len(ladder.looks) > 1) if ladder else None
        measured = depths if config.transfer.minutes else depths[:COMPARED]

        def measure(check: Callable[[], None]) -> bytes:
            alone = replace(self.features, check=check, ranks=ALONE)
            own = replace(fits, check=check)
            found = forecast(self.plan, measured, looks, own, amount, alone, self.work.started_s)
            return json.dumps(asdict(found)).encode()

        known = Forecast(**json.loads(first_apart(self.work.runtime.ranks, measure, self.work.check)))
        self.time = self._time(known)
        self._compared, self._fine_tuned = (depths if ladder else []), depths
        self._tell_left(0.0)
        self._expected_s = self.time.expected(enough_epochs(config, len(split.train_N)))
        if sentence := expected_sentence(self._expected_s):
            self.work.note(sentence)

    def within_time(self, chosen: Climb) -> tuple[Climb, int]:
        """(`chosen`, epochs of fine-tuning that the time allows); the last layer alone where it allows none."""
        config = self.work.config
        wanted = enough_epochs(config, len(self.work.images.split.train_N))
        if chosen.depth == ALL or not config.transfer.minutes:
            return chosen, wanted
        num_epochs = self.time.epochs_for(chosen.depth, wanted)
        if num_epochs == 0 and config.transfer.freeze == AUTO:
            might = "Worth a trial would be: frozen up to" if chosen.is_trial else "Better would be: frozen up to"
            sentence = (
                f"Only the last layer is trained: --minutes {config.transfer.minutes:g} leaves no time to fine-tune. "
                f"{chosen.sentence.replace('Frozen up to', might, 1)}"
            )
            return replace(chosen, depth=ALL, sentence=sentence), wanted
        if num_epochs < wanted:
            self.report.notes.append(
                f"--minutes {config.transfer.minutes:g} leaves time for {max(1, num_epochs)} of "
                f"{counted(wanted, 'epoch')} of fine-tuning"
            )
        return chosen, max(1, num_epochs)

    def prepare(self, chosen: Climb) -> "Ready":
        """What the last layer is fitted to, in the first process alone; the others have helped to compute it."""
        split = self.work.images.split
        self._tell_what_is_unused(chosen)
        started_s = time.monotonic()
        self._compared, self._fine_tuned = [], ([] if chosen.depth == ALL else [chosen.depth])
        feature_ND = self._last(split.train_N)
        self._has_features = True
        more = self._views(split.train_N)
        validation_N = split.without_copies("validation")
        validation_ND = self._last(validation_N) if len(validation_N) else feature_ND[:0]
        features_s = time.monotonic() - started_s
        chosen, num_epochs = self.within_time(chosen)
        self._fine_tuned = [] if chosen.depth == ALL else [chosen.depth]
        self._tell_left(1.0)
        self.work.progress.working("fitting the new last layer")
        return Ready(
            chosen=chosen,
            num_epochs=num_epochs,
            feature_ND=torch.cat([feature_ND, *more]),
            num_views=1 + len(more),
            label_N=self._labels(split.train_N),
            validation_ND=validation_ND,
            validation_N=self._labels(validation_N),
            features_s=features_s,
        )

    def _tell_what_is_unused(self, chosen: Climb) -> None:
        """Note what is set and has no effect on the last layer."""
        config = self.work.config
        asked = {
            "loss.class_weights": config.loss.class_weights != UNWEIGHTED,
            "loss.focal_gamma": config.loss.focal_gamma > 0,
            "loss.negative_gamma": config.loss.negative_gamma > 0,
            "loss.negative_margin": config.loss.negative_margin > 0,
            "loader.sampling": config.loader.sampling == "balanced",
        }
        names = [name for name, is_asked in asked.items() if is_asked]
        if names:
            are = "is" if len(names) == 1 else "are"
            self.report.notes.append(
                f"{' and '.join(names)} {are} for fine-tuning; all images count alike in the last layer's fit"
            )
        if chosen.depth == ALL and self.plan.num_views == 1 and self.plan.augment.active():
            self.report.notes.append(
                "only the last layer learns, so images are not augmented; with --views 4 it learns from three altered "
                "copies of each, too"
            )

    def _last(self, index_N: np.ndarray, view: int = 0) -> torch.Tensor:
        """feature_ND float32 of these images, behind all that may be frozen; none but in the first process."""
        feature_ND = collect_features(self.plan, [LAST], index_N, self.features, view, to_all=False)[LAST].float()
        refuse_alike(feature_ND, self.plan.digests(index_N, view))
        return feature_ND

    def fit(self, ready: "Ready") -> StartPoint:
        """Fit the last layer to the training images; the validation images only say how good it is."""
        images, config, chosen, label_N = self.work.images, self.work.config, ready.chosen, ready.label_N
        started_s = time.monotonic()
        probe = self._probe(ready.feature_ND, label_N, ready.num_views)
        last_layer(self.model).load_state_dict({"weight": probe.weight_KD, "bias": probe.bias_K})
        heads_s = time.monotonic() - started_s
        right_N = right_images(probe.held_out_NK[: len(label_N)], label_N, images.task)
        validation = _judge(probe, ready.validation_ND, ready.validation_N, images.task)
        return StartPoint(
            frozen=chosen.depth,
            sentence=chosen.sentence,
            rungs=chosen.rungs,
            held_out_accuracy=float(right_N.double().mean()),
            penalty=probe.penalty,
            validation_accuracy=validation[0],
            validation_loss=validation[1],
            validation_map=validation[2],
            held_out_mae=_mean_error(probe.held_out_NK[: len(label_N)], label_N, images.task),
            validation_mae=validation[3],
            features_s=round(chosen.features_s + ready.features_s, 3),
            heads_s=round(chosen.fits_s + heads_s, 3),
            depth_s=round(chosen.fits_s, 3),
            num_computed=self.report.num_computed,
            num_found=self.report.num_found,
            epochs=ready.num_epochs if ready.num_epochs != config.epochs else 0,
            judging_s=round(self.time.forecast.judging_s, 3),
            expected_s={name: round(seconds, 3) for name, seconds in self._expected_s.items()},
            notes=tuple(self.report.notes),
            data_digest=images.digest(),
        )

    def _labels(self, index_N: np.ndarray) -> torch.Tensor:
        """The labels of these images as they are fitted: numbers in standard deviations from their mean."""
        images = self.work.images
        label_N = images.labels(index_N)
        return torch.from_numpy(images.task.standard(label_N.numpy())) if images.task.is_number else label_N

    def _views(self, index_N: np.ndarray) -> list[torch.Tensor]:
        """Features of the further views of these images, where `transfer.views` asks for some."""
        transfer = self.work.config.transfer
        if transfer.views > 1:
            is_mixed = self.plan.view_augment != self.plan.augment
            self.work.note(
                f"each image is also seen in {transfer.views - 1} fixed augmented views, drawn once by the seed"
                + (", none of them mixed with another image" if is_mixed else "")
            )
        return [self._last(index_N, view) for view in range(1, transfer.views)]

    def _probe(self, feature_ND: torch.Tensor, label_N: torch.Tensor, num_views: int) -> LinearProbe:
        """All views of an image are in one fold."""
        work = self.work
        num_folds = folds_of_layer(len(label_N))
        fold_N = stratified_folds(_strata(label_N), self.group_N, num_folds, work.config.seed)
        num_classes = len(work.images.classes)
        label_N = torch.cat([label_N] * num_views)
        return fit_probe(feature_ND, label_N, num_classes, np.tile(fold_N, num_views))


def enough_epochs(config: RunConfig, num_images: int) -> int:
    """Epochs of fine-tuning on `num_images`: as configured, or fewer where these show enough images, but three."""
    enough = config.transfer.enough_images
    if not enough:
        return config.epochs
    return min(config.epochs, max(FEWEST_EPOCHS, -(-enough // num_images)))


def _judge(
    probe: LinearProbe, feature_ND: torch.Tensor, label_N: torch.Tensor, task: Task
) -> tuple[float, float, float, float]:
    """(accuracy, loss, mAP, mean absolute error) of `probe`; mAP of several labels only, the error of numbers only,
    else -1; (-1, 0, -1, -1) without images."""
    if not len(label_N):
        return -1.0, 0.0, -1.0, -1.0
    logits_NK = functional.linear(feature_ND, probe.weight_KD, probe.bias_K)
    accuracy, loss = float(right_images(logits_NK, label_N, task).float().mean()), float(probe_loss(logits_NK, label_N))
    if not task.is_several:
        return accuracy, loss, -1.0, _mean_error(logits_NK, label_N, task)
    found = mean_average_precision(logits_NK.numpy(), label_N.numpy())
    return accuracy, loss, 0.0 if np.isnan(found) else found, -1.0


def _mean_error(logits_NK: torch.Tensor, standard_N: torch.Tensor, task: Task) -> float:
    """The mean absolute error of numbers, in their own unit; -1 of classes."""
    if not task.is_number:
        return -1.0
    return float((logits_NK[:, 0].double() - standard_N.double()).abs().mean()) * task.deviation


def _strata(label_N: torch.Tensor) -> np.ndarray:
    """What folds are dealt out evenly by: the labels, or of numbers ten equally full ranges, int64."""
    if not label_N.is_floating_point() or label_N.ndim == 2:
        return label_N.numpy()
    edges = np.quantile(label_N.numpy(), np.linspace(0, 1, 11)[1:-1])
    return np.searchsorted(edges, label_N.numpy(), side="left")


def feature_dtype(config: RunConfig, runtime: Runtime) -> Dtype:
    """What features are kept as: as asked, or as the network computes."""
    wanted = config.transfer.features
    if wanted != "auto":
        return wanted
    names: dict[torch.dtype, Dtype] = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
    return names.get(runtime.precision, "float32")
