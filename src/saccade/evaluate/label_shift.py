"""How often each class occurs among unlabelled images, from what a classifier says of them.

Lipton et al. 2018, Detecting and correcting for label shift with black box predictors, arXiv:1802.03916, section 4
(BBSE): if only the shares of the classes have changed, what is said of the new images is the confusion matrix of
labelled ones times the new shares. That is solved by least squares, negative shares become 0, and the interval is the
percentile bootstrap over both sets of images, and at least as wide as that of the answers alone.

Of several labels each class is a question of its own, yes or no, and is estimated by itself: if only the share of its
images has changed, whatever became of the others.
"""

from dataclasses import dataclass

import numpy as np

from .metrics import wilson_interval

MAX_CLASSES = 300
NUM_RESAMPLES = 400
MAX_CONDITION = 30.0  # of the confusion matrix: errors of the shares are up to so many times those of the counts


@dataclass(frozen=True, kw_only=True)
class LabelShift:
    """Estimated shares of the classes among new images, with 95 % intervals; or why there are none, in `reason`."""

    share_K: np.ndarray
    low_K: np.ndarray
    high_K: np.ndarray
    reason: str = ""


def estimate_label_shift(
    said_N: np.ndarray, label_N: np.ndarray, said_M: np.ndarray, num_classes: int, seed: int = 0
) -> LabelShift:
    """Shares of the classes among M new images of which `said_M` is said, by N labelled ones of which `said_N` is."""
    nothing = np.full(num_classes, np.nan)
    if num_classes > MAX_CLASSES:
        return _unknown(nothing, f"they are estimated for up to {MAX_CLASSES} classes")
    count_KK = np.bincount(said_N * num_classes + label_N, minlength=num_classes**2).reshape(num_classes, num_classes)
    if (count_KK.sum(axis=0) == 0).any():
        return _unknown(nothing, "a class has no held-out image")
    condition = np.linalg.cond(count_KK / count_KK.sum(axis=0))
    if not condition <= MAX_CONDITION:
        return _unknown(nothing, "the network confuses some classes too often")
    new_K = np.bincount(said_M, minlength=num_classes)
    draw = np.random.default_rng(seed)
    drawn_BKK = draw.multinomial(len(label_N), count_KK.reshape(-1) / len(label_N), NUM_RESAMPLES)
    drawn_BK = draw.multinomial(len(said_M), new_K / len(said_M), NUM_RESAMPLES)
    shares_BK = np.array(
        [_shares(drawn.reshape(num_classes, num_classes), new) for drawn, new in zip(drawn_BKK, drawn_BK, strict=True)]
    )
    low_K, high_K = np.percentile(shares_BK, [2.5, 97.5], axis=0)
    share_K = _shares(count_KK, new_K)
    below_K, above_K = _least_widths(new_K)
    return LabelShift(
        share_K=share_K,
        low_K=np.maximum(np.minimum(low_K, share_K - below_K), 0).round(12),  # no 1e-18 of a sum that is 0
        high_K=np.minimum(np.maximum(high_K, share_K + above_K), 1),
    )


def estimate_prevalence_shift(
    said_NK: np.ndarray, label_NK: np.ndarray, said_MK: np.ndarray, seed: int = 0
) -> LabelShift:
    """The share of M new images that have each class, where an image may have several; all are 0 and 1, or bool.

    NaN for a class that is not estimated; the reason is "" where any is.
    """
    num_classes = said_NK.shape[1]
    nothing = np.full(num_classes, np.nan)
    if num_classes > MAX_CLASSES:
        return _unknown(nothing, f"they are estimated for up to {MAX_CLASSES} classes")
    own_NK, true_NK, new_MK = (rows.astype(np.int64) for rows in (said_NK, label_NK, said_MK))
    found = [estimate_label_shift(own_NK[:, k], true_NK[:, k], new_MK[:, k], 2, seed) for k in range(num_classes)]
    is_known = any(not each.reason for each in found)
    return LabelShift(
        share_K=np.array([each.share_K[1] for each in found]),
        low_K=np.array([each.low_K[1] for each in found]),
        high_K=np.array([each.high_K[1] for each in found]),
        reason="" if is_known else "each class has too few held-out images, or is confused too often",
    )


def _least_widths(new_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the Wilson interval of each answer's share goes below and above it. No true share is better known than
    the share of answers; but a class that is never answered is never drawn, so that its bootstrap has no width."""
    total = int(new_K.sum())
    ends_K2 = np.array([wilson_interval(int(count), total) for count in new_K])
    return new_K / total - ends_K2[:, 0], ends_K2[:, 1] - new_K / total


def _shares(count_KK: np.ndarray, new_K: np.ndarray) -> np.ndarray:
    """The shares that would give the counts `new_K`, by the confusion counts (said, label)."""
    confusion_KK = count_KK / np.maximum(count_KK.sum(axis=0), 1)
    share_K = np.maximum(np.linalg.lstsq(confusion_KK, new_K / new_K.sum(), rcond=None)[0], 0)
    total = share_K.sum()
    uniform_K: np.ndarray = np.full(len(share_K), 1 / len(share_K))
    return share_K / total if total > 0 else uniform_K


def _unknown(nothing_K: np.ndarray, reason: str) -> LabelShift:
    return LabelShift(share_K=nothing_K, low_K=nothing_K, high_K=nothing_K, reason=reason)
