"""Which labels of a set may be wrong, training images included: confident learning on cross-validated probabilities.

A network's own answers say little of the images it was trained on: it may know a wrong label by heart. So only what its
head sees of an image is taken, and a logistic regression that was fitted to the other images answers for each fifth
of them. Features that were never trained on these labels, those of a pretrained network, are the best ones.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.display import Displayed
from ..core.errors import DataError, UsageError, printable
from ..core.runtime import RuntimeConfig
from ..data.scan import ScanReport, scan_source
from ..data.source import DataSource, open_source
from ..data.split import group_numbers
from ..evaluate.mistakes import Suspect, cross_validated_probabilities, find_suspects
from ..runs.seen import read_seen
from ..runs.start_point import read_start
from .classifier import open_member
from .features import features_of, refuse_unnamed_parts
from .stream import items_of_source

MIN_IMAGES = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelCheck(Displayed):
    """Suspected labels of a source, the least believed first, among `num_images`; `note` says what to know of them."""

    source: str
    num_images: int
    suspects: tuple[Suspect, ...]
    note: str

    def display_lines(self) -> list[str]:
        """How many labels are suspected."""
        return [self.sentence()]

    def sentence(self) -> str:
        """How many labels are suspected, and what to know of it."""
        num = len(self.suspects)
        found = f"{num:,} of {self.num_images:,} labels may be wrong" if num else "No label is suspected"
        method = "confident learning on cross-validated probabilities"
        return f"{found} ({method}): a hint where to look, not a verdict.{f' {self.note}' if self.note else ''}"


def check_labels(run: Path, source_text: str, runtime_config: RuntimeConfig) -> LabelCheck:
    """Suspect labels among all images of a source, by the features of `run`; the classes need not be those of the run.

    Raises CheckpointError, DataError, ImageError, and ModelError for a network that does not name its parts.
    """
    member = open_member(run, runtime_config)
    if member.task.is_number:
        raise UsageError("--label-errors looks for wrong classes, and this run says a number.\nLeave it out.")
    refuse_unnamed_parts(member)  # before the images are read
    source = open_source(source_text, verb="--label-errors")
    scan = scan_source(source, member.runtime.num_threads, "error", white=member.preprocessing.white_16_bit)
    if len(scan.good_N) < MIN_IMAGES:
        raise DataError(
            f"Labels are checked against each other, which takes at least {MIN_IMAGES} images; "
            f"{printable(source.name)} has {len(scan.good_N)}."
        )
    feature_ND = features_of(member, items_of_source(source, scan.good_N))
    records = [source.record(int(index)) for index in scan.good_N]
    keys, label_N = [record.key for record in records], np.array([record.label for record in records], dtype=np.int64)
    group_N = _groups(source, scan, label_N)
    probability_NK = cross_validated_probabilities(feature_ND, label_N, len(source.classes), group_N=group_N)
    seen = read_seen(run)
    num_seen = int((seen.equal(scan) | seen.near(scan))[scan.good_N].sum()) if seen else 0
    return LabelCheck(
        source=printable(source.name),
        num_images=len(keys),
        suspects=tuple(find_suspects(probability_NK, label_N, keys, source.classes)),
        note="" if _is_frozen(run) else _learned_note(num_seen, len(keys)),
    )


def _groups(source: DataSource, scan: ScanReport, label_N: np.ndarray) -> np.ndarray:
    """int64 numbers of the good images: equal ones, near duplicates and those of one group of the source share one.

    Where a class lies in one group alone, nothing else could speak for it: then only equal images share one."""
    group_N = group_numbers(source, scan, scan.good_N)
    if all(len(np.unique(group_N[label_N == label])) > 1 for label in np.unique(label_N)):
        return group_N
    return np.unique(scan.pixel_digest_N[scan.good_N], axis=0, return_inverse=True)[1].reshape(-1)


def _is_frozen(run: Path) -> bool:
    """Whether the run kept all features of its pretrained network, so that no label went into them."""
    start = read_start(run)
    return start is not None and start.frozen == "all"


def _learned_note(num_seen: int, num_images: int) -> str:
    if not num_seen:
        return ""
    return (
        f"The network has learned from {num_seen:,} of these {num_images:,} labels and may know wrong ones by heart: "
        f"a run of 'saccade transfer --freeze all' finds more."
    )
