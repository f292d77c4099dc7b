"""Why a file is left out: it is no image by its name, it cannot be decoded, or it turned unreadable in mid-run.

What is left out has its name and a reason, and is counted. More than a hundredth of a set is never left out.
"""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError, brief, counted, printable
from .images.formats.table import ENDINGS as IMAGE_ENDINGS
from .source import DataSource

OnBadImage = Literal["error", "skip"]
SHOWN_BAD = 2  # images that a refusal names
MAX_LEFT_OUT_FRACTION = 0.01  # of the images, or one image, where `on_bad_image` is skip
ENDINGS = tuple(map(os.fsencode, IMAGE_ENDINGS))
# what systems and archives leave behind: of no interest to anyone
SYSTEM_NAMES = {
    *("__macosx", "thumbs.db", ".ds_store", "desktop.ini", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information"),
}
SYSTEM_NAMES_BYTES = {name.encode() for name in SYSTEM_NAMES}
# files that belong to a set of images, and are no lost images
COMPANIONS = {b"readme.md", b"readme.txt", b"readme", b"license", b"license.txt"}
MAX_ENDING_CHARACTERS = 12


class PassedOver:
    """Counts the files of a folder that are not read as images, by ending, and those that stand at no class."""

    def __init__(self) -> None:
        self._by_ending: Counter[str] = Counter()
        self.num_irregular = 0
        self.num_hidden = 0
        self.num_beside = 0

    def add(self, entry: os.DirEntry[bytes]) -> None:
        """Count a file that the walker met and did not read."""
        name = entry.name.lower()
        if name in SYSTEM_NAMES_BYTES or name in COMPANIONS:
            return
        if name.startswith(b"."):
            self.num_hidden += name.endswith(ENDINGS)  # .gitignore and the like are no lost images
            return
        if name.endswith(ENDINGS):
            self.num_irregular += 1
            return
        self._by_ending[counted_ending(os.fsdecode(name))] += 1

    def update(self, other: "PassedOver") -> None:
        """Count what `other` counted, too."""
        self._by_ending.update(other._by_ending)
        self.num_irregular += other.num_irregular
        self.num_hidden += other.num_hidden
        self.num_beside += other.num_beside

    def by_ending(self) -> dict[str, int]:
        """{ending in lower case: number of files}, the most frequent first."""
        return dict(sorted(self._by_ending.items(), key=lambda item: (-item[1], item[0])))

    def sentence(self) -> str:
        """`10 files passed over: 9 .heic, 1 .docx`; empty where every file was read."""
        parts = [f"{count:,} {printable(ending)}" for ending, count in self.by_ending().items()]
        if len(parts) > 6:
            rest = sum(list(self.by_ending().values())[5:])
            parts = [*parts[:5], f"{rest:,} of other endings"]
        if self.num_beside:
            parts.append(f"{counted(self.num_beside, 'image')} beside the class folders")
        if self.num_irregular:
            parts.append(
                f"{self.num_irregular:,} that {'is not a file' if self.num_irregular == 1 else 'are not files'}"
            )
        if self.num_hidden:
            parts.append(counted(self.num_hidden, "hidden image"))
        total = self._by_ending.total() + self.num_beside + self.num_irregular + self.num_hidden
        return f"{counted(total, 'file')} passed over: {', '.join(parts)}" if total else ""


def counted_ending(name: str) -> str:
    """Under which ending a file is counted that is not read: `.docx`, in lower case."""
    ending = os.path.splitext(name)[1].lower()
    return ending if 1 < len(ending) <= MAX_ENDING_CHARACTERS else "without an ending"


@dataclass(frozen=True, kw_only=True)
class BadImage:
    """A file that cannot be decoded, and why."""

    key: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that could not be read in mid-run and left its batch (`on_bad_image: skip`)."""

    key: str
    reason: str
    epoch: int


def check_on_bad_image(value: Any) -> OnBadImage:
    """`value`, if it is one. Raises UsageError."""
    if value not in ("error", "skip"):
        raise UsageError(f"--on-bad-image must be error or skip, got '{brief(str(value), 40)}'.")
    return "skip" if value == "skip" else "error"


def left_out_notes(bad: tuple[BadImage, ...], where_all: str = "") -> list[str]:
    """A sentence for each file that was left out, of many for the first ten; `where_all` names them all."""
    told = [f"left out: {printable(image.key)}: {printable(image.reason)}" for image in bad[:10]]
    return told + [f"left out: {len(bad) - 10:,} more{where_all}"] if len(bad) > 10 else told


def left_out_caveats(bad: tuple[BadImage, ...]) -> list[str]:
    """What qualifies figures of images of which `bad` were left out."""
    were = "was" if len(bad) == 1 else "were"
    return [f"{counted(len(bad), 'file')} could not be read and {were} left out."] if bad else []


def is_too_many(num_bad: int, num_images: int) -> bool:
    """Whether `num_bad` of `num_images` are more than may be left out: a hundredth, and more than one."""
    return num_bad > max(1, MAX_LEFT_OUT_FRACTION * num_images)


def why_refused(source: DataSource, bad: tuple[BadImage, ...], on_bad_image: OnBadImage = "error") -> str:
    """What training says instead of beginning where `bad` images cannot be decoded; empty where it begins."""
    if is_too_many(len(bad), len(source)):
        return _bad_message(source, bad, too_many(len(bad), len(source)))
    if bad and on_bad_image == "error":
        return _bad_message(
            source,
            bad,
            "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip.",
        )
    return ""


def too_many(num_bad: int, num_images: int) -> str:
    """Why so many unreadable images are not left out, and what to do."""
    return (
        f"{num_bad:,} of {num_images:,} ({100 * num_bad / num_images:.1f} %) is above the 1 % that may be left out: "
        f"repair or remove them."
    )


def _bad_message(source: DataSource, bad: tuple[BadImage, ...], remedy: str) -> str:
    shown = "; ".join(f"{printable(image.key)}: {image.reason.rstrip('.')}" for image in bad[:SHOWN_BAD])
    more = f"; and {len(bad) - SHOWN_BAD:,} more" if len(bad) > SHOWN_BAD else ""
    files = "1 of" if len(bad) == 1 else f"{len(bad):,} of"
    return f"{printable(source.name)}: {files} {len(source):,} images cannot be decoded.\n{shown}{more}.\n{remedy}"
