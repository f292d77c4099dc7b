"""What a classifier says of each image: its answer, its confidence, its loss. Everything else is counted from these.

All sums run in float64, over a few thousand images at a time, so that a thousand classes fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import DataError, ModelError, TrainingError
from ..core.task import ONE_LABEL, Task

if TYPE_CHECKING:
    import torch

CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """Per image: `said_N` the class with the largest logit (the first one of equals), `confidence_N` its probability,
    `true_probability_N` that of the label, `loss_N` its negative natural logarithm (float64), and `rank_N` how many
    classes stand before the label (0: the answer is right)."""

    said_N: np.ndarray
    confidence_N: np.ndarray
    true_probability_N: np.ndarray
    loss_N: np.ndarray
    rank_N: np.ndarray


def as_logits(logits_NK: np.ndarray | torch.Tensor, num_classes: int) -> np.ndarray:
    """Logits as a NumPy array. Raises ModelError for another number of classes, TrainingError for NaN or infinity."""
    array_NK = _to_numpy(logits_NK)
    if array_NK.ndim != 2 or array_NK.shape[1] != num_classes:
        raise ModelError(
            f"The network gives values of shape {array_NK.shape}, but there are {num_classes} classes.\n"
            f"Its head does not belong to these classes; use the run's own checkpoint."
        )
    bad_N = ~np.isfinite(array_NK).all(axis=1)
    if bad_N.any():
        raise TrainingError(
            f"The network's outputs are not finite for {int(bad_N.sum()):,} of {len(bad_N):,} images, "
            f"first for image {int(np.flatnonzero(bad_N)[0])}; they cannot be judged.\n"
            f"Its weights are damaged or training diverged: train again with a lower learning rate."
        )
    return array_NK


def as_labels(label_N: np.ndarray | torch.Tensor, num_images: int, num_classes: int) -> np.ndarray:
    """Labels as int64. Raises DataError where their number or a value does not fit."""
    array_N = _to_numpy(label_N)
    if array_N.shape != (num_images,):
        raise DataError(f"{num_images} images were judged, but labels have shape {array_N.shape}.")
    if num_images and not (array_N.min() >= 0 and array_N.max() < num_classes):
        raise DataError(
            f"Labels must lie in 0 to {num_classes - 1}, got {array_N.min()} to {array_N.max()}.\n"
            f"The class list of the images is not the one of the run; match them by name first."
        )
    return array_N.astype(np.int64)


def score_images(logits_NK: np.ndarray, label_N: np.ndarray, task: Task = ONE_LABEL) -> ImageScores:
    """Answer, confidence, loss and rank of every image, from checked logits and labels. Of grades the answer is the
    median, its confidence its own probability, and rank 0 that it is right."""
    num_images, num_classes = logits_NK.shape
    rows = max(1, CHUNK_VALUES // max(num_classes, 1))
    parts = [_score_chunk(logits_NK[i : i + rows], label_N[i : i + rows]) for i in range(0, num_images, rows)]
    if not parts:
        parts = [(np.zeros(0, np.int64), *(np.zeros(0) for _ in range(3)), np.zeros(0, np.int64))]
    said_N, confidence_N, true_probability_N, loss_N, rank_N = (np.concatenate(part) for part in zip(*parts))
    if task.is_grade:
        probability_NK = probabilities_from_logits(logits_NK)
        said_N = task.answer_of(probability_NK)
        confidence_N = probability_NK[np.arange(num_images), said_N]
        rank_N = np.where(said_N == label_N, 0, np.maximum(rank_N, 1))
    return ImageScores(
        said_N=said_N,
        confidence_N=confidence_N,
        true_probability_N=true_probability_N,
        loss_N=loss_N,
        rank_N=rank_N,
    )


def probabilities_from_logits(logits_NK: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits / temperature in float64; every row sums to one."""
    scaled_NK = np.asarray(logits_NK, np.float64) / temperature
    scaled_NK -= scaled_NK.max(axis=1, keepdims=True, initial=-np.inf)
    np.exp(scaled_NK, out=scaled_NK)
    scaled_NK /= scaled_NK.sum(axis=1, keepdims=True)
    return scaled_NK


def _score_chunk(logits_NK: np.ndarray, label_N: np.ndarray) -> tuple[np.ndarray, ...]:
    said_N = logits_NK.argmax(axis=1)
    row_N = np.arange(len(label_N))
    true_N1 = logits_NK[row_N, label_N][:, None]
    earlier_NK = np.arange(logits_NK.shape[1])[None, :] < label_N[:, None]
    rank_N = ((logits_NK > true_N1) | ((logits_NK == true_N1) & earlier_NK)).sum(axis=1)
    largest_N = logits_NK[row_N, said_N].astype(np.float64)
    log_sum_N = np.log(np.exp(logits_NK - largest_N[:, None]).sum(axis=1))  # of exp(logit - largest)
    loss_N = log_sum_N + largest_N - true_N1[:, 0]
    return said_N, np.exp(-log_sum_N), np.exp(-loss_N), loss_N, rank_N


def _to_numpy(values: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
