"""What of a refused set can be looked at all the same: the images of those files of it that can be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....core.types import Record
from ...limits import MAX_CLASS_NAME_CHARACTERS
from ...source import DataSource
from .listing import class_order, is_text

NO_CLASS = "(no class)"


@dataclass(frozen=True, kw_only=True)
class ReadableFile:
    """The images of one file, its `split` if its name says one: for each a key and a class name ("" where none is
    known); `read` gives the image of a row as `DataSource.read` does."""

    split: str | None
    keys: Sequence[str]
    classes: Sequence[str]
    read: Callable[[int], bytes | np.ndarray]


class ReadableImages(DataSource):
    """The images of `files`, one file behind the other; `notes` say what cannot be read."""

    def __init__(self, name: str, files: Sequence[ReadableFile], notes: Sequence[str]) -> None:
        self.name = name
        self.digest = ""
        self.notes = tuple(notes)
        self._files = files
        self._start_F = np.cumsum([0, *(len(file.keys) for file in files)])
        self.classes = class_order({_usable(own) for file in files for own in file.classes})
        self._label_of = {own: label for label, own in enumerate(self.classes)}

    def __len__(self) -> int:
        return int(self._start_F[-1])

    def record(self, index: int) -> Record:
        file, row = self._place(index)
        label = self._label_of[_usable(file.classes[row])]
        return Record(key=file.keys[row], label=label, split=file.split)

    def read(self, index: int) -> bytes | np.ndarray:
        file, row = self._place(index)
        return file.read(row)

    def _place(self, index: int) -> tuple[ReadableFile, int]:
        number = int(np.searchsorted(self._start_F, index, side="right")) - 1
        return self._files[number], index - int(self._start_F[number])


def _usable(name: str) -> str:
    return name if 0 < len(name) <= MAX_CLASS_NAME_CHARACTERS and is_text(name) else NO_CLASS


def first_line(error: Exception) -> str:
    """What is wrong, without what to do about it."""
    return str(error).splitlines()[0]
