"""Annotations in one JSON document as a table of files and labels: COCO's format, and what Label Studio exports.

COCO: `images`, `annotations` and `categories`; an image has the categories of its annotations, none where it has none.
A dictionary of file names and labels, `{"a.jpg": "cat", "b.jpg": ["cat", "dog"]}`.
Label Studio: a list of tasks with `data.image` and `annotations`, or in short (JSON-MIN) with `image` and `choice`.
Regions count as labels of their image. Where every image has exactly one label, that is what it has. Where no task of
Label Studio has a label, its number or rating is what an image has.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ....core.documents import DocumentError, parse_json, read_plain_file
from ....core.errors import DataError, printable
from ...images.formats.table import ENDINGS as IMAGE_ENDINGS

MAX_DOCUMENT_BYTES = 512 << 20
UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # what Label Studio makes of the name of a file that is uploaded
NAMES = ("file_name", "label")
SHORT = ("choice", "choices", "class")  # how choices are called in the short form; "class" by our own configuration
NUMBERS = ("number", "rating")  # types of Label Studio that hold one
Labelled = tuple[str, tuple[str, ...]]
Said = tuple[tuple[str, ...], tuple[str, ...]]  # the labels of a task, and its numbers as texts
Row = tuple[int, list[str]]


class NotAnnotations(DocumentError):
    """What keeps a document from being one of annotations."""


def read_annotations(path: Path) -> list[Row]:
    """(number of the image, [file, label]) of every image. Raises DataError."""
    where = printable(str(path))
    try:
        document = parse_json(read_plain_file(path, MAX_DOCUMENT_BYTES, may_be_link=True))
        found = _labelled(document, path.parent)
    except (DocumentError, FileNotFoundError) as error:
        what = str(error) if isinstance(error, DocumentError) else "it is not there"
        raise DataError(
            f"{where} is not read as annotations: {printable(what)}.\n"
            f'Give a file in COCO\'s format, an export of Label Studio as JSON, {{"a.jpg": "cat", ...}}, or a CSV file.'
        ) from None
    if not found:
        raise DataError(f"{where} lists no image.\nExport it again, with its images.")
    if all(len(labels) == 1 for _, labels in found):
        return [(number, [file, labels[0]]) for number, (file, labels) in enumerate(found, 1)]
    return [(number, [file, json.dumps(labels, ensure_ascii=False)]) for number, (file, labels) in enumerate(found, 1)]


def _labelled(document: Any, folder: Path) -> list[Labelled]:
    if not isinstance(document, dict):
        return _tasks(document, folder)
    if document and all(name.lower().endswith(IMAGE_ENDINGS) for name in document):
        return [(name, _labels_of_file(name, value)) for name, value in document.items()]
    return _coco(document)


def _labels_of_file(name: str, value: Any) -> tuple[str, ...]:
    """The labels in a dictionary of files: a text, a number, or a list of texts."""
    labels = value if isinstance(value, list) else [value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        labels = [json.dumps(value)]
    if not all(isinstance(label, str) and label for label in labels):
        raise NotAnnotations(f"the label of {name[:80]} is neither a text, a number, nor a list of texts")
    return tuple(dict.fromkeys(labels))


def _coco(document: dict[str, Any]) -> list[Labelled]:
    images, annotations, categories = (_objects(document, name) for name in ("images", "annotations", "categories"))
    names = {category.get("id"): category.get("name") for category in categories}
    labels: dict[Any, dict[str, None]] = {image.get("id"): {} for image in images}
    if len(labels) < len(images):
        raise NotAnnotations("two of its images have one id")
    for number, annotation in enumerate(annotations, 1):
        image, name = labels.get(annotation.get("image_id")), names.get(annotation.get("category_id"))
        if image is None or not isinstance(name, str):
            raise NotAnnotations(f"annotation {number:,} is of an image or a category that is not listed")
        image[name] = None
    return [
        (_text(image.get("file_name"), number), tuple(labels[image.get("id")]))
        for number, image in enumerate(images, 1)
    ]


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = document.get(name)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise NotAnnotations(f"it has no list '{name}'")
    return values


def _tasks(document: Any, folder: Path) -> list[Labelled]:
    if not isinstance(document, list) or not all(isinstance(task, dict) for task in document):
        raise NotAnnotations("it is neither COCO's object nor a list of tasks")
    files, said = [], []
    for number, task in enumerate(document, 1):
        data = task.get("data", task)
        image = data.get("image") if isinstance(data, dict) else None
        said.append(_of_annotations(task, number) if "annotations" in task else _short(task, number))
        files.append(_local_name(_text(image, number), folder))
    if any(labels for labels, _ in said) or not any(numbers for _, numbers in said):
        return [(file, labels) for file, (labels, _) in zip(files, said, strict=True)]
    for number, (_, numbers) in enumerate(said, 1):
        if len(numbers) != 1:
            what = f"{len(numbers)} numbers" if numbers else "no number"
            raise NotAnnotations(f"task {number:,} has {what}, and others have one; one for each image is read")
    return [(file, numbers) for file, (_, numbers) in zip(files, said, strict=True)]


def _of_annotations(task: dict[str, Any], number: int) -> Said:
    """The labels and numbers on which all annotations of a task agree."""
    answers = [
        _said(annotation.get("result"), number)
        for annotation in _objects(task, "annotations")
        if not annotation.get("was_cancelled")
    ]
    if not answers:
        raise NotAnnotations(f"task {number:,} is not annotated; export annotated tasks only")
    if len(set(answers)) > 1:
        raise NotAnnotations(f"task {number:,} has annotations that do not agree; settle which is right")
    return answers[0]


def _said(result: Any, number: int) -> Said:
    """The labels in a result, choices and those of regions, and its numbers; each part has them under the name of its
    type. Other parts (a text) are passed over."""
    if not isinstance(result, list) or not all(isinstance(part, dict) for part in result):
        raise NotAnnotations(f"task {number:,} has an annotation without a list 'result'")
    found: list[str] = []
    numbers: list[str] = []
    for part in result:
        value = part.get("value")
        kind = part.get("type")
        labels = value.get(kind) if isinstance(value, dict) and isinstance(kind, str) else None
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            found += labels
        elif kind in NUMBERS:
            numbers.append(_number(labels, kind, number))
        elif kind == "choices" or (labels is not None and str(kind).endswith("labels")):
            raise NotAnnotations(f"task {number:,} has '{kind}' without a list of names")
    return tuple(sorted(set(found))), tuple(numbers)


def _number(value: Any, kind: str, number: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAnnotations(f"task {number:,} has '{kind}' without a number")
    return json.dumps(value)


def _short(task: dict[str, Any], number: int) -> Said:
    """The labels in the short form, a text or {"choices": [...]}, or else its number."""
    value = next((task[name] for name in SHORT if name in task), None)
    if value is None and (kind := next((name for name in NUMBERS if name in task), None)):
        return (), (_number(task[kind], kind, number),)
    labels = value.get("choices") if isinstance(value, dict) else value
    labels = [labels] if isinstance(labels, str) else labels
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise NotAnnotations(f"task {number:,} has no 'annotations' and no 'choice'")
    return tuple(dict.fromkeys(labels)), ()


def _local_name(text: str, folder: Path) -> str:
    """The file of an image that Label Studio names by an address: below `folder`, or else by its own name alone."""
    parts = urlsplit(text)
    name = unquote(parts.query.removeprefix("d=") if parts.query.startswith("d=") else parts.path).lstrip("/")
    if name and (folder / name).is_file():
        return name
    last = name.rpartition("/")[2]
    uploaded = UPLOADED.fullmatch(last)
    is_there = (folder / last).is_file() or (folder / "images" / last).is_file()  # where an export with images has them
    return uploaded[1] if uploaded and not is_there else last


def _text(value: Any, number: int) -> str:
    if not isinstance(value, str) or not value:
        raise NotAnnotations(f"image {number:,} has no file name")
    return value
