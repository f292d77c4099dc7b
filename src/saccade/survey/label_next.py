"""Which unlabelled images to label next: those that would change the last layer most, each in another way.

BADGE: Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient lower bounds, arXiv:1906.03671,
algorithm 1. An image stands for the gradient of its loss at the last layer, were its answer the right one: the
difference of the probabilities from that answer, times the feature. Long where the network is unsure, and of another
direction where the image is another one. k-means++ (Arthur and Vassilvitskii 2007) draws images far from those drawn
before. The gradients have K * D numbers an image; distances between them are computed from their two factors.

Of several labels the loss is a sum of one term for each class, and the answer of each class is the more probable one of
yes and no, whatever its threshold: so no other labels have a shorter gradient, as in the paper's proposition 1.

A number is said without a doubt of its own, so that every gradient is the feature times one constant. Images are drawn
by their features alone then, of unit length, far from each other and from the training images that the run keeps: as in
core-sets (Sener and Savarese 2018, arXiv:1708.00489), with k-means++ in the place of the farthest image.
"""

import numpy as np

from ..core.task import ONE_LABEL, Task
from ..evaluate.novelty import unit_rows

CHUNK = 1024  # images whose distances to the known ones are computed at once


def choose_badge(
    feature_ND: np.ndarray, probability_NK: np.ndarray, count: int, seed: int = 0, task: Task = ONE_LABEL
) -> np.ndarray:
    """int64 places of at most `count` images, in the order in which they are best labelled.

    The first has the longest gradient. Fewer where all others have gradients equal to one that was drawn. `task` is
    one of classes: one label, grades, several labels.
    """
    draw = np.random.default_rng(seed)
    feature_ND = feature_ND.astype(np.float32, copy=False)
    error_NK = _errors(probability_NK, task)
    square_N = _squares(error_NK) * _squares(feature_ND)
    chosen: list[int] = []
    distance_N = np.full(len(feature_ND), np.inf)
    while len(chosen) < min(count, len(feature_ND)):
        place = _drawn(distance_N, draw) if chosen else int(square_N.argmax())
        if place is None:
            break
        chosen.append(place)
        product_N = (error_NK @ error_NK[place]).astype(np.float64) * (feature_ND @ feature_ND[place])
        from_it_N = square_N + square_N[place] - 2 * product_N
        from_it_N[from_it_N <= 1e-6 * (square_N + square_N[place])] = 0  # rounding of equal gradients
        distance_N = np.minimum(distance_N, from_it_N)
        distance_N[chosen] = 0
    return np.array(chosen, dtype=np.int64)


def choose_spread(feature_ND: np.ndarray, known_MD: np.ndarray | None, count: int, seed: int = 0) -> np.ndarray:
    """int64 places of at most `count` images whose features point elsewhere than those of the M known images, and than
    each other's: each is drawn with a probability that grows with the squared distance to the nearest of them.

    Without known images (None) the first is drawn evenly. Fewer where all others are equal to one of them.
    """
    draw = np.random.default_rng(seed)
    unit_ND = unit_rows(feature_ND)
    distance_N = np.full(len(unit_ND), np.inf)
    if known_MD is not None:
        known_MD = known_MD.astype(np.float32)
        for start in range(0, len(unit_ND), CHUNK):
            part = slice(start, start + CHUNK)
            distance_N[part] = _apart((unit_ND[part] @ known_MD.T).max(axis=1))
    chosen: list[int] = []
    while len(chosen) < min(count, len(unit_ND)):
        is_first = known_MD is None and not chosen
        place = int(draw.integers(len(unit_ND))) if is_first else _drawn(distance_N, draw)
        if place is None:
            break
        chosen.append(place)
        distance_N = np.minimum(distance_N, _apart(unit_ND @ unit_ND[place]))
        distance_N[chosen] = 0
    return np.array(chosen, dtype=np.int64)


def _errors(probability_NK: np.ndarray, task: Task) -> np.ndarray:
    """float32 (N, K): how far the probabilities are from the answer that is most probable."""
    error_NK: np.ndarray = probability_NK.astype(np.float32)
    if task.is_several:
        return error_NK - (error_NK >= 0.5)
    error_NK[np.arange(len(error_NK)), probability_NK.argmax(axis=1)] -= 1
    return error_NK


def _drawn(distance_N: np.ndarray, draw: np.random.Generator) -> int | None:
    """A place, drawn with a probability as large as its distance; None where all are 0."""
    total = distance_N.sum()
    if not total > 0:
        return None
    place = int(np.searchsorted(np.cumsum(distance_N), draw.random() * total, side="right"))
    place = min(place, len(distance_N) - 1)
    while not distance_N[place] > 0:  # rounding may lead to the place behind the last that can be drawn
        place -= 1
    return place


def _apart(cosine_N: np.ndarray) -> np.ndarray:
    """float64 (N,): squared distance of unit vectors; 0 where rounding alone tells them apart."""
    apart_N = 2 - 2 * cosine_N.astype(np.float64)
    apart_N[apart_N <= 4e-6] = 0
    return apart_N


def _squares(value_NX: np.ndarray) -> np.ndarray:
    squares_N: np.ndarray = np.einsum("nx,nx->n", value_NX, value_NX, dtype=np.float64)
    return squares_N
