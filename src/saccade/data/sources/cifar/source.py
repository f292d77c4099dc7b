"""CIFAR-10 and CIFAR-100, python and binary version, unpacked or in the published archive.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html
(layout of both versions). The python version consists of pickles; they are read without being run.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError, printable
from ....core.plain_files import open_plain_file
from ....core.types import Record
from ...gzip_files import open_gzip
from ...limits import refuse_expansion
from ...source import DataSource, SourceFormat, register
from ..shared.listing import check_classes
from ..shared.readable import ReadableFile, ReadableImages, first_line
from ..shared.tar_members import DamagedTar, tar_members
from .plain_pickle import read_plain_pickle

IMAGE_BYTES = 3 * 32 * 32
MAX_FILE_BYTES = 200_000_000
GZIP_MAGIC = b"\x1f\x8b"
ARCHIVE_NAME = re.compile(r"cifar-?100?\b.*\.(tar\.gz|tgz|tar)$", re.IGNORECASE)
MAX_CLASSES = 256  # that a byte can tell apart
TRAIN_10 = tuple(f"data_batch_{number}" for number in range(1, 6))


@dataclass(frozen=True)
class Layout:
    """One published version: its files, in the order of the images, and what a row of them holds."""

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    names_key: str = ""
    labels_key: str = ""
    label_bytes: int = 0  # in front of the pixels, in the binary version; the last one is the label

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.names)


LAYOUTS = (
    Layout(
        "CIFAR-10", "cifar-10-batches-py", TRAIN_10, "test_batch", "batches.meta", "label_names", labels_key="labels"
    ),
    Layout(
        "CIFAR-10 (binary)",
        "cifar-10-batches-bin",
        tuple(f"{name}.bin" for name in TRAIN_10),
        "test_batch.bin",
        "batches.meta.txt",
        label_bytes=1,
    ),
    Layout("CIFAR-100", "cifar-100-python", ("train",), "test", "meta", "fine_label_names", labels_key="fine_labels"),
    Layout(
        "CIFAR-100 (binary)",
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        label_bytes=2,
    ),
)


class Cifar(DataSource):
    """32x32 RGB pixels, all in memory; keys are `file/row`; the splits are the published ones."""

    def __init__(self, path: Path, layout: Layout, files: Mapping[str, bytes]) -> None:
        self.name = str(path)
        where = printable(self.name)
        missing = [name for name in layout.files if name not in files]
        if missing:
            raise DataError(
                f"{where} looks like {layout.name}, but has no {', '.join(missing)}.\n"
                f"Download it again: all of {', '.join(layout.files)} are needed."
            )
        self.classes = _class_names(layout, files[layout.names], f"{where}/{layout.names}")
        batches = [_read_batch(layout, files[name], f"{where}/{name}", len(self.classes)) for name in layout.files[:-1]]
        counts = [len(label_N) for _, label_N in batches]
        if len(set(counts[:-1])) > 1:
            listed = ", ".join(f"{count:,}" for count in counts[:-1])
            raise DataError(
                f"{where}: its training files have {listed} images, which should be the same number.\n"
                f"The shorter ones are cut off: download it again."
            )
        self._image_NCHW = np.concatenate([image_ND for image_ND, _ in batches]).reshape(-1, 3, 32, 32)
        self._label_N = np.concatenate([label_N for _, label_N in batches])
        self._files = layout.files[:-1]
        self._starts = np.cumsum([0, *counts])
        self._num_train = len(self._label_N) - counts[-1]
        parts = [self._label_N.tobytes(), repr((self.classes, counts, layout.name)).encode()]
        self.digest = hashlib.sha256(b"".join(parts)).hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        return Record(
            key=f"{self._files[file]}/{index - self._starts[file]}",
            label=int(self._label_N[index]),
            split="train" if index < self._num_train else "test",
        )

    def read(self, index: int) -> np.ndarray:
        return _image(self._image_NCHW, index)


def open_cifar(text: str) -> Cifar:
    """The set in the folder or archive `text`. Raises DataError."""
    path = Path(text)
    folder, layout = find_folder(path) or (None, None)
    if folder is not None and layout is not None:
        return Cifar(path, layout, _read_folder(folder, layout))
    archive = _find_archive(path) or path
    files: dict[str, bytes] = {}
    _read_archive(archive, files)
    layout = next((layout for layout in LAYOUTS if set(layout.train) & set(files)), None)
    if layout is None:
        raise DataError(
            f"{printable(str(archive))} is named like CIFAR, but has none of its files.\n"
            f"Download it again, or rename it."
        )
    return Cifar(archive, layout, files)


def open_readable(path: Path) -> ReadableImages | None:
    """The images of a set that is refused, in those of its files that are whole; by number, where no names are."""
    folder, layout = find_folder(path) or (None, None)
    files: dict[str, bytes] = {}
    notes: list[str] = []
    if folder is not None and layout is not None:
        files = _read_folder(folder, layout)
    else:
        try:
            _read_archive(_find_archive(path) or path, files)
        except DataError as error:
            notes.append(first_line(error))
        layout = next((layout for layout in LAYOUTS if set(layout.files[:-1]) & set(files)), None)
    if layout is None:
        return None
    names: Sequence[str] = tuple(map(str, range(MAX_CLASSES)))
    try:
        names = _class_names(layout, files.get(layout.names, b""), f"{path}/{layout.names}")
    except DataError as error:
        notes.append(first_line(error))
    found = []
    for name in layout.files[:-1]:
        try:
            image_ND, label_N = _read_batch(layout, files.get(name, b""), f"{path}/{name}", len(names))
        except DataError as error:
            notes.append(first_line(error) if name in files else f"{printable(str(path))} has no whole {name}.")
            continue
        image_NCHW = image_ND.reshape(-1, 3, 32, 32)
        found.append(
            ReadableFile(
                split="test" if name == layout.test else "train",
                keys=[f"{name}/{row}" for row in range(len(label_N))],
                classes=[names[label] for label in label_N.tolist()],
                read=partial(_image, image_NCHW),
            )
        )
    return ReadableImages(str(path), found, notes)


def _image(image_NCHW: np.ndarray, row: int) -> np.ndarray:
    """Its pixels, (H, W, C)."""
    return np.ascontiguousarray(image_NCHW[row].transpose(1, 2, 0))


def find_folder(path: Path) -> tuple[Path, Layout] | None:
    """Which version lies in the folder `path`, or in a folder of the published name inside it."""
    if not path.is_dir():
        return None
    for layout in LAYOUTS:
        for folder in (path, path / layout.folder):
            data = (*layout.train, layout.test)
            if (folder / layout.names).is_file() and any((folder / name).is_file() for name in data):
                return folder, layout
            if layout.label_bytes == 1 or len(layout.train) > 1:  # names that nothing else has
                if any((folder / name).is_file() for name in data):
                    return folder, layout
    return None


def _find_archive(path: Path) -> Path | None:
    candidates = [path] if path.is_file() else sorted(path.glob("[cC][iI][fF][aA][rR]*")) if path.is_dir() else []
    return next((entry for entry in candidates if ARCHIVE_NAME.search(entry.name) and entry.is_file()), None)


def _read_folder(folder: Path, layout: Layout) -> dict[str, bytes]:
    files = {}
    for name in layout.files:
        path = folder / name
        try:
            if path.is_file():
                _check_size(printable(str(path)), path.stat().st_size)
                with open_plain_file(path) as file:
                    files[name] = file.read()
        except OSError as error:
            raise DataError(
                f"{printable(str(path))} cannot be read: {error.strerror or error}.\nCheck its permissions."
            ) from None
    return files


def _read_archive(path: Path, files: dict[str, bytes]) -> None:
    """Enter the files of any version in a tar archive, by name; those in front of a fault, where it has one."""
    where = printable(str(path))
    wanted = {name for layout in LAYOUTS for name in layout.files}
    try:
        with open_plain_file(path) as start:
            is_gzip = start.read(2) == GZIP_MAGIC
        file_bytes = path.stat().st_size
        with open_gzip(path) if is_gzip else open_plain_file(path) as stream:
            for member in tar_members(stream):
                name = member.name.rpartition("/")[2]
                refuse_expansion(where, file_bytes, member.offset + member.num_bytes)
                if name in wanted and name not in files and member.kind == "file":
                    _check_size(f"{where}/{printable(name)}", member.num_bytes)
                    if not is_gzip and member.offset + member.num_bytes > file_bytes:
                        raise DamagedTar(f"it ends inside {name}")
                    stream.seek(member.offset)
                    content = stream.read(member.num_bytes)
                    if len(content) != member.num_bytes:
                        raise DamagedTar(f"it ends inside {name}")
                    files[name] = content
            while stream.read(1 << 20):  # to the end, where gzip has its checksum
                refuse_expansion(where, file_bytes, stream.tell())
    except (OSError, EOFError, zlib.error, DamagedTar) as error:
        reason = printable(str(error)[:80])
        raise DataError(f"{where} is cut off or damaged ({reason}).\nDownload it again.") from None


def _check_size(where: str, num_bytes: int) -> None:
    if num_bytes > MAX_FILE_BYTES:
        raise DataError(f"{where} has {num_bytes:,} bytes; no file of CIFAR has more than 200 million.")


def _read_batch(layout: Layout, content: bytes, where: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(image_ND uint8 (N, 3072), label_N int64) of one file."""
    if layout.label_bytes:
        row_bytes = layout.label_bytes + IMAGE_BYTES
        if not content or len(content) % row_bytes:
            raise DataError(
                f"{where} has {len(content):,} bytes; whole images are a multiple of {row_bytes:,}.\n"
                f"It is cut off: download it again."
            )
        row_ND = np.frombuffer(content, np.uint8).reshape(-1, row_bytes)
        image_ND, label_N = row_ND[:, layout.label_bytes :], row_ND[:, layout.label_bytes - 1].astype(np.int64)
    else:
        image_ND, label_N = _pickled_batch(layout, content, where)
    if label_N.max() >= num_classes or label_N.min() < 0:
        outside = int(label_N.max() if label_N.max() >= num_classes else label_N.min())
        raise DataError(
            f"{where} has the label {outside}, but {layout.names} names {num_classes} classes, "
            f"0 to {num_classes - 1}.\n"
            f"The two do not belong together: download both again."
        )
    return image_ND, label_N


def _pickled_batch(layout: Layout, content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    batch = read_plain_pickle(content, where)
    image_ND, labels = (_entry(batch, key, where) for key in ("data", layout.labels_key))
    if not isinstance(image_ND, np.ndarray) or image_ND.ndim != 2 or image_ND.shape[1] != IMAGE_BYTES:
        shape = "x".join(map(str, getattr(image_ND, "shape", ()))) or "something else"
        raise DataError(f"{where}: 'data' is {shape}, not images of 3,072 bytes a row.\nDownload it again.")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 1 << 31 for label in labels):
        raise DataError(f"{where}: '{layout.labels_key}' is not a list of whole numbers.\nDownload it again.")
    if len(labels) != len(image_ND) or not labels:
        raise DataError(f"{where} has {len(image_ND):,} images, but {len(labels):,} labels.\nDownload it again.")
    return image_ND, np.array(labels, dtype=np.int64)


def _entry(batch: Any, key: str, where: str) -> Any:
    if not isinstance(batch, dict) or key not in batch:
        raise DataError(f"{where} has no '{key}': it is not a file of CIFAR's python version.\nDownload it again.")
    return batch[key]


def _class_names(layout: Layout, content: bytes, where: str) -> tuple[str, ...]:
    names: Sequence[Any]
    if layout.label_bytes:
        names = content.decode("latin-1").split()
    else:
        names = _entry(read_plain_pickle(content, where), layout.names_key, where)
    is_list = isinstance(names, list | tuple)
    names = [name.decode("latin-1") if isinstance(name, bytes) else name for name in names] if is_list else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise DataError(f"{where} does not hold the names of the classes, each once.\nDownload it again.")
    check_classes(where, names, "Download it again.")
    return tuple(names)


register(
    SourceFormat(
        name="cifar",
        summary="CIFAR-10 or CIFAR-100, python or binary version, unpacked or the published .tar.gz",
        example="path/to/cifar-10-python.tar.gz",
        recognises=lambda text: find_folder(Path(text)) is not None or _find_archive(Path(text)) is not None,
        open=open_cifar,
        open_readable=lambda text, _: open_readable(Path(text)),
        priority=22,
    ),
    __name__,
)
