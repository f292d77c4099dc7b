"""Which labels of a set may be wrong, training images included: by cross-validated probabilities (`label_errors.py`).

A network's own answers say little of the images it was trained on: it may know a wrong label by heart. So only what its
head sees of an image is taken, and a logistic regression that was fitted to the other images answers for each fifth
of them; one for each class where an image may have several labels, and a ridge regression of numbers. Features that
were never trained on these labels, those of a pretrained network, are the best ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.display import Displayed
from ..core.errors import DataError, printable
from ..core.runtime import RuntimeConfig
from ..data.images.decode import decode_image
from ..data.labels import labels_of
from ..data.left_out import OnBadImage, left_out_caveats
from ..data.scan import ScanReport, channels_of, scan_source
from ..data.source import DataSource, open_source
from ..data.split import group_numbers, ranges
from ..evaluate.label_errors import LabelsInOrder, SuspectedLabels, suspect_labels, suspect_several
from ..evaluate.mistakes import (
    Suspect,
    cross_validated_numbers,
    cross_validated_probabilities,
    find_suspected_numbers,
    find_suspects,
    find_suspects_of_several,
)
from ..evaluate.number_errors import suspect_numbers
from ..evaluate.rates import number
from ..runs.seen import read_seen
from ..runs.start_point import read_start
from .classifier import Member, open_member
from .features import features_of, refuse_unnamed_parts
from .stream import items_of_source

MIN_IMAGES = 20
MAX_PICTURES, PICTURE_PX = 60, 96


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelCheck(Displayed):
    """Suspected labels of a source, the likeliest wrong first, among `num_images`; `note` says what to know of them. Of
    several labels, an image is there once for each class that is suspected.

    `found` says how many of them are expected to be wrong, or why none is suspected. `listed` are as many of the
    likeliest as were asked for (`num_asked`), suspected or not; with 0 the suspects. `pictures` are small ones of the
    first suspects, uint8 (H, W, C) at no more than 96 pixels.
    """

    source: str
    num_images: int
    suspects: tuple[Suspect, ...]
    listed: tuple[Suspect, ...]
    note: str
    found: SuspectedLabels
    num_asked: int = 0
    pictures: tuple[np.ndarray, ...] = ()

    @property
    def expected_share(self) -> float:
        """The share of the suspected labels that is expected to be wrong; NaN without any."""
        return self.found.expected_share

    def display_lines(self) -> list[str]:
        """How many labels are suspected."""
        return [self.sentence()]

    def sentence(self) -> str:
        """How many labels are suspected, how many of these are expected to be wrong, and what to know of it."""
        return f"{self.found.sentence()}{f' {self.note}' if self.note else ''}"

    def as_json(self) -> dict[str, Any]:
        """What `evaluate --json` says of it; its keys are a contract."""
        return {
            "num_suspected_labels": len(self.suspects),
            "suspected_labels_share": number(self.expected_share),
            "wrong_labels_share": self.found.errors.share,
            "wrong_labels_p_value": self.found.errors.p_value,
            "suspected_labels": [suspect.as_json() for suspect in self.suspects],
            **({"listed_labels": [suspect.as_json() for suspect in self.listed]} if self.num_asked else {}),
        }


def check_labels(
    run: Path, source_text: str, runtime_config: RuntimeConfig, count: int = 0, on_bad_image: OnBadImage = "error"
) -> LabelCheck:
    """Suspect labels among all images of a source, by the features of `run`; the classes need not be those of the run.

    `count` labels are listed, those that are most likely wrong; 0: those that are suspected. With `on_bad_image` "skip"
    files that cannot be read are left out. Raises CheckpointError,
    DataError, ImageError, and ModelError for a network that does not name its parts.
    """
    member = open_member(run, runtime_config)
    refuse_unnamed_parts(member)  # before the images are read
    source = open_source(source_text, several=True, verb="--label-errors", target=member.task.target)
    pixels, num_threads = member.preprocessing, member.runtime.num_threads
    scan = scan_source(source, num_threads, on_bad_image, white=pixels.white_16_bit, channels=channels_of(pixels))
    if len(scan.good_N) < MIN_IMAGES:
        raise DataError(
            f"Labels are checked against each other, which takes at least {MIN_IMAGES} images; "
            f"{printable(source.name)} has {len(scan.good_N)}."
        )
    feature_ND = features_of(member, items_of_source(source, scan.good_N))
    keys = [source.record(int(index)).key for index in scan.good_N]
    label_N = labels_of(source, scan.good_N)
    if source.task.is_several:
        checked = _check_several(source, scan, feature_ND, label_N, keys)
    elif source.task.is_number:
        checked = _check_numbers(source, scan, feature_ND, label_N, keys)
    else:
        checked = _check_classes(source, scan, feature_ND, label_N, keys)
    seen = read_seen(run)
    num_seen = int((seen.equal(scan) | seen.near(scan))[scan.good_N].sum()) if seen else 0
    notes = [*left_out_caveats(scan.bad), *checked.notes, "" if _is_frozen(run) else _learned_note(num_seen, len(keys))]
    return LabelCheck(
        source=printable(source.name),
        num_images=len(keys),
        suspects=tuple(checked.name(checked.found.listed())),
        listed=tuple(checked.name(checked.found.listed(count))),
        note=" ".join(filter(None, notes)),
        found=checked.found,
        num_asked=count,
        pictures=_pictures(member, source, scan.good_N[checked.found.position_S[:MAX_PICTURES]]),
    )


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What is found of the labels of all good images, and what to know of it. `name` gives labels their words."""

    name: Callable[[LabelsInOrder], list[Suspect]]
    found: SuspectedLabels
    notes: list[str]


def _check_classes(
    source: DataSource, scan: ScanReport, feature_ND: np.ndarray, label_N: np.ndarray, keys: list[str]
) -> _Checked:
    """One label an image, or a grade."""
    group_N, group_note = _groups(source, scan, label_N)
    probability_NK = cross_validated_probabilities(feature_ND, label_N, len(source.classes), group_N=group_N)
    is_checked_N = _is_checked(group_N, label_N)
    checked_M = np.flatnonzero(is_checked_N)
    found = suspect_labels(probability_NK[checked_M], label_N[checked_M], group_N[checked_M])
    found = replace(found, order_N=checked_M[found.order_N])

    def name(listed: LabelsInOrder) -> list[Suspect]:
        return find_suspects(listed, probability_NK, label_N, keys, source.classes)

    return _Checked(name=name, found=found, notes=[group_note, _alone_note(int((~is_checked_N).sum()))])


def _check_several(
    source: DataSource, scan: ScanReport, feature_ND: np.ndarray, label_NK: np.ndarray, keys: list[str]
) -> _Checked:
    """Each class of an image is a label, yes or no; it is not checked where all images of one side are one group."""
    group_N = group_numbers(source, scan, scan.good_N)
    label_NK = label_NK.astype(np.int64)
    checked_NK = np.stack([_is_checked(group_N, label_N) for label_N in label_NK.T], axis=1)
    checked_NK[:, ~checked_NK.all(axis=0) | (label_NK.min(axis=0) == label_NK.max(axis=0))] = False
    probability_NK = np.full(label_NK.shape, 0.5)
    for k in np.flatnonzero(checked_NK.any(axis=0)).tolist():
        probability_NK[:, k] = cross_validated_probabilities(feature_ND, label_NK[:, k], 2, group_N=group_N)[:, 1]
    found = suspect_several(probability_NK, label_NK, checked_NK, group_N)
    left_out = [source.classes[k] for k in np.flatnonzero(~checked_NK.any(axis=0))]

    def name(listed: LabelsInOrder) -> list[Suspect]:
        return find_suspects_of_several(listed, probability_NK, label_NK, keys, source.classes)

    return _Checked(name=name, found=found, notes=[_one_sided_note(left_out)])


def _check_numbers(
    source: DataSource, scan: ScanReport, feature_ND: np.ndarray, value_N: np.ndarray, keys: list[str]
) -> _Checked:
    group_N = group_numbers(source, scan, scan.good_N)
    said_N = cross_validated_numbers(feature_ND, value_N, ranges(value_N), group_N=group_N)
    found = suspect_numbers(said_N, value_N)

    def name(listed: LabelsInOrder) -> list[Suspect]:
        return find_suspected_numbers(listed, said_N, value_N, keys)

    return _Checked(name=name, found=found, notes=[])


def _one_sided_note(left_out: list[str]) -> str:
    if not left_out:
        return ""
    named = ", ".join(f"'{printable(name[:40])}'" for name in left_out[:3])
    more = f" and {len(left_out) - 3:,} more" if len(left_out) > 3 else ""
    return f"The labels {named}{more} are not checked: one group of images alone has them, or has them not."


def _pictures(member: Member, source: DataSource, index_M: np.ndarray) -> tuple[np.ndarray, ...]:
    """Small pictures of the images `index_M`, whole."""
    shown = []
    for index in index_M.tolist():
        sample = decode_image(source.read(index), source.record(index).key, None, member.preprocessing.white_16_bit)
        picture = Image.fromarray(sample.image_HWC)
        picture.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC)
        shown.append(np.array(picture))
    return tuple(shown)


def _groups(source: DataSource, scan: ScanReport, label_N: np.ndarray) -> tuple[np.ndarray, str]:
    """int64 numbers of the good images: equal ones, near duplicates and those of one group of the source share one; and
    what to know of that.

    Where a class lies in one group alone, nothing else could speak for it: then only equal ones of its images do."""
    group_N = group_numbers(source, scan, scan.good_N)
    lone = [label for label in np.unique(label_N) if len(np.unique(group_N[label_N == label])) < 2]
    if not lone:
        return group_N, ""
    equal_N = np.unique(scan.pixel_digest_N[scan.good_N], axis=0, return_inverse=True)[1].reshape(-1)
    is_lone_N = np.isin(equal_N, equal_N[np.isin(label_N, lone)])  # and copies of them under another label
    own_N = np.where(is_lone_N, group_N.max() + 1 + equal_N, group_N)
    if not any((label_N == label).sum() > 1 for label in lone):
        return own_N, ""
    num = "1 class lies" if len(lone) == 1 else f"{len(lone):,} classes lie"
    return own_N, f"{num} in one group of images alone, so these images vouch for each other's labels."


def _is_checked(group_N: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """bool (N,): whether other images can speak for the class of an image's label."""
    alone = [label for label in np.unique(label_N) if len(np.unique(group_N[label_N == label])) < 2]
    return ~np.isin(label_N, alone)


def _is_frozen(run: Path) -> bool:
    """Whether the run kept all features of its pretrained network, so that no label went into them."""
    start = read_start(run)
    return start is not None and start.frozen == "all"


def _alone_note(num: int) -> str:
    if not num:
        return ""
    labels = "1 label is" if num == 1 else f"{num:,} labels are"
    return f"{labels} not checked: there is one image of the class, or copies of one."


def _learned_note(num_seen: int, num_images: int) -> str:
    if not num_seen:
        return ""
    return (
        f"The network has learned from {num_seen:,} of these {num_images:,} labels and may know wrong ones by heart: "
        f"a run of 'saccade transfer --freeze all' finds more."
    )
