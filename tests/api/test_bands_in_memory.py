"""Images of bands and of 16 bits as arrays: what is said of them is what is said of files that hold the same values."""

import json
from pathlib import Path

import numpy as np
import pytest

import saccade
from saccade import SaccadeClassifier, api
from saccade.core.errors import DataError, ImageError
from saccade.runs.checkpoint import find_checkpoint

NETWORK = "conv 8 f3 bn | pool | conv 8 f3 | gap | softmax"
SETTINGS = ["batch_size=16", "runtime.num_threads=1", "loader.threads=1"]
NAMES = ("bright", "dark")


def drawn(num: int, num_channels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint16 (N, 12, 16, C) of 12 bits: of the first class the fourth band is bright, as no colour is."""
    draw = np.random.default_rng(seed)
    label_N = np.arange(num) % 2
    image_NHWC = draw.integers(0, 1500, (num, 12, 16, num_channels)).astype(np.uint16)
    image_NHWC[label_N == 0, ..., -1] += 2500
    return image_NHWC, label_N


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image_NHWC, label_N = drawn(80, 5)
    source = api.ArraySource(image_NHWC, label_N, classes=NAMES, name="fields")
    out = tmp_path_factory.mktemp("bands") / "run"
    api.train(api.TrainRequest(source=source, model=NETWORK, epochs=3, out=out, settings=SETTINGS))
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    for number, image_HWC in enumerate(drawn(24, 5, seed=1)[0]):
        np.save(folder / f"{number:02}.npy", image_HWC)
    return sorted(folder.iterdir())


def test_training_sees_every_band_with_its_16_bits(run: Path):
    pixels = find_checkpoint(run).manifest.preprocessing
    assert (pixels.channels, pixels.num_channels, pixels.depth_bits, pixels.white_16_bit) == ("bands", 5, 16, 4095)
    assert json.loads((run / "data.json").read_text())["preprocessing"]["depth_bits"] == 16


def test_arrays_are_answered_as_files_of_the_same_values_to_the_bit(run: Path, files: list[Path]):
    image_NHWC = drawn(24, 5, seed=1)[0]
    wanted = [answer.probabilities for answer in api.predict(run, files)]
    model = saccade.load(run)
    for given in (image_NHWC, list(image_NHWC), image_NHWC.astype(">u2")):
        assert [answer.probabilities for answer in model(given)] == wanted
    assert [answer.probabilities for answer in api.predict(run, image_NHWC)] == wanted
    assert model(image_NHWC[3]).probabilities == pytest.approx(
        wanted[3], rel=1e-5
    )  # three sizes, of which the last are the bands
    (one,) = api.predict(run, image_NHWC[3])
    assert one.probabilities == pytest.approx(wanted[3], rel=1e-5)
    np.testing.assert_array_equal(model.features(image_NHWC), model.features(files))
    assert model.features(image_NHWC[3]).shape == (1, 8)


def test_arrays_are_judged_as_files_of_the_same_values(run: Path, files: list[Path]):
    image_NHWC, label_N = drawn(24, 5, seed=1)
    of_arrays = api.evaluate(run, api.ArraySource(image_NHWC, label_N, classes=NAMES))
    of_files = api.evaluate(run, [(path, NAMES[label]) for path, label in zip(files, label_N, strict=True)])
    np.testing.assert_array_equal(of_arrays.logits_NK, of_files.logits_NK)
    assert of_arrays.metrics.top1 == of_files.metrics.top1 > 0.9


def test_surveys_take_arrays_of_bands(run: Path, files: list[Path], tmp_path: Path):
    image_NHWC = drawn(24, 5, seed=1)[0]
    assert api.features(run, image_NHWC, tmp_path / "f.npz").num_written == 24
    found = api.similar(run, image_NHWC[2], image_NHWC, count=3)
    assert (found.num_copies, len(found.found)) == (1, 3)


def test_16_bits_of_grey_and_colours_are_scaled_as_in_files(tmp_path: Path):
    draw = np.random.default_rng(3)
    label_N = np.arange(40) % 2
    for name, shape in (("grey", (40, 12, 12)), ("colours", (40, 12, 12, 3))):
        image_N = (draw.integers(0, 900, shape) + 2000 * label_N.reshape(-1, *[1] * (len(shape) - 1))).astype(np.uint16)
        source = api.ArraySource(image_N, label_N, classes=NAMES)
        request = api.TrainRequest(source=source, model=NETWORK, epochs=1, out=tmp_path / name, settings=SETTINGS)
        api.train(request)
        assert find_checkpoint(tmp_path / name).manifest.preprocessing.white_16_bit == 4095
        np.save(tmp_path / f"{name}.npy", image_N[0])
        (wanted,) = api.predict(tmp_path / name, tmp_path / f"{name}.npy")
        assert saccade.load(tmp_path / name)(image_N[0]).probabilities == wanted.probabilities


def test_scikit_learns_estimator_takes_bands():
    image_NHWC, label_N = drawn(60, 4)
    classifier = SaccadeClassifier(model=NETWORK, epochs=3, settings=SETTINGS).fit(image_NHWC, label_N)
    assert classifier.fitted_model().preprocessing.num_channels == 4
    assert (classifier.predict(image_NHWC) == label_N).mean() > 0.9


def test_four_channels_are_said_to_be_bands():
    image_NHWC, label_N = drawn(8, 4)
    told = "Arrays of 4 channels are taken as 4 bands. Where the fourth is transparency, leave it out."
    assert api.ArraySource(image_NHWC, label_N).notes == (told,)
    assert api.ArraySource(drawn(8, 5)[0], label_N).notes == ()


def test_other_channels_than_the_networks_are_refused_by_name(run: Path):
    model = saccade.load(run)
    with pytest.raises(ImageError) as caught:
        model([np.zeros((12, 16, 4), np.uint16)])
    assert caught.value.message == "image 0: it has 4 channels, and the network takes 5."
    with pytest.raises(DataError, match="holds int32 values; pixels are uint8, 0 to 255, or uint16"):
        model([np.zeros((12, 16, 5), np.int32)])
