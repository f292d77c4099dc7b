"""The fit of pictures, from what is asked to what the run keeps, says and answers with."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saccade import api
from saccade.cli.input_size import input_settings
from saccade.core.errors import ConfigError, ImageError, UsageError
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.data.images.preprocess import place_on_input, prepare_image
from saccade.data.sources.in_memory import known_source
from saccade.loaded import load
from saccade.models.architecture import ModelSpec, build_model
from saccade.preview.request import PreviewRequest, preview
from saccade.runs.checkpoint import find_checkpoint
from saccade.train.config import InputConfig
from saccade.transfer.known_weights import _in_grey, _resized

ONE_THREAD = ["runtime.num_threads=1", "runtime.precision=float32", "loader.threads=1", "batch_size=8"]


class Listening(api.Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def pictures(folder: Path, size: tuple[int, int] = (150, 80)) -> Path:
    """Two classes of twelve wide pictures, whose mark lies at the left or at the right end."""
    for number in range(24):
        kind = ("left", "right")[number % 2]
        pixels = np.random.default_rng(number).integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
        pixels[:, : 10 if kind == "left" else None] = 250 if kind == "left" else pixels
        pixels[:, -10:] = 250 if kind == "right" else pixels[:, -10:]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("fit") / "photos")


def chosen(source: Path, *settings: str, model: str = "lenet5") -> Preprocessing:
    request = PreviewRequest(source=str(source), model=model, settings=list(settings))
    with known_source(request.source):
        return preview(request.config(), num_images=1, num_draws=1).preprocessing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ("crop", 37, 32, 32)),
        (["input.fit=crop"], ("crop", 37, 32, 32)),
        (["input.fit=pad"], ("pad", None, 32, 32)),
        (["input.fit=squash", "input.size_px=48"], ("squash", None, 48, 48)),
        (["input.size_px=24", "input.width_px=40"], ("cover", 27, 24, 40)),
        (["input.fit=pad", "input.size_px=24", "input.width_px=40"], ("pad", None, 24, 40)),
    ],
)
def test_photos_are_brought_to_the_input_as_asked(photos: Path, settings: list[str], expected: tuple):
    found = chosen(photos, *settings)
    assert (found.fit, found.resize_px, found.input_height_px, found.input_width_px) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ("crop", None, 28, 40)),  # as ever: small images of one size are used whole
        (["input.size_px=32"], ("crop", None, 32, 32)),
        (["input.size_px=32", "input.fit=crop"], ("crop", 32, 32, 32)),
        (["input.size_px=56", "input.width_px=80"], ("crop", None, 56, 80)),  # of their own shape
        (["input.size_px=24", "input.width_px=48"], ("cover", 24, 24, 48)),
        (["input.fit=pad"], ("pad", None, 28, 40)),
    ],
)
def test_small_images_are_used_whole_unless_another_shape_is_asked_for(tmp_path: Path, settings, expected):
    found = chosen(pictures(tmp_path / "small", size=(40, 28)), *settings)
    assert (found.fit, found.resize_px, found.input_height_px, found.input_width_px) == expected


def test_weights_keep_their_own_fit_unless_another_is_asked_for():
    own = Preprocessing(resize_px=256)
    whole = own.model_copy(update={"resize_px": None})
    padded = Preprocessing(fit="pad")

    def asked(weights: Preprocessing, **values: object) -> tuple:
        found = _resized(weights, InputConfig.parse(values))
        assert Preprocessing.parse(found.model_dump(mode="json")) == found
        return found.fit, found.resize_px, found.input_height_px, found.input_width_px

    assert asked(own) == ("crop", 256, 224, 224)
    assert asked(own, size_px=112) == ("crop", 128, 112, 112)
    assert asked(own, size_px=96, width_px=160) == ("cover", 110, 96, 160)
    assert asked(own, fit="pad") == ("pad", None, 224, 224)
    assert asked(own, fit="squash", size_px=96, width_px=160) == ("squash", None, 96, 160)
    assert asked(whole, size_px=112) == ("crop", None, 112, 112)
    assert asked(whole, fit="crop") == ("crop", 256, 224, 224)
    assert asked(padded, size_px=112) == ("pad", None, 112, 112)
    assert asked(padded, fit="crop") == ("crop", 256, 224, 224)


def test_weights_of_colours_take_grey_inputs_where_they_are_asked_for_and_not_the_other_way_round():
    own = Preprocessing(resize_px=256, mean=(0.25, 0.5, 0.75), std=(0.25, 0.25, 0.5))
    assert _in_grey(own, InputConfig()) == own
    assert _in_grey(own, InputConfig(channels="rgb")) == own
    grey = _in_grey(own, InputConfig(channels="grey"))
    assert (grey.channels, grey.mean, grey.std, grey.resize_px) == ("grey", (0.5,), (0.333333,), 256)
    assert Preprocessing.parse(grey.model_dump(mode="json")) == grey
    with pytest.raises(ConfigError) as error:
        _in_grey(grey, InputConfig(channels="rgb"))
    assert str(error.value) == (
        "input.channels=rgb asks for colours, and these weights take grey images.\n"
        "Leave it out, or take weights that were trained on colour images."
    )


def test_a_transfer_to_grey_inputs_keeps_a_network_of_one_channel(tmp_path: Path):
    torch.manual_seed(3)
    colour = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(3, 32, 32)))
    tensors = {name: tensor.contiguous() for name, tensor in colour.state_dict().items()}
    pixels = {"input_height_px": 32, "input_width_px": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    (tmp_path / "backbone").mkdir()
    save_file(tensors, tmp_path / "backbone" / "model.safetensors", {"saccade.preprocessing": json.dumps(pixels)})
    request = api.TransferRequest(
        source="digits",
        backbone="lenet5",
        weights=tmp_path / "backbone",
        freeze="all",
        cache="none",
        out=tmp_path / "run",
        settings=[*ONE_THREAD, "input.channels=grey"],
    )
    run = api.transfer(request).run.run_dir
    model = load(run)
    assert (model.preprocessing.channels, model.preprocessing.mean, model.preprocessing.std) == (
        "grey",
        (0.5,),
        (0.25,),
    )
    own = model.module.state_dict()
    name = next(name for name, tensor in own.items() if tensor.ndim == 4)
    assert own[name].shape[1] == 1
    assert torch.allclose(own[name], tensors[name].sum(dim=1, keepdim=True))


@pytest.mark.parametrize("size", ["2048x2048", "2048x1"])
def test_a_preview_makes_no_picture_of_a_billion_pixels(size: str, tmp_path: Path):
    folder = pictures(tmp_path / "strips", size=(400, 2))  # with the short side at 2,048, 8 GB as bytes
    with pytest.raises(ImageError, match=r"it becomes \d+x\d+, more than 50,000,000\. Cut it into pieces\.$"):
        chosen(folder, *input_settings(size, "crop"))
    assert chosen(folder, *input_settings("64x2", "pad")).fit == "pad"


@pytest.mark.parametrize(
    ("size", "fit", "settings"),
    [
        ("", "", []),
        ("192", "", ["input.size_px=192", "input.width_px=0"]),
        ("192x256", "pad", ["input.fit=pad", "input.size_px=192", "input.width_px=256"]),
    ],
)
def test_the_options_set_height_and_width(size: str, fit: str, settings: list[str]):
    assert input_settings(size, fit) == settings


@pytest.mark.parametrize("size", ["224x224x3", "x", "-3", "12.5", "224,224", "999999"])
def test_a_size_that_is_none_is_refused(size: str):
    with pytest.raises(UsageError) as error:
        input_settings(size, "")
    assert str(error.value) == (
        f"--input is HEIGHTxWIDTH in pixels, such as 192x256, or one side of a square; got '{size}'."
    )


def test_values_that_fit_nothing_are_refused():
    with pytest.raises(ConfigError) as error:
        InputConfig.parse({"width_px": 40}, "--set")
    assert str(error.value) == "--set: width_px 40 needs size_px beside it, which is then the height."


def test_what_a_fit_leaves_without_effect_is_told(photos: Path, tmp_path: Path):
    listening = Listening()
    settings = [
        *ONE_THREAD,
        "input.fit=pad",
        "augment.window.reach=1.0",
        "augment.border=black",
        "split.test_fraction=0",
    ]
    request = api.TrainRequest(source=photos, epochs=1, out=tmp_path / "run", settings=settings)
    api.train(request, listening)
    assert "augment.window has no effect: with fit pad nothing of a picture is cut off" in listening.notes
    assert (
        "augment.border black has no effect: with fit pad the mean colour lies around pictures" in listening.notes
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of wide inputs with padding and random crops."""
    out = tmp_path_factory.mktemp("padded") / "run"
    settings = [*ONE_THREAD, *input_settings("24x40", "pad"), "augment.crop.min_area=0.5"]
    return api.train(api.TrainRequest(source=photos, epochs=1, out=out, settings=settings)).run_dir


def test_the_fit_travels_with_the_weights_and_every_verb_uses_it(run: Path, photos: Path, saccade: Callable):
    own = find_checkpoint(run).manifest.preprocessing
    assert (own.fit, own.resize_px, own.input_CHW) == ("pad", None, (3, 24, 40))
    model, photo = load(run), photos / "left" / "0.png"
    prepared = prepare_image(np.asarray(Image.open(photo)), own)
    input_1CHW = normalize(torch.from_numpy(prepared).permute(2, 0, 1)[None], own, torch.float32)
    with torch.no_grad():
        expected = model.module(input_1CHW)[0].tolist()
    assert model(photo).logits == pytest.approx(expected, abs=1e-5)
    (answered,) = json.loads(saccade("predict", str(run), str(photo), "--json").output)["predictions"]
    assert answered["top"][0]["class"] == model(photo).top(1)[0][0]
    assert saccade("evaluate", str(run), str(photos), "--crops", "10").status == 0
    assert "fitted whole into 40x24 (width x height), the mean colour around it" in api.report(run).read_text()


def test_an_explanation_of_a_padded_photo_lies_on_the_photo(run: Path, photos: Path, saccade: Callable, tmp_path: Path):
    photo, sheet = photos / "left" / "0.png", tmp_path / "sheet.svg"
    values = json.loads(saccade("explain", str(run), str(photo), "--out", str(sheet), "--json").output)
    on_photo, field = values["field_on_photo"], values["field"]
    (height, width), (top, left) = place_on_input((80, 150), find_checkpoint(run).manifest.preprocessing)
    assert (height, width, top, left) == (21, 40, -1, 0)  # one row above, two below
    if on_photo is None:
        assert field["bottom"] <= 1 or field["top"] >= 22
    else:
        assert on_photo["left"] == math.floor(field["left"] * 150 / 40)
        assert on_photo["right"] == math.ceil(field["right"] * 150 / 40)
        assert on_photo["top"] == max(0, math.floor((field["top"] - 1) * 80 / 21))
        assert on_photo["bottom"] == min(80, math.ceil((field["bottom"] - 1) * 80 / 21))
    assert sheet.read_text().startswith("<svg")


def test_a_resumed_run_keeps_its_fit(run: Path, saccade: Callable):
    finished = saccade("train", "--resume", "--out", str(run), "--fit", "squash")
    assert (finished.status, finished.errors) == (
        2,
        "error: A resumed run goes on as it began: input.fit was pad, now squash.\n"
        "Leave that option out, or start a new run with another --out.\n",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fit", "stretch"], "--fit: 'input.fit' must be one of: auto, crop, pad, squash; not 'stretch'."),
        (["--input", "3000"], "--input: 'input.size_px' must be 2048 or less, not 3000."),
        (["--input", "24x"], "--input is HEIGHTxWIDTH in pixels, such as 192x256, or one side of a square; got '24x'."),
        *(
            (
                ["--input", size],
                f"--input is HEIGHTxWIDTH in pixels, such as 192x256, or one side of a square; got '{size}'.",
            )
            for size in ("0", "0x32", "32x0")  # nothing is taken for a square, or for the usual size
        ),
    ],
)
def test_an_impossible_input_is_one_message(options: list[str], message: str, photos: Path, saccade: Callable):
    finished = saccade("train", str(photos), *options)
    assert finished.errors == f"error: {message}\n"
    assert finished.status == 2
    assert finished.output == ""
