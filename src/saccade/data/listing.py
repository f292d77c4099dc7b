"""What listings of labelled images share: packed names, split names, class names and their checks."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError, did_you_mean, printable
from ..core.types import SPLITS
from .limits import MAX_CLASS_NAME_CHARACTERS, MAX_CLASSES, MAX_NUMBER_DIGITS

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
UNSPLIT = -1


class PackedNames:
    """N byte strings in one buffer with their ends: their length and 9 bytes each, where a list takes 90 more."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._packed = bytearray()
        self._ends = array("q")
        for name in names:
            self.append(name)

    def append(self, name: bytes) -> None:
        self._packed += name
        self._ends.append(len(self._packed))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        return bytes(self._packed[start : self._ends[index]])

    @property
    def nbytes(self) -> int:
        return len(self._packed) + self._ends.itemsize * len(self._ends)

    def digest(self, *more: bytes | np.ndarray) -> str:
        """SHA-256 over the names, where each ends, and whatever else makes up a listing."""
        digest = hashlib.sha256(self._packed)
        digest.update(self._ends)
        for part in more:
            digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
        return digest.hexdigest()


def split_number(name: str | None) -> int:
    """The place of a split in SPLITS, or UNSPLIT: one byte a file instead of a word."""
    return UNSPLIT if name is None else SPLITS.index(name)


def split_name(number: int) -> str | None:
    """The split that `split_number` numbered."""
    return None if number == UNSPLIT else SPLITS[number]


def parse_split(text: str, where: str) -> str:
    """`train`, `validation` or `test` for the usual names of each. Raises DataError naming `where`."""
    name = SPLIT_NAMES.get(text.lower())
    if name is None:
        raise DataError(
            f"{where}: '{printable(text[:40])}' is not a split.{did_you_mean(text[:40], SPLIT_NAMES)}\n"
            f"Use train, validation or test."
        )
    return name


def splits_of_files(files: Sequence[Path], where: str) -> list[int]:
    """The number of each file's split, from the words of its name, or else of its folders; none where they are of one
    split only, so that the files are divided like any others. Raises DataError where just some are of a split."""
    words = [next(filter(None, map(_split_word, [file.stem, *file.parent.parts[::-1]])), None) for file in files]
    if len(set(words)) <= 1:
        return [UNSPLIT] * len(files)
    if None in words:
        raise DataError(
            f"{where}: {printable(str(files[words.index(None)]))} is of no split, but other files are.\n"
            f"Begin its name with train, validation or test, or move it out of the folder."
        )
    return [split_number(word) for word in words]


def is_split_folder(name: str) -> bool:
    """Whether a folder's name says which split is in it."""
    return _split_word(name) is not None


def _split_word(name: str) -> str | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in label order: by number where all are numbers, else alphabetical."""
    unique = set(names)
    if all(is_number(name) for name in unique):
        return tuple(sorted(unique, key=lambda name: (int(name), name)))
    return tuple(sorted(unique))


def is_number(name: str) -> bool:
    """Whether a label is a class number: digits, as many as a number of 64 bits has."""
    return name.isascii() and name.isdecimal() and len(name) <= MAX_NUMBER_DIGITS


def refuse_many_classes(where: str, num_classes: int) -> None:
    """Raise DataError where labels are numbers of images rather than of classes."""
    if num_classes > MAX_CLASSES:
        raise DataError(
            f"{where} has {num_classes:,} different labels; at most {MAX_CLASSES:,} classes are told apart.\n"
            f"Check that its labels are classes, and not numbers of images."
        )


def check_classes(where: str, classes: Sequence[str], remedy: str) -> None:
    """Raise DataError where there is a single class, more than MAX_CLASSES, or a name too long to be one."""
    if len(classes) == 1:
        raise DataError(
            f"{where} has one class only, '{printable(classes[0])}': there is nothing to tell apart.\n{remedy}"
        )
    refuse_many_classes(where, len(classes))
    long = next((name for name in classes if len(name) > MAX_CLASS_NAME_CHARACTERS), None)
    if long is not None:
        raise DataError(
            f"{where} has a class whose name has {len(long):,} characters, '{printable(long[:40])}...'; "
            f"at most {MAX_CLASS_NAME_CHARACTERS} are read.\nGive it a shorter name."
        )


def refuse_twins(where: str, names: Iterable[str], remedy: str) -> None:
    """Names that look alike (letter case, accents, spaces, invisible marks) are a slip that halves a class."""
    seen: dict[str, str] = {}
    for name in names:
        plain = _plain(name)
        if plain in seen:
            raise DataError(
                f"{where} has two classes whose names differ only in letter case, accent encoding or spaces: "
                f"{seen[plain]!a} and {name!a}.\n{remedy}"
            )
        seen[plain] = name


def _plain(name: str) -> str:
    """A name without what a reader does not see: characters that format, spaces at its ends and doubled ones."""
    text = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def refuse_absent_classes(where: str, classes: Sequence[str], label_N: np.ndarray, remedy: str) -> None:
    """Raise DataError naming the classes that have no image at all."""
    count_K = np.bincount(label_N, minlength=len(classes))
    empty = [classes[int(label)] for label in np.flatnonzero(count_K == 0)]
    if empty:
        shown = ", ".join(f"'{printable(name)}'" for name in empty[:5])
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        raise DataError(f"{where} has classes without a single image: {shown}{more}.\n{remedy}")
