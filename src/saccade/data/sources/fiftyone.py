"""FiftyOne's FiftyOneImageClassificationDataset: a folder with `data/` and `labels.json`.

    labels.json   {"classes": ["cat", "dog"], "labels": {"0001": 0, "more/0002": 1, "0003": null, ...}}

A key is the name of a file below `data/` without its ending. A target is the number of its class, or its name where
`classes` is null or not there; or {"label": ..., "confidence": ...}. Images without one are not used. A field of
Classifications is exported as a list of targets: images have several labels where a list has more than one, or where
every target is a list; an empty list is an image of no class then. Format: docs.voxel51.com, import_datasets,
FiftyOneImageClassificationDataset.
"""

import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.documents import DocumentError, parse_object
from ...core.errors import DataError, counted, printable
from ...core.types import Record
from ..limits import MAX_FILE_NAME_CHARACTERS, MAX_LABEL_FILE_BYTES, read_small_file
from ..source import DataSource, SourceFormat, register
from .manifest.files import plain_name
from .shared.image_files import read_file, walk_images
from .shared.label_lists import ONE, SEVERAL, refuse_label_lists, settle_labels
from .shared.listing import PackedNames, check_classes, class_order, refuse_twins

DATA, LABELS = "data", "labels.json"
REMEDY = "Correct it in the labelling tool, and export again."


class FiftyOne(DataSource):
    """The labelled images of the folder; keys are the files below `data/`."""

    def __init__(self, folder: Path) -> None:
        place, where = printable(str(folder)), printable(str(folder / LABELS))
        document = _read(folder / LABELS, where)
        listed, labels = _classes(where, document), document.get("labels")
        if not isinstance(labels, dict):
            raise DataError(f"{where} has no 'labels', an object with one entry for each image.\n{REMEDY}")
        files = _names_below(folder / DATA)
        named: dict[str | int, str] = {name: name for name in listed} | dict(enumerate(listed))
        is_several = _has_several(labels.values())
        labels_of: dict[str, tuple[str, ...]] = {}  # of each file
        mentioned: set[str] = set()
        for key, target in labels.items():
            what = f"{where}: '{printable(key[:80])}'"
            file = _file(what, key, files)
            names = _names(what, target, named, is_several)
            if file in mentioned:
                raise DataError(f"{what} lists {printable(file)} again.\nKeep one entry for each file.")
            mentioned.add(file)
            if names is not None:
                labels_of[file] = names
        known = {name for names in labels_of.values() for name in names}
        if not known:
            raise DataError(f"{where} labels no image.\n{REMEDY}")
        self.name = str(folder)
        self.classes = tuple(name for name in listed if name in known) or class_order(known)
        check_classes(place, self.classes, "Label images of at least one more class.")
        refuse_label_lists(place, self.classes, "texts of FiftyOne")
        refuse_twins(place, self.classes, "Write the label the same way for every image.")
        place_of: dict[tuple[str, ...], int] = {}
        places = array("i", [place_of.setdefault(names, len(place_of)) for names in labels_of.values()])
        values = [names if is_several else names[0] for names in place_of]
        settled = settle_labels(where, values, SEVERAL if is_several else ONE, self.classes)
        self.task, self._rows = settled.task, settled.of_rows(np.array(places))
        self._names = PackedNames(map(os.fsencode, labels_of))
        self._root = os.fsencode(folder / DATA)
        self.digest = self._names.digest(self._rows.content(), repr(self.classes).encode())
        unlisted = sum(file not in mentioned for found in files.values() for file in found)
        notes = _notes(len(mentioned) - len(labels_of), unlisted, [n for n in listed if n not in known])
        several = ["labels are lists: an image may have several labels"] if is_several else []
        self.notes = (*several, *self._rows.told(), *notes)

    def __len__(self) -> int:
        return len(self._names)

    def record(self, index: int) -> Record:
        key = os.fsdecode(self._names[index])
        return Record(key=key, label=self._rows.label(index), labels=self._rows.labels(index))

    def read(self, index: int) -> bytes:
        return read_file(self._root, self._names[index])


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        return parse_object(read_small_file(path, MAX_LABEL_FILE_BYTES, where, "list of labels"))
    except (DocumentError, OSError) as error:
        raise DataError(f"{where} cannot be read: {printable(str(error))}.\n{REMEDY}") from None


def _classes(where: str, values: Mapping[str, Any]) -> list[str]:
    classes = values.get("classes") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{where}: 'classes' is not a list of names.\n{REMEDY}")
    if len(set(classes)) < len(classes):
        twice = next(name for number, name in enumerate(classes) if name in classes[:number])
        raise DataError(f"{where}: 'classes' has '{printable(twice[:80])}' twice.\n{REMEDY}")
    return classes


def _has_several(targets: Iterable[Any]) -> bool:
    """Whether images may have several labels: where a target is a list of more than one, or every one is a list."""
    known = [target for target in targets if target is not None]
    sizes = [len(target) if isinstance(target, list) else -1 for target in known]
    return bool(known) and (max(sizes) > 1 or min(sizes) >= 0)


def _names(where: str, target: Any, classes: Mapping[str | int, str], is_several: bool) -> tuple[str, ...] | None:
    """The names of the classes; None for an image without a label. Raises DataError."""
    each = target if isinstance(target, list) else [target]
    names = [name for name in (_name(where, one, classes) for one in each) if name is not None]
    if not names and not (is_several and target == []):
        return None
    return tuple(sorted(set(names)))


def _name(where: str, target: Any, classes: Mapping[str | int, str]) -> str | None:
    if isinstance(target, dict):
        target = target.get("label")
    if target is None:
        return None
    if isinstance(target, str) and not classes and target.strip():
        return target.strip()
    if type(target) not in (int, str) or target not in classes:
        raise DataError(
            f"{where} has the label {printable(str(target)[:40])}, which is not among the {len(classes) // 2} of "
            f"'classes'.\n{REMEDY}"
        )
    return classes[target]


def _names_below(folder: Path) -> dict[str, list[str]]:
    """{name without ending: files} of the images below `folder`."""
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {printable(str(folder))}, where the images of {LABELS} lie.\nExport them with it."
        )
    found: dict[str, list[str]] = {}
    root = os.fsencode(folder)
    for path in sorted(walk_images(folder)):
        inside = os.fsdecode(path[len(root) :].lstrip(b"/"))
        found.setdefault(os.path.splitext(inside)[0], []).append(inside)
    return found


def _file(where: str, key: str, name_of: Mapping[str, list[str]]) -> str:
    plain = plain_name(key)
    if plain is None:
        raise DataError(f"{where} leads out of the folder '{DATA}'.\n{REMEDY}")
    if len(plain) > MAX_FILE_NAME_CHARACTERS:
        raise DataError(f"{where}... is longer than the name of a file can be.\n{REMEDY}")
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        raise DataError(f"{where} is not valid text.\n{REMEDY}") from None
    found = name_of.get(plain) or [name for name in name_of.get(os.path.splitext(plain)[0], []) if name == plain]
    if len(found) > 1:
        raise DataError(f"{where} may be {printable(found[0])} or {printable(found[1])}.\nKeep one of them.")
    return found[0] if found else plain  # the scan says what is missing


def _notes(num_unlabelled: int, num_unlisted: int, empty: Sequence[str]) -> list[str]:
    notes = []
    if num_unlabelled:
        notes.append(
            f"{counted(num_unlabelled, 'image')} without a label {'is' if num_unlabelled == 1 else 'are'} not used"
        )
    if num_unlisted:
        notes.append(
            f"{counted(num_unlisted, 'image')} {'is' if num_unlisted == 1 else 'are'} not listed in {LABELS}: not used"
        )
    if empty:
        shown = ", ".join(printable(name[:40]) for name in empty[:5])
        notes.append(f"{'a class' if len(empty) == 1 else f'{len(empty):,} classes'} without an image: {shown}")
    return notes


def _recognises(text: str) -> bool:
    folder = Path(text)
    return (folder / LABELS).is_file() and (folder / DATA).is_dir()


register(
    SourceFormat(
        name="fiftyone",
        summary="a folder with data/ and labels.json, as FiftyOne exports image classifications",
        example="path/to/export",
        recognises=_recognises,
        open=lambda text: FiftyOne(Path(text)),
        priority=39,
    ),
    __name__,
)
