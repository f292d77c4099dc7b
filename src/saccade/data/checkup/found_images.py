"""The images of a folder that no source takes as a set: looked at all the same, under the folders they lie in."""

import os
from pathlib import Path

from ...core.errors import DataError
from ...core.types import Record
from ..source import DataSource
from ..source_text import split_source_text
from ..sources.folder.layout import find_layout
from ..sources.shared.image_files import (
    Identity,
    identities,
    images_directly_in,
    is_folder,
    list_entries,
    read_file,
    walk_images,
)
from ..sources.shared.listing import class_order

NO_CLASS = "(no class folder)"


class FoundImages(DataSource):
    """Classes are the folders in `folder`, or in its parts, empty ones too; `notes` name what cannot be listed."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.digest = ""
        self._root = os.fsencode(folder)
        self._visited: set[Identity] = set()
        self._unlisted: list[str] = []
        found: list[tuple[bytes, str, str | None]] = []
        names: set[str] = set()
        for base, split in _parts(folder):
            own = {os.fsdecode(entry.name): entry.path for entry in self._entries(base) if is_folder(entry)}
            for name in sorted(name for name in own if not name.startswith(".")):
                names.add(name)
                found += [(path, name, split) for path in self._images(own[name])]
            found += [
                (os.path.join(os.fsencode(base), os.fsencode(name)), NO_CLASS, split) for name in self._beside(base)
            ]
        self.classes = class_order({*names, *(name for _, name, _ in found)})
        label_of = {name: label for label, name in enumerate(self.classes)}
        self._paths = [path[len(self._root) + 1 :] for path, _, _ in found]
        self._records = [
            Record(key=os.fsdecode(path), label=label_of[name], split=split)
            for path, (_, name, split) in zip(self._paths, found, strict=True)
        ]
        self.notes = ("Classes are the folders that the images lie in: no other labels were read.", *self._unlisted)

    def __len__(self) -> int:
        return len(self._records)

    def record(self, index: int) -> Record:
        return self._records[index]

    def read(self, index: int) -> bytes:
        return read_file(self._root, self._paths[index])

    def _entries(self, folder: Path) -> list[os.DirEntry[bytes]]:
        try:
            return list_entries(folder)
        except DataError as error:
            self._unlisted.append(error.message.splitlines()[0])
            return []

    def _beside(self, folder: Path) -> list[str]:
        return images_directly_in(folder) if self._entries(folder) else []

    def _images(self, folder: bytes) -> list[bytes]:
        """The images below a folder that was not walked yet."""
        if identities([folder]) & self._visited:
            return []
        self._visited |= identities([folder])
        found: list[bytes] = []
        try:
            for path in walk_images(folder, self._visited):
                found.append(path)
        except DataError as error:
            self._unlisted.append(error.message.splitlines()[0])
        return sorted(found)


def found_images(text: str) -> FoundImages | None:
    """The images in the folder, or beside the file, that `text` names; None where there are none."""
    path = Path(split_source_text(text)[0])
    folder = path if path.is_dir() else path.parent
    if folder.resolve() == folder.resolve().parent:
        return None  # the whole disk, which no source is
    if not path.exists() or (path.is_file() and path.suffix.lower() not in (".csv", ".jsonl", ".tsv")):
        return None
    found = FoundImages(folder)
    return found if len(found) else None


def _parts(folder: Path) -> tuple[tuple[Path, str | None], ...]:
    try:
        return find_layout(folder).parts
    except DataError:
        return ((folder, None),)
