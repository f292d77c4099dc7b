"""Which column of a table is the file, the label, the split, the group; and what to say of the others.

By name, in two tiers: the spellings of the manual, then what people write. Where the names leave it open, the column
that holds files by its content is the file; of two columns the other one is the label.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from ....core.errors import MAX_TYPED, DataError, NoLabelColumn, did_you_mean, printable, shell_word, typed_word
from ...source_text import MARK, ChosenColumns, chosen_column
from ..shared.listing import name_words, split_of_name
from .files import TEXT_ENDINGS, FileFinder
from .tables import Table

COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "image"),
    "label": ("label", "class"),
    "split": ("split",),
    "group": ("group",),
}
USUAL_FILE = (
    *("id", "image_id", "imageid", "img_id", "image_name", "imagename", "img_name", "img", "images", "name", "photo"),
    *("filepath", "file_path", "image_path", "imagepath", "img_path", "image_file", "file_id", "filenames", "picture"),
    *("id_code", "image_index", "imagefile", "imagefilename", "image_filename", "relative_path", "fname", "uuid"),
)
USUAL_LABEL = (
    *(
        "labels",
        "category",
        "target",
        "species",
        "breed",
        "diagnosis",
        "dx",
        "class_name",
        "classname",
        "category_name",
    ),
    *("label_name", "class_label", "class_id", "label_id", "category_id", "target_name", "finding", "y"),
    *("classid", "labelid", "finding_labels", "label_group", "emotion", "style"),
)
GROUP_WORDS = {"id", "patient", "subject", "video", "group", "session", "person", "animal", "lesion", "individual"}
SPLIT_WORDS = {"split", "fold", "subset", "partition", "set", "part"}
TRUE_WORDS, FALSE_WORDS = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no"}
ONE_HOT = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
MAX_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where in a row the values stand; None for a column that is not there.

    `one_hot` are the columns of the classes where no single one holds the label; `fold` the value that is held out.
    """

    file: int
    label: int | None
    one_hot: tuple[int, ...]
    split: int | None
    group: int | None
    fold: str

    def unused(self, table: Table) -> list[str]:
        """Names of the columns that nothing is read from."""
        used = {self.file, self.label, self.split, self.group, *self.one_hot}
        return [name for number, name in enumerate(table.names) if number not in used]


def find_columns(table: Table, files: FileFinder, chosen: ChosenColumns) -> Columns:
    """The columns of `table`, and `files` settled on them. Raises DataError, NoLabelColumn among them."""
    _refuse_no_heading(table)
    file = find_file_column(table, files, chosen)
    if file is None:
        raise DataError(_missing(table, "file"))
    files.settle([row[file] for _, row in table.sample])
    split, fold = _split_column(table, chosen)
    group = _chosen(table, "group", chosen.group) if chosen.group else _named(table, "group", COLUMNS["group"])
    taken = {file, split, group}
    label = _label_column(table, chosen, taken)
    one_hot = () if label is not None else _one_hot_columns(table, taken)
    if label is None and not one_hot:
        label = next((number for number in _matches(table, COLUMNS["label"]) if number in taken), None)
        if label is None:
            raise NoLabelColumn(_missing(table, "label", taken))
    columns = Columns(file=file, label=label, one_hot=one_hot, split=split, group=group, fold=fold)
    _refuse_two_purposes(table, columns)
    return columns


def find_file_column(table: Table, files: FileFinder, chosen: ChosenColumns) -> int | None:
    """The column that names the images; None where there is none. Raises DataError for a choice of several."""
    if chosen.file:
        return _chosen(table, "file", chosen.file)

    def holding(numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if files.settle([row[number] for _, row in table.sample])]

    first, second = (_matches(table, names) for names in (COLUMNS["file"], USUAL_FILE))
    if len(first) == 1:
        return first[0]
    for tier in (first, second):
        found = holding(tier) if tier else []
        if len(found) == 1:
            return found[0]
        if len(found) > 1 or (tier and tier is first):
            _refuse_two(table, "file", found or tier)
    others = holding([number for number in range(len(table.names)) if number not in second])
    if len(others) > 1:
        _refuse_two(table, "file", others)
    if others:
        return others[0]
    return second[0] if len(second) == 1 else None


def names_images(table: Table, chosen: ChosenColumns) -> bool:
    """Whether the columns of a table say by themselves, in the spellings of the manual, that it lists images."""
    names = {name.lower() for name in table.names}
    file, label = (chosen.file.lower(), chosen.label.lower())
    return bool(names & ({file} if file else set(COLUMNS["file"]))) and bool(
        names & ({label} if label else set(COLUMNS["label"]))
    )


def hints(table: Table, unused: Sequence[str], repeated: Sequence[str]) -> list[str]:
    """What to say of the columns that are not used. `repeated` are those of them in which a value occurs twice."""
    if not unused:
        return []
    where = printable(table.path.name)
    shown = ", ".join(printable(name[:40]) or "one without a name" for name in unused[:MAX_NAMED])
    more = f" and {len(unused) - MAX_NAMED:,} more" if len(unused) > MAX_NAMED else ""
    lines = [f"{where}: columns that are not used: {shown}{more}"]
    for name in repeated:
        if is_group_like(name):
            lines.append(f"if images of one {printable(name[:40])} belong together: --group {typed_word(name, 'NAME')}")
    for name in unused:
        if is_split_like(name):
            fold = ":0" if "fold" in _words(name) else ""
            what = "number the folds" if fold else "say which part an image is of"
            lines.append(
                f"'{printable(name[:40])}' may {what}: --split-column {typed_word(name + fold, 'NAME' + fold)}"
            )
    return lines


def is_group_like(name: str) -> bool:
    """Whether a column is called like what several images may have in common: `patient_id`, `video`, `subjectID`."""
    words = _words(name)
    return bool(words) and bool({words[-1], words[-1].removesuffix("id")} & GROUP_WORDS)


def is_split_like(name: str) -> bool:
    """Whether a column is called like the parts of a set: `is_valid`, `fold`, `subset`, `train_test`."""
    words = _words(name)
    return bool(set(words) & SPLIT_WORDS) or split_of_name(name) is not None


def true_split(name: str) -> tuple[str, str] | None:
    """The splits that True and False mean in a column of this name: `is_valid`, `is_test`, `is_train`."""
    split = split_of_name(name)
    if split is None:
        return None
    return (split, "test") if split == "train" else (split, "train")


def _words(name: str) -> list[str]:
    return name_words(name.replace("ID", "Id")) or re.findall(r"\w+", name.lower())


def _matches(table: Table, spellings: Sequence[str]) -> list[int]:
    return [number for number, name in enumerate(table.names) if re.sub(r"[\s-]+", "_", name.lower()) in spellings]


def _named(table: Table, purpose: str, spellings: Sequence[str]) -> int | None:
    matches = _matches(table, spellings)
    if len(matches) > 1:
        _refuse_two(table, purpose, matches)
    return matches[0] if matches else None


def _chosen(table: Table, purpose: str, name: str) -> int:
    number = table.column(name)
    if number is None:
        raise DataError(
            f"{table.where} has no column '{printable(name[:40])}' for the {purpose}."
            f"{did_you_mean(name[:40], table.names)}\nIts columns are: {_shown(table)}."
        )
    _refuse_twice(table, purpose, number)
    return number


def _split_column(table: Table, chosen: ChosenColumns) -> tuple[int | None, str]:
    """(column, fold that is held out): `fold:3` chooses a fold, unless a column has that very name."""
    if not chosen.split:
        return _named(table, "split", COLUMNS["split"]), ""
    name, colon, fold = chosen.split.rpartition(":")
    if colon and fold and table.column(chosen.split) is None:
        return _chosen(table, "split", name), fold
    return _chosen(table, "split", chosen.split), ""


def _label_column(table: Table, chosen: ChosenColumns, taken: set[int | None]) -> int | None:
    if chosen.label:
        return _chosen(table, "label", chosen.label)
    for spellings in (COLUMNS["label"], USUAL_LABEL):
        matches = [number for number in _matches(table, spellings) if number not in taken]
        if len(matches) > 1:
            _refuse_two(table, "label", matches)
        if matches:
            return matches[0]
    rest = [number for number in range(len(table.names)) if number not in taken]
    return rest[0] if len(table.names) == 2 and len(rest) == 1 else None


def _one_hot_columns(table: Table, taken: set[int | None]) -> tuple[int, ...]:
    """The columns of the classes, where all that are left hold 0 and 1."""
    rest = tuple(number for number in range(len(table.names)) if number not in taken)
    is_one_hot = all(row[number].strip().lower() in ONE_HOT for _, row in table.sample for number in rest)
    return rest if len(rest) > 1 and table.sample and is_one_hot else ()


def _refuse_no_heading(table: Table) -> None:
    """Raise DataError where the first line is a row: it would be lost."""
    first = next((name for name in table.names if name.lower().endswith(TEXT_ENDINGS)), None)
    if first is not None and len(table.names) > 1:
        raise DataError(
            f"{table.where} begins with the row of {printable(first[:80])}, not with the names of the columns.\n"
            f"Put a line in front of it that names them: file,label."
        )


def _refuse_twice(table: Table, purpose: str, number: int) -> None:
    """Raise DataError where another column has the same name: neither can be meant."""
    name = table.names[number]
    if table.names.count(name) > 1:
        raise DataError(
            f"{table.where} has two columns for the {purpose} that are both called '{printable(name[:40])}'.\n"
            f"Rename one of them in the first line."
        )


def _refuse_two(table: Table, purpose: str, numbers: Sequence[int]) -> None:
    _refuse_twice(table, purpose, numbers[0])
    first, second = (table.names[number] for number in numbers[:2])
    raise DataError(
        f"{table.where} has two columns for the {purpose}: '{printable(first[:40])}' and '{printable(second[:40])}'.\n"
        f"Choose one, as in {how_to_choose(table, purpose, first)}; or rename the other."
    )


def _refuse_two_purposes(table: Table, columns: Columns) -> None:
    taken: dict[int, str] = {}
    for purpose in ("file", "label", "split", "group"):
        number = getattr(columns, purpose)
        if number is not None and number in taken:
            raise DataError(
                f"{table.where}: the column '{printable(table.names[number][:40])}' is the {taken[number]} and the "
                f"{purpose}.\nChoose a column for each."
            )
        if number is not None:
            taken[number] = purpose


def _missing(table: Table, purpose: str, taken: Set[int | None] = frozenset()) -> str:
    is_whole = len(table.names) == 1 and table.path.suffix.lower() in (".csv", ".tsv")
    other = " Separate the columns by commas." if is_whole else ""
    rest = [name for number, name in enumerate(table.names) if number not in taken]
    if len(table.names) > 1 and rest:
        other = f"\nOr say which one it is, as in {how_to_choose(table, purpose, rest[0])}."
        if purpose == "file":  # every column was looked at
            other = "\nNo column holds names of files that lie beside or below it: put it there, or correct the names."
    return (
        f"{table.where} has no column '{purpose}'; its first line is: {_shown(table)}.\n"
        f"Name the columns file,label and, where you have them, split and group.{other}"
    )


def how_to_choose(table: Table, purpose: str, name: str) -> str:
    """The two ways to choose a column, of which the second serves every verb, and Python."""
    if len(name) > MAX_TYPED:
        return f"--{purpose}-column NAME or {shell_word(f'{table.path}{MARK}{purpose}=NAME')}"
    source = f"{table.path}{chosen_column(purpose, name).as_text()}"
    return f"--{purpose}-column {shell_word(name)} or {shell_word(source)}"


def _shown(table: Table) -> str:
    shown = ", ".join(printable(name[:40]) for name in table.names[:MAX_NAMED])
    return shown + (f" and {len(table.names) - MAX_NAMED:,} more" if len(table.names) > MAX_NAMED else "")
