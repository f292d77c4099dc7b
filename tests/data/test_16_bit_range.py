"""Values of 12 bits in files of 16: the range is found over the set, said, and travels with the weights."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import api, load
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.checkup.inspection import inspect_source
from saccade.data.images.decode import decode_image
from saccade.data.scan import scan_source
from saccade.data.sources.folder.source import ImageFolder
from saccade.train.config import RunConfig
from saccade.train.prepare import prepare_images


def deep_png(values_HW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values_HW.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def textured(rng: np.random.Generator, is_striped: bool, top: int = 4095) -> np.ndarray:
    """(16, 16) values up to `top` whose class lies in 1/40 of the range: stripes or noise of the same strength."""
    level = rng.integers(top // 4, top // 4 + 130)
    stripes = np.indices((16, 16)).sum(axis=0) % 2 if is_striped else rng.integers(0, 2, (16, 16))
    values = level + top // 40 * stripes
    values[0, 0], values[0, 1] = top, 0
    return values


def write_set(folder: Path, count: int = 80, top: int = 4095) -> Path:
    rng = np.random.default_rng(0)
    for name in ("noise", "stripes"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(deep_png(textured(rng, name == "stripes", top)))
    return folder


@pytest.mark.parametrize(
    ("largest", "white"),
    [(1, 255), (255, 255), (256, 511), (1023, 1023), (4000, 4095), (4096, 8191), (40_000, 65_535), (65_535, 65_535)],
)
def test_white_is_the_least_power_of_two_that_holds_all_values(tmp_path: Path, largest: int, white: int):
    for name, value in (("a", largest), ("b", largest // 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(deep_png(np.array([[0, value]])))
        Image.new("L", (2, 1), 200).save(tmp_path / name / "2.png")
    scan = scan_source(ImageFolder(tmp_path), threads=2)
    assert scan.white_16_bit == white
    expected = np.floor(np.array([0, largest]) * 255 / white + 0.5) / 255
    assert scan.mean_NC[0] == pytest.approx(expected.mean())
    assert scan.mean_NC[1] == pytest.approx(200 / 255)


@pytest.mark.parametrize("white", [255, 1023, 4095, 8191, 65_535])
def test_every_value_is_scaled_and_rounded_and_what_is_above_white_is_cut_and_told(white: int):
    values = np.arange(65_536).reshape(256, 256)
    decoded = decode_image(deep_png(values), "a", white=white)
    expected = np.minimum(np.floor(values * 255.0 / white + 0.5), 255)
    assert np.array_equal(decoded.image_HWC[:, :, 0], expected)
    assert decoded.largest_16_bit == 65_535
    above = f"its values reach 65,535, above the {white:,} of the training images, and are cut there."
    assert decoded.notes == ((above,) if white < 65_535 else ())
    if white == 65_535:
        assert np.array_equal(decoded.image_HWC[:, :, 0], (values + 128) // 257)


def test_a_given_test_part_has_no_say_in_the_range(tmp_path: Path):
    for split, top in (("train", 4000), ("test", 9000)):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.png").write_bytes(deep_png(np.array([[0, top, ord(name)]])))
    scan = scan_source(ImageFolder(tmp_path), threads=1)
    assert scan.white_16_bit == 4095
    assert [note.split(": ")[1] for note in scan.notes] == [
        "its values reach 9,000, above the 4,095 of the training images, and are cut there."
    ] * 2


def test_preprocessing_without_a_range_is_written_and_named_as_before():
    usual, twelve = Preprocessing(), Preprocessing(white_16_bit=4095)
    assert "white_16_bit" not in usual.model_dump(mode="json")
    assert twelve.model_dump(mode="json")["white_16_bit"] == 4095
    assert Preprocessing.parse(usual.model_dump(mode="json")) == usual
    assert Preprocessing.parse(twelve.model_dump(mode="json")) == twelve
    assert usual.digest() == "f1a35d9258cff02495cbf262549d4a913a371c0745233b0a698b07e7f469992a"
    assert usual.digest() != twelve.digest()


def test_a_class_that_lies_in_12_bits_is_learned_and_the_range_goes_wherever_the_weights_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos = write_set(tmp_path / "photos")
    run = api.train(api.TrainRequest(source=str(photos), model="lenet5", epochs=20, out=tmp_path / "run")).run_dir
    model = load(run)
    assert model.preprocessing.white_16_bit == 4095
    rng = np.random.default_rng(9)
    fresh = [(textured(rng, number % 2 == 1), ("noise", "stripes")[number % 2]) for number in range(40)]
    paths = []
    for number, (values, _) in enumerate(fresh):
        path = tmp_path / f"{number}.png"
        path.write_bytes(deep_png(values))
        paths.append(path)
    answers = model([str(path) for path in paths])
    right = [answer.top(1)[0][0] == name for answer, (_, name) in zip(answers, fresh)]
    assert sum(right) >= 36
    opened = model([Image.open(path) for path in paths])
    assert [answer.probabilities for answer in opened] == [answer.probabilities for answer in answers]
    bright = tmp_path / "bright.png"
    bright.write_bytes(deep_png(np.full((16, 16), 5000)))
    assert model(str(bright)).notes == (
        "its values reach 5,000, above the 4,095 of the training images, and are cut there.",
    )
    judged = api.evaluate([run], str(photos))
    assert judged.metrics.top1 >= 0.9


def test_inspect_says_the_range_and_does_not_call_12_bits_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(4):
            values = rng.integers(0, 4096, (32, 32)).repeat(4, axis=0).repeat(4, axis=1)
            (tmp_path / "set" / name / f"{number}.png").write_bytes(deep_png(values))
    for _ in range(2):  # the second time from what was kept
        found = inspect_source(str(tmp_path / "set"), 2)
        assert found.notes == ("16-bit values use 0 to 4,095: scaled by that.",)
        assert [finding.kind for finding in found.findings] == []
        assert found.mean_C[0] == pytest.approx(0.5, abs=0.02)


def test_a_16_bit_image_is_plain_by_its_own_range_and_not_by_that_of_the_set(tmp_path: Path):
    dim = 300 + 40 * (np.indices((16, 16)).sum(axis=0) % 8)
    images = {"dim": dim, "bright": dim * 7, "plain": np.full((16, 16), 300), "stray": dim.copy()}
    images["stray"][0, 0] = 60_000
    for name, values in images.items():
        (tmp_path / ("a" if name == "dim" else "b")).mkdir(exist_ok=True)
        (tmp_path / ("a" if name == "dim" else "b") / f"{name}.png").write_bytes(deep_png(values))
    (plain,) = [f for f in inspect_source(str(tmp_path), 1, keep=False).findings if f.kind == "plain"]
    assert ("b/plain.png",) in plain.groups
    assert ("a/dim.png",) not in plain.groups
    assert ("b/bright.png",) not in plain.groups


def test_a_run_that_was_begun_before_there_was_a_range_goes_on_with_its_own_white(tmp_path: Path):
    config = RunConfig(source=str(write_set(tmp_path / "photos", 20)), model="lenet5")
    runtime = start(RuntimeConfig(device="cpu"))
    told: list[str] = []
    found = prepare_images(config, runtime, told.append)
    assert found.preprocessing.white_16_bit == 4095
    assert "16-bit values use 0 to 4,095: scaled by that" in told
    told.clear()
    before = prepare_images(config, runtime, told.append, white=65_535)
    assert before.preprocessing.white_16_bit == 65_535
    assert before.preprocessing.mean[0] == pytest.approx(found.preprocessing.mean[0] / 16, rel=0.05)
    assert not any("16-bit" in line for line in told)


def test_weights_that_were_trained_elsewhere_take_the_range_of_the_new_images(tmp_path: Path):
    own = Preprocessing(resize_px=None, input_height_px=16, input_width_px=16)
    config = RunConfig(source=str(write_set(tmp_path / "photos", 20)), model="lenet5")
    config = config.model_copy(update={"transfer": config.transfer.model_copy(update={"preprocessing": own})})
    images = prepare_images(config, start(RuntimeConfig(device="cpu")), lambda text: None)
    assert images.preprocessing == own.model_copy(update={"white_16_bit": 4095})
