"""What to label next of many unlabelled images: the choice of `label_next.py`, from images to a list.

Images that the run was trained on have labels and are left out, and so are copies of an image that stands earlier.
Kept of each image are its features and its probabilities: 4 bytes for each of both.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..classify.classifier import Member
from ..classify.features import BadImages, errors_json, stream_features
from ..classify.seen_images import SeenImages
from ..core import atomic
from ..core.display import Displayed, Rows
from ..core.errors import DataError, ImageError, counted
from ..data.sources.in_memory import HeldImage
from ..evaluate.mistakes import safe_cell
from ..evaluate.rates import percent
from .label_next import choose_badge


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """An image to label, and the present answer to it with its probability."""

    key: str
    answer: str
    probability: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Suggestions(Displayed):
    """Images to label, the most useful first, chosen from `num_images`.

    `num_known` more were left out since the run was trained on them, `errors` are of images that could not be used.
    `notes` say why there are fewer than were asked for, and what is not known.
    """

    suggested: tuple[Suggestion, ...]
    num_images: int
    num_known: int
    errors: tuple[ImageError, ...]
    notes: tuple[str, ...]

    def display_lines(self) -> list[str]:
        """How many are suggested of how many, and the notes."""
        return [self.sentence(), *self.notes]

    def display_rows(self) -> Rows:
        """The images, the most useful first, with the present answers."""
        rows = [(one.key, one.answer, f"{percent(one.probability)} %") for one in self.suggested]
        return ("image", "answer now", "probability"), rows

    def sentence(self) -> str:
        """How many images are suggested, of how many."""
        what = counted(len(self.suggested), "image")
        return f"{what} to label next, of {self.num_images:,}, by how unsure the network is and how much they differ."

    def as_json(self) -> dict[str, Any]:
        """The object of `suggest --json`, without the run."""
        return {
            "suggested": [
                {"file": one.key, "class": one.answer, "probability": one.probability} for one in self.suggested
            ],
            "num_images": self.num_images,
            "num_known": self.num_known,
            "errors": errors_json(self.errors),
            "notes": list(self.notes),
        }


def suggest_images(
    member: Member,
    run: Path,
    items: Iterable[HeldImage],
    count: int,
    seed: int,
    bad: Callable[[ImageError], None],
) -> Suggestions:
    """The `count` images of `items` to label next. `bad` hears of each that cannot be used.

    Raises DataError where the run was trained on all of them, or none could be used.
    """
    seen, refused = SeenImages([run]), BadImages(bad)
    keys: list[str] = []
    features: list[np.ndarray] = []
    probabilities: list[np.ndarray] = []
    num_known = 0
    for batch in refused.good_batches(stream_features(member, items, seen.recognises)):
        is_new_G = ~batch.is_recognised_G
        num_known += len(batch.recognised)
        keys += [item.key for item, is_new in zip(batch.good, is_new_G, strict=True) if is_new]
        features.append(batch.feature_GD[is_new_G])
        probabilities.append(batch.probability_GK[is_new_G].astype(np.float32))
    if num_known and not keys:
        raise DataError(
            f"The run was trained on all {counted(num_known, 'image')}, or on nearly the same ones: they have labels.\n"
            f"Give images that it has not seen."
        )
    if not keys:
        raise DataError("No image could be used, so none is suggested.")
    notes = _known_notes(num_known, seen)
    probability_NK = np.concatenate(probabilities)
    chosen = choose_badge(np.concatenate(features), probability_NK, count, seed)
    if len(chosen) < count and len(chosen) < len(keys):
        notes.append(
            f"Only {counted(len(chosen), 'image')} can teach the network something new: to it, each of the others is "
            f"like one of these, or beyond doubt."
        )
    elif len(keys) < count:
        notes.append(f"{count:,} were asked for, and there are {len(keys):,}.")
    answer_N = member.task.answer_of(probability_NK)
    return Suggestions(
        suggested=tuple(
            Suggestion(
                key=keys[place],
                answer=member.classes[answer_N[place]],
                probability=float(probability_NK[place, answer_N[place]]),
            )
            for place in chosen.tolist()
        ),
        num_images=len(keys),
        num_known=num_known,
        errors=refused.errors,
        notes=tuple(notes),
    )


def _known_notes(num_known: int, seen: SeenImages) -> list[str]:
    told = []
    if num_known:
        one = num_known == 1
        told.append(
            f"{counted(num_known, 'image')} {'is' if one else 'are'} left out: the run was trained on "
            f"{'it' if one else 'them'}, or on nearly the same {'one' if one else 'ones'}."
        )
    return told + seen.unknown()


def write_suggestions(path: Path, suggestions: Suggestions) -> None:
    """Write the images to `path` as CSV, the first to label first, durably. Raises StorageError."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(["image", "class", "probability"])
    for one in suggestions.suggested:
        rows.writerow([safe_cell(one.key), safe_cell(one.answer), f"{one.probability:.6f}"])
    atomic.write_text(path, text.getvalue())
