"""How deep to freeze, decided by evidence: heads and tails at every depth, compared on the same images left out.

From `all` towards the input: a shallower depth is taken only if training what lies behind it gets more images right
that were left out (exact McNemar test, one-sided 5 %). Few images cannot show that, so they freeze more; how transfer
depends on depth and on the number of images: Yosinski et al. 2014 (arXiv:1411.1792).

The tails see their images in fewer epochs than the fine-tuning that follows, and without augmentation, so they promise
less than it keeps. Where no depth is shown to be better than the new last layer alone, and one is not behind it by more
than that, the fine-tuning itself is the trial: it is kept only if it does better on the validation images.
"""

import time
from dataclasses import dataclass

from ..core.errors import counted
from ..evaluate.metrics import wilson_interval
from ..models.surgery import ALL
from ..runs.start_point import Rung
from .evidence import epochs_seen, tail_epochs
from .ladder import HIDDEN, LINEAR, PARTS, TAIL, Ladder, Measured
from .looks import BOUNDS, Comparison
from .time_plan import TimePlan

# Of the images that the last layer alone gets wrong, the share that a fine-tuning gets right and short tails do not,
# over the share of its epochs that they leave out: a tenth at three epochs instead of eight. Measured: 0.06, 0.12 and
# 0.16 of them at that (experiments/ladder_against_training.py; docs/results.md).
MISSED = 0.16
FEWEST_JUDGES = 100  # validation images; with fewer, chance alone makes 4 points of accuracy and more


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What follows the choice of a depth: epochs with augmentation, of which the best on `num_validation` images is
    kept, or the new last layer alone where none is better."""

    num_epochs: int
    num_validation: int

    def missed(self, num_wrong: int, num_used: int) -> float:
        """Of the `num_wrong` images of the last layer alone, those that this gets right and tails that learn from
        `num_used` images do not."""
        num_tail_epochs = epochs_seen(num_used, tail_epochs(num_used))
        return MISSED * num_wrong * max(0.0, 1 - num_tail_epochs / self.num_epochs)


@dataclass(frozen=True, kw_only=True)
class Climb:
    """The depth chosen, why in one sentence, all that was measured on the way, and the seconds it took. A trial is a
    depth that was not shown to be better than the last layer alone."""

    depth: str
    sentence: str
    rungs: tuple[Rung, ...]
    features_s: float
    fits_s: float
    is_trial: bool = False


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A depth that was compared with the best until then, and whether it is better."""

    tail: Measured
    comparison: Comparison
    is_better: bool


def climb(ladder: Ladder, plan: TimePlan, fine_tuning: FineTuning) -> Climb:
    """Measure depth after depth and choose. Raises what reading images or `features.check` raises."""
    started_s = time.monotonic()
    if not ladder.has_enough(1):
        return _only_the_last_layer(f"{len(ladder.work.index_N):,} images are too few to compare depths")
    first_depth = ladder.tail_depths[-1] if ladder.tail_depths else ALL
    if not plan.allows_fine_tuning(first_depth):
        return _only_the_last_layer(plan.no_time_sentence(first_depth))
    ladder.collect()
    features_s = time.monotonic() - started_s
    plan.begin_evidence()
    tell_left(ladder, plan, ladder.tail_depths[::-1], fine_tuning)
    frozen_best = best = ladder.measure(ALL, LINEAR)
    tried: list[Tried] = []
    out_of_time = ""
    for depth in reversed(ladder.tail_depths):
        if not can_be_beaten(best):
            break
        if not plan.allows_look(depth, is_first=not tried):
            out_of_time = depth
            break
        tail, comparison, is_better = ladder.duel(depth, best)
        plan.learn(depth, tail.seconds / len(tail.right_by_look))
        tried.append(Tried(tail=tail, comparison=comparison, is_better=is_better))
        tell_left(ladder, plan, ladder.tail_depths[-1 - len(tried) :: -1], fine_tuning)
        if is_better:
            best = tail
        elif len(tried) > 1 and not tried[-2].is_better:
            break  # two depths in a row brought nothing
    rungs = _picture(ladder, frozen_best, tried, has_limit=plan.minutes > 0)
    against_frozen = None if best is frozen_best else ladder.comparison(best, frozen_best)
    trial = worth_a_trial(tried, fine_tuning) if best is frozen_best else None
    unmeasured = plan.left_out(out_of_time)
    if trial and fine_tuning.num_validation < FEWEST_JUDGES:
        unmeasured += f"; {fine_tuning.num_validation:,} validation images are too few to try it out"
        trial = None
    return Climb(
        depth=trial.tail.depth if trial else best.depth,
        sentence=explain_trial(trial, fine_tuning, unmeasured)
        if trial
        else explain(best, tried, against_frozen, unmeasured),
        rungs=rungs,
        features_s=features_s,
        fits_s=time.monotonic() - started_s - features_s,
        is_trial=trial is not None,
    )


def tell_left(ladder: Ladder, plan: TimePlan, depths: list[str], fine_tuning: FineTuning) -> None:
    """Say how long all of it still takes, where `depths` may still be compared and any may be chosen."""
    low_s, high_s = plan.left(depths, ladder.tail_depths, fine_tuning.num_epochs, done=1.0)
    ladder.work.progress.time_left(low_s, high_s)


def worth_a_trial(tried: list[Tried], fine_tuning: FineTuning) -> Tried | None:
    """Of depths that were not shown to be better than the last layer alone, the best of those that are expected to be,
    counting what short tails miss; None where there is none."""
    promising = []
    for each in tried:
        shown = each.comparison
        missed = fine_tuning.missed(shown.num_judged - shown.num_before, each.tail.num_images)
        if shown.num_right + missed > shown.num_before:
            promising.append(each)
    return max(promising, key=lambda each: each.comparison.accuracy - each.comparison.accuracy_before, default=None)


def _only_the_last_layer(why: str) -> Climb:
    return Climb(depth=ALL, sentence=f"Only the last layer is trained: {why}.", rungs=(), features_s=0.0, fits_s=0.0)


def _picture(ladder: Ladder, frozen_best: Measured, tried: list[Tried], has_limit: bool) -> tuple[Rung, ...]:
    """All that was measured, and what the picture and the table show besides: it decides nothing, and where no depth
    was worth comparing, images are many, or minutes limited, it is measured only on request."""
    is_asked = ladder.work.config.transfer.ladder_panels
    rungs: list[Rung] = []
    if is_asked or (tried and len(ladder.looks) == 1 and not has_limit):
        rungs += _heads(ladder, 1)
    else:
        rungs.append(_rung(frozen_best))
    for part in PARTS if is_asked else ():  # what fewer images would have shown
        if ladder.has_enough(part):
            rungs += _heads(ladder, part)
            rungs += [_rung(ladder.measure(each.tail.depth, TAIL, part)) for each in tried]
    return tuple(rungs + [_rung(each.tail, each.comparison.p_better) for each in tried])


def _heads(ladder: Ladder, part: int) -> list[Rung]:
    """A linear and a hidden layer on the means at every depth."""
    return [_rung(ladder.measure(depth, trained, part)) for depth in ladder.depths for trained in (LINEAR, HIDDEN)]


def explain(best: Measured, tried: list[Tried], against_frozen: Comparison | None, unmeasured: str = "") -> str:
    """Why the depth of `best`, in one sentence. `against_frozen` compares it with the new last layer alone, None where
    it is that; `unmeasured` says what there was no time for."""
    num_judged = len(best.right_M)
    if against_frozen is not None:
        return (
            f"Frozen up to {best.depth}: training everything after it gets {_percent(against_frozen.accuracy)} of "
            f"{num_judged:,} training images left out of the fit right, a new last layer alone "
            f"{_percent(against_frozen.accuracy_before)} (p = {against_frozen.p_better:.2g})"
            f"{unmeasured or _less(best, tried)}."
        )
    share = _percent(best.right_M.mean())
    rival = max(tried, key=lambda each: each.comparison.accuracy, default=None)
    if rival is None:
        enough = "so few are wrong that training more layers could not be shown to be better"
        why = "no depth to compare" if can_be_beaten(best) else enough
        why = unmeasured.removeprefix("; ") or why
        judged = f"{share} of {num_judged:,} training images left out of the fit right"
        return f"Only the last layer is trained ({judged}): {why}."
    shown = rival.comparison
    is_less = shown.accuracy <= shown.accuracy_before
    beaten = "no better" if is_less else f"not better beyond chance (p = {shown.p_better:.2g})"
    return (
        f"Only the last layer is trained: it gets {_percent(shown.accuracy_before)} of {shown.num_judged:,} training "
        f"images left out of the fit right. Training everything after {rival.tail.depth} gets "
        f"{_percent(shown.accuracy)}, {beaten}{unmeasured}."
    )


def explain_trial(trial: Tried, fine_tuning: FineTuning, unmeasured: str = "") -> str:
    """Why everything behind a depth is trained that was not shown to be better, in one sentence."""
    shown, num_used = trial.comparison, trial.tail.num_images
    epochs = counted(epochs_seen(num_used, tail_epochs(num_used)), "epoch")
    return (
        f"Frozen up to {trial.tail.depth} as a trial: training everything after it gets {_percent(shown.accuracy)} of "
        f"{shown.num_judged:,} training images left out of the fit right after {epochs} without augmentation, a new "
        f"last layer alone {_percent(shown.accuracy_before)}, too near to tell{unmeasured}. The fine-tuning is kept if "
        f"it does better on {fine_tuning.num_validation:,} validation images."
    )


def _less(best: Measured, tried: list[Tried]) -> str:
    shallower = tried[[each.tail for each in tried].index(best) + 1 :]
    if not shallower:
        return "; freezing less was not measured"
    rival = max(shallower, key=lambda each: each.comparison.accuracy)
    figures = _percent(rival.comparison.accuracy)
    if rival.comparison.num_judged < len(best.right_M):
        figures += f" against {_percent(rival.comparison.accuracy_before)} of {rival.comparison.num_judged:,}"
    return f"; freezing less ({rival.tail.depth}: {figures}) is not better beyond chance"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rung(measured: Measured, p_better: float = 1.0) -> Rung:
    num_correct, num_judged = int(measured.right_M.sum()), len(measured.right_M)
    low, high = wilson_interval(num_correct, num_judged)
    return Rung(
        depth=measured.depth,
        trained=measured.trained,
        num_images=measured.num_images,
        num_judged=num_judged,
        num_correct=num_correct,
        low=low,
        high=high,
        num_parameters=measured.num_parameters,
        seconds=round(measured.seconds, 3),
        p_better=p_better,
    )


def can_be_beaten(best: Measured) -> bool:
    """Whether another fit that got all of the images right would be better than `best` beyond chance."""
    return 0.5 ** int((~best.right_M).sum()) < BOUNDS[1][0]
