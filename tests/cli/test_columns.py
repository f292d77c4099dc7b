"""Columns of a table as SOURCE, chosen by options: every verb reads them, and a run keeps them in its source."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FAST = ["--epochs", "1", "--set", "runtime.num_threads=1", "--quiet"]
CHOSEN = ["--label-column", "kind", "--split-column", "fold:1", "--group", "who"]
TEXT = "flat?label=kind&split=fold:1&group=who"


@pytest.fixture(autouse=True)
def _flat_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """36 pictures of three shades, two of each person, in three folds, and one that is not listed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat" / "images").mkdir(parents=True)
    rows = ["id,kind,who,fold,age"]
    for number in range(37):
        shade = np.random.default_rng(number).integers(0, 60, (24, 24, 3), dtype=np.uint8) + 60 * (number % 3)
        Image.fromarray(shade.astype(np.uint8)).save(tmp_path / "flat" / "images" / f"{number:03d}.png")
        rows.append(f"{number:03d},{('dark', 'grey', 'light')[number % 3]},p{number % 18},{number % 18 // 6},9")
    (tmp_path / "flat" / "train.csv").write_text("\n".join(rows[:-1]))


def test_inspect_and_preview_take_the_columns(saccade: Callable):
    finished = saccade("inspect", "flat", *CHOSEN, "--no-keep", "--json")
    assert finished.status == 0, finished.errors
    inspected = json.loads(finished.output)
    assert list(inspected["classes"]) == ["dark", "grey", "light"]
    assert [note for note in inspected["notes"] if "csv" in note] == [
        "train.csv: columns that are not used: age",
        "1 image is not listed in train.csv: not used",
    ]
    finished = saccade("preview", "flat", *CHOSEN, "--out", "picture.png", "--images", "1", "--json")
    assert finished.status == 0, finished.errors
    assert json.loads(finished.output)["source"] == TEXT


def test_a_run_keeps_the_columns_and_is_resumed_and_judged_by_them(saccade: Callable, tmp_path: Path):
    finished = saccade("train", "flat", *CHOSEN, *FAST, "--out", "run", "--json")
    assert finished.status == 0, finished.errors
    trained = json.loads(finished.output)
    assert trained["source"] == TEXT
    assert trained["num_samples"] == 12
    assert tomllib.loads((tmp_path / "run" / "config.toml").read_text())["source"] == TEXT
    for source in ([], ["flat", *CHOSEN], [TEXT]):
        resumed = saccade("train", *source, "--resume", "--out", "run", "--quiet")
        assert resumed.status == 0, resumed.errors
    for source in (["flat", *CHOSEN], [TEXT]):
        judged = saccade("evaluate", "run", *source, "--json")
        assert judged.status == 0, judged.errors
        assert json.loads(judged.output)["confusion"] == trained["confusion"]


def test_other_columns_are_another_run(saccade: Callable):
    assert saccade("train", "flat", *CHOSEN, *FAST, "--out", "run").status == 0
    finished = saccade("train", "flat", "--label-column", "age", "--resume", "--out", "run")
    assert finished.status == 2
    assert finished.errors == (
        f"error: A resumed run goes on as it began: source was {TEXT}, now flat?label=age.\n"
        "Leave that option out, or start a new run with another --out.\n"
    )
    finished = saccade("train", "--resume", "--out", "run", "--label-column", "age")
    assert finished.status == 2
    assert finished.errors == (
        "error: Columns are chosen of a SOURCE, and none is named.\n"
        "A run that is resumed keeps its own: leave the options out, or name the SOURCE too.\n"
    )
