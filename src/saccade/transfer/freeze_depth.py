"""How deep to freeze, decided by evidence: heads and tails at every depth, compared on the same images left out.

From `all` towards the input: a shallower depth is taken only if training what lies behind it gets more images right
that were left out (exact McNemar test, one-sided 5 %). Few images cannot show that, so they freeze more; how transfer
depends on depth and on the number of images: Yosinski et al. 2014 (arXiv:1411.1792).
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from ..data.random_numbers import permutation
from ..evaluate.metrics import wilson_interval
from ..evaluate.significance import mcnemar_exact
from ..models.surgery import ALL, NONE, cut, depths, run
from ..runs.start_point import Rung
from ..train.config import RunConfig
from ..train.loss import class_weights
from ..train.progress import RunProgress
from .evidence import Answers, Fits, Trial, judge_hidden, judge_probe, judge_tail, tail_seconds
from .feature_plan import FeaturePlan
from .features import FeatureWork, collect_features
from .frozen import DTYPES, Tap
from .ladder_images import choose_images, tail_multiply_adds
from .probe import stratified_folds

MAX_MAP_BYTES = 2 << 30  # of all maps that are held in memory together
PARTS = (4, 16)
FEWEST = 2  # images a class that a fit learns from
WORTH_TELLING_S = 10.0  # shorter work is done before its estimate is read
SIGNIFICANT = 0.05
LINEAR, HIDDEN, TAIL = "linear", "hidden", "tail"


@dataclass(frozen=True, kw_only=True)
class Climb:
    """The depth chosen, why in one sentence, all that was measured on the way, and the seconds it took."""

    depth: str
    sentence: str
    rungs: tuple[Rung, ...]
    features_s: float
    fits_s: float


@dataclass(frozen=True, kw_only=True)
class LadderWork:
    """What the ladder works with: features, their images (`index_N` of the source, `label_N`; those of one number in
    `group_N` int64 stay together), who watches."""

    plan: FeaturePlan
    features: FeatureWork
    index_N: np.ndarray
    label_N: torch.Tensor
    group_N: np.ndarray
    classes: tuple[str, ...]
    config: RunConfig
    progress: RunProgress


def climb(work: LadderWork) -> Climb:
    """Measure depth after depth and choose. Raises what reading images or `features.check` raises."""
    started_s = time.monotonic()
    ladder = _Ladder(work)
    everything = ladder.trial(1)
    if everything.num_fewest < FEWEST * len(work.classes):
        sentence = f"Only the last layer is trained: {len(work.index_N):,} images are too few to compare depths."
        return Climb(depth=ALL, sentence=sentence, rungs=(), features_s=0.0, fits_s=0.0)
    ladder.collect()
    features_s = time.monotonic() - started_s
    rungs = ladder.heads(everything)
    best = frozen_best = next(rung for rung in rungs if rung.depth == ALL and rung.trained == LINEAR)
    tried: list[Rung] = []
    if can_be_beaten(best):
        ladder.announce(everything)
    for depth in reversed(ladder.tail_depths):
        if not can_be_beaten(best):
            break
        tried.append(ladder.tail(depth, everything, best))
        if tried[-1].p_better < SIGNIFICANT:
            best = tried[-1]
        elif len(tried) > 1 and tried[-2].p_better >= SIGNIFICANT:
            break  # two depths in a row brought nothing
    for part in PARTS if work.config.transfer.ladder_panels else ():  # what fewer images would have shown
        smaller = ladder.trial(part)
        if smaller.num_fewest >= FEWEST * len(work.classes):
            rungs += ladder.heads(smaller) + [ladder.tail(rung.depth, smaller, None) for rung in tried]
    sentence = explain(best, frozen_best, tried, ladder.chance(best, frozen_best))
    return Climb(
        depth=best.depth,
        sentence=sentence,
        rungs=tuple(rungs + tried),
        features_s=features_s,
        fits_s=time.monotonic() - started_s - features_s,
    )


def explain(best: Rung, frozen_best: Rung, tried: list[Rung], p_frozen: float) -> str:
    """Why the depth of `best`, in one sentence; `p_frozen` is the p-value of `best` against `frozen_best`."""
    judged = f"of {best.num_judged:,} training images left out of the fit"
    if best is not frozen_best:
        return (
            f"Frozen up to {best.depth}: training everything after it gets {_percent(best)} {judged} right, a new last "
            f"layer alone {_percent(frozen_best)} (p = {p_frozen:.2g}){_less(best, tried)}."
        )
    rival = max(tried, key=lambda rung: rung.accuracy, default=None)
    if rival is None:
        why = "no depth to compare" if can_be_beaten(best) else "too few are wrong for more training to be shown better"
        return f"Only the last layer is trained ({_percent(best)} {judged} right): {why}."
    return (
        f"Only the last layer is trained: it gets {_percent(best)} {judged} right. Training everything after "
        f"{rival.depth} gets {_percent(rival)}, not better beyond chance (one-sided p = {rival.p_better:.2g})."
    )


def _less(best: Rung, tried: list[Rung]) -> str:
    shallower = tried[tried.index(best) + 1 :]
    if not shallower:
        return "; freezing less was not measured"
    rival = max(shallower, key=lambda rung: rung.accuracy)
    return f"; freezing less ({rival.depth}: {_percent(rival)}) is not better beyond chance"


def _percent(rung: Rung) -> str:
    return f"{100 * rung.accuracy:.1f} %"


class _Ladder:
    """Features at all depths in memory, and which images each fit on all of them got right."""

    def __init__(self, work: LadderWork) -> None:
        self.work = work
        model = work.plan.model
        self.depths = [depth for depth in depths(model) if depth != NONE]
        self.tail_depths, num_kept = _affordable(work, [depth for depth in self.depths if depth != ALL])
        cost = tail_multiply_adds(model, self.tail_depths, work.plan.preprocessing.input_CHW)
        chosen = choose_images(num_kept, cost)
        num_images = chosen.num_images
        position_N = np.sort(permutation(work.config.seed, 0, len(work.index_N))[:num_images])
        if num_images < len(work.index_N):
            work.progress.note(
                f"depths are compared on {num_images:,} of {len(work.index_N):,} images: more of them "
                f"would take too much memory or time (transfer.ladder_images)"
            )
        self.index_N = work.index_N[position_N]
        self.label_N = work.label_N[torch.from_numpy(position_N)]
        self.group_N = work.group_N[position_N]
        self.fold_N = stratified_folds(self.label_N.numpy(), self.group_N, chosen.num_folds, work.config.seed)
        self.judged_folds = tuple(range(chosen.num_judged_folds))
        self.means = {depth: Tap(depth=depth, pooled=True) for depth in self.depths}
        self.maps = {depth: Tap(depth=depth, pooled=False) for depth in self.tail_depths}
        self.values: dict[Tap, torch.Tensor] = {}
        self.fits = self._fits()
        self.num_begun = 0
        self.right: dict[tuple[str, str], np.ndarray] = {}

    def collect(self) -> None:
        """Compute the features, which all fits need."""
        taps = [*self.means.values(), *self.maps.values()]
        self.values = collect_features(self.work.plan, taps, self.index_N, self.work.features)

    def _fits(self) -> Fits:
        work = self.work
        weight_K = class_weights(work.config.loss, self.label_N, work.classes)
        weight_K = None if weight_K is None else weight_K.to(work.plan.runtime.device)
        return Fits(config=work.config, runtime=work.plan.runtime, check=work.features.check, class_weight_K=weight_K)

    def trial(self, part: int) -> Trial:
        """Fits that learn from one `part`-th of the images."""
        return Trial(
            label_N=self.label_N,
            fold_N=self.fold_N,
            group_N=self.group_N,
            is_kept_N=_one_in(part, self.label_N.numpy(), self.work.config.seed),
            judged_folds=self.judged_folds,
            num_classes=len(self.work.classes),
            seed=self.work.config.seed,
        )

    def heads(self, trial: Trial) -> list[Rung]:
        """A linear and a hidden layer on the means at every depth."""
        rungs = []
        for depth in self.depths:
            feature_ND = self.values[self.means[depth]].float()
            self._working(f"last layer on {depth}, {trial.num_used:,} images")
            rungs.append(self._rung(depth, LINEAR, judge_probe(feature_ND, trial), trial, None))
            rungs.append(self._rung(depth, HIDDEN, judge_hidden(feature_ND, trial, self.fits), trial, None))
        return rungs

    def tail(self, depth: str, trial: Trial, best: Rung | None) -> Rung:
        """All layers behind `depth`, trained; compared with `best`."""
        self._working(f"training everything after {depth}, {trial.num_used:,} images")
        last_ND = self.values[self.means[ALL]].float()
        map_N = self.values[self.maps[depth]]
        answers = judge_tail(cut(self.work.plan.model, depth).live, map_N, last_ND, trial, self.fits)
        return self._rung(depth, TAIL, answers, trial, best)

    def announce(self, trial: Trial) -> None:
        """Say how long training at every depth may take, by a step of each."""
        seconds = sum(self._tail_seconds(depth, trial) for depth in self.tail_depths)
        if seconds >= WORTH_TELLING_S:
            self.work.progress.note(
                f"choosing the depth trains up to {len(self.tail_depths)} parts of the network on {trial.num_used:,} "
                f"images, at most about {about(seconds)}; two that do not help end it. --freeze all leaves it out"
            )

    def _tail_seconds(self, depth: str, trial: Trial) -> float:
        return tail_seconds(cut(self.work.plan.model, depth).live, self.values[self.maps[depth]], trial, self.fits)

    def _working(self, text: str) -> None:
        """Tell which fit begins, of how many."""
        self.num_begun += 1
        num_trials = 1 + len(PARTS) * self.work.config.transfer.ladder_panels
        most = num_trials * (len(self.depths) + len(self.tail_depths))
        self.work.progress.working(f"choosing the depth, {self.num_begun} of at most {most}: {text}")

    def chance(self, rung: Rung, other: Rung) -> float:
        """p-value that `rung`, which learned from all images, is better than `other`; 1.0 where they are one."""
        return chance_better(self.right[other.depth, other.trained], self.right[rung.depth, rung.trained])

    def _rung(self, depth: str, trained: str, answers: Answers, trial: Trial, best: Rung | None) -> Rung:
        if trial.is_kept_N.all():
            self.right[depth, trained] = answers.right_M
        num_correct, num_judged = int(answers.right_M.sum()), len(answers.right_M)
        low, high = wilson_interval(num_correct, num_judged)
        p_better = 1.0 if best is None else chance_better(self.right[best.depth, best.trained], answers.right_M)
        return Rung(
            depth=depth,
            trained=trained,
            num_images=trial.num_used,
            num_judged=num_judged,
            num_correct=num_correct,
            low=low,
            high=high,
            num_parameters=answers.num_parameters,
            seconds=round(answers.seconds, 3),
            p_better=p_better,
        )


def can_be_beaten(best: Rung) -> bool:
    """Whether another fit that got all of the images right would be better than `best` beyond chance."""
    return 0.5 ** (best.num_judged - best.num_correct) < SIGNIFICANT


def about(seconds: float) -> str:
    """`40 s`, `3 min` or `2 h`: an estimate, in round figures."""
    if seconds < 55:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = round(seconds / 60) or 1
    return f"{minutes} min" if minutes < 100 else f"{round(minutes / 60)} h"


def chance_better(before_M: np.ndarray, now_M: np.ndarray) -> float:
    """One-sided exact McNemar p-value that `now_M` is right on more of the same images than `before_M` by luck."""
    num_before, num_now = int((before_M & ~now_M).sum()), int((now_M & ~before_M).sum())
    half = mcnemar_exact(num_before, num_now) / 2
    return half if num_now > num_before else 1.0


def _one_in(part: int, label_N: np.ndarray, seed: int) -> np.ndarray:
    """bool (N,): every `part`-th image of each class in a random order, the first always; smaller parts are nested."""
    kept_N = np.zeros(len(label_N), bool)
    order_N = permutation(seed, 1, len(label_N))
    for label in np.unique(label_N):
        own_M = order_N[label_N[order_N] == label]
        kept_N[own_M[: max(1, len(own_M) // part)]] = True
    return kept_N


def _affordable(work: LadderWork, candidates: list[str]) -> tuple[list[str], int]:
    """(depths whose maps can be kept together, number of images). Depths near the input have the largest maps; they are
    given up before images are, down to the last two."""
    num_wanted = min(len(work.index_N), work.config.transfer.ladder_images)
    sizes = _map_bytes(work.plan, candidates)
    chosen = list(candidates)
    while len(chosen) > 2 and num_wanted * sum(sizes[depth] for depth in chosen) > MAX_MAP_BYTES:
        chosen = chosen[1:]
    total_bytes = sum(sizes[depth] for depth in chosen)
    return chosen, min(num_wanted, MAX_MAP_BYTES // total_bytes) if chosen else num_wanted


@torch.inference_mode()
def _map_bytes(plan: FeaturePlan, candidates: list[str]) -> dict[str, int]:
    """Bytes of one image's map behind each depth."""
    device = next(plan.model.parameters()).device
    image_BCHW = torch.zeros(1, *plan.preprocessing.input_CHW, device=device)
    plan.model.eval()
    itemsize = DTYPES[plan.dtype].itemsize
    return {depth: run(cut(plan.model, depth).frozen, image_BCHW).numel() * itemsize for depth in candidates}
