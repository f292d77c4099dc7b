"""Which unlabelled images to label next: those that would change the last layer most, each in another way.

BADGE: Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient lower bounds, arXiv:1906.03671,
algorithm 1. An image stands for the gradient of its loss at the last layer, were its answer the right one: the
difference of the probabilities from that answer, times the feature. Long where the network is unsure, and of another
direction where the image is another one. k-means++ (Arthur and Vassilvitskii 2007) draws images far from those drawn
before. The gradients have K * D numbers an image; distances between them are computed from their two factors.
"""

import numpy as np


def choose_badge(feature_ND: np.ndarray, probability_NK: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """int64 places of at most `count` images, in the order in which they are best labelled.

    The first has the longest gradient. Fewer where all others have gradients equal to one that was drawn.
    """
    draw = np.random.default_rng(seed)
    feature_ND = feature_ND.astype(np.float32, copy=False)
    error_NK = probability_NK.astype(np.float32)
    error_NK[np.arange(len(error_NK)), probability_NK.argmax(axis=1)] -= 1
    square_N = _squares(error_NK) * _squares(feature_ND)
    chosen: list[int] = []
    distance_N = np.full(len(feature_ND), np.inf)
    while len(chosen) < min(count, len(feature_ND)):
        if chosen:
            total = distance_N.sum()
            if not total > 0:
                break
            place = int(np.searchsorted(np.cumsum(distance_N), draw.random() * total, side="right"))
            place = min(place, len(distance_N) - 1)
            while not distance_N[place] > 0:  # rounding may lead to the place behind the last that can be drawn
                place -= 1
        else:
            place = int(square_N.argmax())
        chosen.append(place)
        product_N = (error_NK @ error_NK[place]).astype(np.float64) * (feature_ND @ feature_ND[place])
        from_it_N = square_N + square_N[place] - 2 * product_N
        from_it_N[from_it_N <= 1e-6 * (square_N + square_N[place])] = 0  # rounding of equal gradients
        distance_N = np.minimum(distance_N, from_it_N)
        distance_N[chosen] = 0
    return np.array(chosen, dtype=np.int64)


def _squares(value_NX: np.ndarray) -> np.ndarray:
    squares_N: np.ndarray = np.einsum("nx,nx->n", value_NX, value_NX, dtype=np.float64)
    return squares_N
