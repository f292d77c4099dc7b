"""The ladder: what heads and tails at every depth are worth, measured on features of all depths in memory."""

import json
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.apart import apart
from ..data.random_numbers import permutation
from ..evaluate.metrics import wilson_interval
from ..evaluate.rates import percent
from ..models.surgery import ALL, NONE, cut, depths, run
from ..train.config import RunConfig
from ..train.loss import class_weights
from ..train.progress import RunProgress
from .evidence import Answers, Fits, Trial, judge_hidden, judge_probe, judge_tail
from .feature_plan import FeaturePlan
from .features import FeatureWork, collect_features
from .frozen import DTYPES, Tap
from .ladder_images import choose_images
from .looks import Comparison, compare, is_better, is_hopeless
from .measurements import Measurements
from .probe import stratified_folds

MAX_MAP_BYTES = 2 << 30  # of all maps that are held in memory together
PARTS = (4, 16)
FEWEST = 2  # images a class that a fit learns from
LINEAR, HIDDEN, TAIL = "linear", "hidden", "tail"


@dataclass(frozen=True, kw_only=True)
class LadderWork:
    """What the ladder works with: features, their images (`index_N` of the source, `label_N`; those of one number in
    `group_N` int64 stay together), what was measured before a stop, who watches."""

    plan: FeaturePlan
    features: FeatureWork
    index_N: np.ndarray
    label_N: torch.Tensor
    group_N: np.ndarray
    classes: tuple[str, ...]
    config: RunConfig
    measured: Measurements
    progress: RunProgress


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is trained behind `depth`: which images it got right, bool (M,) by look, those that were looked at."""

    depth: str
    trained: str
    num_images: int
    num_parameters: int
    right_by_look: tuple[np.ndarray, ...]
    seconds: float

    @property
    def right_M(self) -> np.ndarray:
        """All looks, one behind the other."""
        return np.concatenate(self.right_by_look)


class Ladder:
    """Features at all depths in memory, and what was measured on them."""

    def __init__(self, work: LadderWork) -> None:
        self.work = work
        model = work.plan.model
        self.depths = [depth for depth in depths(model) if depth != NONE]
        self.tail_depths, num_kept = _affordable(work, [depth for depth in self.depths if depth != ALL])
        cost = sum(work.plan.multiply_adds_behind[depth] for depth in self.tail_depths)
        chosen = choose_images(num_kept, cost)
        position_N = np.sort(permutation(work.config.seed, 0, len(work.index_N))[: chosen.num_images])
        if chosen.num_images < len(work.index_N):
            work.progress.note(
                f"depths are compared on {chosen.num_images:,} of {len(work.index_N):,} images: more of them "
                f"would take too much memory or time (transfer.ladder_images)"
            )
        self.looks = chosen.looks
        self.index_N = work.index_N[position_N]
        self.label_N = work.label_N[torch.from_numpy(position_N)]
        self.group_N = work.group_N[position_N]
        self.fold_N = stratified_folds(self.label_N.numpy(), self.group_N, chosen.num_folds, work.config.seed)
        self.means = {depth: Tap(depth=depth, pooled=True) for depth in self.depths}
        self.maps = {depth: Tap(depth=depth, pooled=False) for depth in self.tail_depths}
        self.values: dict[Tap, torch.Tensor] = {}
        self.fits = self._fits()
        self._told: set[tuple[str, str, int, int]] = set()
        self._new: set[str] = set()  # names of what was measured here, not before a stop

    def collect(self) -> None:
        """Compute the features, which all fits need."""
        taps = [*self.means.values(), *self.maps.values()]
        self.values = collect_features(self.work.plan, taps, self.index_N, self.work.features)

    def _fits(self) -> Fits:
        work = self.work
        weight_K = class_weights(work.config.loss, self.label_N, work.classes)
        weight_K = None if weight_K is None else weight_K.to(work.plan.runtime.device)
        return Fits(
            config=work.config,
            runtime=work.plan.runtime,
            check=work.features.check,
            class_weight_K=weight_K,
            task=work.plan.source.task,
        )

    def trial(self, part: int) -> Trial:
        """Fits that learn from one `part`-th of the images, and answer for all."""
        return Trial(
            label_N=self.label_N,
            fold_N=self.fold_N,
            group_N=self.group_N,
            is_kept_N=_one_in(part, self.label_N.numpy(), self.work.config.seed),
            judged_folds=tuple(fold for look in self.looks for fold in look),
            num_classes=len(self.work.classes),
            seed=self.work.config.seed,
        )

    def first_look(self) -> Trial:
        """Fits on all images, for the folds that are judged before the evidence is looked at."""
        return replace(self.trial(1), judged_folds=self.looks[0])

    def has_enough(self, part: int) -> bool:
        """Whether fits on one `part`-th of the images have enough to learn from."""
        return self.trial(part).num_fewest >= FEWEST * len(self.work.classes)

    def measure(self, depth: str, trained: str, part: int = 1, num_looks: int | None = None) -> Measured:
        """What is `trained` behind `depth`, by fits on one `part`-th of the images, in the first `num_looks` (None:
        all of them). What was measured before is not measured again.

        The processes of a run share the folds out. Who would have none takes one of a later look, which is kept until
        it is asked for.
        """
        trial = self.trial(part)
        names = [f"{trained} {depth} 1/{part} look {number + 1}" for number in range(len(self.looks))]
        known = self._known(names)
        wanted = range(len(self.looks))[:num_looks]
        for number in wanted:
            if number not in known:
                self._working(depth, trained, number, trial.num_used)
                numbers = self._at_once(number, known)
                for which, found in zip(numbers, self._judge_looks(depth, trained, trial, numbers), strict=True):
                    known[which] = found
                    self.work.measured.keep(names[which], found)
                    self._new.add(names[which])
        answers = [known[number] for number in wanted]
        self._tell(depth, trained, answers, trial.num_used, bool(self._new.intersection(names)))
        return Measured(
            depth=depth,
            trained=trained,
            num_images=trial.num_used,
            num_parameters=answers[0].num_parameters,
            right_by_look=tuple(answer.right_M for answer in answers),
            seconds=sum(answer.seconds for answer in answers),
        )

    def _known(self, names: list[str]) -> dict[int, Answers]:
        """By look, what was measured before under these names."""
        judged = [int(np.isin(self.fold_N, look).sum()) for look in self.looks]
        found = [self.work.measured.find(name, num) for name, num in zip(names, judged, strict=True)]
        return {number: answers for number, answers in enumerate(found) if answers is not None}

    def _at_once(self, number: int, known: Container[int]) -> list[int]:
        """Look `number`, and as many of the unknown ones behind it as the processes have no other fold to fit for."""
        numbers = [number]
        for later in range(number + 1, len(self.looks)):
            if sum(len(self.looks[each]) for each in numbers) >= self.work.features.ranks.world_size:
                break
            if later not in known:
                numbers.append(later)
        return numbers

    def _judge_looks(self, depth: str, trained: str, trial: Trial, numbers: list[int]) -> list[Answers]:
        """The answers in these looks, whose folds the processes share out: each fit is one of its own."""
        ranks = self.work.features.ranks
        folds = [fold for number in numbers for fold in self.looks[number]]

        def fit(check: Callable[[], None]) -> list[tuple[int, Answers]]:
            own = folds[ranks.rank :: ranks.world_size]
            return [
                (
                    fold,
                    self._judge(depth, trained, replace(trial, judged_folds=(fold,)), replace(self.fits, check=check)),
                )
                for fold in own
            ]

        own = apart(ranks, fit, self.fits.check)
        right_N, seconds = np.zeros(len(self.fold_N), bool), np.zeros((ranks.world_size, len(self.looks)))
        num_parameters = 0
        for rank, content in enumerate(ranks.gather(_as_bytes(own), patiently=True)):
            for fold, right, fold_s, num in json.loads(content):
                num_parameters = num
                is_judged_N = self.fold_N == fold
                bits = np.unpackbits(np.frombuffer(bytes.fromhex(right), np.uint8), count=int(is_judged_N.sum()))
                right_N[is_judged_N] = bits.astype(bool)
                seconds[rank, next(number for number in numbers if fold in self.looks[number])] += fold_s
        return [
            Answers(
                right_M=right_N[np.isin(self.fold_N, self.looks[number])],
                seconds=float(seconds[:, number].max()),
                num_parameters=num_parameters,
            )
            for number in numbers
        ]

    def _tell(self, depth: str, trained: str, answers: list[Answers], num_used: int, is_new: bool) -> None:
        """Say what was measured and may decide, once for each name: again only where more images were judged."""
        if num_used < self.trial(1).num_used or is_for_the_picture(depth, trained):
            return  # the report has it
        right_M = np.concatenate([answer.right_M for answer in answers])
        told = (depth, trained, num_used, len(right_M))
        if told in self._told:
            return
        self._told.add(told)
        low, high = wilson_interval(int(right_M.sum()), len(right_M))
        took = f"{sum(answer.seconds for answer in answers):.1f} s" if is_new else "kept from before"
        self.work.progress.measured(
            f"depth   {trained_words(depth, trained)}: {percent(right_M.mean())} % "
            f"({percent(low)} to {percent(high)}) of {len(right_M):,} images left out are right, {took}"
        )

    def _working(self, depth: str, trained: str, number: int, num_used: int) -> None:
        again = f" (fold {number + 1})" if len(self.looks) > 1 else ""
        decides = num_used == self.trial(1).num_used and not is_for_the_picture(depth, trained)
        why = "choosing the depth" if decides else "for the report alone"
        self.work.progress.working(f"{why}: {trained_words(depth, trained)}, {num_used:,} images{again}")

    def _judge(self, depth: str, trained: str, trial: Trial, fits: Fits) -> Answers:
        mean_ND = self.values[self.means[depth]].float()
        if trained == LINEAR:
            return judge_probe(mean_ND, trial)
        if trained == HIDDEN:
            return judge_hidden(mean_ND, trial, fits)
        last_ND = self.values[self.means[ALL]].float()
        return judge_tail(cut(self.work.plan.model, depth).live, self.values[self.maps[depth]], last_ND, trial, fits)

    def duel(self, depth: str, best: Measured) -> tuple[Measured, Comparison, bool]:
        """Train everything behind `depth` and compare it with the best until then, on the same images: (what was
        measured, how they compare, whether it is better). Ends at the look at which that is clear."""
        num_looks = len(self.looks)
        for look in range(num_looks):
            tail = self.measure(depth, TAIL, num_looks=look + 1)
            comparison = self.comparison(tail, best)
            is_clear = is_better(comparison, look, num_looks)
            if is_clear or is_hopeless(comparison, look, num_looks):
                break
        return tail, comparison, is_clear

    def comparison(self, now: Measured, before: Measured) -> Comparison:
        """How two that learned from all images compare, on the looks of `now`."""
        num_looks = len(now.right_by_look)
        if len(before.right_by_look) < num_looks:
            before = self.measure(before.depth, before.trained, num_looks=num_looks)
        return compare(now.right_M, np.concatenate(before.right_by_look[:num_looks]))


def _as_bytes(answers: list[tuple[int, Answers]]) -> bytes:
    """What the fits of a process gave, by fold, for the others."""
    return json.dumps(
        [[fold, np.packbits(each.right_M).tobytes().hex(), each.seconds, each.num_parameters] for fold, each in answers]
    ).encode()


def is_for_the_picture(depth: str, trained: str) -> bool:
    """Whether what is `trained` behind `depth` is only shown: new layers decide nothing but the last one alone."""
    return trained == HIDDEN or (trained == LINEAR and depth != ALL)


def trained_words(depth: str, trained: str) -> str:
    """What is trained behind `depth`, in words that say what is learned and what stays."""
    if trained == TAIL:
        return f"training all after {depth}"
    layers = "a new last layer" if trained == LINEAR else "two new layers"
    return f"{layers} alone" if depth == ALL else f"{layers} on {depth}"


def _one_in(part: int, label_N: np.ndarray, seed: int) -> np.ndarray:
    """bool (N,): every `part`-th image of each class in a random order, the first always; smaller parts are nested."""
    kept_N = np.zeros(len(label_N), bool)
    order_N = permutation(seed, 1, len(label_N))
    if label_N.ndim == 2:  # an image counts for all its classes
        kept_N[order_N[: max(1, len(label_N) // part)]] = True
        kept_N[[order_N[row_N.argmax()] for row_N in label_N[order_N].T if row_N.any()]] = True
        return kept_N
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
