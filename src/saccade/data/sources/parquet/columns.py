"""Which columns of a Parquet file are the image and its label, and what the classes are called.

Hugging Face writes both into the schema's metadata and into the data card (README.md):
https://huggingface.co/docs/datasets/image_dataset and /docs/hub/datasets-cards. Without either, columns are told by
their types and usual names.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ....core.errors import DataError, did_you_mean, printable
from ....core.plain_files import open_plain_file
from ...limits import MAX_DATA_CARD_BYTES, MAX_DATA_CARD_DEPTH, MAX_DATA_CARD_VALUES
from ...source_text import NOTHING_CHOSEN, ChosenColumns
from ..shared.listing import is_number

IMAGE_NAMES = ("image", "img", "images", "jpg", "png")
HEAD = re.compile(rb"\A---\r?\n(.*?)\n---", re.DOTALL)
# libyaml reads a megabyte in a second, where PyYAML's own parser takes half a minute
YAML_LOADER = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
MAX_NAMED = 8
SPLIT_COLUMNS = ("split", "fold", "subset", "partition", "is_valid", "is_test", "is_train")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "cls")


@dataclass(frozen=True)
class ImageColumns:
    """`image` the path of the binary column in the schema, `label` a top-level column; `names` of classes if known.

    `is_list`: an image has a list of labels. `is_value`: numbers are asked for, not classes.
    """

    image: str
    label: str
    is_number: bool
    names: tuple[str, ...] | None
    is_list: bool = False
    is_value: bool = False
    unused: tuple[str, ...] = field(default=(), compare=False)

    def told(self, where: str) -> list[str]:
        """A note on the columns that nothing is read from: another one may be the label that is meant."""
        if not self.unused:
            return []
        shown = ", ".join(printable(name[:40]) for name in self.unused[:MAX_NAMED])
        more = f" and {len(self.unused) - MAX_NAMED:,} more" if len(self.unused) > MAX_NAMED else ""
        parts = [name for name in self.unused if name.lower() in SPLIT_COLUMNS]
        lines = [f"{where}: '{printable(self.label)}' is the label; columns that are not used: {shown}{more}"]
        return lines + [
            f"'{printable(name)}' may say which part an image is of: write a file for each part, such as train.parquet"
            for name in parts
        ]


def find_image_column(schema: Any, where: str, chosen: ChosenColumns = NOTHING_CHOSEN) -> str:
    """The path of the images in an Arrow schema. Raises DataError where there is none, or a choice of several."""
    twice = next((name for name, count in Counter(schema.names).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"{where} has two columns that are called '{printable(twice)}'.\nRename one of them, or leave it out."
        )
    features = _schema_features(schema.metadata or {})
    images = {name: path for name in schema.names if (path := _binary_path(schema.field(name)))}
    encoded = [name for name in schema.names if _is_dictionary_of_bytes(schema.field(name))]
    if encoded and (not images or encoded[0] in IMAGE_NAMES):
        name = printable(encoded[0])
        raise DataError(
            f"{where}: the column '{name}' is an Arrow dictionary of bytes, in which rows name shared values by "
            f"number; that is not read as images.\n"
            f"Write it as plain bytes: table.set_column(i, '{name}', table['{name}'].cast('binary'))."
        )
    declared = [name for name in images if _type(features.get(name)) == "Image"]
    _check_chosen(chosen, schema.names, where)
    if chosen.file and chosen.file not in images:
        raise DataError(
            f"{where}: the column '{printable(chosen.file[:40])}' holds {printable(_kind(schema, chosen.file))}, not "
            f"images.\nChoose a column of encoded files (bytes, or a struct with bytes)."
        )
    return images[chosen.file or _choose(declared or list(images), IMAGE_NAMES, "image", where, schema.names)]


def find_columns(schema: Any, readme: Path, where: str, chosen: ChosenColumns = NOTHING_CHOSEN) -> ImageColumns:
    """The columns of an Arrow schema. Raises DataError where there is no image or label, or a choice of several."""
    found = _find_columns(schema, readme, where, chosen)
    used = {found.image.removesuffix(".bytes"), found.image, found.label}
    return replace(found, unused=tuple(name for name in schema.names if name not in used))


def _find_columns(schema: Any, readme: Path, where: str, chosen: ChosenColumns) -> ImageColumns:
    image = find_image_column(schema, where, chosen)
    features = _schema_features(schema.metadata or {})
    labels = [name for name in schema.names if _type(_inner(features.get(name))) == "ClassLabel"]
    usual = [name for name in LABEL_NAMES if name in schema.names]
    label = chosen.label or _choose(labels or usual, LABEL_NAMES, "label", where, schema.names)
    names = _names(_inner(features.get(label))) or _readme_names(readme, label)
    is_list = str(schema.field(label).type).startswith(("list<", "large_list<"))
    kind = str(schema.field(label).type.value_type if is_list else schema.field(label).type)
    is_number = kind.startswith(("int", "uint"))
    if chosen.target and not is_list and (is_number or kind in ("float", "double", "halffloat")):
        return ImageColumns(image=image, label=label, is_number=True, names=None, is_value=True)
    if not is_number and kind not in ("string", "large_string") and not kind.startswith("dictionary<values=string"):
        raise DataError(
            f"{where}: the column '{printable(label)}' holds {printable(kind[:80])}, not class numbers or names.\n"
            f"Write a class number or name for each image."
        )
    is_value = bool(chosen.target) and not is_list
    return ImageColumns(image=image, label=label, is_number=is_number, names=names, is_list=is_list, is_value=is_value)


def _choose(candidates: Sequence[str], usual: Sequence[str], what: str, where: str, columns: Sequence[str]) -> str:
    preferred = [name for name in usual if name in candidates]
    if preferred or len(candidates) == 1:
        return (preferred or candidates)[0]
    shown = ", ".join(printable(name) for name in columns[:12])
    found = "several columns" if candidates else "no column"
    option = "--file-column" if what == "image" else "--label-column"
    raise DataError(
        f"{where} has {found} that can be the {what}; its columns are: {shown}.\n"
        f"Name the image column image (bytes of an encoded file) and the class column label; or choose: {option} NAME."
    )


def _check_chosen(chosen: ChosenColumns, columns: Sequence[str], where: str) -> None:
    """Raise DataError for a column that is not there, and for the two that Parquet files are not asked for."""
    if chosen.split or chosen.group:
        raise DataError(
            f"{where}: of Parquet files the file and label columns can be chosen, not those of a split or a group.\n"
            f"Splits are told by file names, such as train.parquet and test.parquet."
        )
    for purpose, name in (("image", chosen.file), ("label", chosen.label)):
        if name and name not in columns:
            shown = ", ".join(printable(column[:40]) for column in columns[:12])
            raise DataError(
                f"{where} has no column '{printable(name[:40])}' for the {purpose}."
                f"{did_you_mean(name[:40], columns)}\nIts columns are: {shown}."
            )


def _kind(schema: Any, name: str) -> str:
    return str(schema.field(name).type)[:80]


def _binary_path(field: Any) -> str | None:
    """The path of the encoded bytes: `image.bytes` of a struct, or the column itself."""
    if str(field.type) in ("binary", "large_binary"):
        return str(field.name)
    if str(field.type).startswith("struct<"):
        inside = {child.name: str(child.type) for child in field.type}
        return f"{field.name}.bytes" if inside.get("bytes") in ("binary", "large_binary") else None
    return None


def _is_dictionary_of_bytes(field: Any) -> bool:
    """Whether values are stored once and named by numbers in Arrow itself, as pandas' categories are."""
    fields = [field, *field.type] if str(field.type).startswith("struct<") else [field]
    return any(
        str(each.type).startswith(("dictionary<values=binary", "dictionary<values=large_binary")) for each in fields
    )


def _schema_features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}  # not written by Hugging Face's library
    return features if isinstance(features, dict) else {}


def _type(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _inner(feature: Any) -> Any:
    """What a list is of, where a feature is one, as `datasets` writes it; else the feature."""
    return feature["feature"] if isinstance(feature, dict) and "feature" in feature else feature


def _names(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel: a list, or a dictionary from numbers in the data card."""
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):
        numbered = {int(key): name for key, name in names.items() if is_number(str(key))}
        names = [numbered.get(number) for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        return None
    return tuple(names)


def _head(readme: Path) -> str:
    """The YAML head of a data card; "" where there is none. Raises DataError for one that cannot be read."""
    where = printable(str(readme))
    try:
        with open_plain_file(readme) as file:
            start = file.read(MAX_DATA_CARD_BYTES)
    except OSError:
        return ""  # no card
    found = HEAD.match(start)
    if found is None:
        if start[:4] in (b"---\n", b"---\r") and len(start) == MAX_DATA_CARD_BYTES:
            raise DataError(
                f"{where}: the head of the data card has more than {MAX_DATA_CARD_BYTES:,} bytes.\n"
                f"Shorten it, or move the file away: the numbers then serve as names of the classes."
            )
        return ""
    try:
        return found[1].decode("utf-8")
    except UnicodeDecodeError as error:
        line = 2 + found[1][: error.start].count(b"\n")
        raise DataError(
            f"{where}, line {line}: the head of the data card is not UTF-8 text.\n"
            f"Save it as UTF-8, or move the file away: the numbers then serve as names of the classes."
        ) from None


def _refuse_large(text: str) -> None:
    """Raise YAMLError for more values, or deeper ones, than any card has. Events, unlike values, need no recursion."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, YAML_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DATA_CARD_DEPTH or number > MAX_DATA_CARD_VALUES:
            raise yaml.YAMLError("too many values, or too deep")


def _readme_names(readme: Path, label: str) -> tuple[str, ...] | None:
    """The class names in the head of a data card; None where it has none, or several lists that differ."""
    text = _head(readme)
    try:
        _refuse_large(text)
        # every scalar is a text, aliases share what they name and merge nothing: no card can grow when it is read
        head = yaml.load(text, YAML_LOADER)  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        return None  # the numbers serve as names
    infos = head.get("dataset_info") if isinstance(head, dict) else None
    found, num_read = set(), 0
    for info in infos if isinstance(infos, list) else [infos]:
        features = info.get("features") if isinstance(info, dict) else None
        for feature in features if isinstance(features, list) else []:
            num_read += 1
            kind = (
                feature.get("dtype", feature.get("sequence", feature.get("list"))) if isinstance(feature, dict) else 0
            )
            if isinstance(feature, dict) and feature.get("name") == label and isinstance(kind, dict):
                class_label = kind.get("class_label")
                num_read += len(class_label.get("names", ())) if isinstance(class_label, dict) else 0
                found.add(_names(class_label))
            if num_read > MAX_DATA_CARD_BYTES:
                raise DataError(
                    f"{printable(str(readme))}: the data card repeats its lists by aliases (*) without end.\n"
                    f"Write them once, or move the file away: the numbers then serve as names of the classes."
                )
    return found.pop() if len(found) == 1 else None
