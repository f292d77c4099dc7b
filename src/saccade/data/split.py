"""Which images train, which choose the epoch, which judge: given splits win, else stratified by content.

An image's side follows from a hash of its pixels and the seed, so equal images never sit on two sides, and adding
files moves few of the others. Images that are nearly the same go to one side together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ..core.errors import DataError, counted, printable
from ..core.types import SPLITS, Split
from .images.near_duplicates import exact_only
from .records import NONE, RecordTable
from .same_images import group_images
from .scan import MAX_COMPARED, ScanReport
from .source import DataSource
from .sources.shared.listing import number_twins
from .stratify import iterative_stratification

CHUNK = 65_536  # groups that are lists of Python at once
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
    table, good_N = source.table(), scan.good_N
    _refuse_unlearnable(source, table, good_N)
    part_M = table.split_N[good_N]
    if (part_M != NONE).any() or fold is not None:
        train_N, validation_N, test_N = (good_N[part_M == number] for number in range(len(SPLITS)))
        train_N = good_N[(part_M == NONE) | (part_M == SPLITS.index("train"))]
        parts = ", ".join(name for number, name in enumerate(SPLITS) if (part_M == number).any())
        origin = f"{parts} as given" if parts else f"stratified by content, seed {seed}"
        missing = []
        if fold is not None:
            origin = f"{fold[1]}; {origin}"
            test_N = np.sort(fold[0]) if len(fold[0]) else test_N
            train_N = np.setdiff1d(train_N, test_N)
        elif not len(test_N):
            train_N, test_N = _cut(source, table, scan, train_N, test_fraction, seed)
            missing.append("test")
        if not len(validation_N):
            train_N, validation_N = _cut(source, table, scan, train_N, validation_fraction, seed + 1)
            missing.append("validation")
        if missing and parts:
            origin += f"; {' and '.join(missing)} dealt out of train"
    else:
        rest_N, test_N = _cut(source, table, scan, good_N, test_fraction, seed)
        train_N, validation_N = _cut(source, table, scan, rest_N, validation_fraction, seed + 1)
        origin = f"stratified by content, seed {seed}"
    grouped = SPLITS if fold is None else ("train", "validation")  # folds keep groups whole by themselves
    return _noted_split(source, table, scan, (train_N, validation_N, test_N), origin, grouped)


def deal_out(
    source: DataSource, scan: ScanReport, index_N: np.ndarray, seed: int, fractions: tuple[float, float]
) -> tuple[list[int], list[int], list[int]]:
    """(train, validation, test) of the images `index_N`, as `split_source` deals out images without splits; `fractions`
    are those of test and validation."""
    table = source.table()
    rest_N, test_N = _cut(source, table, scan, index_N, fractions[0], seed)
    train_N, validation_N = _cut(source, table, scan, rest_N, fractions[1], seed + 1)
    return train_N.tolist(), validation_N.tolist(), test_N.tolist()


def split_into(
    source: DataSource,
    scan: ScanReport,
    parts: tuple[list[int], list[int], list[int]],
    origin: str,
    grouped: tuple[str, ...] = SPLITS,
) -> Split:
    """The split with these training, validation and test images, and what a person should know of it. `grouped` are the
    parts that a group should not have images in several of."""
    train_N, validation_N, test_N = (np.array(part, dtype=np.int64) for part in parts)
    return _noted_split(source, source.table(), scan, (train_N, validation_N, test_N), origin, grouped)


def _noted_split(
    source: DataSource,
    table: RecordTable,
    scan: ScanReport,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    origin: str,
    grouped: tuple[str, ...],
) -> Split:
    train_N, validation_N, test_N = (np.sort(part_N) for part_N in parts)
    split = Split(train_N=train_N, validation_N=validation_N, test_N=test_N, origin=origin)
    copies = {name: find_copies(scan, split, name) for name in ("validation", "test")}
    notes = _copy_notes(copies, split) + _label_notes(source, scan, table) + _likeness_notes(scan, split)
    notes += _name_notes(source) + _absence_notes(source, scan, table, split)
    notes += _group_notes(table, split, grouped)
    copied_N = np.sort(np.concatenate([copies[name].all_N for name in copies]))
    return replace(split, copied_N=copied_N, notes=tuple(notes))


def refuse_unlearnable(source: DataSource, good_N: np.ndarray) -> None:
    """Raise DataError where the decodable images `good_N` are none, of one class, or none of them to train on."""
    _refuse_unlearnable(source, source.table(), good_N)


def _refuse_unlearnable(source: DataSource, table: RecordTable, good_N: np.ndarray) -> None:
    where = printable(source.name)
    if not len(good_N):
        raise DataError(f"{where} has no image that can be decoded.")
    present = [table.labels[code] for code in np.unique(table.code_N[good_N]).tolist()]
    if source.task.is_number and len(present) == 1:
        raise DataError(
            f"{where}: every image that can be decoded has the number {present[0][0]:g}, so there is nothing to "
            f"learn.\n"
            f"List images with other numbers, or choose the column: --label-column NAME."
        )
    classes = {int(label) for labels in present for label in labels}
    if source.task.is_several and not classes:
        raise DataError(f"{where} has no image with a label: there is nothing to learn.\nLabel some of its images.")
    if len(classes) < 2 and source.task.is_one:
        only = printable(source.classes[next(iter(classes))])
        raise DataError(
            f"{where} has images of one class only, '{only}': there is nothing to tell apart.\n"
            f"Give a folder with one sub-folder of images for each of at least two classes."
        )
    if (table.split_N[good_N] > SPLITS.index("train")).all():
        raise DataError(f"{where} has no training images: every image is in another split.")
    if source.task.is_one:
        _refuse_strange_parts(source, table, good_N)


def _refuse_strange_parts(source: DataSource, table: RecordTable, good_N: np.ndarray) -> None:
    """Raise DataError for a given part without an image of any class that is trained on: no answer could be right."""
    part_M = table.split_N[good_N]
    is_train_M = (part_M == NONE) | (part_M == SPLITS.index("train"))
    trained = {int(table.labels[code][0]) for code in np.unique(table.code_N[good_N[is_train_M]]).tolist()}
    for number, name in enumerate(SPLITS):
        is_here_M = (part_M == number) & ~is_train_M
        here = {int(table.labels[code][0]) for code in np.unique(table.code_N[good_N[is_here_M]]).tolist()}
        if here and not here & trained:
            shown, known = (_some_names(source, labels) for labels in (here, trained))
            raise DataError(
                f"{printable(source.name)}: the {name} part has images of {shown} only, and training none of these, "
                f"but of {known}: no answer could be right.\n"
                f"Give a class one name in all parts; or, if nobody knows what they show, take them out of the set."
            )


def _some_names(source: DataSource, labels: set[int]) -> str:
    shown = ", ".join(printable(source.classes[label][:40]) for label in sorted(labels)[:4])
    return shown + (f" and {len(labels) - 4:,} more" if len(labels) > 4 else "")


def _cut(
    source: DataSource, table: RecordTable, scan: ScanReport, index_M: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(kept, cut off): about `fraction` of each class goes, whole groups at a time, and at least one image of each
    class stays. A group goes where that brings the classes, taken together, nearer to what is wanted of them."""
    groups = group_images(table, scan, index_M)
    order_G, number_M = np.argsort(groups.ranks(seed), kind="stable"), groups.number_M
    del groups  # the names of all groups are as large as the rest
    if source.task.is_several:
        place_P, label_P = table.label_pairs(index_M)
        is_cut_G = _cut_several(number_M[place_P], label_P, number_M, len(source.classes), order_G, fraction)
    else:
        is_cut_G = _cut_strata(number_M, strata(source, table, index_M), order_G, fraction)
    is_cut_M = is_cut_G[number_M]
    return index_M[~is_cut_M], index_M[is_cut_M]


def strata(source: DataSource, table: RecordTable, index_M: np.ndarray) -> np.ndarray:
    """int (M,): of every image its class; where numbers are asked for, in which of up to ten equally full ranges it
    lies."""
    first_V = np.array([labels[0] if labels else NONE for labels in table.labels])
    value_M: np.ndarray = first_V[table.code_N[index_M]]
    return ranges(value_M) if source.task.is_number else value_M.astype(np.int32)


def ranges(value_M: np.ndarray) -> np.ndarray:
    """int (M,): in which of up to ten equally full ranges each number lies."""
    num = max(1, min(NUM_RANGES, len(value_M) // FEWEST_IN_RANGE))
    edges = np.quantile(value_M, np.linspace(0, 1, num + 1)[1:-1])
    return np.searchsorted(edges, value_M, side="left")


class _Counts:
    """How many images of each label a group has, for G groups."""

    def __init__(self, number_P: np.ndarray, label_P: np.ndarray, num_groups: int) -> None:
        num_labels = int(label_P.max(initial=0)) + 1
        key_P, count_P = np.unique(number_P.astype(np.int64) * num_labels + label_P, return_counts=True)
        self._count_P = count_P.astype(np.int32)
        self._label_P = (key_P % num_labels).astype(np.int32)
        self._start_G = np.searchsorted(key_P // num_labels, np.arange(num_groups + 1))

    def of(self, group_H: np.ndarray) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """(group, [(label, number of images), ...]) of each of some groups, in their order."""
        for chunk_H in np.array_split(group_H, -(-len(group_H) // CHUNK) or 1):
            starts, ends = self._start_G[chunk_H], self._start_G[chunk_H + 1]
            place_P = np.repeat(starts, ends - starts) + _within(ends - starts)
            pairs = zip(self._label_P[place_P].tolist(), self._count_P[place_P].tolist(), strict=True)
            for group, num in zip(chunk_H.tolist(), (ends - starts).tolist(), strict=True):
                yield group, list(islice(pairs, num))


def _within(num_H: np.ndarray) -> np.ndarray:
    """0, 1, ... within each of several runs of these lengths."""
    return np.arange(int(num_H.sum())) - np.repeat(np.cumsum(num_H) - num_H, num_H)


def _cut_strata(number_M: np.ndarray, label_M: np.ndarray, order_G: np.ndarray, fraction: float) -> np.ndarray:
    """bool (G,): the groups that are cut off, as they come in `order_G`; `number_M` is the group of each image."""
    counts = _Counts(number_M, label_M, len(order_G))
    left = np.bincount(label_M).tolist()
    missing = [round(fraction * number) for number in left]
    num_missing = sum(number > 0 for number in missing)  # labels of which some are missing: else no group can help
    is_cut_G = np.zeros(len(order_G), bool)
    for group, count in counts.of(order_G):
        if not num_missing:
            break
        if _change(count, missing) < 0 and all(left[label] > number for label, number in count):
            is_cut_G[group] = True
            for label, number in count:
                num_missing -= 0 < missing[label] <= number
                left[label] -= number
                missing[label] -= number
    if not is_cut_G.any() and any(missing):
        is_cut_G[_smallest_overshoot(counts.of(order_G), missing, left)] = True
    return is_cut_G


def _cut_several(
    number_P: np.ndarray,
    label_P: np.ndarray,
    number_M: np.ndarray,
    num_labels: int,
    order_G: np.ndarray,
    fraction: float,
) -> np.ndarray:
    """`_cut_strata` where images may have several labels: by iterative stratification, ties by the hash of the
    content."""
    count_GK = np.zeros((len(order_G), num_labels))
    np.add.at(count_GK, (number_P, label_P), 1)
    num_G = np.bincount(number_M, minlength=len(order_G))
    kept, cut = 0, 1
    part_G = iterative_stratification(count_GK[order_G], num_G[order_G], (1 - fraction, fraction), keeper=kept)
    is_cut_G = np.zeros(len(order_G), bool)
    is_cut_G[order_G] = part_G == cut
    return is_cut_G


def _change(count: list[tuple[int, int]], missing: list[int]) -> int:
    """How much farther from what is wanted the classes are with a group than without it, in images."""
    return sum(abs(missing[label] - number) - abs(missing[label]) for label, number in count)


def _smallest_overshoot(
    counts: Iterator[tuple[int, list[tuple[int, int]]]], missing: list[int], left: list[int]
) -> list[int]:
    """Where every group is too large, the one that overshoots least, of those with at most a third of the images."""
    third = sum(left) / 3
    fitting = [
        (_change(count, missing), group)
        for group, count in counts
        if sum(number for _, number in count) <= third and all(left[label] > number for label, number in count)
    ]
    return [min(fitting, key=lambda pair: pair[0])[1]] if fitting else []


def group_numbers(source: DataSource, scan: ScanReport, index_N: np.ndarray) -> np.ndarray:
    """int64 (N,): images of one number stay together: equal or nearly so, or of one group of the source."""
    return group_images(source.table(), scan, index_N).number_M.astype(np.int64)


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
    is_equal_M = np.isin(scan.content_N[index_M], scan.content_N[earlier_N])
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


def _label_notes(source: DataSource, scan: ScanReport, table: RecordTable) -> list[str]:
    """Equal images that are called two things: one of the labels is wrong."""
    order_M = np.lexsort((scan.good_N, scan.content_N[scan.good_N]))
    index_M = scan.good_N[order_M]
    content_M, code_M = scan.content_N[index_M], table.code_N[index_M]
    starts = np.flatnonzero(np.diff(content_M, prepend=NONE))
    is_odd = np.minimum.reduceat(code_M, starts) != np.maximum.reduceat(code_M, starts)
    odd = starts[is_odd]
    if not len(odd):
        return []
    start = int(odd[index_M[odd].argmin()])  # the images of a content stand in their order
    other = start + int(np.flatnonzero(code_M[start:] != code_M[start])[0])
    shown = " and ".join(
        f"'{printable(source.record(int(index_M[place])).key)}' "
        f"({_class_names(source, table.labels[int(code_M[place])])})"
        for place in (start, other)
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


def _absence_notes(source: DataSource, scan: ScanReport, table: RecordTable, split: Split) -> list[str]:
    notes: list[str] = []
    if source.task.is_number:
        return notes
    num_classes = len(source.classes)
    count_K = np.bincount(table.label_pairs(scan.good_N)[1], minlength=num_classes)
    for name in SPLITS:
        present_K = np.bincount(table.label_pairs(split.indices(name))[1], minlength=num_classes) > 0
        absent = np.flatnonzero(~present_K).tolist()
        if present_K.any() and absent:
            shown = [
                f"{printable(source.classes[label])} ({counted(int(count_K[label]), 'image')})" for label in absent[:5]
            ]
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            notes.append(f"no {name} image of: {', '.join(shown)}{more}")
    return notes


def _group_notes(table: RecordTable, split: Split, wanted: tuple[str, ...]) -> list[str]:
    """A word where groups are the reason that nothing could be held out for one of the `wanted` parts."""
    sides = [name for name in wanted if not len(split.indices(name))]
    if not sides or table.group_N is None:
        return []
    num_groups = len(np.unique(table.group_N[split.train_N][table.group_N[split.train_N] != NONE]))
    if not num_groups:
        return []
    what = "one group is" if num_groups == 1 else f"{num_groups:,} groups are"
    return [f"no {' and no '.join(sides)} image: {what} too few to hold one out whole"]
