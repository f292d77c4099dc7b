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
    """The images of `own`, then those of `more`, whose classes come behind `classes`, those of the run."""

    def __init__(self, own: DataSource, more: DataSource, classes: Sequence[str]) -> None:
        self._own, self._more = own, more
        self.name = f"{own.name} and {more.name}"
        self.classes = (*classes, *more.classes)
        self._own_labels = [classes.index(name) for name in own.classes]
        self.num_own, self._num_known = len(own), len(classes)
        self.notes = (*own.notes, *more.notes)
        text = repr((own.digest, more.digest, self.classes))
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return self.num_own + len(self._more)

    def record(self, index: int) -> Record:
        if index < self.num_own:
            record = self._own.record(index)
            return Record(key=record.key, label=self._own_labels[record.label], group=record.group)
        record = self._more.record(index - self.num_own)
        key = os.path.join(self._more.name, record.key)
        return Record(key=key, label=self._num_known + record.label, group=record.group)

    def read(self, index: int) -> bytes | np.ndarray:
        return self._own.read(index) if index < self.num_own else self._more.read(index - self.num_own)


def open_classes(text: str) -> DataSource:
    """The images of new classes: a folder of one class or of several, or any source. Raises DataError."""
    if text and Path(text).is_dir():
        return ClassFolders(Path(text))
    with one_class_is_enough():
        return open_source(text)


def open_joined(own: DataSource, texts: Sequence[str], classes: Sequence[str]) -> DataSource:
    """`own` with the classes of each of `texts` behind it, as they were added one after the other; `classes` are all
    of them. Raises DataError where the classes are others now."""
    added = [open_classes(text) for text in texts]
    num_known = len(classes) - sum(len(more.classes) for more in added)
    found = (*classes[: max(num_known, 0)], *(name for more in added for name in more.classes))
    if found != tuple(classes) or not set(own.classes) <= set(classes[:num_known]):
        names = ", ".join(printable(source.name) for source in (own, *added))
        raise DataError(f"The classes in {names} are not the {len(classes):,} that were learned from there.")
    for more in added:
        num_after = num_known + len(more.classes)
        own, num_known = JoinedSource(own, more, classes[:num_known]), num_after
    return own
