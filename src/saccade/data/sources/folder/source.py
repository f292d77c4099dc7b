"""Folders of image files: `class/file`, or the parts of a set (train, validation, test) above the classes."""

import os
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....core.errors import DataError, printable, shell_word
from ....core.types import Record
from ...left_out import PassedOver
from ...records import RecordTable, one_label_each, table_of_labels
from ...source import ARCHIVES, PACKED, DataSource, SourceFormat, how_to_unpack, register
from ..shared.image_files import (
    ENDINGS_SHOWN,
    Identity,
    identities,
    images_directly_in,
    list_entries,
    read_file,
    subfolders,
    walk_images,
)
from ..shared.listing import (
    PackedNames,
    check_classes,
    class_order,
    is_generic,
    refuse_absent_classes,
    refuse_twins,
    split_name,
    split_number,
)
from .layout import find_layout, unread_list

TABLES = (".csv", ".tsv", ".jsonl")
NUMBERED_GROUP = re.compile(r"(patient|case|study|series|visit|lesion|video|clip|session)s?[ _-]?[0-9]+", re.IGNORECASE)
MAX_DOWN = 8  # folders inside folders, in which the classes are looked for to name them

Parts = tuple[tuple[Path, str | None], ...]


class ImageFolder(DataSource):
    """Classes are the sub-folders' names in natural order; keys are paths relative to the folder.

    The list of files is packed: about 100 bytes a file, whatever their number.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._root = os.fsencode(folder)
        layout = find_layout(folder)
        self.classes = _class_names(folder, layout.parts)
        self._names = PackedNames()
        labels, parts = array("i"), array("b")
        above = identities([folder.resolve(), *folder.resolve().parents, *(base for base, _ in layout.parts)])
        visited = above | _class_folders(folder, layout.parts, self.classes)
        passed_over = PassedOver()
        for base, split in layout.parts:
            passed_over.num_beside += len(images_directly_in(base, passed_over))
            for label, name in enumerate(self.classes):
                count = len(self._names)
                if (base / name).is_dir() and not above & identities([base / name]):
                    for path in sorted(walk_images(base / name, visited, passed_over)):
                        self._names.append(path[len(self._root) + 1 :])
                labels.extend([label] * (len(self._names) - count))
                parts.extend([split_number(split)] * (len(self._names) - count))
        self._label_N = np.array(labels, dtype=np.int32)
        self._part_N = np.array(parts, dtype=np.int8)
        _check_counts(folder, layout.parts, self.classes, self._label_N)
        self.notes = (*layout.notes, *filter(None, [passed_over.sentence()]), *_other_lists(folder))
        self.digest = self._names.digest(self._label_N, self._part_N)

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(
            key=os.fsdecode(self._names[index]),
            label=int(self._label_N[index]),
            split=split_name(self._part_N[index]),
        )

    def table(self) -> RecordTable:
        return table_of_labels(self._label_N, one_label_each(len(self.classes)), self._part_N)

    def read(self, index: int) -> bytes:
        return read_file(self._root, self._names[index])


def _class_folders(folder: Path, parts: Parts, classes: tuple[str, ...]) -> set[Identity]:
    """The folders of all classes: a link from one class to another adds no image to the first."""
    found: dict[Identity, Path] = {}
    for path in (base / name for base, _ in parts for name in classes):
        for identity in identities([path]):
            if identity in found:
                one, two = (printable(str(place.relative_to(folder))) for place in (found[identity], path))
                raise DataError(
                    f"The folder {printable(str(folder))} has one sub-folder under two names, through a link: "
                    f"{one} and {two}.\nRemove one of the two."
                )
            found[identity] = path
    return set(found)


def _class_names(folder: Path, parts: Parts) -> tuple[str, ...]:
    names = class_order(name for base, _ in parts for name in subfolders(base))
    where = printable(str(folder))
    if not names:
        raise DataError(_no_classes(folder))
    remedy = (
        unread_list(folder, *(parts[0][0] / name for name in names[:1] if len(names) == 1))
        or "Add a sub-folder of images for at least one more class."
    )
    inner = _first_that_branches(parts[0][0] / names[0]) if len(names) == 1 and parts[0][1] is None else None
    if inner is not None:
        remedy = f"Did you mean {printable(str(inner))}, which has several sub-folders?"
    check_classes(f"The folder {where}", names, remedy)
    _refuse_groups(folder, names)
    refuse_twins(f"The folder {where}", names, "Merge the two folders, or rename one.")
    return names


def _refuse_groups(folder: Path, names: Sequence[str]) -> None:
    """Raise DataError where folders are called after what their images have in common, and a list beside them may say
    what the images show: `patient0001`, `patient0002` and train.csv."""
    hint = unread_list(folder) if all(map(NUMBERED_GROUP.fullmatch, names)) else ""
    if hint:
        raise DataError(
            f"The folder {printable(str(folder))} would be learned by who or what is shown: its classes are "
            f"{printable(names[0][:40])}, {printable(names[1][:40])} and so on.\n"
            f"{hint}\nOr, if these are the classes, move that file out of the folder."
        )


def _first_that_branches(folder: Path) -> Path | None:
    """The first folder with several sub-folders, going down from `folder` where there is one way only."""
    for _ in range(MAX_DOWN):
        inside = subfolders(folder)
        if len(inside) != 1:
            return folder if inside else None
        folder = folder / inside[0]
    return None


def _other_lists(folder: Path) -> list[str]:
    """A note on the tables that lie beside the class folders, which are not read."""
    entries = sorted(os.fsdecode(entry.name) for entry in list_entries(folder))
    found = [name for name in entries if name.lower().endswith(TABLES) and not name.startswith(".")]
    if not found:
        return []
    shown = ", ".join(map(printable, found[:4])) + (f" and {len(found) - 4:,} more" if len(found) > 4 else "")
    return [
        f"{shown} {'is' if len(found) == 1 else 'are'} not read: the folders say what the images are. "
        f"To read a list instead, give it in place of the folder: {shell_word(folder / found[0])}"
    ]


def _no_classes(folder: Path) -> str:
    where = printable(str(folder))
    names = [os.fsdecode(entry.name) for entry in list_entries(folder)]
    archive = next((name for name in sorted(names) if name.lower().endswith(ARCHIVES)), None)
    images = next(walk_images(folder), None)
    if archive and not images:
        return (
            f"The folder {where} holds no images, but the archive {printable(archive)}.\n"
            f"Unpack it, and give the folder with one sub-folder of images per class."
        )
    kept = next((name for name in sorted(names) if name.lower().endswith(tuple(PACKED))), None)
    if kept and not images:
        return f"The folder {where} holds no image files, but {printable(kept)}.\n{how_to_unpack(kept)}"
    hint = unread_list(folder) if images else ""
    return (
        f"The folder {where} holds {'images but no sub-folders' if images else 'no images'}.\n"
        f"{f'{hint} Or put' if hint else 'Put'} the images of each class into a sub-folder "
        f"named after it, such as {where}/cat and {where}/dog."
    )


def _check_counts(folder: Path, parts: Parts, classes: tuple[str, ...], label_N: np.ndarray) -> None:
    """Raise DataError where a class has no image, and say which files it has instead."""
    where = f"The folder {printable(str(folder))}"
    empty = [classes[label] for label in np.flatnonzero(np.bincount(label_N, minlength=len(classes)) == 0).tolist()]
    others = PassedOver()
    for path in (base / name for base, _ in parts for name in empty):
        for _ in walk_images(path, passed_over=others) if path.is_dir() else ():
            pass  # only what is no image is counted
    remedy = "Add images to them, or remove the empty folders."
    with_images = [name for name in classes if name not in empty]
    if len(with_images) == 1 and len(classes) > 1 and is_generic(with_images[0]):
        is_whole = parts[0][1] is None
        inner = _first_that_branches(parts[0][0] / with_images[0]) if is_whole else None
        raise DataError(
            f"{where} has images in '{printable(with_images[0])}' alone: its sub-folders are no classes.\n"
            + (
                f"Did you mean {printable(str(inner))}, which has several sub-folders?"
                if inner is not None
                else unread_list(folder) or "List the images in a CSV file with the columns file and label."
            )
        )
    if others.sentence():
        remedy = f"In these: {others.sentence()}. Read are {ENDINGS_SHOWN}: convert the files, or remove the folders."
    if not len(label_N):
        remedy = remedy if others.sentence() else f"Check the path and the endings: read are {ENDINGS_SHOWN}."
        raise DataError(f"{where} has {len(classes)} sub-folders but no image in them.\n{remedy}")
    refuse_absent_classes(where, classes, label_N, remedy)


register(
    SourceFormat(
        name="folder",
        summary="a folder with one sub-folder of images per class, or train, validation and test above the classes",
        example="path/to/photos",
        recognises=lambda text: Path(text).is_dir(),
        open=lambda text: ImageFolder(Path(text)),
        priority=90,
    ),
    __name__,
)
