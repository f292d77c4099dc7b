"""`saccade train --find-lr`: which learning rates work, found by raising the rate step by step (Smith 2017,
arXiv:1506.01186, section 3.3) until the loss diverges."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from ..core.display import Displayed
from ..core.errors import TrainingError
from ..core.runtime import start
from ..core.types import Batch
from ..data.augmenter import measure_colours
from ..data.loading.loader import Loader, build_loader
from .config import OptimizerConfig, RunConfig
from .extra_loss import FindExtraLoss, no_extra_loss
from .prepare import prepare_images
from .run import start_training
from .step import TrainingStep

NUM_STEPS = 100
LOWEST_FACTOR, HIGHEST_FACTOR = 1e-4, 1e2  # of the recipe's own rate
DIVERGED = 3.0  # times the lowest loss so far
RISEN = 1.1  # times the lowest loss: what counts as having risen since
SMOOTHING = 0.9  # weight of the past in the smoothed loss
SAFETY = 2.0  # the chosen rate is at most that of the lowest loss over this: there it is about to rise
FEWEST_STEPS = 12


@dataclass(frozen=True, kw_only=True, repr=False)
class RangeTest(Displayed):
    """What a range test saw. `rate_S` and `loss_S` have one value a step; `smooth_S` is the loss smoothed.

    `steepest` is where the smoothed loss falls fastest, `lowest` where it is lowest, `diverged` the rate at which the
    loss exploded, else None. `chosen` is what to train with, and `reason` says why, in one sentence; `settings` are the
    values to set: with Muon that of the other parameters too, which was tried in the same proportion.
    """

    rate_S: tuple[float, ...]
    loss_S: tuple[float, ...]
    smooth_S: tuple[float, ...]
    steepest: float
    lowest: float
    diverged: float | None
    chosen: float
    reason: str
    settings: tuple[str, ...] = ()

    def display_lines(self) -> list[str]:
        """The rate to train with, and why."""
        return [f"Learning rate {self.chosen:g}: {self.reason}."]


def find_learning_rate(
    config: RunConfig, note: Callable[[str], None], find_extra_loss: FindExtraLoss = no_extra_loss
) -> RangeTest:
    """Train a fresh network for up to 100 steps at rates from 1/10,000 to 100 times the recipe's; nothing is stored.

    Raises SaccadeError; TrainingError where the loss explodes before there is anything to see.
    """
    runtime = start(config.runtime)
    images = prepare_images(config, runtime, note)
    white = images.preprocessing.white_16_bit
    augment = measure_colours(config.augment, images.source, images.split.train_N, config.seed, white)
    average = config.average.model_copy(update={"decay": 0.0})  # each step's own loss is what counts
    config = config.model_copy(update={"augment": augment, "average": average})
    config, extra_loss = find_extra_loss(config, images, runtime)
    training = start_training(config, images, runtime)
    training.extra_loss = extra_loss
    loader = build_loader(
        images.source,
        images.split.train_N,
        images.preprocessing,
        augment,
        config.loader_of(runtime.ranks),
        config.seed,
    )
    with loader:
        rates, losses, diverged = _climb(training, loader, config.optimizer.learning_rate)
    found = judge_range(rates, losses, diverged)
    return replace(found, settings=_settings(found.chosen, config.optimizer))


def _settings(chosen: float, optimizer: OptimizerConfig) -> tuple[str, ...]:
    settings = (f"optimizer.learning_rate={chosen:g}",)
    if optimizer.name != "muon":
        return settings
    other = chosen * optimizer.other_learning_rate / optimizer.learning_rate
    return *settings, f"optimizer.other_learning_rate={other:.3g}"


def judge_range(rates: list[float], losses: list[float], diverged: float | None) -> RangeTest:
    """Choose from the curve, which exploded at the rate `diverged`. Raises TrainingError where it has too few steps."""
    if len(losses) < FEWEST_STEPS:
        raise TrainingError(
            f"The loss exploded after {len(losses)} steps: nothing can be chosen.\n"
            f"Try rates 1,000 times lower: give --set optimizer.learning_rate a lower value."
        )
    smooth = smoothed(losses)
    usable = range(FEWEST_STEPS // 2, len(losses) - 1)  # the first averages are of too few losses
    slopes = {i: (smooth[i + 1] - smooth[i - 1]) / (math.log(rates[i + 1]) - math.log(rates[i - 1])) for i in usable}
    lowest = min(usable, key=lambda i: smooth[i])
    steepest = min((i for i in usable if i <= lowest), key=lambda i: slopes[i])
    chosen = min(rates[steepest], rates[lowest] / SAFETY)
    fastest = f"the loss falls fastest at {rates[steepest]:.2g} and is lowest at {rates[lowest]:.2g}"
    rises = smooth[-1] > RISEN * smooth[lowest]
    end = f"; at {diverged:.2g} it has exploded" if diverged else ", then rises" if rises else ", to the end"
    how = "the fastest" if chosen == rates[steepest] else "half the lowest, which is less than the fastest"
    return RangeTest(
        rate_S=tuple(rates),
        loss_S=tuple(losses),
        smooth_S=tuple(smooth),
        steepest=rates[steepest],
        lowest=rates[lowest],
        diverged=diverged,
        chosen=float(f"{chosen:.2g}"),
        reason=f"{fastest}{end}; chosen: {how}",
    )


def smoothed(losses: list[float]) -> list[float]:
    """The exponential moving average of the losses, corrected for its start at zero."""
    average, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING**number))
    return found


def _climb(training: TrainingStep, loader: Loader, peak: float) -> tuple[list[float], list[float], float | None]:
    """(rates, losses, the rate at which the loss exploded): a loss that is not finite is not among the losses."""
    rates: list[float] = []
    losses: list[float] = []
    batches = (batch for epoch in count() for batch in loader.epoch(epoch))
    for step in range(NUM_STEPS):
        factor = LOWEST_FACTOR * (HIGHEST_FACTOR / LOWEST_FACTOR) ** (step / (NUM_STEPS - 1))
        loss = _loss_of_step(training, next(batches), step, factor)
        rates.append(peak * factor)
        losses.append(loss)
        smooth = smoothed(losses)
        if not math.isfinite(loss):
            return rates[:-1], losses[:-1], rates[-1]
        if smooth[-1] > DIVERGED * min(smooth):
            return rates, losses, rates[-1]
    return rates, losses, None


def _loss_of_step(training: TrainingStep, batch: Batch, step: int, factor: float) -> float:
    before, seen = float(training.totals.loss_sum), int(training.totals.num_seen)
    training.run(batch, step, factor)
    num_images = int(training.totals.num_seen) - seen
    return (float(training.totals.loss_sum) - before) / num_images if num_images else math.inf
