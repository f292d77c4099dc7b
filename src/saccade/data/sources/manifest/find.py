"""Which label files a folder has: tables that say what its images are, where its sub-folders do not.

`metadata.csv` or `metadata.jsonl` as Hugging Face's imagefolder has it, `_classes.csv` as Roboflow exports it, in the
folder or in each part; else the one table in a folder without class folders that lists its images.
"""

from dataclasses import dataclass
from pathlib import Path

from ....core.errors import DataError, NoLabelColumn, printable, shell_word
from ...source_text import NOTHING_CHOSEN, ChosenColumns
from ..shared.image_files import has_images, images_directly_in, subfolders
from ..shared.listing import UNLABELLED_WORDS, is_generic, name_words, splits_among
from .columns import find_columns, find_file_column, names_images
from .files import FileFinder
from .tables import Table, open_table

NAMES_IN_FOLDER = ("manifest.csv", "labels.csv", "metadata.csv", "metadata.jsonl")
NAMES_IN_PART = ("metadata.csv", "metadata.jsonl", "_classes.csv")
MAX_TABLES = 50
NOT_LABELS = "submission"  # what a competition wants to be sent


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """`tables` are (path, split of all its images or None); `below` is the folder that was given, or None."""

    tables: tuple[tuple[Path, str | None], ...]
    below: Path | None = None
    notes: tuple[str, ...] = ()


def find_label_files(folder: Path, chosen: ChosenColumns = NOTHING_CHOSEN) -> LabelFiles | None:
    """The tables that label the images of `folder`; None where its sub-folders do, or nothing does.

    Raises DataError where several tables may be meant, or the columns of the only one are unclear.
    """
    named = _named_table(folder, chosen)
    if named is not None:
        beside = _lists_beside(named, NAMES_IN_FOLDER, chosen)
        return LabelFiles(tables=((named, None),), below=folder, notes=tuple(beside))
    return _tables_of_parts(folder) or _only_table(folder, chosen)


def _named_table(folder: Path, chosen: ChosenColumns) -> Path | None:
    for name in NAMES_IN_FOLDER:
        table = _read(folder / name)
        if table is not None and names_images(table, chosen):
            return table.path
    path = folder / "_classes.csv"
    return path if path.is_file() else None


def _tables_of_parts(folder: Path) -> LabelFiles | None:
    """A table in the training part, and in the others where they have one."""
    names = subfolders(folder)
    tables: dict[str, Path] = {}
    notes = []
    for name, split in sorted(splits_among(names).items()):
        found = [folder / name / table for table in NAMES_IN_PART if (folder / name / table).is_file()]
        table = next((path for path in found if path.name == "_classes.csv" or _lists_images(path)), None)
        if table is None:
            notes.append(f"'{printable(name)}' has no list of labels: its images are not used")
        elif split in tables:
            both = f"{printable(tables[split].parent.name)} and {printable(name)}"
            raise DataError(f"{printable(str(folder))} has two folders for {split}: {both}.\nKeep one of them.")
        else:
            tables[split] = table
            notes += _lists_beside(table, NAMES_IN_PART, NOTHING_CHOSEN)
    if "train" not in tables:
        return None
    return LabelFiles(tables=tuple((path, split) for split, path in tables.items()), below=folder, notes=tuple(notes))


def _lists_beside(used: Path, names: tuple[str, ...], chosen: ChosenColumns) -> list[str]:
    """A note on each other table beside `used` that lists images, too: what it says may be something else."""
    others = [used.parent / name for name in names if name != used.name]
    return [
        f"{printable(used.name)} says what the images are; {printable(path.name)} beside it lists images, too, and is "
        f"not read. To read that instead, give it in place of the folder: {shell_word(path)}"
        for path in others
        if path.name != "_classes.csv" and (table := _read(path)) is not None and names_images(table, chosen)
    ]


def _lists_images(path: Path) -> bool:
    table = _read(path)
    return table is not None and names_images(table, NOTHING_CHOSEN)


def _only_table(folder: Path, chosen: ChosenColumns) -> LabelFiles | None:
    """The one table in a folder without class folders that lists its images with their labels."""
    paths = sorted(path for path in folder.iterdir() if _may_list(path))[:MAX_TABLES]
    if not paths or not _has_no_class_folders(folder):
        return None
    labelled: list[Path] = []
    unclear: list[tuple[Path, DataError]] = []
    for path in paths:
        try:
            table, files = open_table(path), FileFinder(path)
            column = find_file_column(table, files, chosen)
            if column is None or not files.settle([row[column] for _, row in table.sample[:1]]):
                continue  # it is about something else
            find_columns(table, files, chosen)
            labelled.append(path)
        except DataError as error:
            unclear.append((path, error))
    return _chosen_table(folder, labelled, unclear)


def _chosen_table(folder: Path, labelled: list[Path], unclear: list[tuple[Path, DataError]]) -> LabelFiles | None:
    split_of = splits_among(path.stem for path in labelled)
    notes = tuple(
        f"{printable(path.name)} lists images, but not clearly what they are: not used"
        for path, error in unclear
        if isinstance(error, NoLabelColumn) and not _is_for_testing(path)
    )
    if len(labelled) == 1:
        return LabelFiles(tables=((labelled[0], None),), below=folder, notes=notes)
    if labelled and len(split_of) == len(labelled) == len(set(split_of.values())) and "train" in split_of.values():
        return LabelFiles(tables=tuple((path, split_of[path.stem]) for path in labelled), below=folder, notes=notes)
    if labelled:
        shown = ", ".join(printable(path.name) for path in labelled[:4])
        more = f" and {len(labelled) - 4:,} more" if len(labelled) > 4 else ""
        raise DataError(
            f"The folder {printable(str(folder))} has several files that list its images: {shown}{more}.\n"
            f"Give the one that is meant in place of the folder, such as {shell_word(labelled[0])}."
        )
    faulty = [error for path, error in unclear if not _is_for_testing(path)]
    if faulty:
        raise faulty[0]
    return None


def _read(path: Path) -> Table | None:
    if not path.is_file():
        return None
    try:
        return open_table(path)
    except DataError:
        return None  # where it is the one that counts, it is opened again, and says why


def _may_list(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((".csv", ".tsv")) and not name.startswith(".") and NOT_LABELS not in name and path.is_file()


def _is_for_testing(path: Path) -> bool:
    """Whether a table is called like the images of a competition that nobody has labels for."""
    return splits_among([path.stem]).get(path.stem) == "test" or _is_unlabelled(path.stem)


def _has_no_class_folders(folder: Path) -> bool:
    """Whether the images lie in the folder, its parts, one sub-folder, or folders that a number tells apart."""
    holding = [name for name in subfolders(folder) if has_images(folder / name)]
    if any(has_images(folder / name / inside) for name in holding for inside in subfolders(folder / name)):
        return False
    if not holding:
        return bool(images_directly_in(folder))
    parts = splits_among(holding)
    rest = [name for name in holding if name not in parts and not is_generic(name) and not _is_unlabelled(name)]
    return len(rest) <= (1 if not parts else 0) or (
        not parts and len({tuple(name_words(name)) for name in rest}) == 1 and len(rest) == len(holding)
    )


def _is_unlabelled(name: str) -> bool:
    return bool(set(name_words(name)) & UNLABELLED_WORDS)
