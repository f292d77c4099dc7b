"""The images that excite a channel most, against looking at every one of them by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.classify.classifier import Member
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.explain import examples as examples_module
from saccade.explain.endpoints import read_maps
from saccade.explain.examples import find_examples
from saccade.models.architecture import ModelSpec, build_model


@pytest.fixture
def classifier() -> Member:
    torch.manual_seed(0)
    preprocessing = Preprocessing(channels="grey", input_height_px=32, input_width_px=32, mean=(0.3,), std=(0.3,))
    model = build_model("lenet5", ModelSpec(num_classes=2, input_CHW=(1, 32, 32))).eval()
    return Member(
        model=model,
        classes=("a", "b"),
        preprocessing=preprocessing,
        temperature=1.0,
        architecture="lenet5",
        name="lenet5",
        runtime=start(RuntimeConfig(device="cpu")),
    )


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, np.ndarray]:
    """Twelve training images and two test images that would excite everything; pixels by key."""
    draw = np.random.default_rng(1)
    pixels = {}
    for split, num, top in (("train", 6, 200), ("test", 1, 256)):
        for name in ("a", "b"):
            for number in range(num):
                image_HW = draw.integers(0, top, (32, 32), dtype=np.uint8)
                path = tmp_path / "set" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image_HW).save(path)
                pixels[str(path.relative_to(tmp_path / "set"))] = image_HW
    return pixels


def test_the_strongest_training_images_are_found_with_their_places(
    classifier: Member, photos: dict[str, np.ndarray], tmp_path: Path
):
    found = find_examples(classifier, str(tmp_path / "set"), "stage1", [3, 11])
    train = {key: image_HW for key, image_HW in photos.items() if key.startswith("train")}
    assert (found.num_images, found.num_available, found.map_size) == (12, 12, (5, 5))
    maps = read_maps(classifier.model, classifier.normalized(np.stack(list(train.values()))[..., None]), ["stage1"])
    for examples in found.channels:
        map_NHW = maps["stage1"][:, examples.channel].numpy()
        strongest = np.argsort(-map_NHW.max(axis=(1, 2)), kind="stable")[:8]
        assert examples.keys == tuple(list(train)[i] for i in strongest)
        for place, image_HWC, i in zip(examples.found, examples.image_NHWC, strongest):
            assert place.activation == pytest.approx(map_NHW[i].max(), rel=1e-5)
            assert place.position == np.unravel_index(map_NHW[i].argmax(), (5, 5))
            assert (image_HWC[..., 0] == list(train.values())[i]).all()


def test_a_large_set_is_thinned_evenly_and_that_is_said(
    classifier: Member, photos: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(examples_module, "MAX_IMAGES", 4)
    found = find_examples(classifier, str(tmp_path / "set"), "stem", [0])
    assert found.words().startswith("The strongest of 4 of 12 images of '")
    assert len(found.channels[0].found) == 4


def test_the_sheet_shows_one_row_a_channel(saccade: Callable, tmp_path: Path, photos: dict[str, np.ndarray]):
    done = saccade("train", tmp_path / "set", "--out", tmp_path / "run", "--epochs", "1", "--model", "lenet5")
    assert done.status == 0, done.errors
    photo = tmp_path / "set" / "test" / "a" / "0.png"
    out = tmp_path / "sheet.svg"
    done = saccade("explain", tmp_path / "run", photo, "--out", out, "--source", tmp_path / "set")
    assert done.status == 0, done.errors
    text = out.read_text(encoding="utf-8")
    assert "What excites the strongest channels of" in text
    assert text.count(">channel ") == 3
