"""The page of eight subjects on real data: its commands run in their order, each with what it is there to show."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.runs.checkpoint import find_checkpoint

PAGE = Path(__file__).parent.parent / "docs" / "real-data.md"
COMMANDS = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)[0].splitlines()

PARTS = (
    "--target grade",
    "--target number",
    "runs/grades digits",
    "06a00c0f",
    "--precision",
    "--folds",
    "--slices --answers",
    "drift",
    "suggest",
)


def test_every_command_of_the_page_runs_and_shows_what_it_is_there_for(
    saccade: Callable, shared: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "shared").symlink_to(shared("data").parent)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    said = {}
    for command in COMMANDS:
        finished = saccade(*command.split()[1:])
        assert finished.status == 0, (command, finished.errors)
        said[command] = finished.output
    texts = {part: next(text for command, text in said.items() if part in command) for part in PARTS}
    assert "grades on average" in texts["--target grade"]
    assert "Mean absolute error" in texts["--target number"]
    assert "Corrupted in 60 ways, 300 images" in texts["runs/grades digits"]
    assert "1 is unlike anything seen in training." in texts["06a00c0f"]
    assert "at 90 % precision" in texts["--precision"]
    assert "each judged by a model that has not seen it" in texts["--folds"]
    assert "part" in texts["--slices --answers"]
    assert "that the run was judged on" in texts["drift"]
    assert "10 images to label next, of 341, " in texts["suggest"]
    assert find_checkpoint(Path("runs/with-hats")).manifest.classes[-1] == "hat"
    pixels = find_checkpoint(Path("runs/clothes")).manifest.preprocessing
    assert (pixels.fit, pixels.input_height_px, pixels.input_width_px) == ("pad", 48, 32)
    for name in ("answers.csv", "curves.csv", "next.csv"):
        with open(name, newline="", encoding="utf-8") as file:
            assert len(list(csv.reader(file))) > 10, name
    assert Path("evaluation.html").stat().st_size > 10_000
    assert np.load("features.npz")["feature_ND"].shape[0] == 341
    assert len(json.loads(Path("export/labels.json").read_text())["labels"]) == 341
    assert Path("labels.csv").is_file()
