"""Every command that opens a source says first which classes it has and how many images of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.data.opening_line import opening_line
from saccade.data.source import open_source

COUNTS = (("apple", 14), ("fig", 12), ("pear", 13))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(a run, a CSV file of what it was trained on, the line that must be said of it)."""
    folder, rows, draw = tmp_path_factory.mktemp("opened"), ["file,label"], np.random.default_rng(0)
    for name, count in COUNTS:
        for number in range(count):
            image = Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            image.save(folder / f"{name}-{number}.png")
            rows.append(f"{name}-{number}.png,{name}")
    listed = folder / "labels.csv"
    listed.write_text("\n".join(rows) + "\n")
    settings = ["runtime.num_threads=1", "loader.threads=1", "batch_size=8"]
    api.train(api.TrainRequest(source=str(listed), epochs=1, out=folder / "run", settings=settings))
    return folder / "run", listed, f"data    {listed}: 3 classes: apple (14), fig (12), pear (13)"


@pytest.mark.parametrize(
    "verb",
    [
        *("train", "evaluate", "inspect", "predict", "predict --csv", "predict --fiftyone", "explain", "preview"),
        *("features", "similar", "suggest"),
    ],
)
def test_every_verb_names_the_classes_and_their_counts(
    saccade: Callable, made: tuple[Path, Path, str], tmp_path: Path, verb: str
):
    run, listed, line = made
    command = {
        "train": ["train", listed, "--epochs", "1", "--out", tmp_path / "run"],
        "evaluate": ["evaluate", run, listed],
        "inspect": ["inspect", listed, "--no-keep"],
        "predict": ["predict", run, listed],
        "predict --csv": ["predict", run, listed, "--csv", tmp_path / "answers.csv"],
        "explain": ["explain", run, listed.parent / "fig-0.png", "--out", tmp_path / "a.svg", "--source", listed],
        "preview": ["preview", listed, "--out", tmp_path / "drawn.png"],
        "predict --fiftyone": ["predict", run, listed, "--fiftyone", tmp_path / "export"],
        "features": ["features", run, listed, "--out", tmp_path / "f.npz"],
        "similar": ["similar", run, listed.parent / "fig-0.png", listed],
        "suggest": ["suggest", run, "digits", listed],
    }[verb]
    finished = saccade(*command)
    assert finished.status == 0, finished.errors
    assert finished.errors.splitlines().count(line) == 1
    assert line not in finished.output


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_quiet_says_nothing_of_it(saccade: Callable, made: tuple[Path, Path, str], verb: str):
    run, listed, _ = made
    assert saccade(verb, run, listed, "--quiet").errors == ""


def test_the_first_six_classes_are_named_and_the_others_counted(tmp_path: Path):
    digits = open_source("digits")
    labels = [digits.record(index).label for index in range(len(digits))]
    shown = ", ".join(f"{digit} ({labels.count(digit)})" for digit in range(6))
    assert opening_line(digits) == f"data    digits: 10 classes: {shown} and 4 more"
    assert opening_line(digits, np.arange(100)).startswith(
        f"data    digits: 10 classes: 0 ({labels[:100].count(0)}), 1"
    )
