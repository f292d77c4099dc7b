"""`saccade explain`: a default file name, folders, and what is painted over the photo."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from saccade.classify.classifier import Member
from saccade.explain.colour import signed_overlay, signed_scale
from saccade.explain.explanation import edge_share
from saccade.explain.subject import Subject, look_at

FORMATS = Path(__file__).parents[1] / "runs" / "formats"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run on the digits, and a folder `new` of three digits and one file that is none."""
    shutil.copytree(FORMATS / "3", tmp_path / "run")
    (tmp_path / "new").mkdir()
    for number, pixels_HW in enumerate(load_digits().images[:3]):
        Image.fromarray((16 * pixels_HW).clip(0, 255).astype(np.uint8)).save(tmp_path / "new" / f"{number}.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sheet_has_a_name_of_its_own_where_none_is_given(saccade: Callable, place: Path):
    done = saccade("explain", "run", "new/0.png")
    assert done.status == 0, done.errors
    assert done.output.splitlines()[-1] == "Sheet: 0-explained.svg"
    assert (place / "0-explained.svg").read_text().startswith("<svg")


def test_every_image_of_a_folder_gets_a_sheet_and_a_bad_one_is_named(saccade: Callable, place: Path):
    done = saccade("explain", "run", "new")
    assert done.status == 1
    assert "broken.png" in done.errors
    assert done.errors.endswith("error: 1 of 4 could not be read; the others have a sheet.\n")
    assert sorted(path.name for path in (place / "explained").iterdir()) == [
        "0-explained.svg",
        "1-explained.svg",
        "2-explained.svg",
    ]
    (place / "new" / "broken.png").unlink()
    told = json.loads(saccade("explain", "run", "new", "--out", "sheets", "--json").output)
    assert [Path(image["file"]).name for image in told["images"]] == ["0.png", "1.png", "2.png"]
    assert all(Path(image["out"]).is_file() for image in told["images"])


def test_an_image_of_a_folder_that_predict_would_not_answer_is_told(
    saccade: Callable, place: Path, monkeypatch: pytest.MonkeyPatch
):
    (place / "new" / "broken.png").unlink()

    def looked_at(member: Member, content: bytes | np.ndarray, key: str) -> Subject:
        return replace(look_at(member, content, key), unlike_training=key.endswith("1.png"))

    monkeypatch.setattr("saccade.explain.explanation.look_at", looked_at)
    zero, one, two, sheets = saccade("explain", "run", "new").output.splitlines()
    assert one.endswith(" %. Unlike anything seen in training: 'saccade predict' gives no answer.")
    assert zero.endswith(" %.")
    assert two.endswith(" %.")
    assert sheets == "Sheets: explained (3)"


def test_sheets_do_not_lie_among_the_images(saccade: Callable, place: Path):
    done = saccade("explain", "run", "new", "--out", "new/sheets")
    assert done.status == 2
    assert done.errors.startswith("error: The sheets would lie among the images in new, ")
    assert saccade("explain", "run", "new", "--out", "all.svg").errors == (
        "error: Several images get a sheet each, and --out all.svg is a file.\nName a folder for them: --out all\n"
    )


def test_occlusion_is_painted_over_the_picture_in_the_colours_of_its_scale():
    grey_HW1 = np.full((2, 3, 1), 128, np.uint8)
    value_HW = np.array([[-2.0, -1.0, 0.0], [0.0, 1.0, 2.0]])
    painted_HWC = signed_overlay(grey_HW1, value_HW, 2.0)
    scale = signed_scale()
    assert np.array_equal(painted_HWC[0, 0], scale[0]), "the lowest value is the scale's first colour"
    assert np.array_equal(painted_HWC[1, 2], scale[-1]), "the highest its last"
    assert len(set(painted_HWC[0, 2].tolist())) == 1, "where nothing changes the picture shows alone, in grey"
    dark_HW1 = np.zeros((2, 3, 1), np.uint8)
    assert not np.array_equal(signed_overlay(dark_HW1, value_HW, 2.0), painted_HWC), "the picture is seen below"
    blue, orange = scale[0].astype(int), scale[-1].astype(int)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_evidence_at_the_edge_is_counted():
    value_HW = np.ones((32, 32))
    assert edge_share(value_HW) == pytest.approx(1 - (24 / 32) ** 2)
    value_HW[4:-4, 4:-4] = 0
    assert edge_share(value_HW) == 1.0
    assert edge_share(np.zeros((32, 32))) == 0.0
