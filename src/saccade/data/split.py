"""Which images train, which choose the epoch, which judge: given splits win, else stratified by content.

An image's side follows from a hash of its pixels and the seed, so equal images never sit on two sides, and adding
files moves few of the others. Images that are nearly the same go to one side together.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import DataError, counted, printable
from ..core.types import SPLITS, Split
from .images.near_duplicates import exact_only
from .labels import labels_of
from .scan import MAX_COMPARED, ScanReport
from .source import DataSource
from .sources.shared.listing import number_twins
from .stratify import iterative_stratification

Groups = dict[bytes, list[int]]
Labels = Mapping[int, tuple[float, ...]]  # of the good images: their classes, or the number that is asked for
NUM_RANGES, FEWEST_IN_RANGE = 10, 10  # into which numbers are cut to be dealt out evenly


def split_source(
    source: DataSource,
    scan: ScanReport,
    seed: int,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    fold: tuple[np.ndarray, str] | None = None,
) -> Split:
    """Divide the decodable images of `source`.

    `test_fraction` is of all images, `validation_fraction` of the rest; both are kept within each class. Splits that
    the source has are taken as they are; a part that is missing is dealt out of its training images. `fold` are
    training images that are held out instead of a test part, and what they are in words; where they are none, only a
    given test part is. Raises DataError for a source that cannot be learned from: no image, or images of fewer than two
    classes.
    """
    good = [int(index) for index in scan.good_N]
    refuse_unlearnable(source, scan.good_N)
    given = {index: source.record(index).split for index in good}
    if any(given.values()) or fold is not None:
        train = [index for index in good if given[index] in (None, "train")]
        validation = [index for index in good if given[index] == "validation"]
        test = [index for index in good if given[index] == "test"]
        parts = ", ".join(name for name in SPLITS if name in given.values())
        origin = f"{parts} as given" if parts else f"stratified by content, seed {seed}"
        missing = []
        if fold is not None:
            origin = f"{fold[1]}; {origin}"
            test = sorted(fold[0].tolist()) or test
            train = sorted(set(train) - set(test))
        elif not test:
            train, test = _cut(source, scan, train, test_fraction, seed)
            missing.append("test")
        if not validation:
            train, validation = _cut(source, scan, train, validation_fraction, seed + 1)
            missing.append("validation")
        if missing and parts:
            origin += f"; {' and '.join(missing)} dealt out of train"
    else:
        rest, test = _cut(source, scan, good, test_fraction, seed)
        train, validation = _cut(source, scan, rest, validation_fraction, seed + 1)
        origin = f"stratified by content, seed {seed}"
    grouped = SPLITS if fold is None else ("train", "validation")  # folds keep groups whole by themselves
    return split_into(source, scan, (train, validation, test), origin, grouped)


def deal_out(
    source: DataSource, scan: ScanReport, index_N: np.ndarray, seed: int, fractions: tuple[float, float]
) -> tuple[list[int], list[int], list[int]]:
    """(train, validation, test) of the images `index_N`, as `split_source` deals out images without splits; `fractions`
    are those of test and validation."""
    rest, test = _cut(source, scan, index_N.tolist(), fractions[0], seed)
    train, validation = _cut(source, scan, rest, fractions[1], seed + 1)
    return train, validation, test


def split_into(
    source: DataSource,
    scan: ScanReport,
    parts: tuple[list[int], list[int], list[int]],
    origin: str,
    grouped: tuple[str, ...] = SPLITS,
) -> Split:
    """The split with these training, validation and test images, and what a person should know of it. `grouped` are the
    parts that a group should not have images in several of."""
    train, validation, test = parts
    labels = {int(index): source.record(int(index)).all_labels for index in scan.good_N}
    split = Split(
        train_N=np.array(sorted(train), dtype=np.int64),
        validation_N=np.array(sorted(validation), dtype=np.int64),
        test_N=np.array(sorted(test), dtype=np.int64),
        origin=origin,
    )
    copies = {name: find_copies(scan, split, name) for name in ("validation", "test")}
    notes = _copy_notes(copies, split) + _label_notes(source, scan, labels) + _likeness_notes(scan, split)
    notes += _name_notes(source) + _absence_notes(source, labels, split)
    notes += _group_notes(source, split, grouped)
    copied_N = np.sort(np.concatenate([copies[name].all_N for name in copies]))
    return replace(split, copied_N=copied_N, notes=tuple(notes))


def refuse_unlearnable(source: DataSource, good_N: np.ndarray) -> None:
    """Raise DataError where the decodable images `good_N` are none, of one class, or none of them to train on."""
    where = printable(source.name)
    if not len(good_N):
        raise DataError(f"{where} has no image that can be decoded.")
    records = [source.record(int(index)) for index in good_N]
    if source.task.is_number and len({record.value for record in records}) == 1:
        raise DataError(
            f"{where}: every image that can be decoded has the number {records[0].value:g}, so there is nothing to "
            f"learn.\n"
            f"List images with other numbers, or choose the column: --label-column NAME."
        )
    present = {label for record in records for label in record.all_labels}
    if source.task.is_several and not present:
        raise DataError(f"{where} has no image with a label: there is nothing to learn.\nLabel some of its images.")
    if len(present) < 2 and source.task.is_one:
        only = printable(source.classes[next(iter(present))])
        raise DataError(
            f"{where} has images of one class only, '{only}': there is nothing to tell apart.\n"
            f"Give a folder with one sub-folder of images for each of at least two classes."
        )
    if all(record.split in ("validation", "test") for record in records):
        raise DataError(f"{where} has no training images: every image is in another split.")


def _cut(
    source: DataSource, scan: ScanReport, indices: list[int], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """(kept, cut off): about `fraction` of each class goes, whole groups at a time, and at least one image of each
    class stays. A group goes where that brings the classes, taken together, nearer to what is wanted of them."""
    groups = _groups(source, scan, indices)
    if source.task.is_several:
        return _cut_several(source, groups, fraction, seed)
    label_of = strata(source, indices)
    counts = {name: Counter(label_of[index] for index in members) for name, members in groups.items()}
    left: Counter[int] = Counter()
    for count in counts.values():
        left.update(count)
    missing = {label: round(fraction * number) for label, number in left.items()}
    names = sorted(groups, key=lambda name: _rank(name, seed))
    taken = set()
    for name in names:
        if _change(counts[name], missing) < 0 and all(left[label] > number for label, number in counts[name].items()):
            taken.add(name)
            left.subtract(counts[name])
            for label, number in counts[name].items():
                missing[label] -= number
    if not taken and any(missing.values()):
        taken = _smallest_overshoot(names, counts, missing, left)
    kept = [index for name in names if name not in taken for index in groups[name]]
    return kept, [index for name in names if name in taken for index in groups[name]]


def strata(source: DataSource, indices: Sequence[int]) -> dict[int, int]:
    """Of every image its class; where numbers are asked for, in which of up to ten equally full ranges it lies."""
    if not source.task.is_number:
        return {index: source.record(index).label for index in indices}
    value_N = labels_of(source, indices)
    num = max(1, min(NUM_RANGES, len(value_N) // FEWEST_IN_RANGE))
    edges = np.quantile(value_N, np.linspace(0, 1, num + 1)[1:-1])
    return dict(zip(indices, np.searchsorted(edges, value_N, side="left").tolist(), strict=True))


def _labels(source: DataSource, indices: Sequence[int]) -> Labels:
    if source.task.is_number:
        return {index: (record.value,) for index in indices if (record := source.record(index)).value is not None}
    return {index: source.record(index).all_labels for index in indices}


def _cut_several(source: DataSource, groups: Groups, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """`_cut` where images may have several labels: by iterative stratification, ties by the hash of the content."""
    names = sorted(groups, key=lambda name: _rank(name, seed))
    count_GK = np.zeros((len(names), len(source.classes)))
    for number, name in enumerate(names):
        count_GK[number] = labels_of(source, groups[name]).sum(axis=0)
    num_G = np.array([len(groups[name]) for name in names], np.int64)
    kept, cut = 0, 1
    part_G = iterative_stratification(count_GK, num_G, (1 - fraction, fraction), keeper=kept)
    sides = [
        [index for name, part in zip(names, part_G, strict=True) if part == side for index in groups[name]]
        for side in (kept, cut)
    ]
    return sides[kept], sides[cut]


def _change(count: Counter[int], missing: dict[int, int]) -> int:
    """How much farther from what is wanted the classes are with a group than without it, in images."""
    return sum(abs(missing[label] - number) - abs(missing[label]) for label, number in count.items())


def _smallest_overshoot(
    names: list[bytes], counts: dict[bytes, Counter[int]], missing: dict[int, int], left: Counter[int]
) -> set[bytes]:
    """Where every group is too large, the one that overshoots least, of those with at most a third of the images."""
    third = left.total() / 3
    fitting = [
        name
        for name in names
        if counts[name].total() <= third and all(left[label] > number for label, number in counts[name].items())
    ]
    return {min(fitting, key=lambda name: _change(counts[name], missing))} if fitting else set()


def group_numbers(source: DataSource, scan: ScanReport, index_N: np.ndarray) -> np.ndarray:
    """int64 (N,): images of one number stay together: equal or nearly so, or of one group of the source."""
    groups = _groups(source, scan, index_N.tolist())
    number_of = {index: number for number, members in enumerate(groups.values()) for index in members}
    return np.array([number_of[index] for index in index_N.tolist()], dtype=np.int64)


def _groups(source: DataSource, scan: ScanReport, indices: list[int]) -> Groups:
    """Images that must stay together: equal or nearly equal, or of one group of the source, or all of it in a chain."""
    parent: dict[bytes, bytes] = {}

    def root(name: bytes) -> bytes:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
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
        group = source.record(index).group
        if group is not None:
            unite(content[index], b"group:" + group.encode("utf-8", "surrogateescape"))
    groups: Groups = defaultdict(list)
    for index in indices:
        groups[root(content[index])].append(index)
    return groups


def _rank(name: bytes, seed: int) -> bytes:
    return hashlib.blake2b(name, digest_size=8, key=str(seed).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Images of a part that training saw: with the very same pixels, or nearly the same; sorted indices."""

    equal_N: np.ndarray
    near_N: np.ndarray

    @property
    def all_N(self) -> np.ndarray:
        return np.concatenate([self.equal_N, self.near_N])


def find_copies(scan: ScanReport, split: Split, name: str) -> Copies:
    """Images of the validation part that are in train too, or of the test part that are in train or validation."""
    index_M = split.indices(name)
    earlier_N = split.train_N if name == "validation" else np.concatenate([split.train_N, split.validation_N])
    known = {row.tobytes() for row in scan.pixel_digest_N[earlier_N]}
    is_equal_M = np.array([row.tobytes() in known for row in scan.pixel_digest_N[index_M]], dtype=bool)
    is_near_M = np.isin(index_M, _near_to(scan, earlier_N, index_M)) & ~is_equal_M
    return Copies(equal_N=index_M[is_equal_M], near_N=index_M[is_near_M])


def _near_to(scan: ScanReport, earlier_N: np.ndarray, index_M: np.ndarray) -> np.ndarray:
    """Those of the images `index_M` that are nearly the same as some of `earlier_N`: what a record of these says, too.

    Whatever they are like is in one group with them, so no other image is looked at.
    """
    grouped_N = np.concatenate([np.zeros(0, np.int64), *scan.alike_groups])
    known_N, asked_M = np.intersect1d(grouped_N, earlier_N), np.intersect1d(grouped_N, index_M)
    if scan.likeness is None or not len(known_N) or not len(asked_M):
        return np.zeros(0, np.int64)
    return asked_M[scan.likeness.near_to(scan.likeness.thumbnail_NP[known_N], asked_M)]


def _copy_notes(copies: dict[str, Copies], split: Split) -> list[str]:
    notes = []
    for name, found in copies.items():
        where = "train" if name == "validation" else "train or validation"
        is_judged, are_all = name == split.judged_part, len(found.all_N) == len(split.indices(name))
        for how, index_N in (("also", found.equal_N), ("nearly the same as images", found.near_N)):
            if len(index_N):
                one = len(index_N) == 1
                what = "left out of the verdict" if is_judged else "not used"
                then = f"{'it is' if one else 'they are'} {what}"
                if are_all:
                    then = f"there are no others to {'judge' if is_judged else 'choose the epoch'} by"
                verb = "image is" if one else "images are"
                notes.append(f"{len(index_N):,} {name} {verb} {how} in {where}: {then}")
    return notes


def _label_notes(source: DataSource, scan: ScanReport, labels: Labels) -> list[str]:
    """Equal images that are called two things: one of the labels is wrong."""
    members: dict[bytes, list[int]] = defaultdict(list)
    for index in labels:
        members[scan.pixel_digest_N[index].tobytes()].append(index)
    odd = [same for same in members.values() if len({labels[index] for index in same}) > 1]
    if not odd:
        return []
    first = odd[0][0]
    other = next(index for index in odd[0] if labels[index] != labels[first])
    shown = " and ".join(
        f"'{printable(source.record(index).key)}' ({_class_names(source, labels[index])})" for index in (first, other)
    )
    what = "1 image is" if len(odd) == 1 else f"{len(odd):,} images are each"
    if source.task.is_several:
        what = "1 image has" if len(odd) == 1 else f"{len(odd):,} images have each"
        return [f"{what} two lists of labels, so some are wrong: {shown}"]
    if source.task.is_number:
        what = "1 image has" if len(odd) == 1 else f"{len(odd):,} images have each"
        return [f"{what} more than one number, so some are wrong, or all are uncertain: {shown}"]
    return [f"{what} in more than one class, so labels are wrong: {shown}"]


def _class_names(source: DataSource, labels: tuple[float, ...]) -> str:
    if source.task.is_number:
        return f"{labels[0]:g}"
    return ", ".join(printable(source.classes[int(label)]) for label in labels) or "none"


def _likeness_notes(scan: ScanReport, split: Split) -> list[str]:
    if scan.likeness is None:
        return [f"near duplicates are not looked for among more than {MAX_COMPARED:,} images, only equal ones"]
    held_out_N = np.concatenate([split.validation_N, split.test_N])
    notes = exact_only(0, len(scan.good_N), scan.size_N2[held_out_N])
    num_alike = scan.near_groups[1]
    if num_alike:
        notes.append(
            f"{num_alike:,} images look much alike, too many to be copies, and may be on two sides: if they are frames "
            f"of a scene or views of one thing, keep them together by a group in a CSV file"
        )
    return notes


def _name_notes(source: DataSource) -> list[str]:
    """Class names that are one number written in two ways: probably one class."""
    pairs = [f"{printable(one)} and {printable(other)}" for one, other in number_twins(source.classes)]
    more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    return [f"classes are one number written in two ways: {', '.join(pairs[:3])}{more}"] if pairs else []


def _absence_notes(source: DataSource, labels: Labels, split: Split) -> list[str]:
    notes: list[str] = []
    if source.task.is_number:
        return notes
    for name in SPLITS:
        present = {label for index in split.indices(name) for label in labels[int(index)]}
        absent = [label for label in range(len(source.classes)) if label not in present]
        if present and absent:
            counts = Counter(label for found in labels.values() for label in found)
            shown = [f"{printable(source.classes[label])} ({counted(counts[label], 'image')})" for label in absent[:5]]
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            notes.append(f"no {name} image of: {', '.join(shown)}{more}")
    return notes


def _group_notes(source: DataSource, split: Split, wanted: tuple[str, ...]) -> list[str]:
    """A word where groups are the reason that nothing could be held out for one of the `wanted` parts."""
    sides = [name for name in wanted if not len(split.indices(name))]
    groups = {source.record(int(index)).group for index in split.train_N} - {None}
    if not sides or not groups:
        return []
    what = "one group is" if len(groups) == 1 else f"{len(groups):,} groups are"
    return [f"no {' and no '.join(sides)} image: {what} too few to hold one out whole"]
