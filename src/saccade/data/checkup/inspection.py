"""The check-up of a set of images: what is wrong with it, and what it looks like in figures."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.addresses import is_address
from ...core.display import Displayed, Rows
from ...core.errors import DataError, counted, printable
from ...core.in_memory import is_given
from ...core.task import ONE_LABEL, Task
from ...core.types import MAX_16_BIT, SPLITS
from ..labels import labels_of
from ..left_out import BadImage, counted_ending, why_refused
from ..opening_line import Told, opening_line, untold
from ..scan import mixed_channels
from ..source import DataSource, GradeSource, NumberSource, open_readable, open_source
from ..sources.folder.source import ImageFolder
from ..split import refuse_unlearnable
from .findings import KINDS, Finding, find_faults
from .found_images import FoundImages, found_images
from .keep import cache_file, load_known, save_measured
from .measure import Measured, measure_source
from .not_images import OTHER_ENDING, list_left_out

NUMBER_QUANTILES = ("least", "quarter", "median", "three_quarters", "most", "different")
LOOKED_FOR = (
    "Looked for: what training refuses; unreadable and odd files; equal and nearly equal images in two splits, in two "
    "classes or twice in one; classes missing from a split or of one image; images of one plain colour; names that "
    "some systems cannot keep apart; the only image of its format, colour mode or size."
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection(Displayed):
    """What a check-up found in N images. Sizes are of upright images in pixels; means and deviations 0 to 1, of red,
    green and blue, or of each band where the images have bands.

    `counts` maps a split (`all` where the source has none) to the images of every class in label order. Where an image
    may have several labels, it is counted in each. `passed_over` counts the files of a folder that are no images by
    their ending.
    `numbers` are the least, the quartiles and the most where a number is asked for, then how many differ.
    `size_quantiles` maps width, height and aspect (width / height) to (least, median, most). A set that is not
    `is_opened` is of no source: its images are those that can be read all the same.
    """

    source: str
    classes: tuple[str, ...]
    num_images: int
    num_unreadable: int
    num_measured: int
    findings: tuple[Finding, ...]
    counts: dict[str, tuple[int, ...]]
    size_quantiles: dict[str, tuple[float, float, float]]
    modes: dict[str, int]
    num_rotated: int
    num_grey: int
    mean_C: tuple[float, ...]
    std_C: tuple[float, ...]
    notes: tuple[str, ...]
    task: Task = ONE_LABEL
    numbers: tuple[float, ...] = ()
    is_opened: bool = True
    has_bands: bool = False
    passed_over: dict[str, int] = field(default_factory=dict)

    def headline(self) -> str:
        """How many images there are, and how many things to look at."""
        is_clean = all(finding.kind == "left_out" for finding in self.findings)
        faults = () if is_clean else self.findings
        name, num = printable(self.source), len(self.classes)
        count = f"{counted(self.num_images, 'image')} of {'1 class' if num == 1 else f'{num:,} classes'}"
        if self.task.is_number:
            count = f"{counted(self.num_images, 'image')} with a number, '{printable(self.classes[0])}'"
        if not faults:
            return f"{name}: {count}. Nothing found."
        kinds = "1 thing to look at" if len(faults) == 1 else f"{len(faults)} things to look at, the worst first"
        return f"{name}: {count}. {kinds}."

    def display_lines(self) -> list[str]:
        """The headline, what was looked for where nothing was found, and what should be known."""
        return [self.headline(), *self.looked_for(), *self.notes]

    def looked_for(self) -> list[str]:
        """What finding nothing means; nothing where something was found."""
        return [LOOKED_FOR] if all(finding.kind == "left_out" for finding in self.findings) else []

    def display_rows(self) -> Rows | None:
        """What was found, each kind with its number and its first images; nothing where nothing was."""
        rows = [
            (f"{len(finding.groups):,}", KINDS[finding.kind], ", ".join(finding.groups[0][:4]))
            for finding in self.findings
        ]
        return (("number", "what", "for example"), rows) if rows else None

    def as_json(self) -> dict[str, Any]:
        """The object of `saccade inspect --json`."""
        return {
            "source": self.source,
            "classes": {
                name: sum(counts[label] for counts in self.counts.values()) for label, name in enumerate(self.classes)
            },
            **({} if self.task == ONE_LABEL else {"task": self.task.kind}),
            **({"number": dict(zip(NUMBER_QUANTILES, self.numbers, strict=True))} if self.numbers else {}),
            "num_images": self.num_images,
            "num_unreadable": self.num_unreadable,
            "findings": [
                {
                    "kind": finding.kind,
                    "meaning": KINDS[finding.kind],
                    "groups": [
                        {"keys": list(keys), "note": note}
                        for keys, note in zip(finding.groups, finding.notes, strict=True)
                    ],
                }
                for finding in self.findings
            ],
            "counts": {split: dict(zip(self.classes, counts, strict=True)) for split, counts in self.counts.items()},
            "sizes": {name: list(values) for name, values in self.size_quantiles.items()},
            "modes": self.modes,
            "num_rotated": self.num_rotated,
            "num_grey": self.num_grey,
            "mean": list(self.mean_C),
            "std": list(self.std_C),
            "num_measured_now": self.num_measured,
            "passed_over": self.passed_over,
            "notes": list(self.notes),
        }


def inspect_source(
    text: str,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
    keep: bool = True,
    opened: Told = untold,
) -> Inspection:
    """Look at every image of the source that `text` names. Raises DataError where no image is found.

    What training refuses is a finding: the images that can be read are looked at all the same, those of a folder under
    the folder each lies in.
    With `keep`, what was measured is kept in the user's cache folder by the content of each image.
    `opened` hears the line that names the classes.
    """
    source, refused = _opened(text)
    is_opened = not refused
    if is_opened:  # else what would be learned from it is not known
        opened(opening_line(source))
    path = cache_file(source.name)
    known, note = load_known(path) if keep else (None, "")
    measured = measure_source(source, threads, known, progress)
    refused = refused or _why_refused(source, measured)
    notes = [*source.notes, *([note] if note else []), *_told(measured)]
    if keep and measured.fresh_N.any() and (note := save_measured(path, measured)):
        notes.append(note)
    inner = source.source if isinstance(source, NumberSource | GradeSource) else source
    left_out = list(list_left_out(Path(inner.name))) if isinstance(inner, ImageFolder | FoundImages) else []
    found = summarise(source, measured, find_faults(source, measured, left_out, refused), tuple(notes), is_opened)
    endings = Counter(counted_ending(name) for name, why in left_out if why == OTHER_ENDING)
    return replace(found, passed_over=dict(sorted(endings.items(), key=lambda item: (-item[1], item[0]))))


def _opened(text: str) -> tuple[DataSource, str]:
    """The source, or else what images there are, with the message of the refusal. Raises that where there are none."""
    try:
        return open_source(text, several=True), ""
    except DataError as error:
        found = None if is_given(text) or is_address(text) else open_readable(text) or found_images(text)
        if found is None:
            raise
        return found, error.message


def _why_refused(source: DataSource, measured: Measured) -> str:
    """What training says of the images of `source` instead of beginning; empty where it begins."""
    reasons = measured.rows_N["reason"]
    bad = tuple(
        BadImage(key=source.record(int(index)).key, reason=reasons[index].decode("utf-8", "replace"))
        for index in np.flatnonzero(reasons != b"")
    )
    if refusal := why_refused(source, bad):
        return refusal
    num_bands_N, good_N = measured.rows_N["bands"], measured.good_N
    if len(different_M := good_N[num_bands_N[good_N] != num_bands_N[good_N[:1]]]):
        return mixed_channels(source, num_bands_N, (int(good_N[0]), int(different_M[0])))
    try:
        refuse_unlearnable(source, measured.good_N)
    except DataError as error:
        return error.message
    return ""


def _told(measured: Measured) -> list[str]:
    """Sentences on how pixels were read: the colour profiles that were converted, the range of 16-bit values."""
    rows_N = measured.rows_N[measured.good_N]
    profiles = Counter(profile.decode("utf-8", "replace") for profile in rows_N["profile"].tolist() if profile)
    lines = []
    for name, count in profiles.most_common():
        images = "1 image carries" if count == 1 else f"{count:,} images carry"
        lines.append(f"{images} the colour profile {printable(name)}: converted to sRGB.")
    for num, count in Counter(rows_N["bands"].tolist()).most_common():
        if num:
            images = "1 image has" if count == 1 else f"{count:,} images have"
            lines.append(f"{images} {num} channels that are not colours.")
    if measured.white_16_bit < MAX_16_BIT:
        lines.append(f"16-bit values use 0 to {measured.white_16_bit:,}: scaled by that.")
    return lines


def summarise(
    source: DataSource, measured: Measured, findings: list[Finding], notes: tuple[str, ...], is_opened: bool = True
) -> Inspection:
    """The figures of `measured`, over the images that could be decoded."""
    rows_N = measured.rows_N[measured.good_N]
    mean_C, std_C = _colour(rows_N)
    return Inspection(
        source=source.name,
        classes=source.classes,
        num_images=len(source),
        num_unreadable=len(source) - len(rows_N),
        num_measured=int(measured.fresh_N.sum()),
        findings=tuple(findings),
        counts=_counts(source),
        size_quantiles=_sizes(rows_N),
        modes=dict(Counter(mode.decode() for mode in rows_N["mode"].tolist()).most_common()),
        num_rotated=int(rows_N["rotated"].sum()),
        num_grey=int(rows_N["grey"].sum()),
        mean_C=mean_C,
        std_C=std_C,
        notes=notes,
        task=source.task,
        numbers=_numbers(source, measured.good_N) if source.task.is_number else (),
        is_opened=is_opened,
        has_bands=bool(rows_N["bands"][:1].any()),
    )


def _counts(source: DataSource) -> dict[str, tuple[int, ...]]:
    counts: dict[str, np.ndarray] = {}
    for index in range(len(source)):
        record = source.record(index)
        split = record.split or "all"
        counts.setdefault(split, np.zeros(len(source.classes), np.int64))[list(record.all_labels)] += 1
    order = [*SPLITS, "all"]
    return {split: tuple(counts[split].tolist()) for split in sorted(counts, key=order.index)}


def _numbers(source: DataSource, good_N: np.ndarray) -> tuple[float, ...]:
    value_N = labels_of(source, good_N)
    if not len(value_N):
        return ()
    return (*np.quantile(value_N, (0, 0.25, 0.5, 0.75, 1)).tolist(), float(len(np.unique(value_N))))


def _sizes(rows_N: np.ndarray) -> dict[str, tuple[float, float, float]]:
    if not len(rows_N):
        return {}
    values = {
        "width_px": rows_N["width_px"],
        "height_px": rows_N["height_px"],
        "aspect": rows_N["width_px"] / rows_N["height_px"],
    }
    return {name: (float(v.min()), float(np.median(v)), float(v.max())) for name, v in values.items()}


def _colour(rows_N: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of red, green and blue, or of each band, over all pixels, every image counting alike;
    of images of several kinds, those of the first kind."""
    if not len(rows_N):
        return (), ()
    rows_N = rows_N[rows_N["bands"] == rows_N["bands"][0]]
    mean_C = rows_N["mean"].astype(np.float64).mean(axis=0)
    square_C = rows_N["square"].astype(np.float64).mean(axis=0)
    std_C = np.sqrt(np.maximum(square_C - mean_C**2, 0))
    return tuple(mean_C.tolist()), tuple(std_C.tolist())
