"""Which pictures are nearly the same: fingerprints few bits apart, confirmed by their thumbnails."""

import numpy as np

MAX_BITS = 6  # of 64 that may differ between two copies of a picture
BANDS = MAX_BITS + 1  # two fingerprints that differ in at most so many bits agree in one band at least
MIN_CORRELATION = 0.995  # of the thumbnails of two copies
BLOCK = 2048


def near_groups(fingerprint_N: np.ndarray, thumbnail_NP: np.ndarray) -> list[list[int]]:
    """Groups of two and more indices whose pictures are nearly the same, in the order of their first index.

    `fingerprint_N` uint64, `thumbnail_NP` uint8. A group is what is linked by pairs, so its ends may differ by more.
    The search compares only fingerprints that agree in a band of bits: 100,000 different pictures take seconds.
    """
    parent = np.arange(len(fingerprint_N))
    centred_NP = _centred(thumbnail_NP)
    for band in range(BANDS):
        key_N = _band(fingerprint_N, band)
        order = np.argsort(key_N, kind="stable")
        ends = np.flatnonzero(np.diff(key_N[order])) + 1
        for bucket in np.split(order, ends):
            if len(bucket) > 1:
                _link(bucket, fingerprint_N, centred_NP, parent)
    groups: dict[int, list[int]] = {}
    for index in range(len(parent)):
        groups.setdefault(_root(parent, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _band(fingerprint_N: np.ndarray, band: int) -> np.ndarray:
    first, last = 64 * band // BANDS, 64 * (band + 1) // BANDS
    return (fingerprint_N >> np.uint64(first)) & np.uint64((1 << (last - first)) - 1)


def _link(bucket: np.ndarray, fingerprint_N: np.ndarray, centred_NP: np.ndarray, parent: np.ndarray) -> None:
    """Join all pairs of the bucket that are near; by blocks, so that a crowded bucket needs little memory."""
    for start in range(0, len(bucket), BLOCK):
        left = bucket[start : start + BLOCK]
        for other in range(start, len(bucket), BLOCK):
            right = bucket[other : other + BLOCK]
            roots = np.concatenate([_roots(left, parent), _roots(right, parent)])
            if (roots == roots[0]).all():
                continue  # one group already: frames of one scene meet again in every band
            is_near = np.bitwise_count(fingerprint_N[left][:, None] ^ fingerprint_N[right][None, :]) <= MAX_BITS
            is_near &= left[:, None] != right[None, :]
            rows, columns = np.flatnonzero(is_near.any(axis=1)), np.flatnonzero(is_near.any(axis=0))
            if not len(rows):
                continue
            correlation = centred_NP[left[rows]] @ centred_NP[right[columns]].T
            is_near = is_near[np.ix_(rows, columns)] & (correlation >= MIN_CORRELATION)
            for row in np.flatnonzero(is_near.any(axis=1)):
                _join(np.append(right[columns[is_near[row]]], left[rows[row]]), parent)


def _join(members: np.ndarray, parent: np.ndarray) -> None:
    """Make one group of all that `members` belong to; its root is the first index."""
    roots = _roots(members, parent)
    parent[members] = parent[roots] = roots.min()


def _roots(members: np.ndarray, parent: np.ndarray) -> np.ndarray:
    roots = parent[members]
    while (parent[roots] != roots).any():
        roots = parent[roots]
    return roots


def _centred(thumbnail_NP: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1: their products are correlations."""
    centred_NP = thumbnail_NP.astype(np.float32)
    centred_NP -= centred_NP.mean(axis=1, keepdims=True)
    length_N1 = np.linalg.norm(centred_NP, axis=1, keepdims=True)
    return centred_NP / np.maximum(length_N1, 1e-6)


def _root(parent: np.ndarray, index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return int(index)
