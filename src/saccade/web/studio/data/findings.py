"""What `saccade inspect` finds in a data set: looked for in the background, with progress, one set at a time."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....core.errors import SaccadeError, printable
from ....data.checkup.findings import KINDS, Finding
from ....data.checkup.inspection import Inspection, inspect_source
from ...refusal import FAILED, busy
from .opened import Opened, refuse_elsewhere
from .sets import ImageSet

THREADS = 2
MAX_KEPT = 8  # check-ups that are done
MAX_GROUPS = 60
MAX_OF_GROUP = 12
ON_TOP = ("refused", "same_image_in_two_splits", "near_image_in_two_splits")
NOT_IMAGES = ("refused", "class_missing_from_split", "number_twins", "left_out")  # what these name


class Ended(SaccadeError):
    """The studio ends, and with it what it does in the background."""


@dataclass(kw_only=True)
class Checkup:
    """How far a check-up is: `found` or a `problem` once it has ended."""

    done: int = 0
    total: int = 0
    found: Inspection | None = None
    problem: str = ""

    @property
    def state(self) -> str:
        """`running`, `done` or `failed`."""
        return "done" if self.found else "failed" if self.problem else "running"


class Checkups:
    """The check-ups since the studio began. Each runs on a thread of its own until `ending`."""

    def __init__(self, ending: threading.Event) -> None:
        self._ending = ending
        self._kept: OrderedDict[str, Checkup] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, found: ImageSet) -> Checkup | None:
        """That of a set, where one was begun."""
        with self._lock:
            return self._kept.get(found.id)

    def start(self, found: ImageSet) -> None:
        """Begin one, unless it runs. Raises Refusal where that of another set runs, or the source is not here."""
        refuse_elsewhere(found.source)
        with self._lock:
            running = [each for each, checkup in self._kept.items() if checkup.state == "running"]
            if found.id in running:
                return
            if running:
                raise busy("checking another data set")
            checkup = self._kept[found.id] = Checkup()
            self._kept.move_to_end(found.id)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        threading.Thread(target=self._run, args=(found.source, checkup), daemon=True, name="checkup").start()

    def _run(self, source: str, checkup: Checkup) -> None:
        def progress(done: int, total: int) -> None:
            if self._ending.is_set():
                raise Ended("The studio ends.")
            checkup.done, checkup.total = done, total

        try:
            checkup.found = inspect_source(source, THREADS, progress)
        except SaccadeError as error:
            checkup.problem = printable(error.message.replace("\n", " "))
        except Exception:  # the thread's own hook tells it on standard error
            checkup.problem = f"{FAILED.text} {FAILED.hint}"
            raise


def status_of(checkup: Checkup | None) -> dict[str, Any]:
    """What a page polls; its keys are read by `static/data/findings.js`."""
    if checkup is None:
        return {"state": "none", "done": 0, "total": 0, "problem": ""}
    return {"state": checkup.state, "done": checkup.done, "total": checkup.total, "problem": checkup.problem}


def positions_of(opened: Opened) -> dict[str, int]:
    """The position of each image by its name."""
    return {opened.source.record(index).key: index for index in range(len(opened.source))}


def findings_values(found: ImageSet, inspection: Inspection, positions: Mapping[str, int]) -> dict[str, Any]:
    """What the template of the findings shows: those that spoil a verdict on top, the rest the worst first."""
    ordered = sorted(inspection.findings, key=lambda finding: finding.kind not in ON_TOP)
    return {
        "set": found,
        "headline": inspection.headline(),
        "looked_for": inspection.looked_for(),
        "findings": [_finding(finding, positions) for finding in ordered],
        "sizes": [
            (title, [f"{value:,.{digits}f}" for value in inspection.size_quantiles[name]])
            for name, title, digits in (
                ("width_px", "width, px", 0),
                ("height_px", "height, px", 0),
                ("aspect", "width / height", 2),
            )
            if name in inspection.size_quantiles
        ],
        "lines": _lines(inspection),
    }


def _finding(finding: Finding, positions: Mapping[str, int]) -> dict[str, Any]:
    has_images = finding.kind not in NOT_IMAGES
    groups = [
        {
            "keys": [(printable(key), positions.get(key) if has_images else None) for key in keys[:MAX_OF_GROUP]],
            "num_more": max(0, len(keys) - MAX_OF_GROUP),
            "note": printable(note.replace("\n", " ")),
        }
        for keys, note in list(zip(finding.groups, finding.notes, strict=True))[:MAX_GROUPS]
    ]
    return {
        "kind": finding.kind,
        "meaning": KINDS[finding.kind],
        "num": len(finding.groups),
        "groups": groups,
        "num_more": max(0, len(finding.groups) - MAX_GROUPS),
        "is_worst": finding.kind in ON_TOP,
        "shows_images": has_images and finding.kind != "unreadable",
    }


def _lines(inspection: Inspection) -> list[str]:
    if not inspection.size_quantiles:
        return ["No image could be decoded."]
    channels = "each band in turn" if inspection.has_bands else "red, green, blue"
    modes = ", ".join(f"{number:,} {printable(mode)}" for mode, number in inspection.modes.items())
    mean, std = (" ".join(f"{value:.3f}" for value in values) for values in (inspection.mean_C, inspection.std_C))
    return [
        f"Modes: {modes}; {inspection.num_grey:,} grey, {inspection.num_rotated:,} turned by EXIF.",
        f"Mean {mean}, deviation {std} ({channels}; 0 to 1).",
        *(printable(note) for note in inspection.notes),
    ]
