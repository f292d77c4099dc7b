"""Is an image unlike everything seen in training? Its distance to the training images nearest to it, by what the head
of the network sees.

Sun et al. 2022, arXiv:2204.06507: features of unit length, Euclidean distance to the k-th nearest training image;
chosen among five methods by what experiments/unlike_training.py measures (docs/results.md). The threshold is set by
validation images, which are like the training images but are none: about 1 % of such images are beyond it, falsely.
With n of them no share below 1 / (n + 1) can be told (Vovk et al. 2005, conformal prediction), which is the share where
n is below 99.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .rates import percent

SHARE = 0.01  # of images like those of training that are falsely called unlike them
NEIGHBOUR = 5  # the distance to which nearest training image counts
MIN_VALIDATION = 19  # images; fewer would falsely call more than one image in twenty unlike the others
CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """What tells whether an image is unlike those of training.

    `unit_MD` (float16) are features of M training images, of unit length; `distance_V` (float32) those of the V
    validation images from the fifth nearest of them.
    """

    unit_MD: np.ndarray
    distance_V: np.ndarray

    @property
    def num_features(self) -> int:
        """How many numbers a feature has."""
        return int(self.unit_MD.shape[1])

    @cached_property
    def threshold(self) -> float:
        """The distance beyond which an image is unlike the training images."""
        place = min(len(self.distance_V), int(np.ceil((1 - SHARE) * (len(self.distance_V) + 1))))
        return float(np.sort(self.distance_V)[place - 1])

    @property
    def share(self) -> float:
        """The share of images like those of training that are beyond the threshold all the same, at most."""
        return max(SHARE, 1 / (len(self.distance_V) + 1))

    @cached_property
    def _unit_MD(self) -> np.ndarray:
        return self.unit_MD.astype(np.float32)

    def distance(self, feature_BD: np.ndarray) -> np.ndarray:
        """float32 (B,): how far images with these features lie from the training images."""
        return nearest_distance(feature_BD, self._unit_MD)

    def is_unlike(self, feature_BD: np.ndarray) -> np.ndarray:
        """bool (B,): whether images with these features are unlike all training images."""
        return is_beyond(self.distance(feature_BD), self.threshold)


def measure_novelty(train_MD: np.ndarray, validation_VD: np.ndarray) -> Novelty | None:
    """What is kept of the features of some training images and of validation images; None where these are too few."""
    if len(validation_VD) < MIN_VALIDATION or len(train_MD) < NEIGHBOUR:
        return None
    unit_MD = unit_rows(train_MD).astype(np.float16)
    return Novelty(unit_MD=unit_MD, distance_V=nearest_distance(validation_VD, unit_MD.astype(np.float32)))


def nearest_distance(feature_BD: np.ndarray, unit_MD: np.ndarray) -> np.ndarray:
    """float32 (B,): Euclidean distance, 0 to 2, from each direction to the fifth nearest of `unit_MD` (float32)."""
    found = []
    for start in range(0, len(feature_BD), CHUNK):
        cosine_BM = unit_rows(feature_BD[start : start + CHUNK]) @ unit_MD.T
        nearest_B = np.partition(cosine_BM, -NEIGHBOUR, axis=1)[:, -NEIGHBOUR]
        found.append(np.sqrt(np.maximum(2 - 2 * nearest_B, 0)))
    return np.concatenate(found).astype(np.float32) if found else np.zeros(0, np.float32)


def is_beyond(distance_B: np.ndarray, threshold: float) -> np.ndarray:
    """bool (B,): whether images at these distances (float32) are unlike all training images; so is what is no
    number."""
    is_beyond_B: np.ndarray = ~(distance_B <= threshold)
    return is_beyond_B


def unit_rows(feature_ND: np.ndarray) -> np.ndarray:
    """float32 rows of length 1; a row of zeros stays one."""
    length_N1 = np.linalg.norm(feature_ND.astype(np.float64), axis=1, keepdims=True)
    unit_ND: np.ndarray = (feature_ND / np.maximum(length_N1, 1e-30)).astype(np.float32)
    return unit_ND


def kept_rows(label_N: np.ndarray, order_N: np.ndarray, num_kept: int) -> np.ndarray:
    """Sorted positions of `num_kept` training images, taken from the classes in turn, within each by `order_N`.

    So a small class is there with as many images as a large one, as far as it has them.
    """
    turn_N = np.empty(len(label_N), np.int64)
    for label in np.unique(label_N):
        own_M = np.flatnonzero(label_N == label)
        turn_N[own_M[np.argsort(order_N[own_M], kind="stable")]] = np.arange(len(own_M))
    chosen = np.lexsort((order_N, turn_N))[:num_kept]
    return np.sort(chosen)


def rarest_label(label_N: np.ndarray) -> np.ndarray:
    """One label for each image, int64 (N,): of several (label_NK) the one that the fewest images have, -1 of none; of
    numbers the same one for all."""
    if label_N.dtype.kind == "f" and label_N.ndim == 1:
        return np.zeros(len(label_N), np.int64)
    if label_N.ndim == 1:
        return label_N
    order_K = np.argsort(label_N.sum(axis=0), kind="stable")
    first_N: np.ndarray = np.where(label_N.any(axis=1), order_K[label_N[:, order_K].argmax(axis=1)], -1)
    return first_N


def agreed(is_unlike_MB: Sequence[np.ndarray]) -> np.ndarray | None:
    """Of several networks more than half must say so, so that no more than twice the share are falsely called unlike
    the training images; None where none of them can tell."""
    if not is_unlike_MB:
        return None
    agreed_B: np.ndarray = np.sum(is_unlike_MB, axis=0) * 2 > len(is_unlike_MB)
    return agreed_B


def untold_sentence(num_validation: int, has_features: bool) -> str:
    """Why no image is told to be unlike those of training: few validation images, no features, few training images."""
    why = f"that takes {NEIGHBOUR} training images" if has_features else "the network does not name its parts"
    if num_validation < MIN_VALIDATION:
        there = {0: "there are none", 1: "there is 1"}.get(num_validation, f"there are {num_validation}")
        why = f"that takes {MIN_VALIDATION} validation images, and {there}"
    return f"Images unlike anything seen in training are not told from others: {why}."


def unlike_sentence(num_unlike: int, num_images: int, share: float) -> str:
    """`3 of 372 images (0.8 %) are unlike anything seen in training; of images like those of training, 1.0 % would
    be.`"""
    which = f"{num_unlike:,} of {num_images:,} images" if num_images > 1 else f"{num_unlike} of 1 image"
    are = "is" if num_unlike == 1 else "are"
    return (
        f"{which} ({percent(num_unlike / num_images)} %) {are} unlike anything seen in training; of images that are "
        f"like those of training, about {percent(share)} % are falsely called so."
    )
