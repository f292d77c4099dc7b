"""Tar shards in the WebDataset convention: files of one base name are a sample, `0001.jpg` with `0001.cls`.

A. Aizman, G. Maltby and T. Breuel, High Performance I/O For Large Scale Deep Learning, 2019, arXiv:2001.01858; for sets
that are too many files for a disk, or lie on another machine. The label is `.cls` (a number or a name), or the value of
`label` in `.json`; in shards without either, the folder in which the image lies.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ....core.addresses import WEB, is_address, is_hub, shown
from ....core.errors import DataError, printable
from ....core.types import Record
from ...limits import MAX_CLASS_NAME_CHARACTERS, MAX_NAMES_BYTES, read_small_file
from ...records import RecordTable, one_label_each, table_of_labels
from ...source import DataSource, SourceFormat, register
from ..shared.label_lists import refuse_label_lists
from ..shared.listing import (
    UNSPLIT,
    PackedNames,
    check_classes,
    class_order,
    is_number,
    is_split_folder,
    parts_by_folder,
    refuse_twins,
    split_name,
    split_of_name,
    splits_among,
    splits_of_files,
)
from ..shared.readable import ReadableFile, ReadableImages, first_line
from .index import list_members
from .lookahead import Lookahead, in_order
from .names import find_shards
from .remote import look_up, remote, trouble
from .shards import Member, Shard, read_range, sample_name, walk_shard
from .store import open_store

IMAGE_FIELDS = ("jpg", "jpeg", "jpe", "png", "webp", "bmp", "gif")
LABEL_FIELDS = ("cls", "label", "class")
LABEL_KEYS = ("label", "cls", "class")
NAMES_FILES = ("classnames.txt", "classes.txt")
MAX_LABEL_BYTES = 1 << 20


class TarShards(DataSource):
    """Keys are `shard/sample`. The index takes about 30 bytes a sample and its name."""

    def __init__(self, text: str) -> None:
        self.name = text
        where = shown(text)
        shards, self.far_bytes, self.notes = _with_store(find_shards(text))
        index = _Index()
        self._shards = []
        for number, (shard, members) in enumerate(_listed(shards)):
            index.add_shard(number, shard, members)
            self._shards.append(shard)
        if not len(index.names):
            raise DataError(f"{where} has no image in its {len(self._shards)} tar files.\nCheck what is in them.")
        self._names = index.names
        self._offset_N = np.array(index.offsets, dtype=np.int64)
        self._bytes_N = np.array(index.sizes, dtype=np.int64)
        self._shard_N = np.array(index.shards, dtype=np.int32)
        self.classes, label_of_number = _classes(where, list(index.label_numbers), _read_names(self._shards))
        self._label_N = label_of_number[np.array(index.labels)]
        split_S = splits_of_files([Path(shard.name) for shard in self._shards], where)
        self._part_N = np.array(split_S, np.int8)[self._shard_N]
        by_folder_N = parts_by_folder(self._names) if set(split_S) == {UNSPLIT} else None
        if by_folder_N is not None:
            self._part_N = by_folder_N
            _refuse_parts_as_classes(where, self.classes)
        _refuse_repeated(self._names, self._shard_N, self._shards)
        listing = repr((self.classes, [shard.name for shard in self._shards])).encode()
        listing += b"" if by_folder_N is None else by_folder_N.tobytes()
        files = [shard.there for shard in self._shards if shard.there is not None]
        store = shards[0].store
        self._lookahead = None if store is None else Lookahead(store, files)
        self.digest = self._names.digest(listing, self._offset_N, self._bytes_N, self._shard_N, self._label_N)

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        split = split_name(int(self._part_N[index]))
        return Record(key=self._key(index), label=int(self._label_N[index]), split=split)

    def table(self) -> RecordTable:
        return table_of_labels(self._label_N, one_label_each(len(self.classes)), self._part_N)

    def shard_N(self) -> np.ndarray:
        return self._shard_N

    def expect(self, index_N: np.ndarray) -> None:
        if self._lookahead is not None:
            self._lookahead.expect(self._shard_N[index_N])

    def read(self, index: int) -> bytes:
        number = int(self._shard_N[index])
        if self._lookahead is not None:
            self._lookahead.reading(number)
        shard = self._shards[number]
        return read_range(shard, int(self._offset_N[index]), int(self._bytes_N[index]), self._key(index))

    def _key(self, index: int) -> str:
        return f"{self._shards[self._shard_N[index]].name}/{os.fsdecode(self._names[index])}"


@dataclass
class _Sample:
    """The members of one base name that count. A label file goes before a label in JSON, which may be in words."""

    name: str
    image: Member | None = None
    label: str | None = None
    described: str | None = None


class _Index:
    """The samples of all shards, packed; labels numbered in the order they first occur."""

    def __init__(self) -> None:
        self.names = PackedNames()
        self.offsets, self.sizes, self.shards, self.labels = array("q"), array("q"), array("i"), array("i")
        self.label_numbers: dict[str, int] = {}

    def add_shard(self, number: int, shard: Shard, members: Iterable[Member]) -> None:
        sample = _Sample("")
        for member in members:
            name, kind = sample_name(member.name)
            if _is_ignored(name):
                continue
            if name != sample.name:
                self._finish(number, shard, sample)
                sample = _Sample(name)
            try:
                _add_member(sample, member, kind)
            except _Slip as slip:
                raise DataError(f"{printable(shard.path)}: {printable(member.name)} {slip}") from None
        self._finish(number, shard, sample)

    def _finish(self, number: int, shard: Shard, sample: _Sample) -> None:
        if sample.image is None and sample.label is None:
            return
        label = sample.label or sample.described or PurePosixPath(sample.name).parent.name
        if sample.image is None or not label:
            where, name = printable(shard.path), printable(sample.name)
            if sample.image is not None:
                raise DataError(f"{where}: the sample {name} has no label.\nAdd {name}.cls beside it, with its class.")
            raise DataError(
                f"{where}: the sample {name} has a label, but no image.\nFiles of one sample stand next to each other."
            )
        self.names.append(os.fsencode(sample.image.name.removeprefix("./")))
        self.offsets.append(sample.image.offset)
        self.sizes.append(sample.image.num_bytes)
        self.shards.append(number)
        self.labels.append(self.label_numbers.setdefault(label, len(self.label_numbers)))


def _refuse_parts_as_classes(where: str, classes: Sequence[str]) -> None:
    """Raise DataError where the only folders are the parts of the set: they would be learned as classes."""
    if len(splits_among(classes)) == len(classes):
        raise DataError(
            f"{where} holds parts of a set ({' and '.join(map(printable, classes))}) without class folders: nothing "
            f"says which image is what.\nWrite the class of each sample beside it, as 0001.cls, or above it, as "
            f"train/cat/0001.jpg."
        )


def _refuse_repeated(names: PackedNames, shard_N: np.ndarray, shards: Sequence[Shard]) -> None:
    """Raise DataError where a shard holds two files of one name: which of them is meant cannot be known."""
    hash_N = np.fromiter((hash((int(shard_N[i]), names[i])) for i in range(len(names))), np.int64, len(names))
    order_N = np.argsort(hash_N, kind="stable")
    for place in np.flatnonzero(np.diff(hash_N[order_N]) == 0).tolist():
        one, two = order_N[place : place + 2].tolist()
        if names[one] == names[two] and shard_N[one] == shard_N[two]:
            raise DataError(
                f"{printable(shards[shard_N[one]].path)} holds {printable(os.fsdecode(names[one]))} twice.\n"
                f"Write the shard again, with each name once."
            )


def _with_store(shards: list[Shard]) -> tuple[list[Shard], int, tuple[str, ...]]:
    """(shards, bytes of them at a distance, notes): each of those has its size, its version and its store."""
    if not is_address(shards[0].path):
        return shards, 0, ()
    files = list(in_order(look_up, [shard.path for shard in shards]))
    num_bytes = sum(file.num_bytes for file in files)
    store, note = open_store(max(file.num_bytes for file in files))
    if store is not None:
        note = (
            f"shards are fetched whole into {printable(str(store.folder))}: {num_bytes / 1e6:,.1f} MB, "
            f"of which at most {store.limit_bytes / 1e6:,.1f} MB are kept"
        )
    found = [replace(shard, there=file, store=store) for shard, file in zip(shards, files, strict=True)]
    return found, num_bytes, (note,)


def _listed(shards: list[Shard]) -> Iterator[tuple[Shard, Iterable[Member]]]:
    """Each shard with its members; those at a distance are fetched and walked four at a time."""
    endings = tuple(f".{name}" for name in (*LABEL_FIELDS, "json"))
    if shards[0].there is None:
        yield from ((shard, walk_shard(shard, endings, MAX_LABEL_BYTES)) for shard in shards)
        return
    yield from in_order(lambda shard: list_members(shard, endings, MAX_LABEL_BYTES), shards)


def open_readable(text: str) -> ReadableImages:
    """The images of shards that are refused, up to the place where one is damaged; those without a label of their own
    have the folder's name for a class, or none."""
    notes: list[str] = []
    files = []
    for shard in find_shards(text, left_out=notes):
        members: list[Member] = []
        label_of: dict[str, str] = {}
        try:
            for member in walk_shard(shard, tuple(f".{name}" for name in (*LABEL_FIELDS, "json")), MAX_LABEL_BYTES):
                name, kind = sample_name(member.name)
                ending = kind.rpartition(".")[2]
                if _is_ignored(name):
                    continue
                if ending in IMAGE_FIELDS:
                    members.append(member)
                elif ending in (*LABEL_FIELDS, "json"):
                    label_of.setdefault(name, _readable_label(ending, member))
        except DataError as error:
            notes.append(first_line(error))
        names = [sample_name(member.name)[0] for member in members]
        keys = [f"{shard.name}/{member.name.removeprefix('./')}" for member in members]
        files.append(
            ReadableFile(
                split=split_of_name(PurePosixPath(shard.name).stem),
                keys=keys,
                classes=[label_of.get(name) or PurePosixPath(name).parent.name for name in names],
                read=partial(_read_member, shard, members, keys),
            )
        )
    return ReadableImages(text, files, notes)


def _readable_label(ending: str, member: Member) -> str:
    try:
        return _label(ending, member) or ""
    except _Slip:
        return ""


def _read_member(shard: Shard, members: list[Member], keys: list[str], row: int) -> bytes:
    return read_range(shard, members[row].offset, members[row].num_bytes, keys[row])


class _Slip(Exception):
    """What is wrong with a member, without its name: writing that for every member would take most of the time."""


def _add_member(sample: _Sample, member: Member, kind: str) -> None:
    ending = kind.rpartition(".")[2]
    if ending in IMAGE_FIELDS:
        if sample.image is not None:
            raise _Slip("is the second image of its sample.\nLeave one image in each sample.")
        sample.image = member
    elif ending in LABEL_FIELDS:
        label = _label(ending, member)
        if sample.label not in (None, label):
            both = f"'{printable(label or '')}', another file of its sample '{printable(sample.label or '')}'"
            raise _Slip(f"says {both}.\nRemove one.")
        sample.label = label
    elif ending == "json":
        sample.described = _label(ending, member)


def _label(ending: str, member: Member) -> str | None:
    """The label in a `.cls` or `.json` file; None where a JSON object has none."""
    if member.content is None:
        raise _Slip(f"has {member.num_bytes:,} bytes, which is not a label.")
    try:
        text = member.content.decode("utf-8").strip()
        value = json.loads(text) if ending == "json" else text
    except (ValueError, RecursionError):
        raise _Slip(f"is not {'JSON' if ending == 'json' else 'UTF-8 text'}.\nWrite it again.") from None
    if ending == "json":
        found = [value[key] for key in LABEL_KEYS if key in value] if isinstance(value, dict) else []
        if not found:
            return None
        if isinstance(found[0], list):
            raise _Slip(
                "holds a list of classes; several labels an image are not read from tar files.\n"
                "List the images in a CSV or Parquet file."
            )
        value = str(found[0]) if type(found[0]) in (int, str) else ""
    if not value or len(value) > MAX_CLASS_NAME_CHARACTERS:
        raise _Slip("holds no class: neither a number nor a name.\nWrite the class into it.")
    return str(value)


def _is_ignored(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in name.split("/"))


def _classes(where: str, labels: list[str], names: list[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """(classes, label of each of `labels`)."""
    are_numbers = all(is_number(label) for label in labels)
    if names is not None and are_numbers:
        highest = max(int(label) for label in labels)
        if highest >= len(names):
            raise DataError(
                f"{where} has the label {highest}, but its file of class names has {len(names)} lines.\n"
                f"Number the classes from 0, one line each."
            )
        classes, label_N = tuple(names), [int(label) for label in labels]
    else:
        refuse_label_lists(where, labels, "tar files")
        classes = class_order(labels)
        order = {name: number for number, name in enumerate(classes)}
        label_N = [order[label] for label in labels]
    check_classes(where, classes, "Give shards with images of at least one more class.")
    refuse_twins(where, classes, "Write the label the same way in every sample.")
    return classes, np.array(label_N, dtype=np.int32)


def _read_names(shards: list[Shard]) -> list[str] | None:
    """The lines of classnames.txt or classes.txt beside the shards, or above the folders of their splits."""
    folder = os.path.dirname(shards[0].path)
    folders = [folder, os.path.dirname(folder)] if is_split_folder(os.path.basename(folder)) else [folder]
    for path in (f"{inside}/{name}" for inside in folders for name in NAMES_FILES):
        try:
            if is_address(path):
                content = _read_remote_names(path)
            else:
                place, shown = Path(path), printable(path)
                content = read_small_file(place, MAX_NAMES_BYTES, shown, "list") if place.is_file() else None
            text = None if content is None else content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{printable(path)} cannot be read as UTF-8 text ({printable(str(error)[:80])}).") from None
        if text is not None:
            return [line.strip() for line in text.strip().splitlines()]
    return None


def _read_remote_names(address: str) -> bytes | None:
    """The whole list at `address`; None where there is none. Raises DataError where it is too long, OSError."""
    files, inner = remote(address)
    try:
        if not files.exists(inner):
            return None
        if address.partition("://")[0] in WEB:
            return bytes(files.cat_file(inner))  # which has a limit of its own, and asks for no range
        content = bytes(files.cat_file(inner, start=0, end=MAX_NAMES_BYTES + 1))
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        raise trouble(address, error) from None
    if len(content) > MAX_NAMES_BYTES:
        raise DataError(f"{shown(address)} has more than {MAX_NAMES_BYTES:,} bytes: no list is so large.")
    return content


def recognises(text: str) -> bool:
    """A tar file or a pattern of them, here or at a URL; or a folder of tar files without folders of classes."""
    if is_address(text):
        return ".tar" in text.lower() or (text.endswith("/") and not is_hub(text))
    path = Path(text)
    if not path.is_dir():
        lower = text.lower()
        is_pattern = "*" in text or "{" in text
        return (path.is_file() or is_pattern) and (lower.endswith((".tar", ".tgz")) or ".tar." in lower)
    places = [path]
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir():
                if not is_split_folder(entry.name):
                    return False
                places.append(path / entry.name)
    return any(next(place.glob("*.tar"), None) is not None for place in places)


register(
    SourceFormat(
        name="tar",
        summary="tar shards (WebDataset: 0001.jpg, 0001.cls), a folder or pattern of them, also s3://, https:// ...",
        example="path/to/train-{000..011}.tar",
        recognises=recognises,
        open=TarShards,
        open_readable=lambda text, _: open_readable(text),
        priority=26,
    ),
    __name__,
)
