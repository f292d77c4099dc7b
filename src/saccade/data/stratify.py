"""Dealing out images that have several labels, so that every part gets its share of each: iterative stratification.

Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data", ECML PKDD, algorithm 1: the label
with the fewest images left is dealt out first, each of its images to the part that misses most of that label; ties go
to the part that misses most images.

Deviations: groups of images that must stay together are dealt out whole; remaining ties follow the order given, not
chance; images without any label are dealt out last, as if they shared one; a part may be told to keep an image of every
label (`keeper`), where the paper has none for it.
"""

from collections.abc import Sequence

import numpy as np

KEEP_NOBODY = -1


def iterative_stratification(
    count_GK: np.ndarray, num_G: np.ndarray, shares: Sequence[float], keeper: int = KEEP_NOBODY
) -> np.ndarray:
    """The part of each of G groups, int64: `count_GK` images of each label in it, `num_G` images in all.

    `shares` (sum 1) is what each part wants of every label and of all images. No label is without an image in the part
    `keeper` as long as any group that has it can go there.
    """
    count_GK = np.concatenate([count_GK, ((count_GK.sum(axis=1) == 0) * num_G)[:, None]], axis=1).astype(np.float64)
    share_P = np.asarray(shares, np.float64)
    wanted_PK = share_P[:, None] * count_GK.sum(axis=0)
    wanted_P = share_P * num_G.sum()
    kept_K = np.zeros(count_GK.shape[1], bool)  # labels that the keeper has
    part_G = np.full(len(count_GK), -1, np.int64)
    left_K = count_GK.sum(axis=0)
    while (part_G < 0).any():
        label = int(np.where(left_K > 0, left_K, np.inf).argmin())
        for group in np.flatnonzero((part_G < 0) & (count_GK[:, label] > 0)).tolist():
            own_K = count_GK[group] > 0
            part = _part_missing_most(wanted_PK[:, label], wanted_P)
            if keeper != KEEP_NOBODY and part != keeper and (own_K & ~kept_K & (left_K <= count_GK[group])).any():
                part = keeper  # nobody else could bring this label
            part_G[group] = part
            kept_K |= own_K & (part == keeper)
            wanted_PK[part] -= count_GK[group]
            wanted_P[part] -= num_G[group]
            left_K -= count_GK[group]
    return part_G


def _part_missing_most(wanted_P: np.ndarray, all_wanted_P: np.ndarray) -> int:
    most_P = np.flatnonzero(wanted_P >= wanted_P.max() - 1e-9)
    return int(most_P[all_wanted_P[most_P].argmax()])


def stratified_parts(
    label_NK: np.ndarray, group_N: np.ndarray, shares: Sequence[float], order_N: np.ndarray
) -> np.ndarray:
    """The part of each of N images, int64: images of one number in `group_N` share one. Ties follow `order_N`."""
    _, first_G, number_N = np.unique(group_N, return_index=True, return_inverse=True)
    number_N = number_N.reshape(-1)
    count_GK = np.zeros((len(first_G), label_NK.shape[1]))
    np.add.at(count_GK, number_N, label_NK)
    place_N = np.empty(len(order_N), np.int64)
    place_N[order_N] = np.arange(len(order_N))
    place_G = np.full(len(first_G), len(order_N))
    np.minimum.at(place_G, number_N, place_N)
    order_G = np.argsort(place_G, kind="stable")
    part_G = np.empty(len(first_G), np.int64)
    part_G[order_G] = iterative_stratification(count_GK[order_G], np.bincount(number_N)[order_G], shares)
    parts_N: np.ndarray = part_G[number_N]
    return parts_N


def even_parts(label_NK: np.ndarray, group_N: np.ndarray, num_parts: int, order_N: np.ndarray) -> np.ndarray:
    """The part of each of N images, int64, for equal parts: images of one number in `group_N` share one.

    Groups are dealt out one after the other, those with most images of single classes first, each to the part where it
    leaves the classes, taken together, most even: there the counts of its classes, over their totals, are lowest. Ties
    go to the part with fewest images, then follow `order_N`. (As scikit-learn's StratifiedGroupKFold, but for the
    squares of counts in place of their deviation, which allow several labels.)
    """
    _, first_G, number_N = np.unique(group_N[order_N], return_index=True, return_inverse=True)
    rank_G = np.argsort(np.argsort(first_G))  # the groups as they come in the order
    number_N = rank_G[number_N.reshape(-1)]
    count_GK = np.zeros((len(first_G), label_NK.shape[1]))
    np.add.at(count_GK, number_N, label_NK[order_N])
    num_G = np.bincount(number_N)
    total_K = np.maximum(count_GK.sum(axis=0), 1)
    count_PK, num_P = np.zeros((num_parts, label_NK.shape[1])), np.zeros(num_parts, np.int64)
    part_G = np.empty(len(first_G), np.int64)
    for group in np.argsort(-count_GK.std(axis=1), kind="stable").tolist():
        cost_P = count_PK @ (count_GK[group] / total_K**2)
        best_P = np.flatnonzero(cost_P <= cost_P.min() + 1e-12)
        part = int(best_P[num_P[best_P].argmin()])
        part_G[group] = part
        count_PK[part] += count_GK[group]
        num_P[part] += num_G[group]
    parts_N = np.empty(len(order_N), np.int64)
    parts_N[order_N] = part_G[number_N]
    return parts_N
