"""How good a network is at saying a number: mean absolute error with its interval, against always saying the median.

Intervals are the percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13). R2 is the coefficient of
determination, 1 less the squared errors over those of always saying the mean of the judged images.

The width that holds nine of ten truths is split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018,
JASA 113, 1094-1111, algorithm 2): the ceil((n + 1) 0.9)-th smallest absolute error of n validation images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from ..core.task import Task
from .scores import as_logits

MOST_RESAMPLES, FEWEST_RESAMPLES = 2000, 100
RESAMPLED_VALUES = 200_000_000
CHUNK_VALUES = 1 << 21
COVERED = 0.9  # of the truths, by the interval around an answer


@dataclass(frozen=True, kw_only=True)
class NumberMetrics:
    """How good answers to N images are that are numbers, in the unit of `classes[0]`.

    `mae` is the mean absolute error, `_low` and `_high` its 95 % interval; `baseline_mae` that of always saying the
    median of the judged images, `median`. `rmse` is the root of the mean squared error, `bias` the mean of answer less
    truth, `loss` the mean Huber loss in standard deviations. `near` is the share of images whose answer is within half
    a standard deviation of the training numbers. `half_width` (0: not known): answers come with an interval of so much
    on both sides, and `covered` is the share of truths in it. Values are NaN where undefined.
    """

    num_samples: int
    classes: tuple[str, ...]
    mae: float
    mae_low: float
    mae_high: float
    baseline_mae: float
    median: float
    least: float
    most: float
    rmse: float
    r2: float
    r2_low: float
    r2_high: float
    bias: float
    median_error: float
    near: float
    loss: float
    half_width: float
    covered: float
    num_resamples: int

    @property
    def name(self) -> str:
        """What is measured."""
        return self.classes[0]

    @property
    def top1(self) -> float:
        """The share of near answers, which stands where accuracy does."""
        return self.near


def compute_number_metrics(
    logits_N1: np.ndarray, value_N: np.ndarray, classes: Sequence[str], task: Task, seed: int = 0
) -> NumberMetrics:
    """Judge logits_N1, as the network gives them, against the numbers value_N.

    Raises TrainingError for logits that are not finite, ModelError for logits and DataError for numbers that do not
    fit.
    """
    said_N = task.probabilities_of(as_logits(logits_N1, 1))[:, 0]
    value_N = np.asarray(value_N, np.float64)
    if value_N.shape != said_N.shape or not np.isfinite(value_N).all():
        raise DataError(
            f"{len(said_N)} images were judged; each has one finite number, got an array of the shape {value_N.shape}."
        )
    num = len(value_N)
    error_N = said_N - value_N
    absolute_N = np.abs(error_N)
    median = float(np.median(value_N)) if num else math.nan
    spread_N = np.abs(value_N - median)
    drawn = _bootstrap(error_N, value_N, seed)
    scaled_N = absolute_N / task.deviation
    huber_N = np.where(scaled_N < 1, scaled_N**2 / 2, scaled_N - 0.5)
    is_known = bool(task.half_width)
    return NumberMetrics(
        num_samples=num,
        classes=tuple(classes),
        mae=_mean(absolute_N),
        mae_low=drawn[0],
        mae_high=drawn[1],
        baseline_mae=_mean(spread_N),
        median=median,
        least=float(value_N.min()) if num else math.nan,
        most=float(value_N.max()) if num else math.nan,
        rmse=math.sqrt(_mean(error_N**2)) if num else math.nan,
        r2=_r2(error_N, value_N),
        r2_low=drawn[2],
        r2_high=drawn[3],
        bias=_mean(error_N),
        median_error=float(np.median(absolute_N)) if num else math.nan,
        near=_mean(task.right(value_N, said_N[:, None])),
        loss=_mean(huber_N),
        half_width=task.half_width,
        covered=_mean(absolute_N <= task.half_width) if is_known else math.nan,
        num_resamples=int(drawn[4]),
    )


def conformal_half_width(absolute_error_N: np.ndarray, covered: float = COVERED) -> float:
    """How far to both sides of an answer an interval reaches that holds a share `covered` of new truths, at least, on
    average over draws of the N images; 0 where N is too small to say."""
    num = len(absolute_error_N)
    rank = math.ceil((num + 1) * covered)
    if rank > num:
        return 0.0
    return float(np.partition(absolute_error_N, rank - 1)[rank - 1])


def _r2(error_N: np.ndarray, value_N: np.ndarray) -> float:
    if len(value_N) < 2:
        return math.nan
    total = float(((value_N - value_N.mean()) ** 2).sum())
    return 1 - float((error_N**2).sum()) / total if total > 0 else math.nan


def _bootstrap(error_N: np.ndarray, value_N: np.ndarray, seed: int) -> tuple[float, float, float, float, int]:
    """(low and high of the mean absolute error, low and high of R2, how many draws)."""
    num = len(value_N)
    if num < 2:
        return math.nan, math.nan, math.nan, math.nan, 0
    total = int(np.clip(RESAMPLED_VALUES // num, FEWEST_RESAMPLES, MOST_RESAMPLES))
    generator = np.random.default_rng(seed)
    centred_N = value_N - value_N.mean()  # sums of squares are then as exact as they can be
    mae, r2 = [], []
    rows = max(1, CHUNK_VALUES // num)
    for start in range(0, total, rows):
        place_RN = generator.integers(0, num, (min(rows, total - start), num))
        drawn_RN, value_RN = error_N[place_RN], centred_N[place_RN]
        mae.append(np.abs(drawn_RN).mean(axis=1))
        total_R = ((value_RN - value_RN.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        square_R = (drawn_RN**2).sum(axis=1)
        share_R = np.divide(square_R, total_R, out=np.full(len(total_R), np.nan), where=total_R > 0)
        r2.append(1 - share_R)
    low, high = np.quantile(np.concatenate(mae), (0.025, 0.975))
    r2_N = np.concatenate(r2)
    r2_N = r2_N[~np.isnan(r2_N)]
    r2_low, r2_high = np.quantile(r2_N, (0.025, 0.975)) if len(r2_N) else (math.nan, math.nan)
    return float(low), float(high), float(r2_low), float(r2_high), total


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
