"""Folds: images are left out in turn, so that each is judged once, by a model that has not seen it.

The rule is that of the split: images that are equal or nearly so, and those of one group of the source, are in one
fold; every fold has its share of each class, or of each range of the numbers (`stratify.py`). A given test part takes
no part, and a given validation part chooses the epoch in every fold.
"""

import hashlib

import numpy as np

from ..core.errors import DataError, printable
from .labels import labels_of
from .scan import ScanReport
from .source import DataSource
from .split import group_numbers, ranges
from .stratify import even_parts

MAX_FOLDS = 20


def deal_folds(source: DataSource, scan: ScanReport, num_folds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(index_N, fold_N): the images that take part, and the fold of each, counted from 1; both int64.

    They depend on the content of the images and the seed, not on their order. Raises DataError where there are fewer
    groups than folds, or, of one label an image, a class has fewer images than folds or lies in one group.
    """
    index_N = np.array([i for i in scan.good_N if source.record(int(i)).split in (None, "train")], dtype=np.int64)
    group_N, label_N = group_numbers(source, scan, index_N), labels_of(source, index_N)
    _refuse_few_groups(source, group_N, num_folds)
    if source.task.is_number:
        label_N = _one_hot(ranges(label_N))
    elif not source.task.is_several:
        _refuse_small_classes(source, label_N, group_N, num_folds)
        label_N = _one_hot(label_N)
    key = str(seed).encode()
    ranks = [hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in scan.pixel_digest_N[index_N]]
    order_N = np.array(sorted(range(len(index_N)), key=ranks.__getitem__), dtype=np.int64)
    return index_N, 1 + even_parts(label_N, group_N, num_folds, order_N)


def _one_hot(label_N: np.ndarray) -> np.ndarray:
    one_hot_NK: np.ndarray = (label_N[:, None] == np.arange(label_N.max() + 1)).astype(np.uint8)
    return one_hot_NK


def _refuse_few_groups(source: DataSource, group_N: np.ndarray, num_folds: int) -> None:
    num_groups = len(np.unique(group_N))
    if num_groups >= num_folds:
        return
    where = printable(source.name[:200])
    if num_groups == len(group_N):
        raise DataError(
            f"{where} has {num_groups:,} training images, fewer than the {num_folds} folds.\n"
            f"Add images, or take fewer folds."
        )
    groups = "one group" if num_groups == 1 else f"{num_groups:,} groups"
    raise DataError(
        f"{where} has {groups} of training images that must stay together (equal ones, near duplicates, "
        f"groups of the source), fewer than the {num_folds} folds.\nAdd images from elsewhere, or take fewer folds."
    )


def _refuse_small_classes(source: DataSource, label_N: np.ndarray, group_N: np.ndarray, num_folds: int) -> None:
    for label in np.unique(label_N).tolist():
        own_M, name = group_N[label_N == label], printable(source.classes[label])
        if len(own_M) < num_folds:
            raise DataError(
                f"'{name}' has {len(own_M)} training image{'s' * (len(own_M) != 1)}, fewer than the {num_folds} folds, "
                f"so some folds could not judge it.\n"
                f"Take fewer folds, add images of it, or leave the class out."
            )
        if len(np.unique(own_M)) < 2:
            raise DataError(
                f"All {len(own_M):,} training images of '{name}' must stay together (equal ones, near duplicates, or "
                f"one group of the source): the model that judges them would not know the class.\n"
                f"Add images of it from elsewhere, or leave the class out."
            )
