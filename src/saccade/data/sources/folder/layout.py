"""What the sub-folders of a folder are: classes, or the parts of a set above the classes; a muddle is refused.

A folder that is read the wrong way is learned without a complaint, and judged well: two parts of a set look like two
classes. Whatever could be meant in two ways is refused with what to do.
"""

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path

from ....core.errors import DataError, counted, printable, shell_word
from ..manifest.documents import read_annotations
from ..shared.image_files import has_images, images_directly_in, is_folder, list_entries, subfolders, walk_images
from ..shared.listing import (
    GENERIC_WORDS,
    LABEL_FOLDERS,
    UNLABELLED_WORDS,
    is_generic,
    name_words,
    splits_among,
    words_beside_split,
)

MAX_SHOWN = 4
OTHER_LISTS = (".xlsx", ".xls", ".ods", ".txt", ".mat", ".xml", ".pkl", ".pickle", ".yaml", ".yml")
LISTS = (".csv", ".tsv", ".jsonl", ".json", *OTHER_LISTS)
NO_LISTS = {"readme", "license", "licence", "classes", "submission", "requirements"}
MAX_COMPARED_CLASSES = 100  # whose sub-folders are looked at


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`parts` are (folder of class folders, split), None for a folder without parts; `notes` say what is not used."""

    parts: tuple[tuple[Path, str | None], ...]
    notes: tuple[str, ...] = ()


def find_layout(folder: Path) -> Layout:
    """The layout of `folder`. Raises DataError where its sub-folders may be classes or parts of a set."""
    names = subfolders(folder)
    split_of = splits_among(names)
    if "train" not in split_of.values():
        _refuse_parts_without_train(folder, names, split_of)
        _refuse_no_classes(folder, names, split_of)
        return Layout(parts=((folder, None),))
    parts: dict[str, Path] = {}
    for name, split in sorted(split_of.items()):
        if split in parts:
            _refuse_parts_of_each_class(folder, split_of)
            raise DataError(
                f"{printable(str(folder))} has two folders for {split}: {printable(parts[split].name)} and "
                f"{printable(name)}.\nKeep one of them."
            )
        parts[split] = folder / name
    others = _other_folders(folder, [name for name in names if name not in split_of], parts["train"].name)
    layout = _with_classes(folder, {split: _undoubled(path, split) for split, path in parts.items()})
    return replace(layout, notes=layout.notes + others)


def _refuse_parts_of_each_class(folder: Path, split_of: dict[str, str]) -> None:
    """Raise DataError where the folders are classes, each with its parts: `car_train`, `car_test`, `dog_train`."""
    words_of = {name: words_beside_split(name) for name in split_of}
    if len(set(words_of.values())) < 2 or not all(
        words and not GENERIC_WORDS & set(words) for words in words_of.values()
    ):
        return
    first = min(split_of)
    shown = f"{split_of[first]}/{' '.join(words_of[first])}"
    raise DataError(
        f"The folder {printable(str(folder))} names a class and a part of the set in one "
        f"({_listed(sorted(split_of))}).\n"
        f"Put the parts above the classes, such as {printable(first)} as {printable(shown)}."
    )


def _undoubled(part: Path, split: str) -> Path:
    """The folder inside that repeats the name of the part, as `seg_train/seg_train`, or says only that it holds images,
    as `train/images`, where there is nothing else."""
    inside = subfolders(part)
    if len(inside) != 1 or images_directly_in(part):
        return part
    name = inside[0]
    says_nothing = name == part.name or splits_among([name]).get(name) == split or is_generic(name)
    return part / name if says_nothing else part


def _with_classes(folder: Path, parts: dict[str, Path]) -> Layout:
    """The parts that have class folders; the others are told. Raises DataError where the training part has none."""
    has_classes = {split: bool(subfolders(path)) for split, path in parts.items()}
    if not has_classes["train"]:
        _refuse_flat_parts(folder, parts)
    notes = []
    for split, path in sorted(parts.items()):
        if has_classes[split]:
            continue
        num_images = len(images_directly_in(path))
        what = f"its {_images(num_images)} not used" if num_images else "it is empty"
        notes.append(f"'{printable(str(path.relative_to(folder)))}' has no class folders: {what}")
    used = tuple((path, split) for split, path in sorted(parts.items()) if has_classes[split])
    return Layout(parts=used, notes=tuple(notes))


def _refuse_flat_parts(folder: Path, parts: dict[str, Path]) -> None:
    where, train = printable(str(folder)), parts["train"]
    shown = " and ".join(printable(path.name) for _, path in sorted(parts.items(), key=lambda part: part[0] != "train"))
    if not images_directly_in(train):
        raise DataError(
            f"The folder {where}: '{printable(train.name)}' is the training part, but it is empty.\n"
            f"Put one sub-folder of images per class into it, such as {printable(str(train))}/cat."
        )
    raise DataError(
        f"The folder {where} holds parts of a set ({shown}) without class folders: nothing says which image is what.\n"
        f"{_list_hint(folder, parts)}\n"
        f"Or put the images of each class into a sub-folder, such as {printable(str(train))}/cat."
    )


def _list_hint(folder: Path, parts: dict[str, Path]) -> str:
    """How the labels can be given: by a file that lies there and may say them, or by one to write."""
    where = printable(str(folder))
    return unread_list(folder, parts["train"]) or (
        f"List the images in a CSV file with the columns file and label, such as {where}/labels.csv."
    )


def unread_list(*places: Path) -> str:
    """What to do with a file in `places` that may say the labels; empty where there is none."""
    inside = [place / name for place in places for name in subfolders(place) if set(name_words(name)) <= LABEL_FOLDERS]
    for place in (*places, *inside):
        names = sorted(os.fsdecode(entry.name) for entry in list_entries(place) if not is_folder(entry))
        for name in names:
            words = set(name_words(Path(name).stem))
            is_list = name.lower().endswith(LISTS) and words - NO_LISTS and "submission" not in words
            if is_list and (name.lower().endswith(OTHER_LISTS) or not is_readable_list(place / name)):
                path = printable(str(place / name))
                return f"If {path} says it, save it as CSV with the columns file and label, and give that."
            if is_list:
                path = printable(str(place / name))
                return f"If {path} says it, give it in place of the folder: {shell_word(place / name)}."
    return ""


def is_readable_list(path: Path) -> bool:
    """Whether a table is of a kind that is read: of JSON documents, annotations alone are."""
    if path.suffix.lower() != ".json":
        return True
    try:
        return bool(read_annotations(path))
    except DataError:
        return False


def _other_folders(folder: Path, others: list[str], train: str) -> tuple[str, ...]:
    """What to say of the folders beside the parts. Raises DataError for one that holds images and may be a class."""
    common = set(name_words(train))
    notes = []
    for name in others:
        num_images = sum(1 for _ in walk_images(folder / name))
        if num_images and not set(name_words(name)) <= GENERIC_WORDS | UNLABELLED_WORDS | common:
            raise DataError(
                f"{printable(str(folder))} has the folder '{printable(train)}' beside '{printable(name)}': "
                f"are the sub-folders splits or classes?\nMove everything that is not a split out of it."
            )
        what = f"its {_images(num_images)} not used" if num_images else "it holds no images"
        notes.append(f"'{printable(name)}' is not a part of the set: {what}")
    return tuple(notes)


def _refuse_parts_without_train(folder: Path, names: list[str], split_of: dict[str, str]) -> None:
    """Parts without training images, and a class that is called like a part: what is meant cannot be told."""
    if not split_of:
        return
    where, found = printable(str(folder)), [printable(name) for name in sorted(split_of)]
    if len(split_of) == len(names):
        raise DataError(
            f"The folder {where} has {' and '.join(found)}, but no train: are they splits or classes?\n"
            f"Add the folder train, or give one part alone, such as {printable(str(folder / sorted(split_of)[0]))}."
        )
    classes = [printable(name) for name in names if name not in split_of]
    raise DataError(
        f"The folder {where} has '{found[0]}', which is called like a part of a set, beside {_listed(classes)}: "
        f"is it a class?\nMove it out of the folder; or, if it is a class, give it another name."
    )


def _refuse_no_classes(folder: Path, names: list[str], split_of: dict[str, str]) -> None:
    """Sub-folders that hold whole sets, or kinds of files, are no classes."""
    where = printable(str(folder))
    holding = [name for name in names if has_images(folder / name)] if all(map(is_generic, names)) else []
    if len(holding) > 1:
        with_classes = [name for name in holding if len(subfolders(folder / name)) > 1]
        if not with_classes:
            raise DataError(
                f"The folder {where} holds {_listed(holding)}, which are called like folders of files, not like "
                f"classes, and have no class folders.\n"
                f"{unread_list(folder) or 'List the images in a CSV file with the columns file and label.'}"
            )
        raise DataError(
            f"The folder {where} holds {_listed(holding)}, which are called like folders of files, not like classes.\n"
            f"Give the one with the class folders, such as {printable(str(folder / with_classes[0]))}; "
            f"or rename the folders after their classes."
        )
    if len(names) < 2 or len(names) > MAX_COMPARED_CLASSES:
        return
    inside = [subfolders(folder / name) for name in names]
    _refuse_parts_below_classes(folder, names, inside)
    in_all = [name for name in inside[0] if all(name in other for other in itertools.islice(inside, 1, None))]
    if len(in_all) > 1:
        if all(map(is_generic, in_all)):
            raise DataError(
                f"The folder {where}: each of {_listed(names)} holds the folders {_listed(in_all)}, "
                f"and all of these would be learned as its images.\n"
                f"Move what is no image of a class, such as masks, out of the folder; or list the images in a CSV file "
                f"with the columns file and label."
            )
        raise DataError(
            f"The folder {where}: each of {_listed(names)} holds the same sub-folders ({_listed(in_all)}), "
            f"so either may be the classes.\n"
            f"If {_listed(in_all)} are the classes, give one folder: "
            f"{printable(str(folder / names[0]))}.\n"
            f"If {_listed(names)} are, list the images in a CSV file with the columns file and label."
        )


def _refuse_parts_below_classes(folder: Path, names: list[str], inside: list[list[str]]) -> None:
    """Folders that hold training and other parts, each its own: what they are learned as would not be what they are."""
    found = [(name, part, split) for name, parts in zip(names, inside, strict=True) for part, split in _parts(parts)]
    splits = {split for _, _, split in found}
    if "train" not in splits or len(splits) < 2:
        return
    train = next(place for place in found if place[2] == "train")
    other = next(place for place in found if place[2] != "train")
    one, two = (printable(f"{name[:40]}/{part[:40]}") for name, part, _ in (train, other))
    if {"images", "labels"} <= {name.lower() for name in names}:  # as YOLO has them
        raise DataError(
            f"The folder {printable(str(folder))} has pictures in 'images' and a text for each in 'labels', as boxes "
            f"are marked for a detector: no class of a whole image stands there.\n"
            f"List the images in a CSV file with the columns file and label, and give that."
        )
    raise DataError(
        f"The folder {printable(str(folder))} has parts of a set inside its sub-folders, such as {one} and {two}: "
        f"they would be learned as one.\n"
        f"Put the parts above the classes, as in train/cat and test/cat; or, if they are no parts, rename them."
    )


def _parts(names: list[str]) -> list[tuple[str, str]]:
    return sorted(splits_among(names).items())


def _images(count: int) -> str:
    return f"{counted(count, 'image')} {'is' if count == 1 else 'are'}"


def _listed(names: list[str]) -> str:
    shown = [printable(name[:40]) for name in names[:MAX_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else "")
