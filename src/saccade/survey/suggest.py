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
from ..core.display import Displayed, Rows, figure
from ..core.errors import DataError, ImageError, counted
from ..core.task import Task
from ..data.sources.in_memory import HeldImage
from ..evaluate.label_mistakes import joined
from ..evaluate.mistakes import safe_cell
from ..evaluate.rates import percent
from .label_next import choose_badge, choose_spread


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """An image to label, and the present answer to it with its probability.

    Where an image may have several labels, `labels` are those that are said, and `answer` is the class that is most in
    doubt, yes or no, with its probability. Where a number is asked for, it is `number`, `answer` is its name, and
    `probability` is NaN.
    """

    key: str
    answer: str
    probability: float
    labels: tuple[str, ...] | None = None
    number: float | None = None

    def cells(self) -> tuple[str, ...]:
        """What is shown of it after its name."""
        if self.number is not None:
            return (figure(self.number),)
        probability = f"{percent(self.probability)} %"
        if self.labels is None:
            return self.answer, probability
        return ", ".join(self.labels) or "none", self.answer, probability

    def as_json(self) -> dict[str, Any]:
        """One entry of `suggested`."""
        if self.number is not None:
            return {"file": self.key, "name": self.answer, "number": self.number}
        said = {"class": self.answer, "probability": self.probability}
        return {"file": self.key, **({} if self.labels is None else {"labels": list(self.labels)}), **said}


@dataclass(frozen=True, kw_only=True, repr=False)
class Suggestions(Displayed):
    """Images to label, the most useful first, chosen from `num_images`.

    `num_known` more were left out since the run was trained on them, `errors` are of images that could not be used.
    `notes` say why there are fewer than were asked for, and what is not known. `task` and `classes` are the run's.
    """

    task: Task
    classes: tuple[str, ...]
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
        headings: tuple[str, ...] = ("image", "answer now", "probability")
        if self.task.is_several:
            headings = ("image", "labels now", "most in doubt", "probability")
        elif self.task.is_number:
            headings = headings[:2]
        return headings, [(one.key, *one.cells()) for one in self.suggested]

    def sentence(self) -> str:
        """How many images are suggested, of how many."""
        what = counted(len(self.suggested), "image")
        by = "by how unsure the network is and how much they differ"
        if self.task.is_number:
            by = "by how much they differ from the training images and from each other"
        return f"{what} to label next, of {self.num_images:,}, {by}."

    def as_json(self) -> dict[str, Any]:
        """The object of `suggest --json`, without the run."""
        return {
            "suggested": [one.as_json() for one in self.suggested],
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
        images, ones = f"all {num_known:,} images", "ones: they have labels"
        if num_known == 1:
            images, ones = "the image", "one: it has a label"
        raise DataError(
            f"The run was trained on {images}, or on nearly the same {ones}.\nGive images that it has not seen."
        )
    if not keys:
        raise DataError("No image could be used, so none is suggested.")
    notes = _known_notes(num_known, seen)
    probability_NK = np.concatenate(probabilities)
    feature_ND = np.concatenate(features)
    if member.task.is_number:
        chosen = choose_spread(feature_ND, _known_features(member, feature_ND), count, seed)
    else:
        chosen = choose_badge(feature_ND, probability_NK, count, seed, member.task)
    if len(chosen) < count and len(chosen) < len(keys):
        why = (
            "like one of these, or of the training images"
            if member.task.is_number
            else ("like one of these, or beyond doubt")
        )
        notes.append(
            f"Only {counted(len(chosen), 'image')} can teach the network something new: to it, each of the others is "
            f"{why}."
        )
    elif len(keys) < count:
        notes.append(f"{count:,} were asked for, and there are {len(keys):,}.")
    return Suggestions(
        task=member.task,
        classes=member.classes,
        suggested=tuple(_suggestion(member, keys[place], probability_NK[place]) for place in chosen.tolist()),
        num_images=len(keys),
        num_known=num_known,
        errors=refused.errors,
        notes=tuple(notes),
    )


def _suggestion(member: Member, key: str, probability_K: np.ndarray) -> Suggestion:
    task, classes = member.task, member.classes
    if task.is_number:
        return Suggestion(key=key, answer=classes[0], probability=float("nan"), number=float(probability_K[0]))
    place = (
        int(np.abs(probability_K - 0.5).argmin()) if task.is_several else int(task.answer_of(probability_K[None])[0])
    )
    return Suggestion(
        key=key,
        answer=classes[place],
        probability=float(probability_K[place]),
        labels=task.labels_of(probability_K, classes),
    )


def _known_features(member: Member, feature_ND: np.ndarray) -> np.ndarray | None:
    """The features of training images that the run keeps, of unit length; None where it keeps none, or others."""
    kept = member.novelty
    return kept.unit_MD if kept is not None and kept.num_features == feature_ND.shape[1] else None


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
    task = suggestions.task
    headings = ["class", "probability"]
    rows.writerow(["image", *(["number"] if task.is_number else ["labels"] * task.is_several + headings)])
    for one in suggestions.suggested:
        cells = [] if one.labels is None else [safe_cell(joined(one.labels, suggestions.classes))]
        cells += [safe_cell(one.answer), f"{one.probability:.6f}"]
        if one.number is not None:
            cells = [f"{one.number:.9g}"]
        rows.writerow([safe_cell(one.key), *cells])
    atomic.write_text(path, text.getvalue())
