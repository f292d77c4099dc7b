"""IDX folders: the files of MNIST and its relatives, raw or gzipped.

Format: http://yann.lecun.com/exdb/mnist (two zero bytes, type code, number of dimensions, big-endian sizes, values).
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...core.errors import DataError, brief, printable
from ...core.plain_files import open_plain_file
from ...core.types import Record
from ..gzip_files import open_gzip
from ..limits import MAX_ARRAY_BYTES, MAX_IMAGE_PIXELS, refuse_expansion
from ..source import DataSource, SourceFormat, register
from .shared.listing import check_classes
from .shared.readable import ReadableFile, ReadableImages, first_line

UNSIGNED_BYTE = 8
SPLIT_WORDS = {"train": "train", "t10k": "test", "test": "test"}
MAX_HEADER_BYTES = 16
MAX_SURPLUS_BYTES = 16 << 20  # behind the values, which are counted to say how many there are

FASHION_MNIST = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot".split(", ")


class IdxFolder(DataSource):
    """`<part>-images-idx3-ubyte[.gz]` with `<part>-labels-idx1-ubyte[.gz]`; train and t10k are train and test."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        images, labels, splits = [], [], []
        image_paths = find_image_files(folder)
        _refuse_several_sets(folder, image_paths)
        for image_path in image_paths:
            label_path = _partner(image_path)
            image_NHW, label_N = read_idx(image_path), read_idx(label_path)
            _check_pair(image_path, image_NHW, label_path, label_N)
            images.append(image_NHW)
            labels.append(label_N)
            splits += [_set_and_split(image_path)[1]] * len(label_N)
        if len({image.shape[1:] for image in images}) > 1:
            raise DataError(f"{printable(self.name)}: its image files have different sizes; they are not one set.")
        self._image_NHW = np.concatenate(images)
        number_N = np.concatenate(labels)
        number_K, label_N = np.unique(number_N, return_inverse=True)  # those that occur: EMNIST's letters begin at 1
        self._label_N = label_N.astype(np.uint8)
        self._splits = splits
        is_fashion = int(number_K[-1]) + 1 == len(FASHION_MNIST) and "fashion" in folder.resolve().name.lower()
        self.classes = tuple(FASHION_MNIST[number] if is_fashion else str(number) for number in number_K.tolist())
        check_classes(printable(self.name), self.classes, "Check its label files.")
        self.digest = hashlib.sha256(number_N.tobytes() + repr((self._image_NHW.shape, splits)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=int(self._label_N[index]), split=self._splits[index])

    def read(self, index: int) -> np.ndarray:
        return self._image_NHW[index]


def open_readable(folder: Path) -> ReadableImages:
    """The images of a folder that is refused; without classes where the label file is what is wrong."""
    files: list[ReadableFile] = []
    notes: list[str] = []
    for path in find_image_files(folder):
        try:
            image_NHW = read_idx(path)
            _check_images(path, image_NHW)
        except DataError as error:
            notes.append(first_line(error))
            continue
        classes = [""] * len(image_NHW)
        try:
            label_path = _partner(path)
            label_N = read_idx(label_path)
            _check_pair(path, image_NHW, label_path, label_N)
            classes = list(map(str, label_N.tolist()))
        except DataError as error:
            notes.append(first_line(error))
        keys = [f"{path.name}/{row}" for row in range(len(image_NHW))]
        split = _set_and_split(path)[1]
        files.append(ReadableFile(split=split, keys=keys, classes=classes, read=image_NHW.__getitem__))
    return ReadableImages(str(folder), files, notes)


def find_image_files(folder: Path) -> list[Path]:
    """The image files of an IDX folder, training part first; one where both raw and gzipped are there."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*-images*idx3-ubyte*")):
        if path.suffix in (".gz", "") or path.name.endswith("ubyte"):
            found.setdefault(path.name.removesuffix(".gz"), path)
    return sorted(found.values(), key=lambda path: (not path.name.startswith("train"), path.name))


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, uint8. Raises DataError naming the file."""
    where = printable(str(path))
    try:
        file_bytes = path.stat().st_size
        with open_gzip(path) if path.suffix == ".gz" else open_plain_file(path) as file:
            shape = _read_header(file.read(MAX_HEADER_BYTES), where)
            num_header_bytes = 4 + 4 * len(shape)
            expected = num_header_bytes + math.prod(shape)
            if expected > MAX_ARRAY_BYTES:
                raise DataError(f"{where} says it has {expected:,} bytes; at most {MAX_ARRAY_BYTES:,} are read.")
            if path.suffix != ".gz" and expected != file_bytes:
                raise DataError(_wrong_size(where, f"{file_bytes:,}", expected))
            refuse_expansion(where, file_bytes, expected)
            file.seek(0)
            content = file.read(expected)
            num_bytes = len(content) + _surplus_bytes(file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} cannot be read: {brief(error)}.\nDownload it again.") from None
    if num_bytes != expected:
        most = expected + MAX_SURPLUS_BYTES
        found = f"more than {most:,}" if num_bytes > most else f"{num_bytes:,}"
        raise DataError(_wrong_size(where, found, expected))
    return np.frombuffer(content, np.uint8, offset=num_header_bytes).reshape(shape)


def _wrong_size(where: str, found: str, expected: int) -> str:
    return f"{where} has {found} bytes; its header says {expected:,}.\nDownload it again."


def _surplus_bytes(file: BinaryIO | gzip.GzipFile) -> int:
    """How many bytes follow, counted up to just above MAX_SURPLUS_BYTES; reading to the end checks gzip's checksum."""
    num_bytes = 0
    while num_bytes <= MAX_SURPLUS_BYTES and (rest := file.read(1 << 20)):
        num_bytes += len(rest)
    return num_bytes


def _read_header(start: bytes, where: str) -> tuple[int, ...]:
    """The sizes that the first bytes of a file declare."""
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTE or not 1 <= start[3] <= 3:
        raise DataError(f"{where} is not an IDX file of bytes (it begins with {start[:4].hex()}).\nDownload it again.")
    if len(start) < 4 + 4 * start[3]:
        raise DataError(f"{where} ends inside its header.\nDownload it again.")
    return struct.unpack_from(f">{start[3]}I", start, 4)


def _set_and_split(image_path: Path) -> tuple[str, str | None]:
    """What the name of an image file says: `emnist-letters` and `train` of emnist-letters-train-images-idx3-ubyte."""
    words = image_path.name.lower().partition("-images")[0].split("-")
    split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
    return "-".join(word for word in words if word not in SPLIT_WORDS), split


def _refuse_several_sets(folder: Path, image_paths: list[Path]) -> None:
    sets = sorted({_set_and_split(path)[0] for path in image_paths})
    if len(sets) > 1:
        raise DataError(
            f"{printable(str(folder))} holds several sets: {', '.join(printable(name) for name in sets[:6])}.\n"
            f"Move the files of each into a folder of its own."
        )


def _partner(image_path: Path) -> Path:
    stem = image_path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    candidates = [image_path.with_name(stem), image_path.with_name(stem + ".gz")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise DataError(
        f"{printable(str(image_path))} has no labels: neither {stem} nor {stem}.gz is beside it.\n"
        f"Download the label file too."
    )


def _check_pair(image_path: Path, image_NHW: np.ndarray, label_path: Path, label_N: np.ndarray) -> None:
    if image_NHW.ndim != 3 or label_N.ndim != 1:
        raise DataError(f"{printable(image_path.name)} and {printable(label_path.name)} are not images and labels.")
    if len(image_NHW) != len(label_N):
        raise DataError(
            f"{printable(image_path.name)} has {len(image_NHW):,} images, but {printable(label_path.name)} "
            f"{len(label_N):,} labels: they do not belong together.\nDownload both again."
        )
    _check_images(image_path, image_NHW)


def _check_images(image_path: Path, image_NHW: np.ndarray) -> None:
    if image_NHW.ndim != 3 or not len(image_NHW):
        raise DataError(f"{printable(str(image_path))} has no images.")
    height_px, width_px = image_NHW.shape[1:]
    if not 0 < height_px * width_px <= MAX_IMAGE_PIXELS:
        raise DataError(
            f"{printable(str(image_path))} says that its images have {height_px}x{width_px} pixels; 1 to "
            f"{MAX_IMAGE_PIXELS:,} are read.\nDownload it again."
        )


register(
    SourceFormat(
        name="idx",
        summary="a folder of MNIST-like files, train-images-idx3-ubyte and so on, raw or .gz",
        example="path/to/fashion-mnist",
        recognises=lambda text: Path(text).is_dir() and bool(find_image_files(Path(text))),
        open=lambda text: IdxFolder(Path(text)),
        open_readable=lambda text, _: open_readable(Path(text)),
        priority=20,
    ),
    __name__,
)
