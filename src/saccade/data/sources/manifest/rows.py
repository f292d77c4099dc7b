"""The rows of tables that list images, read strictly: a slip in one is named with its line."""

import os
from array import array
from collections.abc import Sequence

from ....core.errors import DataError, printable, typed_word
from ...limits import MAX_CLASS_NAME_CHARACTERS, MAX_FILE_NAME_CHARACTERS
from ..shared.label_lists import ONE, SEVERAL, LabelValue, SettledLabels, settle_labels
from ..shared.listing import LIST_SIGNS, SEPARATORS, UNSPLIT, PackedNames, parse_split, split_number
from ..shared.targets import parse_number
from .columns import FALSE_WORDS, ONE_HOT, TRUE_WORDS, Columns, how_to_choose, is_group_like, true_split
from .files import FileFinder, plain_name
from .tables import Table

NO_GROUP = -1
EMPTY_LISTS = "\nOr, where an image may have several labels, or none: --labels several."
MAX_COMPARED_VALUES = 10_000  # of a column that is not used, in which a value is looked for that occurs twice


class ManifestRows:
    """The rows of tables, checked and packed; labels and groups numbered in the order they first occur."""

    def __init__(self, are_numbers: bool = False) -> None:
        self.names = PackedNames()
        self.label_name = ""
        self._are_numbers = are_numbers
        self.labels, self.groups, self.parts = array("i"), array("i"), array("b")
        self._label_numbers: dict[LabelValue, int] = {}
        self._classes: dict[str, None] = {}  # of columns that are classes
        self._slips, self._several = _Slips(), _Slips()
        self._group_numbers: dict[str, int] = {}
        self._row_of_hash: dict[int, int] = {}

    def settle(self, where: str, wanted: str) -> SettledLabels:
        """The classes that the labels name; `wanted` is what was chosen of `labels`. Raises DataError for the first row
        that does not fit it."""
        values = list(self._label_numbers)
        has_several = any(not isinstance(value, str) and len(value) > 1 for value in values)
        if wanted == ONE and has_several:
            raise DataError(self._several.first)
        if self._classes and self._slips.first and not has_several and wanted != SEVERAL:
            raise DataError(self._slips.first)  # a row without a 1 among rows of one each
        classes = list(self._classes) if self._classes and (has_several or wanted == SEVERAL) else ()
        settled = settle_labels(where, values, wanted, classes)
        if self._slips.first and not settled.task.is_several:
            has_lists = any(sign in value for sign in SEPARATORS for value in values if value)
            may_be_empty = "" in values and has_lists and wanted != ONE
            raise DataError(self._slips.first + (EMPTY_LISTS if may_be_empty else ""))
        return settled

    def told_empty(self, classes: Sequence[str]) -> list[str]:
        """A note on the columns of classes that no image is of: they are not learned."""
        empty = [printable(name[:40]) for name in self._classes if name not in classes]
        if not empty:
            return []
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        what = "a class" if len(empty) == 1 else f"{len(empty):,} classes"
        return [f"{what} without an image: {', '.join(empty[:5])}{more}"]

    @property
    def group_names(self) -> list[str]:
        return list(self._group_numbers)

    def add_table(self, table: Table, columns: Columns, files: FileFinder, prefix: str, part: str | None) -> list[str]:
        """Add every row. `prefix` goes before the names; `part` is the split of all rows, or None.

        Returns the names of the columns that are not used, may be groups, and hold a value twice.
        """
        before = len(self.names)
        if columns.label is not None:
            self.label_name = self.label_name or table.names[columns.label]
        elif self._are_numbers:
            raise DataError(
                f"{table.where} has a column for each class, and a number is asked for.\n"
                f"Name the column of the numbers: --label-column NAME."
            )
        repeats, first = _Repeats(table, columns), ""
        for line, row in table.rows():
            where = f"{table.where}, {table.unit} {line}"
            written = _file_name(where, row[columns.file])
            found = files.find(written)
            first = first or written
            name = os.path.join(prefix, found or written)
            self._add(where, name, self._label(table, columns, where, row))
            self.parts.append(_split(where, table, columns, row, part))
            group = "" if columns.group is None else row[columns.group].strip()
            self.groups.append(self._group_numbers.setdefault(group, len(self._group_numbers)) if group else NO_GROUP)
            repeats.add(row)
        if len(self.names) == before:
            raise DataError(f"{table.where} names its columns, but lists no image.\nAdd a row for each image.")
        if not files.is_settled:
            files.refuse_nothing_found(first)
        if columns.fold and columns.split is not None and split_number("test") not in self.parts[before:]:
            raise DataError(
                f"{table.where}: no row has {printable(columns.fold)} in the column "
                f"'{printable(table.names[columns.split][:40])}', so nothing is held out.\n"
                f"Its values begin: {_first_values(table, columns.split)}."
            )
        return repeats.names()

    def _label(self, table: Table, columns: Columns, where: str, row: Sequence[str]) -> LabelValue:
        if not columns.one_hot:
            label = row[columns.label or 0].strip()
            if self._are_numbers:
                parse_number(f"{where}, {printable(row[columns.file].strip()[:200])}", label)
                return label
            if not label:
                self._slips.add(f"{where} has no label for {printable(row[columns.file].strip())}.")
            elif label.startswith("{") and label.endswith("}"):
                raise DataError(
                    f"{where} has the object {printable(label[:80])} as the label of "
                    f"{printable(row[columns.file].strip()[:200])}.\n"
                    f"Write the name of the class, or a list of names."
                )
            elif len(label) > MAX_CLASS_NAME_CHARACTERS:
                what = (
                    f"{where} has a label of {len(label):,} characters; at most {MAX_CLASS_NAME_CHARACTERS} are read."
                )
                if not any(sign in label for sign in LIST_SIGNS):
                    raise DataError(f"{what}\nGive the class a shorter name.")
                self._slips.add(what, "Give the class a shorter name.")  # unless it is a list
            return label
        self._classes.update(dict.fromkeys(table.names[number] for number in columns.one_hot))
        found = _one_hot_labels(table, columns, where, row)
        if not found:
            self._slips.add(
                f"{where}: {printable(row[columns.file].strip())} is of no class.",
                "Write 1 in the column of its class, or remove the row; or let images have none: --labels several.",
            )
        if len(found) > 1:
            names = ", ".join(printable(name[:40]) for name in found[:4])
            self._several.add(
                f"{where}: {printable(row[columns.file].strip())} is of {len(found)} classes ({names}).",
                "Leave out --labels one, or choose one label for each image.",
            )
        return found[0] if len(found) == 1 else found

    def _add(self, where: str, name: str, label: LabelValue) -> None:
        self._refuse_duplicate(where, name, label)
        self.names.append(os.fsencode(name))
        self.labels.append(self._label_numbers.setdefault(label, len(self._label_numbers)))

    def _refuse_duplicate(self, where: str, name: str, label: LabelValue) -> None:
        """By the hash of the name, which takes less memory than the name."""
        row = self._row_of_hash.setdefault(hash(name), len(self.names))
        if row == len(self.names) or os.fsdecode(self.names[row]) != name:
            return
        before = list(self._label_numbers)[self.labels[row]]
        what = "again" if before == label else f"as '{_shown(label)}', and before as '{_shown(before)}'"
        raise DataError(f"{where} lists {printable(name)} {what}.\nKeep one row for each file.")


class _Slips:
    """The first row that does not fit one kind of labels, and may well fit the other."""

    def __init__(self) -> None:
        self.first = ""

    def add(self, what: str, remedy: str = "Fill it in, or remove the row.") -> None:
        self.first = self.first or f"{what}\n{remedy}"


def _shown(label: LabelValue) -> str:
    return printable(label if isinstance(label, str) else ", ".join(label))


class _Repeats:
    """Which columns that are not used, and are called like groups, hold a value twice."""

    def __init__(self, table: Table, columns: Columns) -> None:
        unused = set(columns.unused(table)) if columns.group is None else set()
        self._names = {n: name for n, name in enumerate(table.names) if name in unused and is_group_like(name)}
        self._seen: dict[int, set[int]] = {number: set() for number in self._names}
        self._found: set[int] = set()

    def add(self, row: Sequence[str]) -> None:
        for number, seen in self._seen.items():
            if number in self._found or not row[number].strip() or len(seen) > MAX_COMPARED_VALUES:
                continue
            value = hash(row[number])
            if value in seen:
                self._found.add(number)
            seen.add(value)

    def names(self) -> list[str]:
        return [name for number, name in self._names.items() if number in self._found]


def _first_values(table: Table, number: int) -> str:
    values = dict.fromkeys(row[number].strip() for _, row in table.sample)
    return ", ".join(printable(value[:40]) for value in list(values)[:6])


def _file_name(where: str, text: str) -> str:
    """The name in its plain form. Raises DataError where it is none, or leads out of the folder."""
    name = text.strip()
    if not name or "\0" in name or len(name) > MAX_FILE_NAME_CHARACTERS:
        raise DataError(f"{where} names no file.\nFill it in, or remove the row.")
    plain = plain_name(name)
    if plain is None:
        shown = name if "/" in name else name.replace("\\", "/")
        raise DataError(
            f"{where}: {printable(shown)} is not a name relative to the folder of the CSV file, inside that folder.\n"
            f"Give such names, and put the CSV file beside or above the images."
        )
    return plain


def _one_hot_labels(table: Table, columns: Columns, where: str, row: Sequence[str]) -> tuple[str, ...]:
    """The classes whose columns hold 1."""
    found = []
    for number in columns.one_hot:
        value = row[number].strip()
        is_of_class = ONE_HOT.get(value.lower())
        if is_of_class is None:
            raise DataError(
                f"{where}: the column '{printable(table.names[number][:40])}' holds '{printable(value[:40])}', where a "
                f"class has 0 or 1.\nName the label's column, as in "
                f"{how_to_choose(table, 'label', table.names[number])}."
            )
        if is_of_class:
            found.append(table.names[number])
    return tuple(found)


def _split(where: str, table: Table, columns: Columns, row: Sequence[str], part: str | None) -> int:
    if columns.split is None:
        return split_number(part) if part else UNSPLIT
    text, name = row[columns.split].strip(), table.names[columns.split]
    if columns.fold:
        return split_number("test" if _same_fold(text, columns.fold) else "train")
    if not text:
        raise DataError(f"{where} has no split.\nFill it in for every row, or remove the column.")
    splits = true_split(name)
    if splits and text.lower() in TRUE_WORDS | FALSE_WORDS:
        return split_number(splits[0] if text.lower() in TRUE_WORDS else splits[1])
    if text.removesuffix(".0").isdecimal():
        fold = typed_word(f"{name}:{text}", "NAME:FOLD")
        raise DataError(
            f"{where}: '{printable(text[:40])}' in the column '{printable(name[:40])}' is a number, not a split.\n"
            f"If it numbers folds, say which one is held out: --split-column {fold}.\n"
            f"Or use train, validation or test."
        )
    if text.lower() in TRUE_WORDS | FALSE_WORDS:
        raise DataError(
            f"{where}: '{printable(text)}' in the column '{printable(name[:40])}' is not a split.\n"
            f"Call the column is_valid, is_test or is_train, or use train, validation or test."
        )
    return split_number(parse_split(text, where))


def _same_fold(text: str, fold: str) -> bool:
    return text.removesuffix(".0") == fold.removesuffix(".0")
