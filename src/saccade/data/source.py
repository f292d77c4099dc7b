"""What a source of images is. A new source is one file in `sources/` that registers a `SourceFormat`."""

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.addresses import check_address, is_address, is_hub, refuse_whole_disk, shown
from ..core.errors import DataError, ImageError, printable, shell_word
from ..core.in_memory import GivenObjects, is_given
from ..core.plain_files import refuse_long_name
from ..core.registry import Registry
from ..core.task import GRADE, MIN_RANGE, NUMBER, ONE_LABEL, Task
from ..core.types import Record, Sample
from .images.decode import decode_image
from .records import RecordTable, table_of_labels, table_of_records
from .sound_source import what_is_wrong
from .source_text import MARK, NOTHING_CHOSEN, ChosenColumns, parse_chosen, split_source_text
from .sources.shared.listing import is_one_enough, refuse_no_text
from .sources.shared.targets import check_target, number_hint, order_of_grades, parse_number

MAX_CLASSES = 100_000
MAX_CLASS_CHARACTERS = 256
TO_CONVERT = (".xlsx", ".xls", ".ods", ".txt", ".xml", ".yaml", ".yml")
ARCHIVES = (".zip", ".rar", ".7z", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


# endings of files with many images that are not read as they are, and how their images get out
_SAVE = "Write its images as files, one sub-folder for each class; or give the arrays from Python (docs/python.md)."
PACKED = {
    **dict.fromkeys((".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".lmdb", ".mdb", ".rec"), _SAVE),
    **dict.fromkeys((".tfrecord", ".tfrecords"), "Write its images as files, one sub-folder for each class."),
    ".arrow": "Write it as Parquet: datasets.load_from_disk(FOLDER)['train'].to_parquet('train.parquet').",
}


def how_to_unpack(name: str) -> str:
    """What to do with a file of an ending of PACKED."""
    return next(how for ending, how in PACKED.items() if name.lower().endswith(ending))


class DataSource(ABC):
    """Labelled images, addressed 0 to N - 1. Reading is thread-safe and has no state.

    `classes` are the names in label order; `digest` changes when the listing changes (not when a pixel does:
    the scan hashes contents). `notes` are sentences on what was found and is not used, such as files passed over.
    `task` says whether an image has one label or may have several, or a number is asked for. `label_name` is what the
    source calls its labels, such as the name of their column; "" where it has no name for them.
    """

    name: str
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()
    task: Task = ONE_LABEL
    label_name: str = ""

    @abstractmethod
    def __len__(self) -> int:
        """N, the number of images."""

    @abstractmethod
    def record(self, index: int) -> Record:
        """Key, label and given split of an image, without reading it."""

    @abstractmethod
    def read(self, index: int) -> bytes | np.ndarray:
        """The encoded file, or pixels uint8 (H, W) or (H, W, 3). Raises ImageError where it cannot be read."""

    def table(self) -> RecordTable:
        """All records as arrays. A source that keeps arrays gives them; here every record is asked for."""
        return table_of_records(map(self.record, range(len(self))), len(self))

    def notes_besides(self, columns: Sequence[str]) -> tuple[str, ...]:
        """`notes` where these columns of a table are used all the same, for something besides the labels."""
        return self.notes

    far_bytes: int = 0  # of the files at a distance that images are read from

    def shard_N(self) -> np.ndarray | None:
        """The shard in which each image lies, int (N,); None where images do not lie in shards."""
        return None

    def expect(self, index_N: np.ndarray) -> None:
        """These images will be read next, in about this order: what lies at a distance may be fetched ahead."""
        return None

    def __getitem__(self, index: int) -> Sample:
        """The decoded image. Raises ImageError naming the file."""
        record = self.record(index)
        image_HWC = decode_image(self.read(index), record.key).image_HWC
        return Sample(image_HWC=image_HWC, label=record.label, key=record.key, labels=record.labels)


@dataclass(frozen=True, kw_only=True)
class SourceFormat:
    """A kind of source. `recognises(text)` is cheap and touches no image; `open(text)` raises DataError."""

    name: str
    summary: str
    example: str
    recognises: Callable[[str], bool]
    open: Callable[[str], DataSource]
    # the same with columns chosen by the caller, for formats that are tables
    open_columns: Callable[[str, ChosenColumns], DataSource] | None = None
    # of a set that `open` refuses: the images that can be read all the same, None where there are none
    open_readable: Callable[[str, ChosenColumns], DataSource | None] | None = None
    priority: int = 50  # lower is asked first; `folder`, which takes any directory, is asked last


SOURCES: Registry[SourceFormat] = Registry("source", "sources", "saccade.data.sources", SourceFormat)
GIVEN_SOURCES: GivenObjects[DataSource] = GivenObjects("sources")


def register(source_format: SourceFormat, origin: str) -> None:
    """Enter `source_format` under its name; `origin` is the module's `__name__`."""
    SOURCES.add(source_format, origin)


class NumberSource(DataSource):
    """`source` with its labels read as numbers: the one class is the name of what is measured.

    Raises DataError naming the first image whose label is no number, and where all have the same.
    """

    def __init__(self, source: DataSource) -> None:
        where = printable(source.name[:200])
        if source.task.is_several:
            raise DataError(
                f"{where} has lists of labels, and a number is asked for.\n"
                f"Write one number for each image, or leave --target out."
            )
        self.source, self.far_bytes = source, source.far_bytes
        self.name = _named_target(source.name, "number")
        self.notes, self.task = source.notes, NUMBER
        self.label_name = source.label_name or "number"
        self.classes = (self.label_name[:MAX_CLASS_CHARACTERS],)
        self.digest = hashlib.sha256(f"{source.digest} numbers {source.classes!r}".encode()).hexdigest()
        first: dict[int, int] = {}
        for index in range(len(source)):
            first.setdefault(source.record(index).label, index)
        self._values = {
            label: parse_number(f"{where}, {printable(source.record(index).key)}", source.classes[label])
            for label, index in first.items()
        }
        least, most = min(self._values.values()), max(self._values.values())
        if least < most and most - least < MIN_RANGE:
            raise DataError(
                f"{where}: its numbers differ by {most - least:.3g} at most, which is too little to be learned.\n"
                f"Check them, or write the numbers in a smaller unit."
            )
        if least == most and not is_one_enough():
            raise DataError(
                f"{where}: every image has the number {next(iter(self._values.values())):g}: there is nothing to "
                f"learn.\nList images with other numbers, or choose the column: --label-column NAME."
            )

    def __len__(self) -> int:
        return len(self.source)

    def record(self, index: int) -> Record:
        """The record of the source, with its number."""
        record = self.source.record(index)
        return replace(record, label=0, value=self._values[record.label])

    def table(self) -> RecordTable:
        """The table of the source, with its numbers."""
        table = self.source.table()
        values = [(self._values[int(label)],) for (label,) in table.labels]
        return table_of_labels(table.code_N, values, table.split_N, table.group_N, table.groups)

    def read(self, index: int) -> bytes | np.ndarray:
        """What the source has there."""
        return self.source.read(index)

    def notes_besides(self, columns: Sequence[str]) -> tuple[str, ...]:
        """As of the source."""
        return self.source.notes_besides(columns)

    def shard_N(self) -> np.ndarray | None:
        """As of the source."""
        return self.source.shard_N()

    def expect(self, index_N: np.ndarray) -> None:
        """Hand it on."""
        self.source.expect(index_N)


class GradeSource(DataSource):
    """`source` with its classes as grades, the least first. Raises DataError where their names do not say an order."""

    def __init__(self, source: DataSource) -> None:
        where = printable(source.name[:200])
        if source.task.is_several:
            raise DataError(
                f"{where} has lists of labels, and a grade is asked for.\n"
                f"Write one grade for each image, or leave --target out."
            )
        self.source, self.far_bytes = source, source.far_bytes
        self.name, self.label_name = _named_target(source.name, "grade"), source.label_name
        self.notes, self.task = source.notes, GRADE
        self._places = order_of_grades(where, source.classes, 1 if is_one_enough() else 2)
        self.classes = tuple(name for _, name in sorted(zip(self._places, source.classes, strict=True)))
        self.digest = hashlib.sha256(f"{source.digest} grades {self.classes!r}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.source)

    def record(self, index: int) -> Record:
        """The record of the source, with the place of its grade."""
        record = self.source.record(index)
        return replace(record, label=self._places[record.label])

    def table(self) -> RecordTable:
        """The table of the source, with the places of its grades."""
        table = self.source.table()
        places = tuple((self._places[int(label)],) for (label,) in table.labels)
        return replace(table, labels=places)

    def read(self, index: int) -> bytes | np.ndarray:
        """What the source has there."""
        return self.source.read(index)

    def notes_besides(self, columns: Sequence[str]) -> tuple[str, ...]:
        """As of the source."""
        return self.source.notes_besides(columns)

    def shard_N(self) -> np.ndarray | None:
        """As of the source."""
        return self.source.shard_N()

    def expect(self, index_N: np.ndarray) -> None:
        """Hand it on."""
        self.source.expect(index_N)


def _named_target(name: str, target: str) -> str:
    """`name` of a source with `target` behind it, where it is not there yet."""
    if "target=" in name.rpartition(MARK)[2]:
        return name
    return f"{name}{'&' if MARK in name else MARK}target={target}"


def open_source(text: str, several: bool = False, verb: str = "", target: str = "") -> DataSource:
    """Open what a person typed as SOURCE. Raises DataError where nothing is there or no format recognises it.

    Images that may have several labels are for who asks for them by `several`; else they are refused, in the name of
    `verb`, and never taken for images of one label; so are numbers. `target` is how labels are read where the text
    does not say it.
    """
    source = _open_any(text, target)
    if source.task.is_number and not several:
        raise DataError(
            f"{printable(source.name[:200])} has a number for each image, and {verb or 'what was asked'} knows classes "
            f"only.\nLeave --target out, or choose a column of classes: --label-column NAME."
        )
    if source.task.is_several and not several:
        raise DataError(
            f"{printable(source.name[:200])} has several labels an image, and {verb or 'what was asked'} knows one "
            f"label only.\n"
            f"Choose one label for each image; 'saccade train', 'transfer', 'evaluate' and 'predict' know several."
        )
    return source


def _open_any(text: str, target: str = "") -> DataSource:
    if not text:
        raise DataError("No source of images was named.\nGive a folder, or a built-in set such as digits.")
    if is_given(text):
        return _with_hint(_with_usable_classes(_as_asked(_given_source(text), target)))
    text, chosen = split_source_text(text)
    name, mark, rest = text.partition(MARK)
    if mark and is_builtin(name):
        text, chosen = name, parse_chosen(text, name, rest)
        if chosen.names_columns:
            raise DataError(_no_columns(name, SOURCES.get(name).name, mark + rest))
    chosen = replace(chosen, target=chosen.target or target)
    check_target(chosen.target)
    refuse_whole_disk(text)
    entry = _find_format(text)
    if entry is not None:
        known = sound(_opened(entry, text, chosen), f"'{entry.name}' of {SOURCES.origin(entry.name)}")
        return _with_hint(_with_usable_classes(_as_asked(known, chosen.target)))
    if is_address(text) and not is_hub(text):
        check_address(text)
        raise DataError(
            f"'{shown(text)}' names no tar file, and Saccade reads nothing else from an address.\n"
            f"Give the .tar files, or a folder of them with / at its end; or download the set, and give its folder."
        )
    _refuse_nothing_there(text)
    if text.lower().endswith(ARCHIVES):
        raise DataError(
            f"'{shown(text)}' is an archive, which is not read as it is.\n"
            f"Unpack it, and give the folder with the images or their labels.{_unzip(text)}"
        )
    if text.lower().endswith(tuple(PACKED)):
        raise DataError(f"'{shown(text)}' holds images in a form that is not read.\n{how_to_unpack(text)}")
    if text.lower().endswith(TO_CONVERT):
        raise DataError(
            f"'{shown(text)}' is not a list that is read.\n"
            f"Save it as CSV with the columns file and label, beside or above the images, and give that."
        )
    raise DataError(
        f"'{shown(text)}' is not a set of labelled images that Saccade knows.\n"
        f"'saccade sources' lists the {len(list(SOURCES))} formats; the usual one is a folder with one sub-folder per "
        f"class."
    )


def _unzip(text: str) -> str:
    """The command that unpacks a zip, by Python alone; "" for other archives."""
    folder = Path(text).with_suffix("")
    if not text.lower().endswith(".zip") or folder.exists():
        return ""
    return f"\nFor example: python -m zipfile -e {shell_word(text)} {shell_word(folder)}"


def open_readable(text: str) -> DataSource | None:
    """The images of a refused set on this machine that can be read all the same; None where there are none."""
    text, chosen = split_source_text(text)
    entry = None if is_given(text) or is_address(text) else _find_format(text)
    found = entry.open_readable(text, chosen) if entry is not None and entry.open_readable is not None else None
    if found is None or not len(found):
        return None
    try:
        return _as_asked(found, chosen.target)
    except DataError:  # what is asked for cannot be made of these labels, either: the refusal is told
        return found


def refuse_absent(text: str) -> None:
    """Raise DataError where `text` names nothing, as opening it does: nothing lies there, and no format takes it."""
    place = split_source_text(text)[0]
    is_name = is_given(place) or is_address(place) or is_hub(place) or is_builtin(place.partition(MARK)[0])
    if place and not is_name and _find_format(place) is None:
        _refuse_nothing_there(place)


def _refuse_nothing_there(text: str) -> None:
    if os.path.exists(text):
        return
    refuse_long_name(text)
    builtin = ", ".join(sorted(name for name in SOURCES if is_builtin(name)))
    raise DataError(
        f"There is no file or folder '{shown(text)}' (looked in {printable(str(Path.cwd()))}).\n"
        f"Give a folder with one sub-folder of images per class, or a built-in set: {builtin}."
    )


def _find_format(text: str) -> SourceFormat | None:
    """The first format, by priority and name, that takes `text`."""
    formats = sorted((SOURCES.get(name) for name in SOURCES), key=lambda entry: (entry.priority, entry.name))
    return next((entry for entry in formats if _is_recognised(entry, text)), None)


def _opened(entry: SourceFormat, text: str, chosen: ChosenColumns) -> DataSource:
    if chosen == NOTHING_CHOSEN:
        return entry.open(text)
    if entry.open_columns is None and not chosen.names_columns:
        return entry.open(text)
    if entry.open_columns is None:
        raise DataError(_no_columns(text, entry.name, chosen.as_text()))
    return entry.open_columns(text, chosen)


def _as_asked(source: DataSource, target: str) -> DataSource:
    if not target or source.task.target == target:
        return source
    return NumberSource(source) if target == "number" else GradeSource(source)


def _with_hint(source: DataSource) -> DataSource:
    """`source`, with a note where its classes are probably measured numbers."""
    if not source.task.is_one or source.task.target:
        return source
    hint = number_hint(source.classes, len(source))
    if hint and hint not in source.notes:
        source.notes = (*source.notes, hint)
    return source


def _no_columns(text: str, format_name: str, columns: str) -> str:
    return (
        f"'{shown(text)}' is read as {format_name}, which has no columns to choose: {printable(columns[:200])}.\n"
        f"Leave them out; or give the CSV or Parquet file that has them."
    )


def sound(source: DataSource, called: str = "") -> DataSource:
    """`source`, once what somebody else's class says of its images can be true. Raises DataError; `called` names it."""
    kind = type(source)
    called = called or f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return source
    what = what_is_wrong(source) if isinstance(source, DataSource) else "it must be made from DataSource"
    if what:
        raise DataError(
            f"The source {printable(called[:200])} cannot be used: {what}.\n"
            f"Correct it there; saccade.testing.check_source says what else a source promises."
        )
    return source


def _with_usable_classes(source: DataSource) -> DataSource:
    """`source`, whatever its kind, once its classes are what a checkpoint can hold. Raises DataError."""
    where = printable(source.name[:200])
    if len(source.classes) > MAX_CLASSES:
        raise DataError(f"{where} has {len(source.classes):,} classes; at most {MAX_CLASSES:,} are read.")
    refuse_no_text(where, source.classes)
    seen: set[str] = set()
    for number, name in enumerate(source.classes):
        if not name:
            raise DataError(f"{where}: class {number} has no name.\nGive it one: an answer is told by it.")
        if len(name) > MAX_CLASS_CHARACTERS:
            raise DataError(
                f"{where}: the name of class {number} has {len(name):,} characters; 1 to {MAX_CLASS_CHARACTERS} can be "
                f"kept, and this one begins with '{printable(name[:40])}'.\nGive it a shorter name."
            )
        if name in seen:
            raise DataError(
                f"{where} has two classes of one name, '{printable(name)}'.\n"
                f"An answer could not say which one it means: give each class a name of its own."
            )
        seen.add(name)
    return source


def is_there(text: str) -> bool:
    """Whether something lies where `text` says, or some format reads it; of what was given from Python, always."""
    place, _ = split_source_text(text)
    return is_given(text) or is_builtin(text) or os.path.exists(place) or _find_format(place) is not None


def is_builtin(text: str) -> bool:
    """Whether `text` is a set that comes with Saccade, such as digits."""
    return text in SOURCES and SOURCES.get(text).example == text


def _given_source(text: str) -> DataSource:
    source = GIVEN_SOURCES.find(text)
    if source is None:
        raise DataError(
            f"These images were given from Python: {printable(text.partition(' ')[2].partition(' ')[2])}.\n"
            f"Nothing on disk holds them as a set. Give the same ones again, from Python (docs/python.md)."
        )
    return source


def _is_recognised(entry: SourceFormat, text: str) -> bool:
    try:
        return entry.recognises(text)
    except (OSError, ValueError):
        return False  # what cannot be looked at, or is no path: the source that is asked last says so


def read_error(key: str, what: str, error: OSError) -> DataError:
    """What to raise where `what` ("the file", "the shard") of an image cannot be read.

    An ImageError naming `key`, unless the process itself has run out of file descriptors: then no image is bad, and
    none may be left out for it.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return DataError(
            f"{printable(key)}: too many files are open at once; the image itself may be sound.\n"
            f"Allow more, as with 'ulimit -n 4096', or use fewer loader.threads; then run again with --resume."
        )
    return ImageError(key, f"{what} cannot be read: {error.strerror or error}.")
