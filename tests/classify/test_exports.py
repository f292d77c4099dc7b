"""Answers for labelling tools: what Label Studio and FiftyOne are given is read back as it was said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.data.source import open_source
from saccade.data.sources.digits import Digits

DIGITS = Digits()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=1, out=out, settings=["runtime.num_threads=1"]))
    return out


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new").mkdir()
    for index in range(20):
        Image.fromarray(DIGITS.read(index)).save(f"new/{index:02d} é.png")


def said(run: Path) -> dict[str, tuple[str, float]]:
    return {answer.key: answer.top(1)[0] for answer in api.predict(run, "new")}


def accept(tasks: list[dict]) -> list[dict]:
    """The tasks as somebody exports them who accepted every pre-annotation."""
    return [
        {"id": number, "data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]}
        for number, task in enumerate(tasks)
    ]


def test_label_studio_is_given_answers_with_scores_and_gives_them_back(saccade: Callable, run: Path):
    done = saccade("predict", run, "new", "--label-studio", "tasks.json", "--json")
    assert done.status == 0, done.errors
    assert json.loads(done.output)["num_answered"] == 20
    tasks = json.loads(Path("tasks.json").read_text())
    expected = said(run)
    for task, (key, (name, probability)) in zip(tasks, sorted(expected.items()), strict=True):
        prediction = task["predictions"][0]
        assert prediction["score"] == pytest.approx(probability, abs=1e-6)
        assert prediction["model_version"].startswith("saccade lenet5 ")
        result = prediction["result"][0]
        assert (result["type"], result["from_name"], result["to_name"]) == ("choices", "class", "image")
        assert result["value"]["choices"] == [name]
        assert task["data"]["image"] == f"/data/local-files/?d=new/{key[4:6]}%20%C3%A9.png"
    view = ElementTree.fromstring(Path("tasks.json.xml").read_text())
    assert view.find("Image").attrib == {"name": "image", "value": "$image"}
    assert view.find("Choices").attrib == {"name": "class", "toName": "image", "choice": "single"}
    assert [choice.attrib["value"] for choice in view.iter("Choice")] == [str(digit) for digit in range(10)]
    Path("tasks.json").write_text(json.dumps(accept(tasks)))
    source = open_source("tasks.json")
    records = [source.record(index) for index in range(len(source))]
    assert {record.key: source.classes[record.label] for record in records} == {
        key: name for key, (name, _) in expected.items()
    }


def test_fiftyone_is_given_a_set_that_is_read_back(saccade: Callable, run: Path):
    done = saccade("predict", run, "new", "--fiftyone", "set")
    assert done.status == 0, done.errors
    assert done.output == "20 answers written to set.\n"
    labels = json.loads(Path("set/labels.json").read_text())
    expected = [said(run)[f"new/{number:02d} é.png"] for number in range(20)]
    assert [labels["classes"][entry["label"]] for entry in labels["labels"].values()] == [name for name, _ in expected]
    confidence = [entry["confidence"] for entry in labels["labels"].values()]
    np.testing.assert_allclose(confidence, [probability for _, probability in expected], atol=1e-6)
    source = open_source("set")
    for index in range(20):
        assert source.record(index).key == f"{index + 1:06d}-{index:02d}__.png"
        np.testing.assert_array_equal(source[index].image_HWC[:, :, 0], DIGITS.read(index))


def test_pixels_become_files_for_fiftyone(run: Path):
    written = api.predict_to_fiftyone(run, [DIGITS.read(3), DIGITS.read(4)], "set")
    assert written.num_answered == 2
    assert sorted(path.name for path in Path("set/data").iterdir()) == ["000001-image_0.png", "000002-image_1.png"]


@pytest.mark.parametrize("option", ["--label-studio", "--fiftyone"])
def test_a_bad_file_is_named_and_not_in_the_export(saccade: Callable, run: Path, option: str):
    Path("new/05 é.png").write_bytes(b"")
    Path("new/06 é.png").write_bytes(b"no image at all")
    done = saccade("predict", run, "new", option, "out")
    assert done.status == 1
    assert done.errors.endswith("error: 2 of 20 could not be read; they are not in out.\n")
    if option == "--fiftyone":
        assert len(json.loads(Path("out/labels.json").read_text())["labels"]) == 18
        assert len(list(Path("out/data").iterdir())) == 18
    else:
        assert len(json.loads(Path("out").read_text())) == 18


def test_images_that_label_studio_could_not_show_are_refused(saccade: Callable, run: Path, tmp_path: Path):
    Path("below").mkdir()
    done = saccade("predict", run, "new", "--label-studio", "below/tasks.json")
    assert (done.status, done.errors) == (
        2,
        f"error: new/00 é.png does not lie below {tmp_path}/below, so Label Studio could not show it.\n"
        f"Give image files, and put tasks.json above them, as in --label-studio {tmp_path}/tasks.json\n",
    )
    assert not list(Path("below").iterdir())
    done = saccade("predict", run, "digits", "--label-studio", "tasks.json", "--quiet")
    assert done.status == 2
    assert done.errors.startswith("error: 0 is not a file, so Label Studio could not show it.\n")


def test_nothing_is_written_over_and_one_kind_is_chosen(saccade: Callable, run: Path):
    done = saccade("predict", run, "new", "--fiftyone", "new")
    assert (done.status, done.errors) == (
        2,
        "error: new is there already.\nName a folder that is not, or remove it.\n",
    )
    done = saccade("predict", run, "new", "--fiftyone", "set", "--csv", "answers.csv")
    assert (done.status, done.errors) == (
        2,
        "error: --csv, --out, --label-studio and --fiftyone each take all answers: give one of them.\n",
    )


def test_an_export_that_fails_half_way_leaves_nothing(run: Path):
    shutil.copy("new/00 é.png", "new/99.png")
    Path("new/99.png").write_bytes(b"")
    for export, out in ((api.predict_to_fiftyone, "set"), (api.predict_to_label_studio, "tasks.json")):
        with pytest.raises(api.ImageError):
            export(run, "new", out)
        assert not Path(out).exists()
    assert sorted(path.name for path in Path().iterdir()) == ["new"]


def test_an_image_without_an_answer_has_no_annotation_and_is_counted(saccade: Callable, run: Path):
    confidence = {key: probability for key, (_, probability) in said(run).items()}
    least = sorted(confidence.values())[10]
    sure = [key for key in sorted(confidence) if confidence[key] >= least]
    options = ["--min-confidence", repr(least), "--json"]
    for option in ("--label-studio", "--fiftyone"):
        done = saccade("predict", run, "new", option, f"out{option}", *options)
        assert done.status == 0, done.errors
        told = json.loads(done.output)
        counts = ("num_answered", "num_low_confidence", "num_unlike_training")
        assert [told[name] for name in counts] == [20, 20 - len(sure), 0]
    tasks = json.loads(Path("out--label-studio").read_text())
    assert len(tasks) == 20
    with_answer = [f"new/{task['data']['image'][-15:-13]} é.png" for task in tasks if "predictions" in task]
    assert with_answer == sure
    labels = list(json.loads(Path("out--fiftyone/labels.json").read_text())["labels"].values())
    assert [f"new/{place:02d} é.png" for place, entry in enumerate(labels) if entry is not None] == sure
    assert open_source("out--fiftyone").notes[0].endswith(" images without a label are not used")
    text = saccade("predict", run, "new", "--fiftyone", "told", *options[:2]).output.splitlines()
    without = 20 - len(sure)
    assert text[0] == f"{len(sure)} answer{'s' * (len(sure) != 1)} written to told."
    assert text[1] == f"{without} of 20 images have no answer: {without} are below the confidence asked for."
