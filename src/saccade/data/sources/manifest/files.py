"""Where the files lie that a table names: beside it, or in the folders beside it, by their names or by ids.

Each folder is listed once at most; no row costs a call to the system.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ....core.errors import DataError, printable
from ...left_out import ENDINGS
from ..shared.image_files import has_images, images_directly_in, is_folder, list_entries, subfolders, walk_images
from ..shared.listing import LABEL_FOLDERS, PackedNames, name_words, split_of_name

CHUNK = 65_536
DRIVE = re.compile(r"[a-z]:/", re.IGNORECASE)
ADDRESS = re.compile(r"[a-z][a-z0-9+]{1,9}:/", re.IGNORECASE)  # as a plain name is, with one slash
TEXT_ENDINGS = tuple(map(os.fsdecode, ENDINGS))


class _Listing:
    """The files of one folder by name and by name without ending; names with their accents composed."""

    def __init__(self, folder: Path) -> None:
        self.names: dict[str, str] = {}
        self._stems: dict[str, list[str]] | None = None
        if not os.path.isdir(folder):
            return
        for entry in list_entries(folder):
            if not is_folder(entry):
                name = os.fsdecode(entry.name)
                self.names[composed(name)] = name

    def find(self, name: str) -> list[str]:
        """The files that `name` may mean: one of that name, or those with an image's ending behind it."""
        exact = self.names.get(name)
        if exact is not None:
            return [exact]
        if self._stems is None:
            self._stems = {}
            for plain, actual in self.names.items():
                if plain.lower().endswith(TEXT_ENDINGS) and not plain.startswith("."):
                    self._stems.setdefault(os.path.splitext(plain)[0], []).append(actual)
        return self._stems.get(name, [])


NOTHING = _Listing(Path("\0"))


class FileFinder:
    """Finds what rows name. `root` is the folder from which the found names count.

    It is the folder of the table, or the one folder in it that has images; of parts of a set the one that is called
    like the table. Where several folders have images, a name is looked for in all of them.
    """

    def __init__(self, table: Path) -> None:
        self._table = table
        self.root = table.parent
        self._folders: tuple[str, ...] = ()
        self._is_beside = True
        self._listings: dict[Path, _Listing] = {}

    def settle(self, names: Sequence[str]) -> bool:
        """Decide from the first names of a column where the files lie. Whether all of them are there.

        A table in a folder of labels (`annotations/`), or whose names begin with its own folder, may count from above.
        """
        plain = [name for name in map(plain_name, names) if name is not None]
        if not plain or len(plain) < len(names):
            self.root, self._folders, self._is_beside = self._table.parent, (), True
            return False
        is_there = self._settle_below(self._table.parent, plain)
        own = self._table.parent.absolute().name
        if not (self._is_beside or self._folders) and (
            set(name_words(own)) <= LABEL_FOLDERS or plain[0].startswith(f"{own}/")
        ):
            is_there = self._settle_below(self._table.parent.parent, plain)
            if not (self._is_beside or self._folders):
                self.root = self._table.parent
        return is_there

    def _settle_below(self, root: Path, plain: Sequence[str]) -> bool:
        self.root, self._folders, self._is_beside = root, (), True
        if self._found("", plain[0]):
            return all(self._found("", name) for name in plain)
        self._is_beside = False
        folders = self._folders_with_files(plain[0])
        if len(folders) == 1:
            self.root, self._is_beside = self.root / folders[0], True
            return all(self._found("", name) for name in plain)
        self._folders = folders
        return all(any(self._found(folder, name) for folder in folders) for name in plain)

    def _folders_with_files(self, first: str) -> tuple[str, ...]:
        """The folders beside the table that have images or the first file, which one of them has; of parts of a set
        those of the table's own part. None where the first file is in none of them."""
        beside = subfolders(self.root)
        wanted = split_of_name(self._table.stem)
        if wanted is not None:
            beside = [name for name in beside if split_of_name(name) in (None, wanted)]
        holding = [name for name in beside if self._found(name, first)]
        if not holding:  # images_001/images, as archives leave them
            beside = [self._only_inside(name) for name in beside]
            holding = [name for name in beside if self._found(name, first)]
        if not holding:
            return ()
        return tuple(name for name in beside if name in holding or has_images(self.root / name))

    def _only_inside(self, name: str) -> str:
        """The one folder in a folder that holds nothing else to look at, or that folder itself."""
        inside = subfolders(self.root / name)
        return f"{name}/{inside[0]}" if len(inside) == 1 and not images_directly_in(self.root / name) else name

    def find(self, name: str) -> str | None:
        """The file that a plain name means, relative to `root`; None where there is none. Raises DataError."""
        if self._is_beside and name.lower().endswith(TEXT_ENDINGS):
            return name  # as it is written: the scan says what is missing
        found = self._found("", name) if self._is_beside else []
        for folder in self._folders:
            found += [f"{folder}/{path}" for path in self._found(folder, name)]
        if len(found) > 1:
            self._refuse_several(name, found)
        return found[0] if found else None

    def _found(self, folder: str, name: str) -> list[str]:
        inside, base = os.path.split(name)
        place = "/".join(filter(None, [folder, inside]))
        return [f"{inside}/{file}" if inside else file for file in self._listing(place).find(composed(base))]

    def _listing(self, place: str) -> _Listing:
        path = self.root / place
        listing = self._listings.get(path)
        if listing is None:
            listing = _Listing(path)
            self._listings[path] = listing if listing.names else NOTHING
        return listing

    def _refuse_several(self, name: str, found: Sequence[str]) -> None:
        where = printable(str(self._table))
        first, second = (os.path.split(path) for path in found[:2])
        if first[1] == second[1]:
            raise DataError(
                f"{where}: {printable(name)} is in {printable(first[0])} and in {printable(second[0])}.\n"
                f"Put the folder in front of the file names."
            )
        raise DataError(
            f"{where}: {printable(name)} may be {printable(found[0])} or {printable(found[1])}.\n"
            f"Give the names with their endings."
        )

    def refuse_nothing_found(self, name: str) -> None:
        """Raise DataError: the first file that the table names is nowhere."""
        inside, base = os.path.split(name)
        alike = sorted(file for file in self._listing(inside).names if file.casefold() == base.casefold())
        if alike:
            raise DataError(
                f"{printable(str(self._table))}: there is no {printable(name)}, but "
                f"{printable('/'.join(filter(None, [inside, alike[0]])))}: capitals count.\n"
                f"Write the names in the table as the files have them, or rename the files."
            )
        if ADDRESS.match(name):
            raise DataError(
                f"{printable(str(self._table))} names its images by addresses, such as {printable(name[:80])}.\n"
                f"Download the images, and give the names of the files; images are not fetched from a table."
            )
        if (near := self._behind_a_far_folder(name)) is not None:
            raise DataError(
                f"{printable(str(self._table))} names its images by their place on another machine, such as "
                f"{printable(name[:200])}.\nWrite the names without what is above {printable(self._table.name)}: "
                f"{printable(near)}."
            )
        has_ending = name.lower().endswith(TEXT_ENDINGS)
        hint = "" if has_ending else " Give the names with their endings, such as .jpg."
        raise DataError(
            f"{printable(str(self._table))}: its first file, {printable(name)}, is neither in "
            f"{printable(str(self._table.parent))} nor in a folder below it.\n"
            f"Put {printable(self._table.name)} beside or above the images.{hint}"
        )

    def _behind_a_far_folder(self, name: str) -> str | None:
        """The end of an absolute `name` that lies beside the table; None where there is none."""
        parts = PurePosixPath(name).parts
        is_absolute = name.startswith("/") or DRIVE.match(name) is not None
        ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
        return next((end for end in ends if (self._table.parent / end).is_file()), None) if is_absolute else None

    @property
    def is_settled(self) -> bool:
        """Whether files of the column were found."""
        return self._is_beside or bool(self._folders)


def plain_name(text: str) -> str | None:
    """A name in its plain form, relative and with forward slashes; None where it is none or leads out of a folder."""
    name = text.strip()
    if "/" not in name:
        name = name.replace("\\", "/")  # written on Windows
    plain = os.path.normpath(name) if name else ""
    if not plain or "\0" in plain or plain == "." or os.path.isabs(plain) or plain.split("/")[0] == "..":
        return None
    return plain


def composed(name: str) -> str:
    """A name with its accents composed, as most systems write them."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def count_unlisted(root: Path, listed: PackedNames, below: Path | None) -> int:
    """The number of images that are not listed: below the folder `below`, or else in the folders of the listed files.

    By hashes: 8 bytes for each listed file. Linked folders count as `walk_images` walks them.
    """
    hash_N = np.fromiter(
        (_hash(os.path.join(os.fspath(root), os.fsdecode(listed[i]))) for i in range(len(listed))),
        np.int64,
        len(listed),
    )
    hash_N.sort()
    total, waiting = 0, []
    for path in _images(root, listed, below):
        waiting.append(_hash(path))
        if len(waiting) == CHUNK:
            total += _num_absent(waiting, hash_N)
            waiting = []
    return total + _num_absent(waiting, hash_N)


def _hash(path: str) -> int:
    """Of a path as it is composed; the folder where one is may stand before it or not."""
    return hash(composed(path.removeprefix("./")))


def _images(root: Path, listed: PackedNames, below: Path | None) -> Iterable[str]:
    if below is not None:
        yield from map(os.fsdecode, walk_images(below))
        return
    for folder in sorted({os.path.dirname(listed[i]) for i in range(len(listed))}):
        path = root / os.fsdecode(folder)
        if path.is_dir():
            yield from (os.path.join(os.fspath(path), name) for name in images_directly_in(path))


def _num_absent(hashes: list[int], known_N: np.ndarray) -> int:
    """How many of `hashes` are not in `known_N`, which is sorted and not empty."""
    hash_M = np.array(hashes, dtype=np.int64)
    place_M = np.minimum(np.searchsorted(known_N, hash_M), len(known_N) - 1)
    return int((known_N[place_M] != hash_M).sum())
