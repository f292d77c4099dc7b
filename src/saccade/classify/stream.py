"""One stream of images for every answer: files, bytes, arrays or a source become batches, in the order asked.

Every image is read and decoded once, on threads that run ahead of the network, by `decode_image`; `prepare_looks` makes
of it what each distinct preprocessing wants.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ImageError, printable
from ..core.plain_files import open_plain_file
from ..core.types import Preprocessing
from ..data.images.bands import channel_words, network_pixels
from ..data.images.decode import DecodedImage, decode_image
from ..data.images.preprocess import decoded_short_side_px, refuse_large_resize
from ..data.left_out import PassedOver
from ..data.limits import refuse_large_image
from ..data.loading.reader_threads import Readers
from ..data.source import DataSource
from ..data.sources.in_memory import HeldImage
from ..data.sources.shared.image_files import walk_images, why_no_images
from .classifier import Classifier, Prepared
from .crops import Look, prepare_looks

BATCH_SIZE = 32
BATCHES_AHEAD = 2
LOOK_EVERY_S = 0.5
READ_TIMEOUT_S = 120.0

Way = tuple[int | None, int]  # how an image was decoded: the short side in pixels at least, and 16 bits' white
Recognises = Callable[[str, bytes | np.ndarray, DecodedImage, Way], bool]  # of key, content, image and its way


@dataclass(frozen=True, kw_only=True)
class StreamBatch:
    """Some images in order. `errors` names those that cannot be used by their place; `prepared` holds the others.

    `notes` are sentences on damage beside the pixels of an image, by its place. `recognised` are the places of the good
    images that are known again, where the stream asks.
    """

    keys: tuple[str, ...]
    errors: dict[int, ImageError]
    notes: dict[int, tuple[str, ...]]
    prepared: Prepared
    recognised: frozenset[int] = frozenset()

    @property
    def num_good(self) -> int:
        return len(self.keys) - len(self.errors)

    @property
    def num_recognised(self) -> int:
        return len(self.recognised)

    def refuse_bad_images(self) -> None:
        """Raise the ImageError of the first image that cannot be used."""
        for error in self.errors.values():
            raise error


def items_of_files(paths: Iterable[Path]) -> Iterator[HeldImage]:
    """Image files, each read when its turn comes."""
    return (HeldImage(str(path), partial(read_file, path)) for path in paths)


def items_of_source(source: DataSource, index_N: np.ndarray) -> Iterator[HeldImage]:
    """The images `index_N` of a source."""
    return (_item_of_source(source, int(index)) for index in index_N)


def stream(
    classifier: Classifier,
    items: Iterable[HeldImage],
    looks: Sequence[Look] = (),
    recognises: Recognises | None = None,
) -> Iterator[StreamBatch]:
    """`items` in batches of 32, prepared for every member and every view of `classifier` (or those of `looks`).

    `recognises` is asked of every image, on the reading threads. Raises DataError naming a file whose reading has not
    finished after two minutes.
    """
    views = tuple(looks) or classifier.views
    return prepared_stream(items, classifier.preprocessings, views, classifier.runtime.num_threads, recognises)


def prepared_stream(
    items: Iterable[HeldImage],
    kinds: Sequence[Preprocessing],
    views: Sequence[Look],
    num_threads: int,
    recognises: Recognises | None = None,
) -> Iterator[StreamBatch]:
    """What `stream` gives, for each of `kinds` and `views`, where no classifier is asked: the pictures of a report."""
    waiting = iter(items)
    readers = Readers(num_threads)
    pending: deque[_Pending] = deque()
    try:
        while batch := list(islice(waiting, BATCH_SIZE)):
            pending.append(_Pending(batch, readers, kinds, views, recognises))
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
    is_recognised: bool


_Found = _Image | ImageError


class _Pending:
    """One batch on its way: every thread reads, decodes and prepares a share of it."""

    def __init__(
        self,
        items: list[HeldImage],
        readers: Readers,
        kinds: Sequence[Preprocessing],
        views: Sequence[Look],
        recognises: Recognises | None,
    ) -> None:
        self._items, self._readers, self._kinds, self._views = items, readers, kinds, views
        self._recognises = recognises
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
            recognised=frozenset(
                place for place, image in enumerate(images) if isinstance(image, _Image) and image.is_recognised
            ),
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
        decoded: dict[Way, DecodedImage] = {}
        prepared, notes = [], dict[str, None]()
        try:
            with self._readers.reading(item.key):
                content = item.read()
            for kind in self._kinds:
                short_px = decoded_short_side_px(kind)
                short_px = None if short_px is None else ceil(short_px * largest)
                way = (short_px, kind.white_16_bit)
                if way not in decoded:
                    decoded[way] = decode_image(content, item.key, *way)
                if item.is_array and decoded[way].is_bands and not kind.has_bands:
                    raise ImageError(item.key, _other_channels(decoded[way]))
                refuse_large_resize(item.key, decoded[way].image_HWC.shape[:2], kind, largest)
                prepared.append(prepare_looks(network_pixels(decoded[way], item.key, kind), kind, self._views))
                notes |= dict.fromkeys(decoded[way].notes_on_bands if kind.has_bands else decoded[way].notes)
            way = min(decoded, key=lambda way: way[0] or 0)  # the whole image, where one preprocessing asks for it
            known = self._recognises is not None and self._recognises(item.key, content, decoded[way], way)
        except ImageError as error:
            return error
        return _Image(prepared=prepared, notes=tuple(notes), is_recognised=known)


def _item_of_source(source: DataSource, index: int) -> HeldImage:
    record = source.record(index)
    label = ";".join(source.classes[label] for label in record.all_labels)
    return HeldImage(
        record.key, partial(source.read, index), label if record.value is None else repr(float(record.value))
    )


def read_file(path: Path) -> bytes:
    """The content of an image file. Raises ImageError where it is not there or cannot be read."""
    try:
        with open_plain_file(path) as file:
            num_bytes = os.fstat(file.fileno()).st_size
            refuse_large_image(str(path), num_bytes)
            return file.read(num_bytes)
    except OSError as error:
        reason = (
            "is a folder; give one image file" if os.path.isdir(path) else f"cannot be read: {error.strerror or error}"
        )
        raise ImageError(str(path), f"{reason}.") from None


def list_images(paths: Iterable[Path], passed_over: PassedOver | None = None) -> Iterator[HeldImage]:
    """The images a person means: files as given; of folders the files with an image's ending, sorted by path.

    A path that is not there, or a folder without an image, is an item whose reading raises ImageError, so that the
    others are answered. `passed_over` counts the other files of folders with images. Raises DataError for a folder that
    cannot be listed.
    """
    for path in paths:
        if not os.path.isdir(path):  # `Path.is_dir` raises OSError for a name that is too long
            yield HeldImage(str(path), partial(read_file, path))
            continue
        others = PassedOver()
        inside = sorted(walk_images(path, passed_over=others))
        yield from items_of_files(Path(os.fsdecode(name)) for name in inside)
        if not inside:
            yield HeldImage(str(path), partial(_no_image, path))
        elif passed_over is not None:
            passed_over.update(others)


def _other_channels(decoded: DecodedImage) -> str:
    """Of an array: a file of so many channels is no picture with transparency, but an array may be meant as one."""
    return (
        f"it has {channel_words(decoded.band_HWC.shape[2])}, and the network takes grey or colours. Give (height, "
        f"width, 3) RGB, without an alpha channel."
    )


def _no_image(path: Path) -> bytes:
    raise ImageError(str(path), why_no_images(path) or "the folder is changing: its images came after it was listed.")
