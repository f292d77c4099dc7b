"""What a transfer costs on this machine: one batch of each kind of work is measured, the rest is counted.

Everything that a person waits for is in it: what was done before (`start_s`), the features, comparing depths, the last
layer's fit, fine-tuning, judging, and the report.
"""

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
from .probe import folds_of_layer, one_thread
from .time_plan import Forecast

FEW_IMAGES, MANY_IMAGES = 16, 96  # that pass in the two measurements
MEASURED_BATCH = 16
DECODING = 0.2  # share of reading and decoding in the time of an image's features
LOOKS = 1.4  # that a depth takes on average, where the evidence may be looked at several times
PLAIN = 1.5  # a pass through the network as it is, beside one through the fused frozen part
TWICE = 2  # features are begun: of the training and of the validation images
EVALUATIONS = 160  # of the loss of all folds, in a fit of the last layer; one of everyone counts as less
EIGENVECTORS = 9  # multiply-adds for them, times the third power of their number
MEASURED_ROWS = 1024
PICTURES_S = 1.0  # of judged images, for the report
REPORT_S, EVIDENCE = 2.5, 200  # charts and tables; maps of evidence, in images whose features take as long


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many images there are to work on: of the source, `train_N` and `validation_N`, in `num_views`; at the end
    `num_judged` pass through the whole network, and of `num_again` features are computed once more, where none are
    kept. `num_processes` share the work."""

    train_N: np.ndarray
    validation_N: np.ndarray
    num_judged: int
    num_again: int = 0
    num_views: int = 1
    num_processes: int = 1


@dataclass(frozen=True, kw_only=True)
class Looks:
    """A first look at the evidence, and whether others may follow."""

    first: Trial
    others_follow: bool


def forecast(
    plan: FeaturePlan,
    depths: Sequence[str],
    looks: Looks | None,
    fits: Fits,
    amount: Amount,
    work: FeatureWork,
    started_s: float,
) -> Forecast:
    """Measure and count. `depths` are those that may be fine-tuned from, the last of the network first; `looks`
    are None where the depth was given; `started_s` (`time.monotonic`) is when the command began. Raises what reading an
    image or `work.check` raises."""
    last = Tap(depth="all", pooled=True)
    image_s, begin_s = _feature_seconds(plan, last, amount.train_N, work)
    num_missing = count_missing(plan, [last], amount.train_N, work)
    num_features = num_missing + count_missing(plan, [last], amount.validation_N, work)
    num_features += (amount.num_views - 1) * len(amount.train_N)
    step_s = {depth: _step_seconds(plan, depth, fits) for depth in depths}
    look_s = {}
    if looks is not None:
        num_passes = _passes(looks.first, fits) * _rounds_share(len(looks.first.judged_folds), amount.num_processes)
        look_s = {depth: seconds * num_passes for depth, seconds in step_s.items()}
    behind = plan.multiply_adds_behind
    frozen_share = {depth: _frozen_share(behind[depth], behind[NONE]) for depth in depths}
    layer = last_layer(plan.model)
    rows = amount.num_views * len(amount.train_N)
    return Forecast(
        layer_s=_layer_seconds(rows, layer.weight.shape[1], layer.weight.shape[0], folds_of_layer(len(amount.train_N))),
        report_s=REPORT_S + EVIDENCE * image_s,
        features_s=image_s * num_features / amount.num_processes + (TWICE * begin_s if num_features else 0.0),
        look_s=look_s,
        epoch_s={
            depth: _epoch_seconds(plan, frozen_share[depth], seconds, image_s, fits, amount) / amount.num_processes
            for depth, seconds in step_s.items()
        },
        judging_s=PICTURES_S + image_s * (PLAIN * amount.num_judged + amount.num_again) / amount.num_processes,
        num_looks=LOOKS if looks is not None and looks.others_follow and amount.num_processes == 1 else 1.0,
        start_s=time.monotonic() - started_s,  # all of the above included
    )


def _rounds_share(num_folds: int, num_processes: int) -> float:
    """Of the fits of all folds, those that the process with the most of them has."""
    return -(-num_folds // num_processes) / num_folds


def _feature_seconds(plan: FeaturePlan, tap: Tap, index_N: np.ndarray, work: FeatureWork) -> tuple[float, float]:
    """(of one image, of beginning with any): what many take longer than few; few pass before, to warm up."""
    own = FeatureWork(cache=None, check=work.check)
    few_N, many_N = index_N[:FEW_IMAGES], index_N[:MANY_IMAGES]
    taken_s = []
    for some_N in (few_N, few_N, many_N):
        started_s = time.perf_counter()
        collect_features(plan, [tap], some_N, own)
        taken_s.append(time.perf_counter() - started_s)
    difference = len(many_N) - len(few_N)
    image_s = max(taken_s[2] - taken_s[1], 0.0) / difference if difference else taken_s[2] / max(1, len(many_N))
    return image_s, max(taken_s[1] - len(few_N) * image_s, 0.0)


def _layer_seconds(num_images: int, num_features: int, num_classes: int, num_folds: int) -> float:
    """Of a last layer's fit: an evaluation of its loss is measured on as many images and features as are quick."""
    num_rows, num_wide = min(num_images, MEASURED_ROWS), min(num_features, MEASURED_ROWS)
    num_outputs = num_folds * num_classes
    value_NP, weight_XP = torch.zeros(num_rows, num_wide), torch.zeros(num_outputs, num_wide)
    with torch.no_grad(), one_thread():
        for _ in range(2):
            started_s = time.perf_counter()
            error_NX = (value_NP @ weight_XP.T).view(num_rows, num_folds, num_classes).softmax(-1).flatten(1)
            error_NX.T @ value_NP
            taken_s = time.perf_counter() - started_s
    multiply_add_s = taken_s / (2 * num_rows * num_wide * num_outputs)
    num_directions = min(num_images, num_features)
    evaluations = EVALUATIONS * 2 * num_images * num_directions * num_outputs
    directions = EIGENVECTORS / 2 * num_directions**3 + 2 * num_images * num_features * num_directions
    return multiply_add_s * (evaluations + directions)


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
