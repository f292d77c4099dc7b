"""Annotations in one JSON document: COCO's format, and what Label Studio exports, long and short."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.sources.test_label_files import named_labels, plant, refusal

from saccade.core.errors import DataError
from saccade.data.source import open_source

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}, {"id": 5, "file_name": "c.png"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 4]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [1, 1, 4, 4]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [2, 2, 4, 4]},
        {"id": 4, "image_id": 3, "category_id": 1},
    ],
}


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def task(image: str, *results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": {"image": image}, "annotations": [{"result": result} for result in results]}


def choice(*names: str) -> dict[str, Any]:
    return {"type": "choices", "value": {"choices": list(names)}}


def test_images_have_the_categories_of_their_annotations(tmp_path: Path):
    plant(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    path = write(tmp_path / "instances.json", COCO)
    assert named_labels(path) == [("cat", "dog"), ("cat",), ()]
    source = open_source(str(path), several=True)
    assert [source.record(index).key for index in range(3)] == ["a.png", "b.png", "c.png"]
    assert all(source.read(index) for index in range(3))


def test_annotations_in_a_folder_of_their_own_count_from_above_it(tmp_path: Path):
    """As COCO is laid out; and the folder's message names the file."""
    plant(tmp_path, "train2017/a.png", "train2017/b.png", "train2017/c.png", "val2017/d.png")
    (tmp_path / "annotations").mkdir()
    path = write(tmp_path / "annotations" / "instances_train2017.json", COCO)
    assert named_labels(path) == [("cat", "dog"), ("cat",), ()]
    with pytest.raises(DataError) as error:
        open_source(str(tmp_path))
    assert error.value.message.splitlines()[1] == f"If {path} says it, give it in place of the folder: {path}."


def test_annotations_of_one_category_an_image_are_one_label(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png")
    one = [{"image_id": image, "category_id": 1 + (image == 7)} for image in (7, 3, 5)]
    source = open_source(str(write(tmp_path / "a.json", COCO | {"annotations": one})))
    assert [source.classes[source.record(index).label] for index in range(3)] == ["dog", "cat", "cat"]


@pytest.mark.parametrize(
    "folder", ["/data/upload/3/", "/data/local-files/?d=photos%2F", "s3://bucket/set/", "https://example.org/files/"]
)
def test_tasks_of_label_studio_name_files_beside_or_below_the_export(tmp_path: Path, folder: str):
    plant(tmp_path, "photos/1a-cat dog.png", "photos/b.png", "photos/c.png")
    boxes = [{"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["dog"]}}, choice("cat", "dog")]
    path = write(
        tmp_path / "export.json",
        [task(f"{folder}1a-cat%20dog.png", boxes), task(f"{folder}b.png", [choice("cat")]), task(f"{folder}c.png", [])],
    )
    assert named_labels(path) == [("cat", "dog"), ("cat",), ()]
    source = open_source(str(path), several=True)
    assert all(source.read(index) for index in range(3))


def test_the_short_form_is_read_too(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    tasks = [{"id": 1, "image": "/data/upload/1/a.png", "choice": {"choices": ["cat", "dog"]}}]
    assert named_labels(write(tmp_path / "m.json", [*tasks, {"image": "b.png", "choice": "dog"}])) == [
        ("cat", "dog"),
        ("dog",),
    ]


def part(kind: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "value": {kind: value}}


@pytest.mark.parametrize(
    ("tasks", "numbers"),
    [
        ([task("a.png", [part("number", 2.5)]), task("b.png", [part("number", -1)])], [2.5, -1.0]),
        ([task("a.png", [part("rating", 4)]), task("b.png", [part("rating", 1)])], [4.0, 1.0]),
        ([{"image": "a.png", "number": 7}, {"image": "b.png", "number": 1e-3}], [7.0, 0.001]),
    ],
    ids=["numbers", "ratings", "short"],
)
def test_numbers_of_label_studio_are_read_where_there_are_no_labels(tmp_path: Path, tasks: Any, numbers: list[float]):
    plant(tmp_path, "a.png", "b.png")
    source = open_source(f"{write(tmp_path / 'a.json', tasks)}?target=number", several=True)
    assert [source.record(index).value for index in range(2)] == numbers


def test_a_rating_beside_labels_is_passed_over(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    tasks = [task("a.png", [choice("cat"), part("rating", 4)]), task("b.png", [choice("dog")])]
    assert open_source(str(write(tmp_path / "a.json", tasks))).classes == ("cat", "dog")


SLIPS: list[tuple[Any, str]] = [
    (
        [task("a.png", [part("number", 1)]), task("b.png", [])],
        "task 2 has no number, and others have one; one for each image is read",
    ),
    (
        [task("a.png", [part("number", 1), part("number", 2)])],
        "task 1 has 2 numbers, and others have one; one for each image is read",
    ),
    (
        [task("a.png", [part("number", 1)], [part("number", 2)])],
        "task 1 has annotations that do not agree; settle which is right",
    ),
    ([task("a.png", [part("number", "1")])], "task 1 has 'number' without a number"),
    ([task("a.png")], "task 1 is not annotated; export annotated tasks only"),
    (
        [task("a.png", [choice("cat")], [choice("dog")])],
        "task 1 has annotations that do not agree; settle which is right",
    ),
    ([{"image": "a.png"}], "task 1 has no 'annotations' and no 'choice'"),
    ([task("", [choice("cat")])], "image 1 has no file name"),
    ({"images": []}, "it has no list 'annotations'"),
    (COCO | {"images": COCO["images"][:1] * 2}, "two of its images have one id"),
    (
        COCO | {"annotations": [{"image_id": 1, "category_id": 1}]},
        "annotation 1 is of an image or a category that is not listed",
    ),
    ({"a.png": None}, "the label of a.png is neither a text, a number, nor a list of texts"),
    ({"a.png": True}, "the label of a.png is neither a text, a number, nor a list of texts"),
    (3, "it is neither COCO's object nor a list of tasks"),
]


@pytest.mark.parametrize(("document", "what"), SLIPS, ids=[what for _, what in SLIPS])
def test_what_is_wrong_with_a_document_is_named(tmp_path: Path, document: Any, what: str):
    plant(tmp_path, "a.png")
    path = write(tmp_path / "a.json", document)
    assert refusal(path) == (
        f"{path} is not read as annotations: {what}.\n"
        'Give a file in COCO\'s format, an export of Label Studio as JSON, {"a.jpg": "cat", ...}, or a CSV file.'
    )


def test_a_dictionary_of_files_and_labels_is_a_list(tmp_path: Path):
    plant(tmp_path, "img/a.png", "img/b.png", "c.JPG")
    path = write(tmp_path / "labels.json", {"img/a.png": "dog", "img/b.png": "cat", "c.JPG": "dog"})
    source = open_source(str(path))
    assert source.classes == ("cat", "dog")
    assert [source.record(index).label for index in range(3)] == [1, 0, 1]
    several = write(tmp_path / "several.json", {"img/a.png": ["dog", "cat"], "img/b.png": [], "c.JPG": ["cat"]})
    assert named_labels(several) == [("cat", "dog"), (), ("cat",)]
    numbers = write(tmp_path / "ages.json", {"img/a.png": 1, "img/b.png": 2.5, "c.JPG": 1})
    assert open_source(str(numbers)).classes == ("1", "2.5")


def test_a_document_that_is_cut_off_is_no_traceback(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(COCO)[:-20], encoding="utf-8")
    assert refusal(path).startswith(f"{path} is not read as annotations: line 1, column ")


@pytest.mark.parametrize("lies", ["cat.png", "photos/cat.png", "images/0a1b2c3d-cat.png", "0a1b2c3d-cat.png"])
def test_an_uploaded_file_is_found_with_and_without_what_the_upload_puts_before_its_name(tmp_path: Path, lies: str):
    plant(tmp_path, lies, str(Path(lies).with_name("b.png")))
    tasks = [task("/data/upload/3/0a1b2c3d-cat.png", [choice("cat")]), task("/data/upload/3/b.png", [choice("dog")])]
    source = open_source(str(write(tmp_path / "export.json", tasks)))
    assert [source.classes[source.record(index).label] for index in range(2)] == ["cat", "dog"]
    assert all(source.read(index) for index in range(2))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("choices", {"choices": "cat"}), ("choices", {}), ("rectanglelabels", {"rectanglelabels": "cat"})],
)
def test_choices_that_are_no_list_are_not_taken_for_none(tmp_path: Path, kind: str, value: dict[str, Any]):
    plant(tmp_path, "a.png", "b.png")
    path = write(tmp_path / "p.json", [task("a.png", [choice("cat")]), task("b.png", [{"type": kind, "value": value}])])
    assert refusal(path).splitlines()[0] == (
        f"{path} is not read as annotations: task 2 has '{kind}' without a list of names."
    )


def test_parts_of_a_result_that_name_no_class_are_passed_over(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    rating = {"type": "rating", "value": {"rating": 4}}
    text = {"type": "textarea", "value": {"text": ["blurred"]}}
    tasks = [task("a.png", [choice("cat"), rating]), task("b.png", [text, choice("dog")])]
    source = open_source(str(write(tmp_path / "p.json", tasks)))
    assert [source.classes[source.record(index).label] for index in range(2)] == ["cat", "dog"]
