"""The labels of a source's images as an array, one row an image: class numbers of one label, 0 and 1 of several, or the
numbers that are asked for."""

from collections.abc import Iterable

import numpy as np

from .source import DataSource


def labels_of(source: DataSource, index_N: np.ndarray | Iterable[int]) -> np.ndarray:
    """label_N int64 of the images `index_N`; label_NK float32, 0 and 1, where an image may have several labels; value_N
    float64 where a number is asked for."""
    indices = [int(index) for index in index_N]
    if source.task.is_number:
        return np.fromiter((source.record(index).value for index in indices), np.float64, len(indices))
    if not source.task.is_several:
        return np.fromiter((source.record(index).label for index in indices), np.int64, len(indices))
    label_NK = np.zeros((len(indices), len(source.classes)), np.float32)
    for row, index in enumerate(indices):
        label_NK[row, list(source.record(index).all_labels)] = 1
    return label_NK
