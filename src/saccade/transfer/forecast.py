"""What a transfer costs on this machine: one batch of each kind of work is measured, the rest is counted."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data.images.normalize import normalize
from ..models.surgery import NONE, cut, last_layer, run
from ..train.config import RunConfig
from ..train.schedule import input_size
from .evidence import Fits, Trial, num_steps, step_seconds, tail_epochs
from .feature_plan import FeaturePlan
from .features import FeatureWork, collect_features, count_missing
from .frozen import Tap
from .time_plan import Forecast

FEW_IMAGES, MANY_IMAGES = 16, 96  # that pass in the two measurements
MEASURED_BATCH = 16
DECODING = 0.2  # share of reading and decoding in the time of an image's features
LOOKS = 1.4  # that a depth takes on average, where the evidence may be looked at several times
PLAIN = 1.5  # a pass through the network as it is, beside one through the fused frozen part


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many images there are to work on: of the source, `train_N` and `validation_N`; `num_judged` at the end.
    `num_processes` share the work."""

    train_N: np.ndarray
    validation_N: np.ndarray
    num_judged: int
    num_processes: int = 1


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A first look at the evidence, and whether others may follow."""

    first: Trial
    others_follow: bool


def forecast(
    plan: FeaturePlan, depths: Sequence[str], looks: Looks | None, fits: Fits, amount: Amount, work: FeatureWork
) -> Forecast:
    """Measure and count. `depths` are those that may be fine-tuned from, the last of the network first; `looks`
    are None where the depth was given. Raises what reading an image or `work.check` raises."""
    last = Tap(depth="all", pooled=True)
    image_s = _feature_seconds(plan, last, amount.train_N, work)
    num_features = sum(count_missing(plan, [last], index_N, work) for index_N in (amount.train_N, amount.validation_N))
    step_s = {depth: _step_seconds(plan, depth, fits) for depth in depths}
    look_s = {}
    if looks is not None:
        num_passes = _passes(looks.first, fits) * _rounds_share(len(looks.first.judged_folds), amount.num_processes)
        look_s = {depth: seconds * num_passes for depth, seconds in step_s.items()}
    behind = plan.multiply_adds_behind
    frozen_share = {depth: _frozen_share(behind[depth], behind[NONE]) for depth in depths}
    return Forecast(
        features_s=image_s * num_features / amount.num_processes,
        look_s=look_s,
        epoch_s={
            depth: _epoch_seconds(plan, frozen_share[depth], seconds, image_s, fits, amount) / amount.num_processes
            for depth, seconds in step_s.items()
        },
        judging_s=PLAIN * image_s * amount.num_judged / amount.num_processes,
        num_looks=LOOKS if looks is not None and looks.others_follow and amount.num_processes == 1 else 1.0,
    )


def _rounds_share(num_folds: int, num_processes: int) -> float:
    """Of the fits of all folds, those that the process with the most of them has."""
    return -(-num_folds // num_processes) / num_folds


def _feature_seconds(plan: FeaturePlan, tap: Tap, index_N: np.ndarray, work: FeatureWork) -> float:
    """Of one image: what many take longer than few, so that starting does not count; few pass before, to warm up."""
    own = FeatureWork(cache=None, check=work.check)
    few_N, many_N = index_N[:FEW_IMAGES], index_N[:MANY_IMAGES]
    taken_s = []
    for some_N in (few_N, few_N, many_N):
        started_s = time.perf_counter()
        collect_features(plan, [tap], some_N, own)
        taken_s.append(time.perf_counter() - started_s)
    difference = len(many_N) - len(few_N)
    return max(taken_s[2] - taken_s[1], 0.0) / difference if difference else taken_s[2] / max(1, len(many_N))


def _step_seconds(plan: FeaturePlan, depth: str, fits: Fits) -> float:
    """Of one image in a training step of everything behind `depth`."""
    parts, device = cut(plan.model, depth), fits.runtime.device
    plan.model.to(device=device, memory_format=fits.runtime.memory_format).eval()  # type: ignore[call-overload]
    image_BCHW = torch.zeros((MEASURED_BATCH, *plan.preprocessing.input_CHW), dtype=torch.uint8, device=device)
    with torch.no_grad(), fits.runtime.arithmetic():
        map_B = run(parts.frozen, normalize(image_BCHW, plan.preprocessing, fits.runtime.precision))
    label_B = torch.zeros(MEASURED_BATCH, dtype=torch.int64)
    if fits.task.is_number:
        label_B = torch.zeros(MEASURED_BATCH)
    if fits.task.is_several:
        label_B = torch.zeros(MEASURED_BATCH, last_layer(plan.model).weight.shape[0])
    return step_seconds(parts.live, map_B, label_B, fits) / MEASURED_BATCH


def _passes(trial: Trial, fits: Fits) -> int:
    """Images that pass in all training steps of a first look."""
    used = [len(trial.used_M(fold)) for fold in trial.judged_folds]
    return sum(num_steps(fits.config, num, tail_epochs(num)) * min(fits.config.batch_size, num) for num in used)


def _epoch_seconds(
    plan: FeaturePlan, frozen_share: float, step_s: float, image_s: float, fits: Fits, amount: Amount
) -> float:
    """Of one epoch of fine-tuning behind a frozen share of the network and its validation, over growing images on
    average."""
    frozen_s = image_s * (DECODING + (1 - DECODING) * frozen_share)
    training_s = len(amount.train_N) * (frozen_s + step_s) * _mean_area(fits.config, plan.preprocessing.input_CHW[1:])
    return training_s + PLAIN * image_s * len(amount.validation_N)


def _frozen_share(live: float, whole: float) -> float:
    """Of the multiply-adds of the network; half of them where it cannot be followed."""
    return 1 - live / whole if math.isfinite(whole) and whole else 0.5


def _mean_area(config: RunConfig, full_HW: tuple[int, int]) -> float:
    """Pixels of an image in fine-tuning, over all epochs on average, as a share of the full ones."""
    sizes = [input_size(config.input, full_HW, epoch, config.epochs) for epoch in range(config.epochs)]
    areas = [height * width for height, width in sizes]
    return sum(areas) / (len(areas) * full_HW[0] * full_HW[1]) if areas else 1.0
