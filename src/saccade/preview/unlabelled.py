"""Pictures that nobody has labelled, as a source to preview: one photo, or a folder of them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.addresses import is_address, is_hub
from ..core.errors import DataError, counted, printable
from ..core.types import Record
from ..data.source import DataSource, open_source
from ..data.sources.shared.image_files import images_directly_in, read_file, walk_images


class Unlabelled(DataSource):
    """Image files in their order, all of one class that says nothing."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self.name, self.classes, self.digest = name, ("",), ""
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def record(self, index: int) -> Record:
        return Record(key=self._paths[index].name, label=0)

    def read(self, index: int) -> bytes | np.ndarray:
        path = self._paths[index]
        return read_file(os.fsencode(path.parent), os.fsencode(path.name))


def open_pictures(text: str) -> DataSource:
    """The source `text`; where it is one image file, or a folder of images without labels, these. Raises DataError."""
    path = Path(text)
    if is_address(text) or is_hub(text) or not path.exists():
        return open_source(text, several=True)
    if path.is_file() and path.name in images_directly_in(path.parent):
        return Unlabelled(path.name, [path])
    if not path.is_dir():
        return open_source(text, several=True)
    try:
        return open_source(text, several=True)
    except DataError:
        if not images_directly_in(path):
            raise
    return Unlabelled(str(path), sorted(Path(os.fsdecode(found)) for found in walk_images(path)))


def unlabelled_line(source: Unlabelled) -> str:
    """The line that says what is shown, as others name their classes."""
    return f"data    {printable(source.name)}: {counted(len(source), 'image')} without labels"
