"""The images that a person names, as a list of which any part can be taken, and which another process makes again.

What `asked_images` gives one after the other is numbered here, so that work on it can be shared out. Of a folder the
packed names are kept, of a source what it keeps itself; an image is made when its turn comes.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np

from ..core.addresses import is_address, is_hub
from ..core.errors import UsageError
from ..core.types import AnyPath
from ..data.left_out import PassedOver
from ..data.opening_line import Told, opening_line, untold
from ..data.source import DataSource
from ..data.sources.in_memory import HeldImage
from ..data.sources.shared.image_files import walk_images
from ..data.sources.shared.listing import PackedNames
from .asked_images import STANDARD_INPUT, check_asked, image_at_address, named_source, tell_unused
from .stream import items_of_source, list_images, read_file


class Listing(ABC):
    """Images numbered 0 to N - 1. `digest` changes when the list does, not when the content of a file does."""

    digest: str

    @abstractmethod
    def __len__(self) -> int:
        """N, the number of images."""

    @abstractmethod
    def items(self, start: int, stop: int) -> Iterator[HeldImage]:
        """The images from `start` up to `stop`, in order."""


class SourceListing(Listing):
    """The images of a source, by its own keys and with its labels."""

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self.digest = source.digest

    def __len__(self) -> int:
        return len(self._source)

    def items(self, start: int, stop: int) -> Iterator[HeldImage]:
        """The images from `start` up to `stop`, in order."""
        return items_of_source(self._source, np.arange(start, stop))


class FolderListing(Listing):
    """The images in a folder and below it, sorted by path. Raises DataError for a folder that cannot be listed."""

    def __init__(self, folder: Path, passed_over: PassedOver) -> None:
        self._root = os.path.join(os.fsencode(folder), b"")
        found = sorted(walk_images(folder, passed_over=passed_over))
        self._names = PackedNames(path[len(self._root) :] for path in found)
        self.digest = self._names.digest(self._root)

    def __len__(self) -> int:
        return len(self._names)

    def items(self, start: int, stop: int) -> Iterator[HeldImage]:
        """The images from `start` up to `stop`, in order."""
        for index in range(start, stop):
            path = Path(os.fsdecode(os.path.join(self._root, self._names[index])))
            yield HeldImage(str(path), partial(read_file, path))


class FewImages(Listing):
    """Images that are named one by one."""

    def __init__(self, images: Sequence[HeldImage]) -> None:
        self._images = images
        self.digest = hashlib.sha256(repr([image.key for image in images]).encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def items(self, start: int, stop: int) -> Iterator[HeldImage]:
        """The images from `start` up to `stop`, in order."""
        return iter(self._images[start:stop])


class JoinedListing(Listing):
    """Several lists, one behind the other."""

    def __init__(self, parts: Sequence[Listing]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        self.digest = hashlib.sha256(repr([(part.digest, len(part)) for part in parts]).encode()).hexdigest()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def items(self, start: int, stop: int) -> Iterator[HeldImage]:
        """The images from `start` up to `stop`, in order."""
        number = bisect_right(self._ends, start)
        while start < stop:
            before = self._ends[number] - len(self._parts[number])
            end = min(stop, self._ends[number])
            yield from self._parts[number].items(start - before, end - before)
            start, number = end, number + 1


def asked_listing(
    texts: Sequence[str],
    passed_over: PassedOver,
    allow_url: bool = False,
    opened: Told = untold,
    unused: Told | None = None,
) -> Listing:
    """The images that `texts` name, as `asked_images` names them, with the same arguments and errors.

    Raises UsageError for standard input, which no other process could read again.
    """
    check_asked(texts, allow_url)
    if STANDARD_INPUT in texts:
        raise UsageError(
            "Standard input can be read once, by one process, and the parts of a folder of answers are shared out.\n"
            "Write the list into a CSV file with the columns file and label, or give the folder of the images."
        )
    return JoinedListing([_listing_of(text, passed_over, opened, unused) for text in texts])


ListedImages = AnyPath | Sequence[AnyPath] | DataSource | Listing


def listing_of(images: ListedImages, unused: Told | None = None) -> Listing:
    """What a caller of the library gives as images that any process can list again: paths and sources as on the command
    line, or a source that is open. `unused` as in `asked_images`."""
    if isinstance(images, Listing):
        return images
    if isinstance(images, DataSource):
        return SourceListing(images)
    paths = [images] if isinstance(images, str | os.PathLike) else images
    return asked_listing([os.fspath(path) for path in paths], PassedOver(), allow_url=True, unused=unused)


def _listing_of(text: str, passed_over: PassedOver, opened: Told, unused: Told | None) -> Listing:
    if is_address(text) and not is_hub(text):
        return FewImages([image_at_address(text)])
    source = named_source(text, unused)
    if source is None:
        return _listing_of_path(Path(text), passed_over)
    opened(opening_line(source))
    tell_unused(text, source, unused)
    return SourceListing(source)


def _listing_of_path(path: Path, passed_over: PassedOver) -> Listing:
    if path.is_dir():
        others = PassedOver()
        folder = FolderListing(path, others)
        if len(folder):
            passed_over.update(others)
            return folder
    return FewImages(list(list_images([path])))
