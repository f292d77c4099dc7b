"""Which of several networks a transfer begins with, by evidence: a last layer on each, judged on the same images.

All networks answer for the same training images, each left out of the fit in turn, in the same folds; no image that the
verdict is of is looked at. They begin on a part of the images: who is worse beyond chance there than the best (exact
McNemar test, two-sided 5 %) is dropped, and the others go on with three times as many (successive halving, Jamieson and
Talwalkar 2016, arXiv:1502.07943, with a test in place of a fixed share). From the fastest on, a slower network is taken
only where it gets more images right beyond chance. Then its depth of freezing is chosen as ever.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.addresses import shown
from ..core.agreement import agreed
from ..core.apart import first_apart, one_of_each_machine
from ..core.errors import UsageError
from ..core.runtime import Runtime, start
from ..data.images.normalize import normalize
from ..data.random_numbers import permutation
from ..data.split import group_numbers
from ..evaluate.metrics import wilson_interval
from ..evaluate.rates import percent
from ..evaluate.significance import SIGNIFICANT, mcnemar_exact
from ..models.surgery import transplant
from ..runs.start_point import Backbone
from ..train.choose_preprocessing import with_bands
from ..train.config import RunConfig
from ..train.loss import right_images
from ..train.prepare import Images, Scanned, divide, scan_images
from ..train.progress import RunProgress
from ..train.run import compare_processes
from ..weights.public import find_weights, load_backbone
from .feature_plan import FeaturePlan
from .features import FeatureWork, collect_features
from .known_weights import with_weights
from .probe import fit_probe, stratified_folds
from .start_point import LAST, feature_dtype

FIRST_IMAGES, FIRST_A_CLASS, GROWTH = 300, 20, 3
FOLDS = 3
TIMED = 7  # answers of one image; the fastest counts: whatever else the machine does makes them slower


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a network may take: milliseconds an answer on this machine, megabytes of weights; 0: no limit."""

    ms: float = 0.0
    megabytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BackboneSearch:
    """What was found: the networks in the order asked, one of them `chosen`, and why in a sentence. `scanned` are the
    images, which need not be looked at again."""

    backbones: tuple[Backbone, ...]
    sentence: str
    scanned: Scanned | None = None

    @property
    def chosen(self) -> Backbone:
        """The network that the transfer begins with."""
        return next(backbone for backbone in self.backbones if backbone.chosen)


@dataclass(kw_only=True)
class _Runner:
    """A network in the race, called `label`. `rounds`: by the number of images, whether it was right (bool, N)."""

    config: RunConfig
    label: str
    name: str
    model: nn.Module
    ms: float
    megabytes: float
    rounds: dict[int, np.ndarray] = field(default_factory=dict)
    features_s: float = 0.0

    @property
    def right_N(self) -> np.ndarray:
        """Of its last round; empty before the first."""
        return self.rounds[max(self.rounds)] if self.rounds else np.zeros(0, bool)

    @property
    def accuracy(self) -> float:
        """Of its last round."""
        return float(self.right_N.mean())


def search_backbones(
    configs: Sequence[RunConfig], budget: Budget, cache: tuple[Path, int] | None, progress: RunProgress
) -> BackboneSearch:
    """Compare the networks of `configs`, which differ in network and weights alone. Raises what a transfer raises, and
    UsageError where none is within the budget."""
    runtime = start(configs[0].runtime)
    ranks = runtime.ranks
    known = one_of_each_machine(
        ranks, lambda: [find_weights(config.transfer.weights, config.transfer.backbone) for config in configs]
    )
    with agreed(ranks):
        configs = [with_weights(config, found) for config, found in zip(configs, known, strict=True)]
        scanned = scan_images(configs[0], runtime, progress.note, progress.scan)
        images = divide(configs[0], scanned, progress.note)
        if images.task.is_number:
            raise UsageError(
                "Networks are compared by right answers, and a number is asked for, which has none.\n"
                "Name one network: --backbone NAME."
            )
    compare_processes(images, runtime, progress.note)
    runners: list[_Runner] = []
    for config, found in zip(configs, known, strict=True):
        with agreed(ranks):
            name, model = transplant(load_backbone(found), found.model, images.spec, config.transfer.head)
        ms = _answer_ms(model, _own(images, config), runtime)
        megabytes = found.path.stat().st_size / 1e6
        label = _label(config, configs)
        runners.append(_Runner(config=config, label=label, name=name, model=model, ms=ms, megabytes=megabytes))
    racing = _within(runners, budget, progress)
    race = _Race(images, runtime, cache, progress, configs[0].seed)
    for num_images in race.rounds():
        for runner in racing:
            race.judge(runner, num_images)
        racing = _not_worse(racing)
        if len(racing) == 1:
            break
    return replace(_choice(runners, racing), scanned=scanned)


def _label(config: RunConfig, configs: Sequence[RunConfig]) -> str:
    """The network's name, with its weights where others of the same network are compared, too."""
    transfer = config.transfer
    is_alone = [other.transfer.backbone for other in configs].count(transfer.backbone) == 1
    return transfer.backbone if is_alone else f"{transfer.backbone} ({shown(transfer.weights)})"


def _own(images: Images, config: RunConfig) -> Images:
    """`images` with the preprocessing of one network's weights."""
    own = config.transfer.preprocessing
    if own is None:
        return images
    return replace(images, preprocessing=with_bands(own, config, images.scan, images.split))


class _Race:
    """The images on which networks are compared, in one drawn order, and their folds."""

    def __init__(
        self, images: Images, runtime: Runtime, cache: tuple[Path, int] | None, progress: RunProgress, seed: int
    ) -> None:
        self.images, self.runtime, self.cache, self.progress = images, runtime, cache, progress
        train_N = images.split.train_N
        order_N = permutation(seed, 0, len(train_N))
        self.index_N = train_N[order_N]
        self.group_N = group_numbers(images.source, images.scan, train_N)[order_N]
        self.label_N = images.labels(self.index_N)

    def rounds(self) -> list[int]:
        """How many images each round judges; the last one all."""
        sizes = [max(FIRST_IMAGES, FIRST_A_CLASS * len(self.images.classes))]
        while sizes[-1] < len(self.index_N):
            sizes.append(sizes[-1] * GROWTH)
        return [*sizes[:-1], len(self.index_N)]

    def judge(self, runner: _Runner, num_images: int) -> None:
        """Let `runner` answer for the first `num_images`, each left out of the fit of its fold."""
        started_s = time.monotonic()
        own = _own(self.images, runner.config)
        plan = FeaturePlan(
            model=runner.model,
            network=runner.name,
            source=own.source,
            digest_NB=own.scan.bytes_digest_N,
            preprocessing=own.preprocessing,
            runtime=self.runtime,
            dtype=feature_dtype(runner.config, self.runtime),
        )

        def tell(done: int, total: int) -> None:
            self.progress.working(f"features of {runner.label}: {done:,} of {total:,} images")

        ranks = self.runtime.ranks
        work = FeatureWork(cache=self.cache, progress=tell, note=self.progress.note, ranks=ranks)
        feature_ND = collect_features(plan, [LAST], self.index_N[:num_images], work, to_all=False)[LAST].float()
        label_N = self.label_N[:num_images]
        fold_N = stratified_folds(label_N.numpy(), self.group_N[:num_images], FOLDS, runner.config.seed)

        def fit(check: Callable[[], None]) -> bytes:
            probe = fit_probe(feature_ND, label_N, len(self.images.classes), fold_N)
            return right_images(probe.held_out_NK, label_N, self.images.task).numpy().tobytes()

        runner.rounds[num_images] = np.frombuffer(first_apart(ranks, fit), bool)
        share = float(runner.rounds[num_images].mean())
        self.progress.measured(
            f"network {runner.label} with a new last layer: {percent(share)} % of {len(label_N):,} training images, "
            f"each left out in turn, are right"
        )
        runner.features_s += time.monotonic() - started_s


def _answer_ms(model: nn.Module, images: Images, runtime: Runtime) -> float:
    """Milliseconds of an answer for one image, its pixels in memory: the fastest of a few, after one that warms up.

    Of several processes the first one measures."""
    measured = first_apart(runtime.ranks, lambda check: repr(_measured_ms(model, images, runtime)).encode())
    return float(measured)


@torch.inference_mode()
def _measured_ms(model: nn.Module, images: Images, runtime: Runtime) -> float:
    model = model.to(device=runtime.device, memory_format=runtime.memory_format).eval()  # type: ignore[call-overload]
    channels, height_px, width_px = images.preprocessing.input_CHW
    image_BCHW = torch.zeros((1, channels, height_px, width_px), dtype=torch.uint8, device=runtime.device)
    taken_ms = []
    for _ in range(TIMED + 1):
        started_s = time.perf_counter()
        with runtime.arithmetic():
            model(normalize(image_BCHW, images.preprocessing, runtime.precision)).float().cpu()
        taken_ms.append(1000 * (time.perf_counter() - started_s))
    return min(taken_ms[1:])


def _within(runners: list[_Runner], budget: Budget, progress: RunProgress) -> list[_Runner]:
    """Those that take no more than `budget`; the others are told. Raises UsageError where none is left."""
    kept = []
    for runner in runners:
        too_slow, too_large = 0 < budget.ms < runner.ms, 0 < budget.megabytes < runner.megabytes
        if not too_slow and not too_large:
            kept.append(runner)
            continue
        over = f"{runner.ms:.1f} ms an answer" if too_slow else f"{runner.megabytes:.1f} MB"
        progress.note(f"{runner.label} is not compared: {over} is above the budget")
    if not kept:
        fastest = min(runners, key=lambda runner: runner.ms)
        smallest = min(runners, key=lambda runner: runner.megabytes)
        raise UsageError(
            f"No network is within the budget: the fastest, {fastest.label}, takes "
            f"{fastest.ms:.1f} ms an answer here, the smallest, {smallest.label}, "
            f"{smallest.megabytes:.1f} MB.\nRaise --budget-ms or --budget-mb, or name smaller networks with --backbone."
        )
    return kept


def _p_between(first: _Runner, second: _Runner) -> float:
    """Two-sided p-value of the exact McNemar test on the images of the last round that both were in."""
    num = _common(first, second)
    first_N, second_N = first.rounds[num], second.rounds[num]
    return mcnemar_exact(int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum()))


def _common(first: _Runner, second: _Runner) -> int:
    """The images of the last round that both were in."""
    return max(first.rounds.keys() & second.rounds.keys())


def _not_worse(racing: list[_Runner]) -> list[_Runner]:
    """Those that are not worse than the best beyond chance."""
    best = max(racing, key=lambda runner: runner.accuracy)
    return [runner for runner in racing if runner is best or _p_between(runner, best) >= SIGNIFICANT]


def _choice(runners: list[_Runner], racing: list[_Runner]) -> BackboneSearch:
    chosen, *slower = sorted(racing, key=lambda runner: runner.ms)
    for runner in slower:
        if runner.accuracy > chosen.accuracy and _p_between(runner, chosen) < SIGNIFICANT:
            chosen = runner
    others = [runner for runner in runners if runner is not chosen and runner.rounds]
    low, high = wilson_interval(int(chosen.right_N.sum()), len(chosen.right_N))
    sentence = (
        f"{chosen.label}: {100 * chosen.accuracy:.1f} % of {len(chosen.right_N):,} training images "
        f"left out of the fit ({100 * low:.1f} to {100 * high:.1f})"
    )
    if others:
        sentence += f", {_against(chosen, max(others, key=lambda runner: runner.accuracy))}"
    return BackboneSearch(
        backbones=tuple(_measured(runner, runner is chosen) for runner in runners), sentence=f"{sentence}."
    )


def _against(chosen: _Runner, rival: _Runner) -> str:
    """How `chosen` stands to the best of the others, in the last round that both were in."""
    num = _common(chosen, rival)
    points = 100 * float(chosen.rounds[num].mean() - rival.rounds[num].mean())
    p_value, name = _p_between(chosen, rival), rival.label
    times = f"and an answer takes {chosen.ms / rival.ms:.1f} times as long"
    on = "" if num == len(chosen.right_N) else f" on {num:,} of them"
    if p_value >= SIGNIFICANT:
        return f"not shown to differ from {name}{on} ({points:+.1f} points, p = {p_value:.2g}), {times}"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} {name}{on} (p = {p_value:.2g}), {times}"


def _measured(runner: _Runner, is_chosen: bool) -> Backbone:
    num, right = len(runner.right_N), int(runner.right_N.sum())
    low, high = wilson_interval(right, num)
    return Backbone(
        name=runner.config.transfer.backbone,
        weights=runner.config.transfer.weights,
        num_judged=num,
        accuracy=right / num if num else 0.0,
        low=low,
        high=high,
        ms=round(runner.ms, 3),
        megabytes=round(runner.megabytes, 3),
        features_s=round(runner.features_s, 3),
        chosen=is_chosen,
    )
