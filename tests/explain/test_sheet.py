"""The sheet of an explanation, from the command line: a valid picture, safe names, words instead of empty maps."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.classify.classifier import Member
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.explain.explanation import explain_image
from saccade.explain.sheet import sheet_svg
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import save_checkpoint
from saccade.runs.manifest import Manifest

EVIL = "<script>alert('1')</script>\u202e&"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained network with three classes, one of which has a nasty name."""
    folder = tmp_path_factory.mktemp("run") / "checkpoint-best"
    model = build_model("lenet5", ModelSpec(num_classes=3, input_CHW=(3, 32, 32)))
    manifest = Manifest(
        model="lenet5",
        preprocessing=Preprocessing(resize_px=36, input_height_px=32, input_width_px=32),
        classes=("cat", "dog", EVIL),
        provenance={},
    )
    save_checkpoint(folder, manifest, model.state_dict())
    return folder.parent


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo & more.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


def test_a_sheet_is_written_as_svg_and_png(saccade: Callable, run: Path, photo: Path, tmp_path: Path):
    for name in ("sheet.svg", "sheet.png"):
        finished = saccade("explain", run, photo, "--out", tmp_path / name)
        assert finished.status == 0, finished.errors
        assert finished.output.splitlines()[-1] == f"Sheet: {tmp_path / name}"
    root = ElementTree.fromstring((tmp_path / "sheet.svg").read_text(encoding="utf-8"))
    texts = " ".join(root.itertext())
    for words in (
        "Given",
        "What the network sees",
        "Grad-CAM",
        "Occlusion",
        "Answer",
        "Filters of the first layer (6)",
    ):
        assert words in texts
    picture = Image.open(tmp_path / "sheet.png")
    assert picture.size[0] == 2000
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1000


def test_json_gives_the_map_and_the_answer(saccade: Callable, run: Path, photo: Path, tmp_path: Path):
    finished = saccade(
        "explain", run, photo, "--out", tmp_path / "s.svg", "--class", "dog", "--layer", "stem", "--json"
    )
    result = json.loads(finished.output)
    assert (result["class"], result["layer"]) == ("dog", "stem")
    assert np.array(result["evidence"]).shape == (14, 14)
    assert sum(answer["probability"] for answer in result["top"]) == pytest.approx(1)
    explanation = api.explain(run, photo, class_name="dog", layer="stem")
    np.testing.assert_allclose(result["evidence"], explanation.evidence.evidence_hw)


def test_names_are_text_and_nothing_else(run: Path, photo: Path, tmp_path: Path):
    api.explain(run, photo, tmp_path / "s.svg", class_name=EVIL)
    text = (tmp_path / "s.svg").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_an_empty_map_is_words_in_a_box(spotter_model: Callable, image_with_spot: Callable):
    plain = Preprocessing(channels="grey", input_height_px=24, input_width_px=24, mean=(0.0,), std=(1.0,))
    classifier = Member(
        model=spotter_model().eval(),
        classes=("spot", "nothing"),
        preprocessing=plain,
        temperature=1.0,
        architecture="spotter",
        name="spotter",
        runtime=start(RuntimeConfig(device="cpu")),
    )
    pixels = (image_with_spot(4, 4)[0, 0].numpy() * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    text = sheet_svg(explain_image(classifier, buffer.getvalue(), "spot.png", "nothing"))
    words = " ".join(ElementTree.fromstring(text).itertext())
    assert "No positive evidence for" in words
    assert "strongest" not in [element.text for element in ElementTree.fromstring(text).iter()]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--out", "sheet.gif"],
            2,
            "explain writes .svg or .png files; got 'sheet.gif'.\nChange the ending of --out.",
        ),
        (
            ["--out", "sheet.png", "--class", "catt"],
            2,
            "The run does not know a class 'catt'. Did you mean 'cat'? "
            "It knows 3: cat, dog, <script>alert('1')</script>\\u202e&.",
        ),
        (
            ["--out", "sheet.png", "--layer", "stage9"],
            2,
            "The network has no layer 'stage9'. Did you mean 'stage1'? Its maps are stem, stage1.",
        ),
    ],
)
def test_bad_options_are_named(
    saccade: Callable,
    run: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
):
    monkeypatch.chdir(tmp_path)
    finished = saccade("explain", run, photo, *arguments)
    assert (finished.status, finished.errors) == (status, f"error: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == [photo.name]


def test_bad_images_are_named(saccade: Callable, run: Path, tmp_path: Path):
    finished = saccade("explain", run, tmp_path / "none.jpg", "--out", tmp_path / "s.svg")
    assert finished.errors == f"error: {tmp_path / 'none.jpg'}: cannot be read: No such file or directory.\n"
    finished = saccade("explain", run, tmp_path, "--out", tmp_path / "s.svg")
    assert finished.errors == (
        f"error: The folder {tmp_path} holds no images.\nName image files, or a folder of them.\n"
    )
