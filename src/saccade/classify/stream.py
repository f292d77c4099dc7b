"""One stream of images for every answer: files, bytes, arrays or a source become batches, in the order asked.

Every image is read and decoded once, on threads that run ahead of the network, by `decode_image`; `prepare_looks` makes
of it what each distinct preprocessing wants.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ImageError, printable
from ..core.types import Preprocessing
from ..data.decode import DecodedImage, decode_image
from ..data.images_in_memory import HeldImage
from ..data.limits import refuse_large_image
from ..data.preprocess import decoded_short_side_px
from ..data.readers import Readers
from ..data.source import DataSource
from ..data.sources.folder import ENDINGS
from .classifier import Classifier, Prepared
from .looks import Look, prepare_looks

BATCH_SIZE = 32
BATCHES_AHEAD = 2
LOOK_EVERY_S = 0.5
READ_TIMEOUT_S = 120.0

IMAGE_ENDINGS = frozenset(ending.decode() for ending in ENDINGS)


@dataclass(frozen=True, kw_only=True)
class StreamBatch:
    """Some images in order. `errors` names those that cannot be used by their place; `prepared` holds the others.

    `notes` are sentences on damage beside the pixels of an image, by its place.
    """

    keys: tuple[str, ...]
    errors: dict[int, ImageError]
    notes: dict[int, tuple[str, ...]]
    prepared: Prepared

    @property
    def num_good(self) -> int:
        return len(self.keys) - len(self.errors)


def items_of_files(paths: Iterable[Path]) -> Iterator[HeldImage]:
    """Image files, each read when its turn comes."""
    return (HeldImage(str(path), partial(read_file, path)) for path in paths)


def items_of_source(source: DataSource, index_N: np.ndarray) -> Iterator[HeldImage]:
    """The images `index_N` of a source."""
    return (_item_of_source(source, int(index)) for index in index_N)


def items_of_pixels(images: Sequence[bytes | np.ndarray], keys: Sequence[str]) -> Iterator[HeldImage]:
    """Encoded images, or uint8 pixels (H, W) or (H, W, 3), with their names."""
    return (HeldImage(key, partial(_same, image)) for image, key in zip(images, keys, strict=True))


def stream(classifier: Classifier, items: Iterable[HeldImage], looks: Sequence[Look] = ()) -> Iterator[StreamBatch]:
    """`items` in batches of 32, prepared for every member and every look of `classifier` (or those of `looks`).

    Raises DataError naming a file whose reading has not finished after two minutes.
    """
    kinds, views = classifier.preprocessings, tuple(looks) or classifier.looks
    waiting = iter(items)
    readers = Readers(classifier.runtime.num_threads)
    pending: deque[_Pending] = deque()
    try:
        while batch := list(islice(waiting, BATCH_SIZE)):
            pending.append(_Pending(batch, readers, kinds, views))
            if len(pending) > BATCHES_AHEAD:
                yield pending.popleft().collected()
        while pending:
            yield pending.popleft().collected()
    finally:
        for unused in pending:
            unused.cancel()
        readers.close()


@dataclass(frozen=True, kw_only=True)
class _Image:
    """`prepared` image_VHWC for each preprocessing; `notes` on damage beside the pixels."""

    prepared: list[np.ndarray]
    notes: tuple[str, ...]


_Found = _Image | ImageError


class _Pending:
    """One batch on its way: every thread reads, decodes and prepares a share of it."""

    def __init__(
        self, items: list[HeldImage], readers: Readers, kinds: Sequence[Preprocessing], views: Sequence[Look]
    ) -> None:
        self._items, self._readers, self._kinds, self._views = items, readers, kinds, views
        size = ceil(len(items) / readers.num_threads)
        self._shares: list[Future[list[_Found]]] = []
        for start in range(0, len(items), size):
            share: Future[list[_Found]] = Future()
            self._shares.append(share)
            readers.submit(partial(self._work, items[start : start + size], share))

    def cancel(self) -> None:
        """Do no more work than the shares in hand."""
        for share in self._shares:
            share.cancel()

    def collected(self) -> StreamBatch:
        """The batch, once all of it is there. Raises what went wrong on a reading thread."""
        images = [image for share in self._shares for image in self._wait_for(share)]
        good = [image.prepared for image in images if isinstance(image, _Image)]
        return StreamBatch(
            keys=tuple(item.key for item in self._items),
            errors={place: image for place, image in enumerate(images) if isinstance(image, ImageError)},
            notes={
                place: image.notes for place, image in enumerate(images) if isinstance(image, _Image) and image.notes
            },
            prepared={kind: np.stack([image[i] for image in good]) for i, kind in enumerate(self._kinds) if good},
        )

    def _wait_for(self, share: "Future[list[_Found]]") -> list[_Found]:
        while True:
            try:
                return share.result(timeout=LOOK_EVERY_S)
            except TimeoutError:
                self._name_stuck_read()

    def _name_stuck_read(self) -> None:
        oldest = self._readers.oldest()
        if oldest is not None and oldest[1] > READ_TIMEOUT_S:
            raise DataError(
                f"Reading '{printable(oldest[0])}' has not finished after {oldest[1]:.0f} s.\n"
                f"The disk or the network share it lies on may hang: try to open the file by hand."
            )

    def _work(self, items: list[HeldImage], share: "Future[list[_Found]]") -> None:
        if not share.set_running_or_notify_cancel():
            return
        try:
            share.set_result([self._prepare(item) for item in items])
        except BaseException as error:  # noqa: BLE001  raised again by `collected`, on the thread that asked for it
            share.set_exception(error)

    def _prepare(self, item: HeldImage) -> _Found:
        largest = max(look.scale for look in self._views)
        decoded: dict[int | None, DecodedImage] = {}
        prepared = []
        try:
            with self._readers.reading(item.key):
                content = item.read()
            for kind in self._kinds:
                short_px = decoded_short_side_px(kind)
                short_px = None if short_px is None else ceil(short_px * largest)
                if short_px not in decoded:
                    decoded[short_px] = decode_image(content, item.key, short_px)
                prepared.append(prepare_looks(decoded[short_px].image_HWC, kind, self._views))
        except ImageError as error:
            return error
        notes = dict.fromkeys(note for image in decoded.values() for note in image.notes)
        return _Image(prepared=prepared, notes=tuple(notes))


def _item_of_source(source: DataSource, index: int) -> HeldImage:
    return HeldImage(source.record(index).key, partial(source.read, index))


def _same(image: bytes | np.ndarray) -> bytes | np.ndarray:
    return image


def read_file(path: Path) -> bytes:
    """The content of an image file. Raises ImageError where it is not there or cannot be read."""
    try:
        refuse_large_image(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        reason = "is a folder; give one image file" if path.is_dir() else f"cannot be read: {error.strerror or error}"
        raise ImageError(str(path), f"{reason}.") from None


def list_images(paths: Iterable[Path]) -> list[Path]:
    """The files a person means: files as given, folders searched for files with an image's ending, sorted.

    Raises DataError where a path is not there or a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
            inside = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
            if not inside:
                raise DataError(
                    f"The folder {printable(str(path))} holds no images (endings looked for: "
                    f"{' '.join(sorted(IMAGE_ENDINGS))}).\nGive image files, or a folder that has some."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"There is no file or folder '{printable(str(path))}'.\nCheck the path and its spelling.")
    return found
