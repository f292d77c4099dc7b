"""How images are grouped and dealt out, image by image with dictionaries: the reference of `saccade.data.split`."""

import hashlib
from collections import Counter, defaultdict

import numpy as np

from saccade.core.types import Record
from saccade.data.scan import ScanReport
from saccade.data.stratify import iterative_stratification


def groups_of(records: list[Record], scan: ScanReport, indices: list[int]) -> dict[bytes, list[int]]:
    """The images of each group, by the least of the names in it."""
    parent: dict[bytes, bytes] = {}

    def root(name: bytes) -> bytes:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def unite(first: bytes, other: bytes) -> None:
        first, other = root(first), root(other)
        parent[max(first, other)] = min(first, other)

    content = {index: scan.pixel_digest_N[index].tobytes() for index in indices}
    for near in scan.near_groups[0]:
        names = [content[index] for index in near.tolist() if index in content]
        for name in names[1:]:
            unite(names[0], name)
    for index in indices:
        if records[index].group is not None:
            unite(content[index], b"group:" + records[index].group.encode())
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index in indices:
        groups[root(content[index])].append(index)
    return groups


def by_rank(groups: dict[bytes, list[int]], seed: int) -> list[bytes]:
    """The names of the groups in the order of a draw."""
    return sorted(groups, key=lambda name: hashlib.blake2b(name, digest_size=8, key=str(seed).encode()).digest())


def cut(
    records: list[Record], scan: ScanReport, indices: list[int], label_of: dict[int, int], fraction: float, seed: int
) -> tuple[set[int], set[int]]:
    """(kept, cut off), of one label an image."""
    groups = groups_of(records, scan, indices)
    counts = {name: Counter(label_of[index] for index in members) for name, members in groups.items()}
    left = Counter(label_of[index] for index in indices)
    missing = {label: round(fraction * number) for label, number in left.items()}

    def change(name: bytes) -> int:
        return sum(abs(missing[label] - number) - abs(missing[label]) for label, number in counts[name].items())

    def leaves_some(name: bytes) -> bool:
        return all(left[label] > number for label, number in counts[name].items())

    taken = set()
    for name in by_rank(groups, seed):
        if change(name) < 0 and leaves_some(name):
            taken.add(name)
            for label, number in counts[name].items():
                left[label] -= number
                missing[label] -= number
    if not taken and any(missing.values()):
        third = left.total() / 3
        fitting = [name for name in by_rank(groups, seed) if counts[name].total() <= third and leaves_some(name)]
        taken = {min(fitting, key=change)} if fitting else set()
    return _sides(groups, taken)


def cut_several(
    records: list[Record], scan: ScanReport, indices: list[int], num_classes: int, fraction: float, seed: int
) -> tuple[set[int], set[int]]:
    """(kept, cut off), where an image may have several labels."""
    groups = groups_of(records, scan, indices)
    names = by_rank(groups, seed)
    count_GK = np.zeros((len(names), num_classes))
    for row, name in enumerate(names):
        for index in groups[name]:
            count_GK[row, list(records[index].all_labels)] += 1
    num_G = np.array([len(groups[name]) for name in names])
    part_G = iterative_stratification(count_GK, num_G, (1 - fraction, fraction), keeper=0)
    return _sides(groups, {name for name, part in zip(names, part_G, strict=True) if part == 1})


def _sides(groups: dict[bytes, list[int]], taken: set[bytes]) -> tuple[set[int], set[int]]:
    kept = {index for name, members in groups.items() if name not in taken for index in members}
    return kept, {index for name, members in groups.items() if name in taken for index in members}
