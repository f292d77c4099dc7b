"""What is wrong with a set of images, the worst first."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ...core.types import SPLITS
from ..images.near_duplicates import MIN_DETAIL, Likeness, is_telling
from ..source import DataSource
from ..sources.shared.listing import number_twins
from .measure import Measured

MIN_TO_STAND_OUT = 10  # images, among which one stands out
COMMON_SIZE = 0.9  # share of images of one size, beside which another one stands out
# kind: what it means for the person, in the order in which findings are told
KINDS = {
    "refused": "training refuses this set",
    "unreadable": "files that cannot be decoded",
    "noted": "files that are used as they are, with a note",
    "same_image_in_two_splits": "the same image is in two splits: the verdict would be too good",
    "same_image_in_two_classes": "the same image is in two classes: one of the labels is wrong",
    "near_image_in_two_splits": "nearly the same image is in two splits: the verdict would be too good",
    "near_image_in_two_classes": "nearly the same image is in two classes: one label may be wrong",
    "class_missing_from_split": "classes without an image in a split",
    "class_of_one_image": "classes of a single image: nothing can judge them",
    "number_twins": "class names that are one number written in two ways: probably one class",
    "same_image": "the same image several times in one class",
    "near_image": "nearly the same image several times in one class",
    "plain": "images of one plain colour",
    "case_twins": "names that differ in capitals only: one of them is lost on Windows and macOS",
    "unicode_twins": "names that look alike and are written with different characters (NFC and NFD)",
    "only_one": "the only image of its format, colour mode or size",
    "left_out": "files and folders that are not looked at",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of fault: groups of keys that belong together, each with what is to be said of it (or nothing)."""

    kind: str
    groups: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """How many keys it names."""
        return sum(len(group) for group in self.groups)


Groups = list[tuple[tuple[str, ...], str]]


def find_faults(
    source: DataSource, measured: Measured, left_out: Iterable[tuple[str, str]], refused: str = ""
) -> list[Finding]:
    """All findings in the order of KINDS. `left_out` are (path, why) of what the source did not list; `refused` is what
    training would say instead of beginning."""
    listing = _Listing(source)
    found: dict[str, Groups] = {kind: [] for kind in KINDS}
    if refused:
        found["refused"].append(((source.name,), refused))
    rows_N, good_N = measured.rows_N, measured.good_N
    for index in np.flatnonzero(rows_N["reason"] != b""):
        found["unreadable"].append(((listing.keys[index],), rows_N[index]["reason"].decode("utf-8", "replace")))
    for index in np.flatnonzero(rows_N["note"] != b""):
        found["noted"].append(((listing.keys[index],), rows_N[index]["note"].decode("utf-8", "replace")))
    first_N = _same(rows_N, good_N, listing, found)
    for index in first_N[_detail(rows_N[first_N]) < MIN_DETAIL]:
        found["plain"].append(((listing.keys[index],), ""))
    size_N2 = np.stack([rows_N["height_px"], rows_N["width_px"]], axis=1)
    likeness = Likeness(thumbnail_NP=rows_N["thumbnail"], is_telling_N=is_telling(size_N2, rows_N["thumbnail"]))
    for group in likeness.groups(first_N):
        listing.sort_group(group.tolist(), "near_image", found)
    if not source.task.is_number:
        _missing_classes(listing, found)
        _classes_of_one(listing, good_N, found)
        found["number_twins"] = [(pair, "") for pair in number_twins(source.classes)]
    _only_ones(listing, rows_N, good_N, found)
    _twins(listing, "case_twins", str.casefold, found)
    _twins(listing, "unicode_twins", lambda name: unicodedata.normalize("NFC", name), found)
    found["left_out"] = [((path,), why) for path, why in left_out]
    return [
        Finding(kind=kind, groups=tuple(keys for keys, _ in groups), notes=tuple(note for _, note in groups))
        for kind, groups in found.items()
        if groups
    ]


class _Listing:
    """Keys, labels and splits of a source, read once."""

    def __init__(self, source: DataSource) -> None:
        records = [source.record(index) for index in range(len(source))]
        self.classes = source.classes
        self.keys = [record.key for record in records]
        self.are_numbers = source.task.is_number
        self.labels: list[tuple[float, ...]] = [
            record.all_labels if record.value is None else (record.value,) for record in records
        ]
        self.splits = [record.split for record in records]

    def sort_group(self, indices: list[int], kind: str, found: dict[str, Groups]) -> None:
        """Enter a group of equal images under the worst that can be said of it."""
        splits = {split for index in indices if (split := self.splits[index])}
        labels = {self.labels[index] for index in indices}
        keys = tuple(self.keys[index] for index in sorted(indices))
        together = {label for found in labels for label in found}
        classes = ", ".join(
            f"{label:g}" if self.are_numbers else self.classes[int(label)] for label in sorted(together)
        )
        if len(splits) > 1:
            named = " and ".join(sorted(splits, key=SPLITS.index))
            found[f"{kind}_in_two_splits"].append((keys, named + (f"; {classes}" if len(labels) > 1 else "")))
        elif len(labels) > 1:
            found[f"{kind}_in_two_classes"].append((keys, classes))
        else:
            found[kind].append((keys, classes))


def _same(rows_N: np.ndarray, good_N: np.ndarray, listing: _Listing, found: dict[str, Groups]) -> np.ndarray:
    """Enter exact duplicates; returns the first index of every content."""
    _, first, inverse = np.unique(rows_N["pixels"][good_N], return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    for group in np.split(good_N[order], np.flatnonzero(np.diff(inverse[order])) + 1):
        if len(group) > 1:
            listing.sort_group([int(index) for index in group], "same_image", found)
    return np.sort(good_N[first])


def _detail(rows_N: np.ndarray) -> np.ndarray:
    """(N,): the deviation of the thumbnails in 255ths; of files of 16 bits in their own range, which may be a small
    part of the set's."""
    own_range_N = np.where(rows_N["largest"] > 0, rows_N["white"] / np.maximum(rows_N["largest"], 1.0), 1.0)
    detail_N: np.ndarray = rows_N["thumbnail"].std(axis=1) * own_range_N
    return detail_N


def _missing_classes(listing: _Listing, found: dict[str, Groups]) -> None:
    for split in SPLITS:
        own = [labels for labels, place in zip(listing.labels, listing.splits, strict=True) if place == split]
        present = {label for labels in own for label in labels}
        absent = [name for label, name in enumerate(listing.classes) if label not in present]
        if present and absent:
            found["class_missing_from_split"].append((tuple(absent), split))


def _classes_of_one(listing: _Listing, good_N: np.ndarray, found: dict[str, Groups]) -> None:
    counts = Counter(label for index in good_N.tolist() for label in listing.labels[index])
    for index in good_N.tolist():
        alone = [listing.classes[int(label)] for label in listing.labels[index] if counts[label] == 1]
        if alone:
            found["class_of_one_image"].append(((listing.keys[index],), ", ".join(alone)))


def _only_ones(listing: _Listing, rows_N: np.ndarray, good_N: np.ndarray, found: dict[str, Groups]) -> None:
    """Enter what stands alone among many: a page that was saved as a picture looks like that."""
    if len(good_N) < MIN_TO_STAND_OUT:
        return
    rows_M = rows_N[good_N]
    sizes = [f"of {width}x{height} px" for height, width in zip(rows_M["height_px"], rows_M["width_px"], strict=True)]
    modes = [f"in mode {mode.decode()}" for mode in rows_M["mode"]]
    told: dict[int, list[str]] = {}
    for values, least_share in (
        ([f"that is {name.decode()}" if name else "" for name in rows_M["format"]], 0.0),
        (modes, 0.0),
        (sizes, COMMON_SIZE),  # photos of many sizes are nothing to tell
    ):
        counts = Counter(value for value in values if value)
        usual, number = counts.most_common(1)[0] if counts else ("", 0)
        if number > 1 and number >= least_share * len(values):
            for place, value in enumerate(values):
                if value and counts[value] == 1:
                    told.setdefault(int(good_N[place]), []).append(
                        f"the only one {value}; {number:,} {usual.replace('that is', 'are')}"
                    )
    found["only_one"] = [((listing.keys[index],), "; ".join(words)) for index, words in sorted(told.items())]


def _twins(listing: _Listing, kind: str, fold: Callable[[str], str], found: dict[str, Groups]) -> None:
    alike: dict[str, list[str]] = {}
    for key in listing.keys:
        alike.setdefault(fold(key), []).append(key)
    for names in alike.values():
        if len(set(names)) > 1:
            found[kind].append((tuple(sorted(set(names))), ""))
