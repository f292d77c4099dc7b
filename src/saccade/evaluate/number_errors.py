"""Which numbers that images are labelled with are wrong: those farther off than a regression's own errors explain.

What a regression that has not seen an image says of it is off by an error with heavy tails, Student's t, within the
range of all labels, but for a share of labels that are wrong and may be any number of that range:

    density(label) = (1 - share) t(label - said; scale, freedom) / T + share / range

T is the probability that t gives the range, so that a regression that says nothing is a t without end, which is as even
as the wrong labels.

The t distribution as a model of errors with outliers: Lange, Little and Taylor 1989, Journal of the American
Statistical Association 84, 881-896; contamination by a uniform one: Banfield and Raftery 1993, Biometrics 49, 803-821.
Scale, freedom and share are the most likely ones. A t of few degrees of freedom has large errors of its own, so labels
are suspected only where the share is needed: by the likelihood ratio against a share of 0, half of a chi-squared of one
degree on that bound (Self and Liang 1987), as in `label_errors.py`, but at 1 %: a regression that knows nothing of
lognormal numbers comes below 5 % in 7 of 40 sets of 300, and below 1 % in 1 of 40.
"""

import math

import numpy as np

from .label_errors import MORE_LIKELY, LabelErrors, SuspectedLabels, likeliest_share

FREEDOMS = (*np.geomspace(0.8, 40, 20).tolist(), math.inf)  # a coarse grid would need a share to make up for it
LEVEL = 0.01
TOLERANCE = {"xatol": 1e-3}
LEAST_SCALE, LARGEST_SCALE = 1e-3, 1e2  # of the residuals' middle half


def suspect_numbers(said_N: np.ndarray, value_N: np.ndarray) -> SuspectedLabels:
    """The labels `value_N` that are probably wrong, by what was said of images that were left out, `said_N`; the
    likeliest wrong first. All are float64."""
    errors = estimate_number_errors(said_N, value_N)
    order_N = np.argsort(-errors.wrong_N, kind="stable")
    order_wrong_N = errors.wrong_N[order_N]
    is_likely_N = order_wrong_N > MORE_LIKELY
    return SuspectedLabels(
        order_N=order_N,
        order_wrong_N=order_wrong_N,
        is_suspect_N=is_likely_N & errors.are_shown,
        num_named=int(is_likely_N.sum()),
        num_images=len(value_N),
        num_classes=1,
        errors=errors,
        are_numbers=True,
    )


def estimate_number_errors(said_N: np.ndarray, value_N: np.ndarray) -> LabelErrors:
    """The most likely share of wrong numbers, and the probability of each that it is wrong. `scale` is that of the
    errors."""
    from scipy.optimize import minimize_scalar  # here: it takes a while, and most verbs need it not

    if not len(value_N):
        return _nothing(0)
    said_N = np.clip(said_N, value_N.min(), value_N.max())
    said_N = said_N + np.median(value_N - said_N)
    width, unit = float(np.ptp(value_N)), float(np.median(np.abs(value_N - said_N)))
    if unit <= 1e-12 * width:
        return _nothing(len(value_N))
    other_N = np.full(len(value_N), 1 / width)

    def loss(log_scale: float, freedom: float, may_be_wrong: bool) -> float:
        own_N = _density(value_N, said_N, math.exp(log_scale) * unit, freedom)
        share = likeliest_share(own_N, other_N) if may_be_wrong else 0.0
        return -float(np.log(np.maximum((1 - share) * own_N + share * other_N, 1e-300)).sum())

    bounds = (math.log(LEAST_SCALE), math.log(LARGEST_SCALE))
    best: list[tuple[float, float, float]] = []  # of a share of 0, then of any: loss, freedom, scale
    for may_be_wrong in (False, True):
        fits = [
            (
                freedom,
                minimize_scalar(loss, bounds=bounds, args=(freedom, may_be_wrong), method="bounded", options=TOLERANCE),
            )
            for freedom in FREEDOMS
        ]
        freedom, fit = min(fits, key=lambda each: float(each[1].fun))
        best.append((float(fit.fun), freedom, math.exp(float(fit.x)) * unit))
    loss_mixed, freedom, scale = best[1]
    own_N = _density(value_N, said_N, scale, freedom)
    share = likeliest_share(own_N, other_N)
    evidence = 2 * (best[0][0] - loss_mixed)
    wrong_N = share * other_N / np.maximum((1 - share) * own_N + share * other_N, 1e-300)
    return LabelErrors(
        share=share,
        scale=scale,
        p_value=0.5 * math.erfc(math.sqrt(evidence / 2)) if evidence > 0 else 1.0,
        wrong_N=wrong_N,
        level=LEVEL,
    )


def _nothing(num_images: int) -> LabelErrors:
    return LabelErrors(share=0.0, scale=1.0, p_value=1.0, wrong_N=np.zeros(num_images), level=LEVEL)


def _density(value_N: np.ndarray, said_N: np.ndarray, scale: float, freedom: float) -> np.ndarray:
    """float64 (N,): of Student's t around what is said, within the range of the values; of the normal distribution
    where `freedom` is infinite."""
    from scipy.special import ndtr, stdtr

    square_N = ((value_N - said_N) / scale) ** 2
    low_N, high_N = (value_N.min() - said_N) / scale, (value_N.max() - said_N) / scale
    if math.isinf(freedom):
        density_N = np.exp(-square_N / 2) / (scale * math.sqrt(2 * math.pi))
        inside_N = ndtr(high_N) - ndtr(low_N)
    else:
        log_top = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
        density_N = np.exp(log_top - (freedom + 1) / 2 * np.log1p(square_N / freedom)) / scale
        inside_N = stdtr(freedom, high_N) - stdtr(freedom, low_N)
    within_N: np.ndarray = density_N / np.maximum(inside_N, 1e-12)
    return within_N
