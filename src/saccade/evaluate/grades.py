"""Ordered grades: which one is said, and how far from the truth the answers are.

What is said is the median of the probabilities, the least grade that at least half of them lie at or below: of all
answers it has the smallest expected absolute error (Berger 1985, Statistical Decision Theory, section 2.4.2).

Quadratic weighted kappa: Cohen 1968, Psychological Bulletin 70, 213-220; disagreement counts by its square. Intervals
are the percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13).
"""

import math
from typing import Any

import numpy as np

from ..core.types import GradeFigures
from .rates import number, percent
from .wilson import wilson_interval

NUM_RESAMPLES, CHUNK_VALUES = 1000, 1 << 21


def grade_figures(said_N: np.ndarray, label_N: np.ndarray, num_classes: int, seed: int = 0) -> GradeFigures:
    """How far the answers `said_N` are from the grades `label_N`, both int64 (N,), 0 the least."""
    num = len(label_N)
    if not num:
        nothing = math.nan
        return GradeFigures(
            mae=nothing, mae_low=nothing, mae_high=nothing, baseline_mae=nothing, median=0, within_one=nothing,
            kappa=nothing, kappa_low=nothing, kappa_high=nothing,
        )  # fmt: skip
    error_N = np.abs(said_N - label_N)
    median = int(np.sort(label_N)[(num - 1) // 2])
    has_fault = bool(error_N.any())
    mae_2, kappa_2 = (_intervals if has_fault else _without_a_fault)(said_N, label_N, num_classes, seed)
    return GradeFigures(
        mae=float(error_N.mean()),
        mae_low=mae_2[0],
        mae_high=mae_2[1],
        baseline_mae=float(np.abs(label_N - median).mean()),
        median=median,
        within_one=float((error_N <= 1).mean()),
        kappa=quadratic_kappa(_matrix(said_N, label_N, num_classes)),
        kappa_low=kappa_2[0],
        kappa_high=kappa_2[1],
    )


def quadratic_kappa(count_KK: np.ndarray) -> float:
    """1 less the squared disagreement over that of independent answers; NaN where neither truth nor answers vary."""
    count_KK = count_KK.astype(np.float64)
    grade_K = np.arange(len(count_KK))
    weight_KK = (grade_K[:, None] - grade_K) ** 2
    chance = (weight_KK * np.outer(count_KK.sum(axis=1), count_KK.sum(axis=0))).sum() / max(count_KK.sum(), 1)
    return float(1 - (weight_KK * count_KK).sum() / chance) if chance > 0 else math.nan


def grades_sentence(figures: GradeFigures, classes: tuple[str, ...]) -> str:
    """Mean absolute error in grades with its baseline, answers within one grade, and kappa."""
    kappa = "-" if math.isnan(figures.kappa) else f"{figures.kappa:.3f}"
    if not math.isnan(figures.kappa_low):
        kappa += f" ({figures.kappa_low:.3f} to {figures.kappa_high:.3f})"
    return (
        f"Off by {figures.mae:.3f} grades on average (95 % interval {figures.mae_low:.3f} to {figures.mae_high:.3f}); "
        f"always saying '{classes[figures.median]}', the median: {figures.baseline_mae:.3f}. "
        f"Within one grade: {percent(figures.within_one)} %; quadratic kappa {kappa}."
    )


def grades_json(figures: GradeFigures, classes: tuple[str, ...]) -> dict[str, Any]:
    """The figures as JSON values, null where undefined. The keys are a contract."""
    names = ("mae", "mae_low", "mae_high", "baseline_mae", "within_one")
    kappa = {f"quadratic_{name}": number(getattr(figures, name)) for name in ("kappa", "kappa_low", "kappa_high")}
    return {
        "task": "grade",
        **{name: number(getattr(figures, name)) for name in names},
        "median_grade": classes[figures.median],
        **kappa,
    }


def _matrix(said_N: np.ndarray, label_N: np.ndarray, num_classes: int) -> np.ndarray:
    count_X = np.bincount(label_N * num_classes + said_N, minlength=num_classes**2)
    return count_X.reshape(num_classes, num_classes)


def _intervals(
    said_N: np.ndarray, label_N: np.ndarray, num_classes: int, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The 95 % intervals of the mean absolute error and of kappa."""
    generator = np.random.default_rng(seed)
    cell_N, num = label_N * num_classes + said_N, len(label_N)
    share_X = np.bincount(cell_N, minlength=num_classes**2) / num
    count_RX = generator.multinomial(num, share_X, NUM_RESAMPLES)  # drawing images is drawing cells
    grade_K = np.arange(num_classes)
    distance_X = np.abs(grade_K[:, None] - grade_K).reshape(-1)
    mae_low, mae_high = np.quantile(count_RX @ distance_X / num, (0.025, 0.975))
    kappas = np.array([quadratic_kappa(count_X.reshape(num_classes, num_classes)) for count_X in count_RX])
    kappas = kappas[~np.isnan(kappas)]
    low, high = np.quantile(kappas, (0.025, 0.975)) if len(kappas) else (math.nan, math.nan)
    return (float(mae_low), float(mae_high)), (float(low), float(high))


def _without_a_fault(
    said_N: np.ndarray, label_N: np.ndarray, num_classes: int, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The same where every answer is right, which all draws repeat: as many others may be off by one grade as Wilson's
    interval of the share of wrong answers allows."""
    most = wilson_interval(0, len(label_N))[1]
    share_K = np.bincount(label_N, minlength=num_classes) / len(label_N)
    grade_K = np.arange(num_classes)
    chance = float(((grade_K[:, None] - grade_K) ** 2 * np.outer(share_K, share_K)).sum())
    return (0.0, most), (1 - most / chance, 1.0) if chance else (math.nan, math.nan)
