"""IDX folders: the files of MNIST and its relatives, raw or gzipped.

Format: http://yann.lecun.com/exdb/mnist (two zero bytes, type code, number of dimensions, big-endian sizes, values).
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from ...core.errors import DataError, printable
from ...core.types import Record
from ..base import SOURCES, DataSource, SourceFormat

UNSIGNED_BYTE = 8
SPLIT_PREFIXES = {"train": "train", "t10k": "test", "test": "test"}
MAX_BYTES = 8 << 30

FASHION_MNIST = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot".split(", ")


class IdxFolder(DataSource):
    """`<part>-images-idx3-ubyte[.gz]` with `<part>-labels-idx1-ubyte[.gz]`; train and t10k are train and test."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        images, labels, splits = [], [], []
        for image_path in find_image_files(folder):
            label_path = _partner(image_path)
            image_NHW, label_N = read_idx(image_path), read_idx(label_path)
            _check_pair(image_path, image_NHW, label_path, label_N)
            images.append(image_NHW)
            labels.append(label_N)
            splits += [SPLIT_PREFIXES.get(image_path.name.split("-")[0].lower())] * len(label_N)
        if len({image.shape[1:] for image in images}) > 1:
            raise DataError(f"{printable(self.name)}: its image files have different sizes; they are not one set.")
        self._image_NHW = np.concatenate(images)
        self._label_N = np.concatenate(labels)
        self._splits = splits
        num_classes = int(self._label_N.max()) + 1
        is_fashion = num_classes == 10 and "fashion" in folder.resolve().name.lower()
        self.classes = tuple(FASHION_MNIST) if is_fashion else tuple(str(label) for label in range(num_classes))
        self.digest = hashlib.sha256(
            self._label_N.tobytes() + repr((self._image_NHW.shape, splits)).encode()
        ).hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=int(self._label_N[index]), split=self._splits[index])

    def read(self, index: int) -> np.ndarray:
        return self._image_NHW[index]


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
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} cannot be read: {error}.\nDownload it again.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE or not 1 <= content[3] <= 3:
        raise DataError(
            f"{where} is not an IDX file of bytes (it begins with {content[:4].hex()}).\nDownload it again."
        )
    num_dimensions = content[3]
    header_bytes = 4 + 4 * num_dimensions
    if len(content) < header_bytes:
        raise DataError(f"{where} ends inside its header.\nDownload it again.")
    shape = struct.unpack(f">{num_dimensions}I", content[4:header_bytes])
    expected = header_bytes + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise DataError(f"{where} has {len(content):,} bytes; its header says {expected:,}.\nDownload it again.")
    return np.frombuffer(content, np.uint8, offset=header_bytes).reshape(shape)


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
    if not len(label_N):
        raise DataError(f"{printable(str(image_path))} has no images.")


SOURCES.add(
    "idx",
    SourceFormat(
        name="idx",
        summary="a folder of MNIST-like files, train-images-idx3-ubyte and so on, raw or .gz",
        example="path/to/fashion-mnist",
        recognises=lambda text: Path(text).is_dir() and bool(find_image_files(Path(text))),
        open=lambda text: IdxFolder(Path(text)),
        priority=20,
    ),
    __name__,
)
