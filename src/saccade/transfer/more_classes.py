"""Where the images of new classes come from, and the set that they and a run's own images are together."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError, printable, shell_word
from ..core.types import Record
from ..data.source import DataSource, open_source
from ..data.sources.shared.image_files import (
    ENDINGS_SHOWN,
    has_images,
    images_directly_in,
    read_file,
    subfolders,
    walk_images,
)
from ..data.sources.shared.listing import class_order, refuse_twins


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


def open_more(text: str, known: Sequence[str], run: Path) -> DataSource:
    """The images of new classes: a folder of one class or of several, or any source. Raises DataError, and UsageError
    where the run knows one of the classes."""
    more = ClassFolders(Path(text)) if text and Path(text).is_dir() else open_source(text)
    more.task.refuse_unknown("saccade add-class")
    twice = [name for name in more.classes if name in known]
    if twice:
        raise UsageError(
            f"{printable(str(run))} knows the class '{printable(twice[0])}' already.\n"
            f"A class is added by its new name. To learn from more images of it, put them beside the others: "
            f"saccade transfer SOURCE --weights {shell_word(run)}"
        )
    refuse_twins(printable(more.name), [*known, *more.classes], "Name the new class so that it can be told apart.")
    return more
