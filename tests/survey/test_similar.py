"""`saccade similar`: the nearest by cosine, as scikit-learn finds them; copies told apart; the sheet."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

import saccade as library
from saccade import api
from saccade.data.sources.digits import Digits
from saccade.models import penultimate

DIGITS = Digits()


def test_the_nearest_are_those_of_scikit_learn(saccade: Callable, digits_run: Path, new: Path):
    done = saccade("similar", digits_run, "new/07.png", new, "--count", "5", "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    paths = [str(path) for path in sorted(new.iterdir())]
    feature_ND = library.load(digits_run).features(paths)
    distances, places = NearestNeighbors(n_neighbors=6, metric="cosine").fit(feature_ND).kneighbors(feature_ND[7:8])
    assert [image["file"] for image in told["similar"]] == [paths[place] for place in places[0][1:]]
    np.testing.assert_allclose([image["distance"] for image in told["similar"]], distances[0][1:], atol=1e-6)
    assert (told["copies"], told["num_images"]) == (["new/07.png"], 40)  # the image itself is no discovery


def test_exact_copies_are_told_apart_from_similar_images(saccade: Callable, digits_run: Path, new: Path):
    Image.open(new / "07.png").save("asked.png")
    Image.open(new / "07.png").save(new / "copy.bmp")  # the same pixels in another format
    almost = np.array(Image.open(new / "07.png"))
    almost[0, 0] ^= 1
    Image.fromarray(almost).save(new / "almost.png")
    done = saccade("similar", digits_run, "asked.png", new, "--count", "3")
    assert done.status == 0, done.errors
    lines = done.output.splitlines()
    assert lines[0] == "42 images compared with asked.png; these are the 3 nearest."
    assert lines[1].split() == ["image", "distance"]
    assert lines[2].split()[0] == "new/almost.png"
    assert float(lines[2].split()[1]) < 1e-3
    assert lines[5] == "Equal pixels, so not counted as similar: new/07.png, new/copy.bmp."


def test_more_asked_for_than_there_are_gives_all_and_one_gives_none(saccade: Callable, digits_run: Path, new: Path):
    told = json.loads(saccade("similar", digits_run, "new/00.png", new, "--count", "900", "--json").output)
    assert len(told["similar"]) == 39
    distances = [image["distance"] for image in told["similar"]]
    assert distances == sorted(distances)
    done = saccade("similar", digits_run, "new/00.png", "new/00.png")
    assert done.output == (
        "1 image compared with new/00.png: no other image is there.\n"
        "Equal pixels, so not counted as similar: new/00.png.\n"
    )


def test_bad_files_are_named_and_the_others_compared(saccade: Callable, digits_run: Path, new: Path):
    (new / "05.png").write_bytes(b"")
    done = saccade("similar", digits_run, "new/07.png", new, "--json")
    assert done.status == 1
    assert json.loads(done.output)["errors"] == [{"file": "new/05.png", "reason": "the file is empty (0 bytes)."}]
    assert done.errors.endswith("error: 1 of 40 could not be read; the others were compared.\n")
    done = saccade("similar", digits_run, "new/05.png", new)
    assert (done.status, done.errors) == (1, "error: new/05.png: the file is empty (0 bytes).\n")
    done = saccade("similar", digits_run, new, new)
    assert (done.status, done.errors) == (1, "error: new: is a folder; give one image file.\n")


@pytest.fixture
def blind(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run with features that are 0 for every image."""
    monkeypatch.setattr(penultimate, "mean_over_positions", lambda feature: torch.zeros(len(feature), 4))
    return digits_run


def test_a_network_that_sees_nothing_in_the_image_says_so(saccade: Callable, blind: Path, new: Path):
    done = saccade("similar", blind, "new/07.png", new)
    assert (done.status, done.errors) == (
        1,
        "error: The network sees nothing in new/07.png: all its features are 0, so nothing is more like it than "
        "anything else.\nGive another image, or another run.\n",
    )


def test_equal_features_keep_the_order_given(digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(penultimate, "mean_over_positions", lambda feature: torch.ones(len(feature), 4))
    found = api.similar(digits_run, new / "20.png", new, count=4)
    assert [image.key for image in found.found] == [f"new/0{number}.png" for number in range(4)]
    assert {image.distance for image in found.found} == {0.0}
    assert found.copies == ("new/20.png",)


@pytest.mark.parametrize("name", ["sheet.svg", "sheet.png"])
def test_the_sheet_shows_the_image_and_the_nearest_with_their_distances(
    saccade: Callable, digits_run: Path, new: Path, name: str
):
    shutil.copy(new / "07.png", new / "<b>.png")
    done = saccade("similar", digits_run, "new/07.png", new, "--count", "6", "--sheet", name)
    assert done.status == 0, done.errors
    assert done.output.endswith(f"Sheet: {name}\n")
    if name.endswith(".png"):
        with Image.open(name) as picture:
            assert picture.width == 2000
        return
    text = Path(name).read_text()
    nearest = api.similar(digits_run, new / "07.png", new, count=6)
    assert text.count("<image ") == 7
    assert all(f"distance {image.distance:.4f}" in text for image in nearest.found)
    assert "new/&lt;b&gt;.png" in text
    assert "<b>" not in text


def test_a_sheet_of_another_ending_is_refused_before_the_work(saccade: Callable, digits_run: Path, new: Path):
    done = saccade("similar", digits_run, "new/07.png", new, "--sheet", "sheet.gif")
    assert (done.status, done.errors) == (
        2,
        "error: similar writes .svg or .png files; got 'sheet.gif'.\nChange the ending of --sheet.\n",
    )


def test_a_source_is_searched_by_its_keys(digits_run: Path, new: Path):
    found = api.similar(digits_run, DIGITS.read(3), "digits-is-no-file", count=1, bad=lambda error: None)
    assert found.num_images == 0
    assert [error.key for error in found.errors] == ["digits-is-no-file"]
