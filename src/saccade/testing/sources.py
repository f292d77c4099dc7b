"""The contract of a source: `check_source` runs it on an example and says which promise is broken, and where."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..core.errors import ImageError, printable
from ..core.types import SPLITS, Record
from ..data.images.decode import decode_image
from ..data.source import SOURCES, DataSource, SourceFormat
from .contract import broken, errors_told, require_subject

NUM_THREADS = 8
NUM_READS = 400
EXAMPLE = "Write check_source('mine', 'tests/mine'): the source, and the address of a small set that it opens"


def check_source(source_format: str | SourceFormat = "", example: str = "") -> None:
    """Raise ContractError with what to write and where, unless a registered source keeps its promises.

    `example` is the address of a small set, as a person types it: a folder, a file, a name. It must have at least two
    classes and an image of each.
    """
    require_subject(source_format, SourceFormat, "check_source", EXAMPLE)
    name = source_format if isinstance(source_format, str) else source_format.name
    if not isinstance(example, str) or not example:
        got = f"is a value of type {type(example).__name__}" if example else "is missing"
        broken(f"source '{printable(name)}'", f"its example {got}", EXAMPLE)
    if isinstance(source_format, SourceFormat) and (name not in SOURCES or SOURCES.get(name) != source_format):
        broken(
            f"source '{printable(name)}'",
            "it is not registered under its name",
            "Write 'register(SourceFormat(...), __name__)' below it, with 'from saccade.data.source import register'",
            source_format.open,
        )
    entry = SOURCES.get(name)
    with errors_told(f"source '{printable(name)}'", entry.open):
        _check_recognition(entry, example)
        source, again = entry.open(example), entry.open(example)
    _check_kind(entry, source)
    with errors_told(f"source '{printable(name)}'", type(source).read):
        _check_records(entry, source)
        _check_threads(entry, source)
        _check_digest(entry, source, again)


def _check_kind(entry: SourceFormat, source: object) -> None:
    subject = f"source '{printable(entry.name)}'"
    if not isinstance(source, DataSource):
        broken(
            subject,
            f"open gives a value of type {type(source).__name__}",
            "Let it give a class derived from saccade.data.source.DataSource",
            entry.open,
        )
    for name in ("name", "classes", "digest"):
        if not hasattr(source, name):
            broken(subject, f"it has no {name}", f"Set self.{name} in the constructor", type(source))
    if not isinstance(source.classes, tuple) or not all(isinstance(each, str) for each in source.classes):
        broken(subject, "its classes are not a tuple of texts", "Write self.classes = ('cat', 'dog')", type(source))


def _record(entry: SourceFormat, source: DataSource, index: int) -> Record:
    subject, record = f"source '{printable(entry.name)}'", None
    try:
        record = source.record(index)
    except (IndexError, KeyError):
        broken(
            subject,
            f"it has {len(source)} images by its length, and no record({index})",
            "Let __len__ give the number of images that record and read know, from 0 on",
            type(source).__len__,
        )
    is_record = isinstance(record, Record) and isinstance(record.key, str) and type(record.label) is int
    if not is_record:
        broken(
            subject,
            f"record({index}) gives {printable(repr(record))[:80]}",
            "Let it give Record(key='a.png', label=0), whose label is the number of a class",
            type(source).record,
        )
    return record


def _read(entry: SourceFormat, source: DataSource, index: int, key: str) -> np.ndarray:
    """The pixels of an image, which have to be there."""
    subject, content = f"source '{printable(entry.name)}'", source.read(index)
    if not isinstance(content, bytes | np.ndarray):
        broken(
            subject,
            f"read({index}) gives a value of type {type(content).__name__}",
            "Let it give the bytes of a file, or its pixels as a uint8 array (height, width[, 3])",
            type(source).read,
        )
    try:
        return decode_image(content, key).image_HWC
    except ImageError as error:
        broken(
            subject,
            f"read({index}) gives what is no image: {error.reason.rstrip('.')}",
            "Let it give the bytes of a file, or its pixels as a uint8 array (height, width[, 3])",
            type(source).read,
        )


def _check_recognition(entry: SourceFormat, example: str) -> None:
    subject = f"source '{printable(entry.name)}'"
    if not entry.summary:
        broken(subject, "its summary is empty", "Write summary= in a few words, as 'saccade sources' lists it")
    formats = sorted((SOURCES.get(other) for other in SOURCES), key=lambda other: (other.priority, other.name))
    first = next((other.name for other in formats if other.recognises(example)), "no source")
    if first != entry.name:
        broken(
            subject,
            f"its example '{printable(example)}' is taken by {first}",
            "Let recognises() see it, and give it a priority below that of sources that take more"
            if first != "no source"
            else "Give the address of a small set that is there, and let recognises() see it",
            entry.recognises,
        )
    absent = os.path.join(os.sep, "no such folder", "no such file")
    if entry.recognises(absent):
        broken(
            subject, "it recognises what does not exist", "Let recognises() look whether it is there", entry.recognises
        )


def _check_records(entry: SourceFormat, source: DataSource) -> None:
    subject = f"source '{printable(entry.name)}'"
    if not source.name or len(set(source.classes)) != len(source.classes) or len(source.classes) < 2:
        broken(
            subject,
            "it needs a name and at least two classes, each named once",
            "Set name and classes in the constructor",
            type(source),
        )
    records = [_record(entry, source, index) for index in range(len(source))]
    if len({(record.key, record.split) for record in records}) != len(source):
        broken(subject, "two images of one split have the same key", "Let keys tell images apart", type(source).record)
    if {record.label for record in records} != set(range(len(source.classes))):
        broken(
            subject,
            "labels are not those of its classes",
            "Let labels count from 0 in the order of classes, each used",
            type(source).record,
        )
    if not {record.split for record in records} <= {None, *SPLITS}:
        broken(subject, "a split is unknown", f"Let split be None or one of {', '.join(SPLITS)}", type(source).record)
    for index in range(0, len(source), max(1, len(source) // 24)):
        record = records[index]
        decoded_HWC = _read(entry, source, index, record.key)
        sample = source[index]
        is_same = (sample.key, sample.label) == (record.key, record.label)
        if not is_same or not np.array_equal(sample.image_HWC, decoded_HWC):
            broken(
                subject,
                f"source[{index}], record({index}) and read({index}) do not agree",
                "Let all three speak of the same image",
                type(source).read,
            )


def _check_threads(entry: SourceFormat, source: DataSource) -> None:
    subject = f"source '{printable(entry.name)}'"
    order = np.random.default_rng(0).integers(0, len(source), NUM_READS).tolist()
    open_before = _num_open_files()
    alone = [_digest_of(source.read(index)) for index in order]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        together = list(pool.map(lambda index: _digest_of(source.read(index)), order))
    if alone != together:
        broken(
            subject,
            f"reads from {NUM_THREADS} threads give other bytes than reads from one",
            "Let read() have no state: no shared position in an open file",
            type(source).read,
        )
    if _num_open_files() > open_before:
        broken(subject, "it keeps files open after it has read", "Close every file that is opened", type(source).read)


def _check_digest(entry: SourceFormat, source: DataSource, again: DataSource) -> None:
    if source.digest != again.digest or len(source.digest) != 64:
        broken(
            f"source '{printable(entry.name)}'",
            "its digest is not the same 64 characters each time it is opened",
            "Make it by SHA-256 of keys, labels and splits in their order",
            type(source),
        )


def _num_open_files() -> int:
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def _digest_of(content: bytes | np.ndarray) -> str:
    return hashlib.sha256(
        content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
    ).hexdigest()
