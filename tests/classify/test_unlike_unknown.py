"""Where nothing tells what is unlike anything seen in training, every verb says so, once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.evaluate.novelty import untold_sentence

UNTOLD = (
    "Images unlike anything seen in training are not told from others: that takes 19 validation images, and there are "
    "{num}."
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of each of two classes: a validation part of few."""
    folder = tmp_path_factory.mktemp("few") / "photos"
    draw = np.random.default_rng(0)
    for number in range(60):
        place = folder / "ab"[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(120 * (number % 2), 130 + 120 * (number % 2), (16, 16), np.uint8)).save(place)
    return folder


def test_few_validation_images_are_told_wherever_strangers_would_be(saccade: Callable, photos: Path, tmp_path: Path):
    run = tmp_path / "run"
    done = saccade("train", photos, "--epochs", "1", "--out", run, "--quiet", "--set", "runtime.num_threads=1")
    assert done.status == 0, done.errors
    validation = sum(json.loads((run / "data.json").read_text())["counts"]["validation"])
    told = UNTOLD.format(num=validation)
    assert done.output.splitlines().count(told) == 1
    new = photos / "a" / "00.png"
    answered = saccade("predict", run, new, new)
    assert answered.errors.splitlines().count(f"note: {told}") == 1
    said = json.loads(saccade("predict", run, new, "--json").output)
    assert said["predictions"][0]["unlike_training"] is None
    assert told in said["caveats"]
    assert told in saccade("evaluate", run, photos).output.splitlines()
    assert told in saccade("explain", run, new, "--out", tmp_path / "why.svg").output.splitlines()
    assert told in (run / "report.html").read_text()


def test_the_reason_is_named():
    assert untold_sentence(12, True) == UNTOLD.format(num=12)
    assert untold_sentence(0, False).endswith("that takes 19 validation images, and there are none.")
    assert untold_sentence(1, True).endswith("and there is 1.")
    assert untold_sentence(19, False).endswith(": the network does not name its parts.")
    assert untold_sentence(19, True).endswith(": that takes 5 training images.")
