"""Folders of class images, and the set that a run's own images and those of further classes are together."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError, printable
from ..core.types import Record
from .source import DataSource, open_source
from .sources.shared.image_files import (
    ENDINGS_SHOWN,
    has_images,
    images_directly_in,
    read_file,
    subfolders,
    walk_images,
)
from .sources.shared.listing import class_order, one_class_is_enough


class ClassFolders(DataSource):
    """A folder of images, which is one class of the folder's name, or a folder of such folders; one class is enough."""

    def __init__(self, folder: Path) -> None:
        where = printable(str(folder))
        holding = [name for name in subfolders(folder) if has_images(folder / name)]
        loose = images_directly_in(folder)
        if holding and loose:
            raise DataError(
                f"The folder {where} holds images and folders of images.\n"
                f"Put the images of each class into a folder of its own, or name the folder of one class."
            )
        if not holding and not loose:
            raise DataError(f"The folder {where} holds no images (endings looked for: {ENDINGS_SHOWN}).")
        self.name = str(folder)
        self.classes = class_order(holding) if holding else (folder.resolve().name,)
        self._root = os.fsencode(folder)
        self._files: list[tuple[bytes, int]] = []
        for label, name in enumerate(self.classes):
            below = folder / name if holding else folder
            self._files += [(path[len(self._root) :].lstrip(b"/"), label) for path in sorted(walk_images(below))]
        self.digest = hashlib.sha256(repr((self._files, self.classes)).encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def record(self, index: int) -> Record:
        name, label = self._files[index]
        return Record(key=os.fsdecode(name), label=label)

    def read(self, index: int) -> bytes:
        return read_file(self._root, self._files[index][0])


class JoinedSource(DataSource):
    """The images of `own`, then those of `more`, whose classes come behind `classes`, those of the run.

    Where images may have several labels, those of `more` may have classes of the run, too; images of `own` have none of
    the new ones.
    """

    def __init__(self, own: DataSource, more: DataSource, classes: Sequence[str]) -> None:
        self._own, self._more = own, more
        self.name = f"{own.name} and {more.name}"
        self.task = own.task
        self.classes = (*classes, *(name for name in more.classes if name not in classes))
        self._own_labels = [self.classes.index(name) for name in own.classes]
        self._more_labels = [self.classes.index(name) for name in more.classes]
        self.num_own = len(own)
        self.notes = (*own.notes, *more.notes)
        text = repr((own.digest, more.digest, self.classes))
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return self.num_own + len(self._more)

    def record(self, index: int) -> Record:
        if index < self.num_own:
            record = self._own.record(index)
            return _renumbered(record, record.key, self._own_labels)
        record = self._more.record(index - self.num_own)
        return _renumbered(record, os.path.join(self._more.name, record.key), self._more_labels)

    def read(self, index: int) -> bytes | np.ndarray:
        return self._own.read(index) if index < self.num_own else self._more.read(index - self.num_own)


def _renumbered(record: Record, key: str, numbers: Sequence[int]) -> Record:
    if record.labels is None:
        return Record(key=key, label=numbers[record.label], group=record.group)
    labels = tuple(sorted(numbers[label] for label in record.labels))
    return Record(key=key, label=-1, group=record.group, labels=labels)


def open_classes(text: str, several: bool = False) -> DataSource:
    """The images of new classes: a folder of one class or of several, or any source; where an image may have `several`
    labels, a source that says all of them. Raises DataError."""
    if several:
        with one_class_is_enough():
            return open_source(text, several=True)
    if text and Path(text).is_dir():
        return ClassFolders(Path(text))
    with one_class_is_enough():
        return open_source(text)


def open_joined(own: DataSource, texts: Sequence[str], classes: Sequence[str]) -> DataSource:
    """`own` with the classes of each of `texts` behind it, as they were added one after the other; `classes` are all
    of them. Raises DataError where the classes are others now."""
    added = [open_classes(text, own.task.is_several) for text in texts]
    if own.task.is_several:
        return _joined_labels(own, added, classes)
    num_known = len(classes) - sum(len(more.classes) for more in added)
    found = (*classes[: max(num_known, 0)], *(name for more in added for name in more.classes))
    if found != tuple(classes) or not set(own.classes) <= set(classes[:num_known]):
        names = ", ".join(printable(source.name) for source in (own, *added))
        raise DataError(f"The classes in {names} are not the {len(classes):,} that were learned from there.")
    for more in added:
        num_after = num_known + len(more.classes)
        own, num_known = JoinedSource(own, more, classes[:num_known]), num_after
    return own


def _joined_labels(own: DataSource, added: Sequence[DataSource], classes: Sequence[str]) -> DataSource:
    """The same where images may have several labels, and those of each of `added` classes that were there before."""
    brought = [name for name in classes if name not in own.classes and any(name in more.classes for more in added)]
    known = [name for name in classes if name not in brought]
    names = ", ".join(printable(source.name) for source in (own, *added))
    for more in added:
        own = JoinedSource(own, more, known)
        known = list(own.classes)
    if known != list(classes) or any(more.task != own.task for more in added):
        raise DataError(f"The classes in {names} are not the {len(classes):,} that were learned from there.")
    return own
