"""`saccade preview` and `saccade augmentations`, as a person runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.data.augmentation import AUGMENTATIONS
from saccade.data.augmentation_policy import POLICIES


def test_a_preview_is_a_picture_and_json_says_what_was_drawn(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "augment.rotation.max_degrees=30", "--set", "augment.border=black"]
    command = ["preview", "digits", "--policy", "shift-flip", *settings, "--images", "3", "--out", "p.png", "--json"]
    done = saccade(*command)
    assert done.status == 0, done.errors
    result = json.loads(done.output)
    assert result["out"] == "p.png"
    assert result["input"] == [1, 32, 32]
    assert result["augment"]["rotation"] == {"max_degrees": 30.0}
    assert [len(image["draws"]) for image in result["images"]] == [8, 8, 8]
    assert any(line.startswith("rotation angle ") for line in result["images"][0]["draws"][0])
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.width == 40 + 9 * 128 + 8 * 12
    assert list(tmp_path.iterdir()) == [tmp_path / "p.png"]


def test_photos_are_previewed_with_their_measured_colours(
    saccade: Callable, shared: Callable[[str], Path], tmp_path: Path
):
    photos = str(shared("data/clothing-small"))
    done = saccade(
        "preview",
        photos,
        "--policy",
        "alexnet",
        "--set",
        "input.size_px=96",
        "--out",
        tmp_path / "p.png",
        "--json",
    )
    assert done.status == 0, done.errors
    result = json.loads(done.output)
    assert len(result["augment"]["pca_colour"]["eigenvalues"]) == 3
    assert result["augment"]["pca_colour"]["eigenvalues"][0] > 0.05  # light and dark, mostly
    assert len({image["class"] for image in result["images"]}) == 4


def test_mistakes_get_one_message(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = saccade("preview", "digits", "--policy", "shift_flip", "--out", "p.png")
    assert done.status == 2
    assert done.errors == (
        "error: Unknown augmentation policy 'shift_flip'. Did you mean 'shift-flip'? "
        f"Policies: {', '.join(POLICIES)}.\n"
    )
    done = saccade("preview", "digits", "--out", "missing/p.png")
    assert done.status == 1
    assert "\nerror: Cannot write missing/p.png: " in done.errors
    assert not list(tmp_path.iterdir())


def test_augmentations_are_listed_with_values_and_sources(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = saccade("augmentations", "--json")
    listed = json.loads(done.output)
    assert [entry["name"] for entry in listed["augmentations"]] == AUGMENTATIONS.names()
    assert all(value["description"] for entry in listed["augmentations"] for value in entry["values"])
    policies = {policy["name"]: policy["values"] for policy in listed["policies"]}
    assert policies["none"] == {}
    assert policies["shift-flip"] == {"mirror": {"probability": 0.5}, "shift": {"max_px": 4}, "border": "black"}
    text = saccade("augmentations").output
    assert all(name in text for name in [*AUGMENTATIONS.names(), *POLICIES])


def test_training_measures_the_principal_colours_and_stores_them_with_the_run(saccade: Callable, tmp_path: Path):
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "photos" / ("dusk" if number % 2 else "dawn")
        folder.mkdir(parents=True, exist_ok=True)
        common = (rng.normal(0, 40, (12, 12, 1)) + 40 * (number % 2)) * [1.0, 0.3, 0.9]
        Image.fromarray((100 + common).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    settings = ["--set", "augment.pca_colour.deviation=0.1", "--epochs", "1", "--out", tmp_path / "run"]
    done = saccade("train", tmp_path / "photos", *settings, "--json")
    assert done.status == 0, done.errors
    stored = json.loads((tmp_path / "run" / "found.json").read_text())["values"]
    red, green, blue = stored["augment.pca_colour.eigenvectors"][0]
    eigenvalues = stored["augment.pca_colour.eigenvalues"]
    assert eigenvalues[0] > 10 * eigenvalues[1]
    assert red > blue > 2 * green > 0


def test_one_photo_and_a_folder_without_labels_are_previewed(saccade: Callable, tmp_path: Path):
    draw = np.random.default_rng(1)
    (tmp_path / "loose").mkdir()
    for number in range(3):
        picture = Image.fromarray(draw.integers(0, 256, (150, 200, 3), dtype=np.uint8))
        picture.save(tmp_path / "loose" / f"{number}.png")
    for source, names in ((tmp_path / "loose" / "1.png", {"1.png"}), (tmp_path / "loose", {"0.png", "1.png", "2.png"})):
        done = saccade("preview", source, "--policy", "photo", "--out", tmp_path / "p.png", "--json")
        assert done.status == 0, done.errors
        values = json.loads(done.output)
        assert {image["key"] for image in values["images"]} == names
        assert values["notes"] == [
            "photos of 150 pixels are shrunk to 32x32, the input of lenet5: most of their detail is "
            "lost. To draw them as a larger network sees them: --model resnet18, or --input 224"
        ]
    (tmp_path / "loose" / "bad.png").write_bytes(b"junk")
    alone = saccade("preview", tmp_path / "loose" / "bad.png", "--out", tmp_path / "p.png")
    why = "bad.png: not an image that can be read (see 'saccade sources'): it begins with 'junk'."
    assert alone.status == 1
    assert alone.errors.splitlines()[-2:] == [
        f"error: {tmp_path / 'loose' / 'bad.png'} has no training image that can be read.",
        why,
    ]
    beside = saccade("preview", tmp_path / "loose", "--input", "96", "--out", tmp_path / "p.png")
    equal = (
        "note: nothing is changed, so that the draws of an image are equal. To see augmentation: --policy photo-light, "
        "or another of 'saccade augmentations'"
    )
    assert beside.errors.splitlines()[-2:] == [f"note: 1 image passed over that cannot be read: {why}", equal]
    (tmp_path / "loose" / "bad.png").unlink()
    whole = saccade("preview", tmp_path / "loose", "--input", "96", "--out", tmp_path / "p.png")
    assert whole.output == f"3 images, drawn 8 times each: {tmp_path / 'p.png'}\n"
    assert whole.errors == f"data    {tmp_path / 'loose'}: 3 images without labels\n{equal}\n"
