"""What a source knows of all its images, as arrays: a question about a million of them is one operation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import SPLITS, Record

NONE = -1
Labels = tuple[float, ...]  # the classes of an image, or the number that is asked for


@dataclass(frozen=True, kw_only=True)
class RecordTable:
    """The records of N images without their keys.

    `code_N` is the place in `labels` of an image's labels; equal labels have one code. `split_N` int8 is the place of
    the given split in SPLITS, or -1. `group_N` is the place of the group in `groups`, or -1; None where no image has
    one.
    """

    code_N: np.ndarray
    labels: tuple[Labels, ...]
    split_N: np.ndarray
    group_N: np.ndarray | None = None
    groups: tuple[str, ...] = ()

    def label_pairs(self, index_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `index_M`, label), int64 (P,) each: a pair for each label of each of the images."""
        num_V = np.array([len(row) for row in self.labels], np.int64)
        flat_L = np.array([int(label) for row in self.labels for label in row], np.int64)
        start_V = np.cumsum(num_V) - num_V
        code_M = self.code_N[index_M]
        num_M = num_V[code_M]
        place_P = np.repeat(np.arange(len(index_M)), num_M)
        within_P = np.arange(len(place_P)) - np.repeat(np.cumsum(num_M) - num_M, num_M)
        return place_P, flat_L[start_V[code_M][place_P] + within_P]


def one_label_each(num_classes: int) -> tuple[tuple[int, ...], ...]:
    """The `labels` of a table where the code of an image is its class."""
    return tuple((label,) for label in range(num_classes))


def table_of_labels(
    code_N: np.ndarray,
    labels: Sequence[Labels],
    split_N: np.ndarray,
    group_N: np.ndarray | None = None,
    groups: Sequence[str] = (),
) -> RecordTable:
    """The table of a source that keeps arrays; `labels` may have the same ones more than once."""
    number_of: dict[Labels, int] = {}
    new_V = [number_of.setdefault(row, len(number_of)) for row in labels]
    if len(number_of) < len(new_V):
        code_N = np.array(new_V, np.int32)[code_N]
    if group_N is not None and not (group_N != NONE).any():
        group_N, groups = None, ()
    return RecordTable(code_N=code_N, labels=tuple(number_of), split_N=split_N, group_N=group_N, groups=tuple(groups))


def table_of_records(records: Iterable[Record], num: int) -> RecordTable:
    """The table of `num` records that are given one after the other."""
    code_N, group_N = np.zeros(num, np.int32), np.full(num, NONE, np.int32)
    split_N = np.full(num, NONE, np.int8)
    number_of: dict[Labels, int] = {}
    group_number_of: dict[str, int] = {}
    split_number = {name: number for number, name in enumerate(SPLITS)}
    for index, record in enumerate(records):
        labels = record.all_labels if record.value is None else (record.value,)
        code_N[index] = number_of.setdefault(labels, len(number_of))
        if record.split is not None:
            split_N[index] = split_number[record.split]
        if record.group is not None:
            group_N[index] = group_number_of.setdefault(record.group, len(group_number_of))
    return RecordTable(
        code_N=code_N,
        labels=tuple(number_of),
        split_N=split_N,
        group_N=group_N if group_number_of else None,
        groups=tuple(group_number_of),
    )
