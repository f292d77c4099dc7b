"""FiftyOne's image classifications: targets of every kind, and what is not used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saccade.core.errors import DataError
from saccade.data.source import DataSource, open_source


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg", "sub/c.png", "d.png"):
        path = tmp_path / "set" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * len(name), np.uint8)).save(path)


def opened(labels: Any, classes: Any = ("cat", "dog")) -> DataSource:
    Path("set/labels.json").write_text(json.dumps({"classes": classes, "labels": labels}))
    return open_source("set", several=True)


def listed(source: DataSource) -> dict[str, str]:
    records = [source.record(index) for index in range(len(source))]
    return {record.key: source.classes[record.label] for record in records}


def test_numbers_names_predictions_and_folders_are_read():
    found = opened({"a": 1, "b": {"label": 0, "confidence": 0.9}, "sub/c": [1], "d": None, "gone": 0})
    assert listed(found) == {"a.png": "dog", "b.jpg": "cat", "sub/c.png": "dog", "gone": "cat"}
    assert found.notes == ("1 image without a label is not used",)
    assert found.classes == ("cat", "dog")
    named = opened({"a": "cat", "b.jpg": "dog", "d": {"label": "dog"}}, classes=None)
    assert listed(named) == {"a.png": "cat", "b.jpg": "dog", "d.png": "dog"}
    assert named.notes == ("1 image is not listed in labels.json: not used",)


def test_a_class_without_an_image_is_left_out_and_said():
    found = opened({"a": 0, "b": 2, "sub/c": 0, "d": 2}, classes=["cat", "cow", "dog"])
    assert found.classes == ("cat", "dog")
    assert found.notes == ("a class without an image: cow",)


def test_a_field_of_several_classifications_is_read_with_images_of_none():
    several = [{"label": 2, "confidence": 0.8}, {"label": 0, "confidence": 0.9}]
    found = opened({"a": several, "b": [1], "sub/c": [], "d": None}, classes=["cat", "dog", "owl", "yak"])
    assert found.task.is_several
    assert found.classes == ("cat", "dog", "owl")
    records = [found.record(index) for index in range(len(found))]
    assert {record.key: record.all_labels for record in records} == {
        "a.png": (0, 2),
        "b.jpg": (1,),
        "sub/c.png": (),
    }
    assert found.notes == (
        "labels are lists: an image may have several labels",
        "1 image has no label",
        "1 image without a label is not used",
        "a class without an image: yak",
    )
    assert opened({"a": ["cat"], "b": ["dog", "cat", "cat"], "d": "dog"}, classes=None).record(1).all_labels == (0, 1)
    assert opened({"a": [0], "b": [1], "d": []}).task.is_several  # every target is a list
    mixed = opened({"a": [0], "b": 1, "d": []})  # what one label is, was written in two ways
    assert (mixed.task.is_several, len(mixed)) == (False, 2)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (
            {"a": 7},
            ["cat", "dog"],
            "set/labels.json: 'a' has the label 7, which is not among the 2 of 'classes'.\n"
            "Correct it in the labelling tool, and export again.",
        ),
        (
            {"a": True},
            ["cat", "dog"],
            "set/labels.json: 'a' has the label True, which is not among the 2 of 'classes'.\n"
            "Correct it in the labelling tool, and export again.",
        ),
        (
            {"../a": 0},
            ["cat", "dog"],
            "set/labels.json: '../a' leads out of the folder 'data'.\n"
            "Correct it in the labelling tool, and export again.",
        ),
        (
            {"a": None},
            ["cat", "dog"],
            "set/labels.json labels no image.\nCorrect it in the labelling tool, and export again.",
        ),
        (
            [1],
            ["cat", "dog"],
            "set/labels.json has no 'labels', an object with one entry for each image.\n"
            "Correct it in the labelling tool, and export again.",
        ),
        (
            {"a": 0},
            ["cat", "cat"],
            "set/labels.json: 'classes' has 'cat' twice.\nCorrect it in the labelling tool, and export again.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_image(labels: Any, classes: Any, message: str):
    with pytest.raises(DataError) as caught:
        opened(labels, classes)
    assert caught.value.message == message


def test_two_files_of_one_name_are_refused():
    Path("set/data/a.jpg").write_bytes(Path("set/data/a.png").read_bytes())
    with pytest.raises(DataError, match=r"^set/labels\.json: 'a' may be a\.jpg or a\.png\.\n"):
        opened({"a": 0, "b": 1})
