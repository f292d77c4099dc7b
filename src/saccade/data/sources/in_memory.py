"""Images that a caller of the library holds: arrays, or a list of files with their labels, as a `DataSource`."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ...core.errors import DataError, ImageError, brief, printable
from ...core.given import text_of
from ...core.task import ONE_LABEL, SEVERAL_LABELS, Task
from ...core.types import MAX_BANDS, AnyPath, Record
from ..source import GIVEN_SOURCES, DataSource, sound
from .shared.image_files import read_file
from .shared.label_lists import RowLabels, SettledLabels
from .shared.listing import check_classes, class_order, parse_split, refuse_twins

Pixels = np.ndarray | Sequence[np.ndarray]
Label = str | int | Sequence[str] | Sequence[int]  # a sequence: all labels of an image that may have several
Labels = np.ndarray | Sequence[Label]
Listed = tuple[AnyPath, str | int] | tuple[AnyPath, str | int, str]
GivenImages = AnyPath | DataSource | tuple[Pixels, Labels] | Sequence[Listed]
ONE_CLASS = "Give images of at least one more class."
SPELLING = "Write the label the same way for every image."


class _Given(DataSource):
    """N images with their labels, and splits where they have them. Keys are what messages name an image by."""

    def __init__(
        self,
        name: str,
        keys: Sequence[str],
        labels: Labels,
        classes: Sequence[str] | None,
        splits: Sequence[str] | None,
    ) -> None:
        self.name = name
        where = printable(name)
        _same_length(where, len(keys), labels, "labels")
        self.task, self.classes, self._rows = _settled(where, labels, classes)
        self._keys = keys
        self._splits: list[str] | None = None
        if splits is not None:
            _same_length(where, len(keys), splits, "splits")
            self._splits = [parse_split(str(split), f"{where}, image {i}") for i, split in enumerate(splits)]

    def __len__(self) -> int:
        return len(self._keys)

    def record(self, index: int) -> Record:
        split = None if self._splits is None else self._splits[index]
        label, labels = self._rows.label(index), self._rows.labels(index)
        return Record(key=self._keys[index], label=label, split=split, labels=labels)

    def _digest(self, images: "hashlib._Hash") -> str:
        images.update(repr((self.classes, self._splits)).encode("utf-8", "surrogatepass"))
        images.update(self._rows.content().astype(np.int64).tobytes())
        return images.hexdigest()


class ArraySource(_Given):
    """Images as arrays: `images` uint8 or uint16 (N, H, W, 3) RGB, (N, H, W, 1) or (N, H, W) grey, (N, H, W, C) bands
    (2 or 4 to 64 channels that are not colours), or a list or an object array of single ones, which may differ in size.

    `labels` are class names, or whole numbers, which are then the names unless `classes` lists names for 0, 1, ...
    Where an image may have several labels, each is a list of them, or `labels` is an array (N, K) of 0 and 1; a
    single column, (N, 1), is one label for each image.
    `splits` says `train`, `validation` or `test` for each image; without it the images are divided as those of a folder
    are. The arrays are not copied: leave them as they are until the verb has ended. Raises DataError.
    """

    def __init__(
        self,
        images: Pixels,
        labels: Labels,
        *,
        classes: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> None:
        self._images = _checked_pixels(printable(name), images)
        super().__init__(name, [str(index) for index in range(len(self._images))], labels, classes, splits)
        digest = hashlib.sha256()
        for image in self._images:
            digest.update(repr(image.shape).encode() + np.ascontiguousarray(image).data)
        self.digest = self._digest(digest)
        self.notes = notes_on_channels(self._images)

    def read(self, index: int) -> np.ndarray:
        return self._images[index]


class FileSource(_Given):
    """Image files with their labels: (path, label), or (path, label, split), for each. Keys are the paths as given.

    `classes` as in `ArraySource`. Files are read when they are needed. Raises DataError.
    """

    def __init__(self, files: Sequence[Listed], *, classes: Sequence[str] | None = None, name: str = "files") -> None:
        where = printable(name)
        rows = [_checked_row(where, number, row) for number, row in enumerate(files)]
        paths = [row[0] for row in rows]
        _refuse_twice(where, paths)
        splits = [row[2] for row in rows]
        if None in splits and any(splits):
            raise DataError(
                f"{where}: {printable(paths[splits.index(None)])} is of no split, but other files are.\n"
                f"Give all of them one: (path, label, split)."
            )
        given = [split for split in splits if split is not None]
        super().__init__(name, paths, [row[1] for row in rows], classes, given or None)
        self.digest = self._digest(hashlib.sha256(repr(paths).encode("utf-8", "surrogatepass")))

    def read(self, index: int) -> bytes:
        return read_file(b"", os.fsencode(self._keys[index]))


class HeldSource(_Given):
    """Images of any kind, each known by what reads it, with `label_N` (numbers of `classes`). The digest is that of
    their pixels; of those in `paths`, which are files, that of the path."""

    def __init__(
        self, images: Sequence["HeldImage"], label_N: np.ndarray, *, classes: Sequence[str], paths: set[int], name: str
    ) -> None:
        self._images = images
        keys = [image.key for image in images]
        seen: set[str] = set()
        for number, key in enumerate(keys):  # the same file may come twice, as in a sample drawn with replacement
            keys[number] = f"{key} (image {number})" if key in seen else key
            seen.add(key)
        super().__init__(name, keys, label_N, classes, None)
        digest = hashlib.sha256()
        for number, image in enumerate(images):
            digest.update(repr(image.key).encode("utf-8", "surrogatepass") if number in paths else _content(image))
        self.digest = self._digest(digest)

    def read(self, index: int) -> bytes | np.ndarray:
        return self._images[index].read()


def as_source(given: GivenImages) -> str | DataSource:
    """What a caller gave as images: the text of a path or of a built-in set, or a source. Raises DataError."""
    if isinstance(given, DataSource):
        return given
    if isinstance(given, str | os.PathLike):
        return text_of(given)
    if isinstance(given, tuple) and len(given) == 2 and _are_pixels(given[0]):
        return ArraySource(*given)
    if isinstance(given, Sequence) and given and all(isinstance(row, Sequence) for row in given):
        return FileSource(cast(Sequence[Listed], given))
    raise DataError(
        f"No images can be read from {_kind(given)}.\n"
        f"Give a path, a set such as 'digits', (images, labels) as arrays, [(path, label), ...] or a DataSource."
    )


@contextmanager
def known_source(given: GivenImages) -> Iterator[str]:
    """The text by which `given` is opened in the enclosed work: of a path that path, of images in memory a name."""
    source = as_source(given)
    if isinstance(source, str):
        yield source
    else:
        sound(source)
        with GIVEN_SOURCES.known(source.name, source.digest, source) as text:
            yield text


@dataclass(frozen=True)
class HeldImage:
    """An image that is not a file: what messages call it, what gives its bytes or pixels, its class where a source
    knows it, and whether it is an array that a caller gave, whose fourth channel may be meant as transparency."""

    key: str
    read: Callable[[], bytes | np.ndarray]
    label: str = ""
    is_array: bool = False

    def __str__(self) -> str:
        return self.key


def notes_on_channels(images: Sequence[np.ndarray]) -> tuple[str, ...]:
    """What a person should know of arrays whose fourth channel may be meant as transparency."""
    if any(image.ndim == 3 and image.shape[2] == 4 for image in images):
        return ("Arrays of 4 channels are taken as 4 bands. Where the fourth is transparency, leave it out.",)
    return ()


def checked_image(where: str, image: Any) -> np.ndarray:
    """One image as uint8 or uint16 (H, W), (H, W, 3) RGB, or (H, W, C) bands: what a .npy file of it would hold. Raises
    DataError saying what else was given."""
    pixels = array_of(where, image)
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        remedy = "Turn values in 0 to 1 into them by (images * 255).round().astype('uint8')."
        if pixels.dtype == object and pixels.ndim > 1:
            remedy = "Turn them into numbers by images.astype('uint8')."
        elif pixels.dtype.kind in "OSUV":
            remedy = "Give an array of numbers, or the path of a file as text."
        elif pixels.dtype.kind in "iu":
            remedy = "Turn values in 0 to 255 into them by images.astype('uint8')."
        raise DataError(f"{where} holds {pixels.dtype} values; pixels are uint8, 0 to 255, or uint16.\n{remedy}")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    has_far_channels = pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] != 3
    if pixels.size and (pixels.ndim == 2 or pixels.ndim == 3 and pixels.shape[2] <= MAX_BANDS) and not has_far_channels:
        return pixels
    hint = f"Give (height, width, 3) RGB, grey, or 2 to {MAX_BANDS} bands."
    if pixels.ndim == 3 and pixels.shape[0] <= MAX_BANDS:
        hint = "Put the channels last: image.transpose(1, 2, 0)."
    raise DataError(f"{where} has the shape {pixels.shape}, which is not that of an image.\n{hint}")


def array_of(where: str, given: Any) -> np.ndarray:
    """`given` as NumPy sees it. Raises DataError where it cannot, as a tensor with a gradient or on a GPU, and where
    values are masked: an image has no such values."""
    try:
        pixels = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{where} cannot be read as an array of NumPy: {brief(printable(str(error)), 200)}\n"
            f"Give a uint8 array; of a tensor image.detach().cpu().numpy()."
        ) from None
    if np.ma.is_masked(given):
        raise DataError(f"{where} has masked values, and pixels cannot be left out.\nFill them: image.filled(0).")
    return pixels


def _checked_pixels(where: str, images: Pixels) -> list[np.ndarray]:
    if not len(images):
        raise DataError(f"{where} holds no image.\nGive some images with their labels.")
    if isinstance(images, list | tuple):
        return [checked_image(f"{where}: image {number}", image) for number, image in enumerate(images)]
    pixels = array_of(where, images)
    if pixels.dtype == object and pixels.ndim == 1:  # how NumPy and pandas hold images of several sizes
        return _checked_pixels(where, list(pixels))
    if pixels.ndim not in (3, 4):
        raise DataError(
            f"{where} has the shape {pixels.shape}; images are (number, height, width, channels).\n"
            f"Put a single image into a list."
        )
    return [checked_image(where, image) for image in pixels]


def _checked_row(where: str, number: int, row: Sequence[Any]) -> tuple[str, str | int, str | None]:
    if isinstance(row, str) or len(row) not in (2, 3) or not isinstance(row[0], str | os.PathLike):
        raise DataError(
            f"{where}: entry {number} is {printable(repr(row))[:80]}, not (path, label) or (path, label, split).\n"
            f"List every file with its label."
        )
    return text_of(row[0]), row[1], row[2] if len(row) == 3 else None


def _refuse_twice(where: str, paths: Sequence[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise DataError(f"{where} lists {printable(path)} twice.\nKeep one entry for each file.")
        seen.add(path)


def _same_length(where: str, number: int, values: Labels, what: str) -> None:
    if isinstance(values, str) or not hasattr(values, "__len__"):
        kind = "one text" if isinstance(values, str) else f"a value of type {type(values).__name__}"
        raise DataError(f"{where}: its {what} are {kind}.\nGive a list of them, one for each image, in order.")
    if len(values) != number:
        raise DataError(
            f"{where} has {number:,} images and {len(values):,} {what}.\nGive one for each image, in order."
        )


def _settled(where: str, labels: Labels, classes: Sequence[str] | None) -> tuple[Task, tuple[str, ...], RowLabels]:
    """(one label or several, class names in label order, the labels)."""
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else _lists_of_columns(where, labels)  # a column: one label each
    lists = [isinstance(label, list | tuple | set | frozenset) for label in labels]
    if not any(lists):
        names, label_N = _numbered(where, labels, classes)
        settled = SettledLabels(task=ONE_LABEL, classes=names, numbers=tuple((k,) for k in range(len(names))))
        return settled.task, names, settled.of_rows(label_N)
    if not all(lists):
        raise DataError(
            f"{where}: the label of image {lists.index(False)} is not a list, and others are.\n"
            f"Give each image a list of its labels; [] where it has none."
        )
    rows: list[tuple[Any, ...]] = [tuple(dict.fromkeys(cast(Sequence[Any], label))) for label in labels]
    flat = [label for row in rows for label in row]
    if not flat:
        raise DataError(f"{where} has no image with a label: there is nothing to learn.\nLabel some of its images.")
    names, flat_N = _numbered(where, flat, classes)
    ends = np.cumsum([len(row) for row in rows])[:-1]
    numbers = tuple(tuple(sorted(part.tolist())) for part in np.split(flat_N, ends))
    settled = SettledLabels(task=SEVERAL_LABELS, classes=names, numbers=numbers)
    return settled.task, names, settled.of_rows(np.arange(len(rows)))


def _lists_of_columns(where: str, label_NK: np.ndarray) -> list[list[int]]:
    """The places of the 1 in each row of an array of 0 and 1."""
    if not np.isin(label_NK, (0, 1)).all():
        raise DataError(
            f"{where} has labels of the shape {label_NK.shape} that are not all 0 or 1.\n"
            f"Give a column of 0 and 1 for each class, or one label for each image."
        )
    return [np.flatnonzero(row).tolist() for row in label_NK]


def _numbered(where: str, labels: Labels, classes: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names in label order, label_N int64)."""
    values = [label.item() if isinstance(label, np.generic) else label for label in np.asarray(labels, dtype=object)]
    for number, label in enumerate(values):
        if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
            raise DataError(
                f"{where}: the label of image {number} is {printable(repr(label))[:80]}; labels are class names or "
                f"whole numbers.\nName the class of every image."
            )
    if isinstance(classes, str):
        raise DataError(f"{where}: its classes are one text.\nGive a list of their names: classes=['cat', 'dog'].")
    names = class_order([str(label) for label in values]) if classes is None else tuple(str(name) for name in classes)
    check_classes(where, names, ONE_CLASS)
    refuse_twins(where, names, SPELLING)
    place = {name: number for number, name in enumerate(names)}
    if classes is not None and all(isinstance(label, int) for label in values):
        place = {str(number): number for number in range(len(names))}
    unknown = next((label for label in values if str(label) not in place), None)
    if unknown is not None:
        raise DataError(
            f"{where}: the label {printable(repr(unknown))[:80]} is not among its {len(names)} classes.\n"
            f"Add its name to `classes`, or correct the label."
        )
    return names, np.array([place[str(label)] for label in values], dtype=np.int64)


def _content(image: "HeldImage") -> bytes:
    """What tells one image from another, also where it cannot be read, which is told when it is needed."""
    try:
        pixels = np.ascontiguousarray(image.read())
    except ImageError as error:
        return error.message.encode("utf-8", "surrogatepass")
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _are_pixels(images: Any) -> bool:
    first = images[0] if isinstance(images, list | tuple) and images else images
    return hasattr(first, "__array__")


def _kind(given: Any) -> str:
    kind = type(given).__name__
    return f"an empty {kind}" if isinstance(given, Sequence) and not given else f"a value of type {kind}"
