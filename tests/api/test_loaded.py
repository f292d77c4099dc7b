"""`saccade.load`: one image or many, as files, images of Pillow or arrays; what a model is made of; what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade import api
from saccade.core.errors import CheckpointError, DataError, ImageError, ModelError, UsageError
from saccade.data.sources.digits import Digits
from saccade.loaded import Model
from saccade.runs.checkpoint import find_checkpoint

SETTINGS = {"batch_size": 64, "runtime": {"num_threads": 1, "precision": "float32"}}
RUNTIME = api.RuntimeConfig(num_threads=1, precision="float32")


@pytest.fixture(scope="module")
def image_NHW() -> np.ndarray:
    digits = Digits()
    return np.stack([digits.read(index) for index in range(60)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ by their seed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        request = api.TrainRequest(source="digits", epochs=1, seed=seed, settings=SETTINGS, out=folder / str(seed))
        api.train(request)
    return [folder / "0", folder / "1"]


@pytest.fixture(scope="module")
def model(runs: list[Path]) -> Model:
    return saccade.load(runs[0], runtime=RUNTIME)


@pytest.fixture
def files(image_NHW: np.ndarray, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path, image in zip(paths, image_NHW[:6]):
        Image.fromarray(image).save(path)
    return paths


def test_a_file_an_image_of_pillow_and_an_array_give_the_answer_of_predict(
    runs: list[Path], model: Model, image_NHW: np.ndarray, files: list[Path]
):
    (expected,) = api.predict(runs[0], [files[0]], runtime=RUNTIME)
    assert isinstance(expected, api.Prediction)
    coloured = np.repeat(image_NHW[0][:, :, None], 3, axis=2)
    with Image.open(files[0]) as opened:
        for given in (str(files[0]), files[0], opened, image_NHW[0], image_NHW[0][:, :, None], coloured):
            answer = model(given)
            assert (answer.classes, answer.probabilities) == (expected.classes, expected.probabilities)
        assert model(opened).key == str(files[0])
    assert (model(files[0]).key, model(image_NHW[0]).key) == (str(files[0]), "the image")


def test_a_list_gives_a_list_in_its_order(runs: list[Path], model: Model, image_NHW: np.ndarray, files: list[Path]):
    expected = [answer.probabilities for answer in api.predict(runs[0], image_NHW, runtime=RUNTIME)]
    assert [answer.probabilities for answer in model(image_NHW)] == expected
    assert [answer.probabilities for answer in model(list(image_NHW))] == expected
    mixed = model([files[0], image_NHW[1], Image.fromarray(image_NHW[2]), str(files[0])])
    assert [answer.key for answer in mixed] == [str(files[0]), "image 1", "image 2", str(files[0])]
    assert [len(model(given)) for given in ([files[0]], tuple(files), image_NHW[:1], [])] == [1, 6, 1, 0]
    assert [answer.key for answer in model(iter(files))] == [str(path) for path in files]


def test_one_opened_image_may_come_many_times(model: Model, files: list[Path]):
    expected = model(files[0]).probabilities
    with Image.open(files[0]) as opened:
        answers = model([opened] * 50)
    assert [answer.probabilities for answer in answers] == [pytest.approx(expected, abs=1e-6)] * 50


def test_probabilities_are_the_softmax_of_what_the_module_says(runs: list[Path], model: Model, image_NHW: np.ndarray):
    preprocessing = model.preprocessing
    assert not model.module.training
    small = Image.fromarray(image_NHW[3]).resize((32, 32), Image.Resampling.BILINEAR)
    pixel_HW = (np.asarray(small) / 255 - preprocessing.mean[0]) / preprocessing.std[0]
    with torch.no_grad():
        logits_K = model.module(torch.tensor(pixel_HW, dtype=torch.float32)[None, None])[0].double().numpy()
    scaled_K = np.exp(logits_K / find_checkpoint(runs[0]).manifest.temperature)
    assert model(image_NHW[3]).probabilities == pytest.approx(tuple(scaled_K / scaled_K.sum()), abs=1e-5)


def test_features_are_what_the_head_sees(model: Model, image_NHW: np.ndarray, files: list[Path]):
    feature_ND = model.features(image_NHW[:5])
    assert (feature_ND.dtype, feature_ND.shape[0]) == (np.float32, 5)
    head = model.module.head
    with torch.no_grad():
        logits_NK = head(torch.from_numpy(feature_ND)).numpy()
    assert logits_NK == pytest.approx(np.array([answer.logits for answer in model(image_NHW[:5])]), abs=1e-4)
    assert model.features(files[0]) == pytest.approx(feature_ND[:1], abs=1e-5)
    assert model.features([]).shape == (0, feature_ND.shape[1])


def test_several_runs_answer_by_their_mean(runs: list[Path], image_NHW: np.ndarray):
    one, other = (saccade.load(run, runtime=RUNTIME) for run in runs)
    both = saccade.load(*runs, runtime=RUNTIME)
    mean_NK = [(np.array(a.probabilities) + b.probabilities) / 2 for a, b in zip(one(image_NHW), other(image_NHW))]
    said_NK = np.array([answer.probabilities for answer in both(image_NHW)])
    assert said_NK == pytest.approx(np.array(mean_NK), abs=1e-12)
    listed = saccade.load(runs, runtime=RUNTIME)(image_NHW)
    assert [answer.probabilities for answer in listed] == [answer.probabilities for answer in both(image_NHW)]
    assert both.features(image_NHW[:2]).shape[1] == 2 * one.features(image_NHW[:2]).shape[1]
    assert len(both.modules) == 2
    with pytest.raises(UsageError) as error:
        both.module  # noqa: B018
    assert error.value.message == "This model has 2 networks.\nTake one of model.modules."


def test_crops_are_those_of_evaluate(runs: list[Path], image_NHW: np.ndarray):
    digits = Digits()
    label_N = [str(digits.record(index).label) for index in range(60)]
    source = api.ArraySource(image_NHW, label_N, splits=["test"] * 60)
    evaluation = api.evaluate(runs[0], source, crops=5, runtime=RUNTIME)
    answer_of = dict(zip(map(str, range(60)), saccade.load(runs[0], crops=5, runtime=RUNTIME)(image_NHW)))
    judged = [(answer_of[key], label_N[int(key)]) for key in evaluation.keys]  # images of training are left out
    assert 0 < len(judged) < 60
    assert np.mean([answer.top(1)[0][0] == label for answer, label in judged]) == evaluation.metrics.top1
    loss = -np.mean([np.log(answer.probabilities[answer.classes.index(label)]) for answer, label in judged])
    assert loss == pytest.approx(evaluation.metrics.loss, abs=1e-6)


def test_a_network_from_python_is_given_again(tmp_path: Path, image_NHW: np.ndarray):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))
    api.train(api.TrainRequest(source="digits", model=network, epochs=1, settings=SETTINGS, out=tmp_path / "own"))
    model = saccade.load(tmp_path / "own", model=network, runtime=RUNTIME)
    (expected,) = api.predict(tmp_path / "own", image_NHW[0], model=network, runtime=RUNTIME)
    assert model(image_NHW[0]).probabilities == expected.probabilities
    with pytest.raises(ModelError) as error:
        model.features(image_NHW[0])
    assert error.value.message == (
        "Sequential does not name its parts, so what its head sees cannot be read.\n"
        "Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
    )


def test_a_model_leaves_its_process_as_it_found_it(model: Model, image_NHW: np.ndarray):
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), dict(os.environ))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model(image_NHW[:3])
    model.features(image_NHW[:3])
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), dict(os.environ)) == before


def test_a_model_shows_itself_in_words(runs: list[Path], model: Model):
    assert repr(model) == f"<Model: lenet5 of {runs[0]}; 10 classes; on cpu.>"
    assert str(model).splitlines()[1] == "Classes: 0, 1, 2, 3, 4, 5, 6, 7, ..."
    assert f"<strong>lenet5 of {runs[0]}" in model._repr_html_()
    assert model.classes == tuple("0123456789")


BAD_SHAPE = "has the shape (8, 8, 99), which is not that of an image.\nPut the channels last: image.transpose(1, 2, 0)."
FLOATS = (
    "the image holds float64 values; pixels are uint8, 0 to 255, or uint16.\n"
    "Turn values in 0 to 1 into them by (images * 255).round().astype('uint8')."
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([np.zeros((8, 8), np.uint8), np.zeros((8, 8, 99), np.uint8)], f"image 1 {BAD_SHAPE}"),
        (np.zeros((8, 8)), FLOATS),
        (
            3,
            "The image is a value of type int.\n"
            "Give the path of a file, an image of Pillow, or a uint8 array (height, width[, 3]).",
        ),
        (
            [("a.png", "cat")],
            "image 0 is a tuple.\n"
            "Give a list of single images; labels are not needed here (api.evaluate takes them).",
        ),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_in_words(model: Model, given: object, message: str):
    for call in (model, model.features):
        with pytest.raises(DataError) as error:
            call(given)  # type: ignore[call-overload]
        assert error.value.message == message


def test_an_array_with_an_alpha_channel_is_refused_by_a_network_of_colours(model: Model):
    for given, name in ((np.zeros((8, 8, 4), np.uint8), "the image"), ([np.zeros((8, 8, 4), np.uint8)], "image 0")):
        for call in (model, model.features):
            with pytest.raises(ImageError) as error:
                call(given)  # type: ignore[call-overload]
            assert error.value.message == (
                f"{name}: it has 4 channels, and the network takes grey or colours. Give (height, width, 3) RGB, "
                "without an alpha channel."
            )


def test_an_image_that_cannot_be_used_is_named_alone_and_in_a_list(model: Model, files: list[Path], tmp_path: Path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(files[0].read_bytes()[:60])
    missing = tmp_path / "missing.png"
    for path, reason in (
        (missing, "cannot be read: No such file or directory."),
        (tmp_path, "is a folder; give one image file."),
    ):
        for given in (path, [*files, path]):
            with pytest.raises(ImageError) as error:
                model(given)
            assert error.value.message == f"{path}: {reason}"
    with Image.open(damaged) as opened:
        for given in (damaged, opened, [files[0], opened, *files]):
            with pytest.raises(ImageError) as error:
                model(given)
            assert error.value.message == f"{damaged}: the image data end too early: the file is truncated."


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError) as error:
        saccade.load(tmp_path / "none")
    assert error.value.message == (
        f"The run {tmp_path / 'none'} is not there.\n"
        "Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1."
    )
    with pytest.raises(UsageError) as wrong:
        saccade.load()
    assert wrong.value.message == 'Say which run to load, for example saccade.load("runs/digits-lenet5-1").'


def test_a_tensor_of_torch_is_an_image_as_the_array_of_it_is(model: Model, runs: list[Path], image_NHW: np.ndarray):
    image_HWC = np.repeat(image_NHW[0][:, :, None], 3, axis=2)
    for array in (image_NHW[0], image_HWC):
        expected = model(array).logits
        assert model(torch.from_numpy(array)).logits == expected  # type: ignore[call-overload]
        assert [answer.logits for answer in api.predict(runs[0], torch.from_numpy(array))] == [expected]  # type: ignore[arg-type, union-attr]
    assert len(model(torch.from_numpy(image_NHW[:3]))) == 3  # type: ignore[call-overload]


NO_GRADIENT = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
NO_BFLOAT16 = "Got unsupported ScalarType BFloat16"
TENSOR = "Give a uint8 array; of a tensor image.detach().cpu().numpy()."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(8, 8, requires_grad=True), f"cannot be read as an array of NumPy: {NO_GRADIENT}\n{TENSOR}"),
        (torch.zeros(8, 8, dtype=torch.bfloat16), f"cannot be read as an array of NumPy: {NO_BFLOAT16}\n{TENSOR}"),
        (
            np.ma.masked_array(np.zeros((8, 8), np.uint8), mask=np.eye(8)),
            "has masked values, and pixels cannot be left out.\nFill them: image.filled(0).",
        ),
        (
            np.array("a.png"),
            "holds <U5 values; pixels are uint8, 0 to 255, or uint16.\n"
            "Give an array of numbers, or the path of a file as text.",
        ),
    ],
    ids=["gradient", "bfloat16", "masked", "one text"],
)
def test_an_array_without_plain_pixels_is_refused_in_words(model: Model, runs: list[Path], given: object, message: str):
    with pytest.raises(DataError) as error:
        model(given)  # type: ignore[call-overload]
    assert error.value.message == f"the image {message}"
    with pytest.raises(DataError) as before:
        api.predict(runs[0], given)  # type: ignore[arg-type]
    assert before.value.message == f"image 0 {message}"


def test_entries_of_a_folder_listed_as_bytes_are_paths(model: Model, runs: list[Path], files: list[Path]):
    with os.scandir(os.fsencode(files[0].parent)) as entries:
        (first,) = [entry for entry in entries if entry.name == b"0.png"]
    expected = model(files[0]).logits
    assert model(first).logits == expected  # type: ignore[call-overload]
    assert [answer.logits for answer in api.predict(runs[0], [first])] == [expected]  # type: ignore[list-item, union-attr]
    with os.scandir(os.fsencode(runs[0].parent)) as entries:
        (run,) = [entry for entry in entries if entry.name == b"0"]
    assert saccade.load(run, runtime=RUNTIME)(files[0]).logits == expected  # type: ignore[arg-type]


def test_a_name_too_long_for_a_file_is_one_unread_image_of_several(runs: list[Path], files: list[Path]):
    long = "a" * 5000
    first, second = api.predict(runs[0], [long, files[0]])
    assert isinstance(first, ImageError)
    assert first.message == f"{long}: cannot be read: File name too long."
    assert isinstance(second, api.Prediction)


@pytest.mark.parametrize("given", [None, 3, b"bytes of a file"], ids=str)
def test_what_is_no_image_is_refused_before_the_first_answer(runs: list[Path], given: object):
    with pytest.raises(DataError) as error:
        api.predict(runs[0], given)  # type: ignore[arg-type]
    assert error.value.message == (
        f"what is given as images is a value of type {type(given).__name__}.\n"
        f"Give the path of a file, an image of Pillow, or a uint8 array (height, width[, 3])."
    )


def test_a_network_is_refused_for_a_run_that_needs_none(runs: list[Path], image_NHW: np.ndarray, tmp_path: Path):
    network = torch.nn.Linear(1, 1)
    for ask in (
        lambda: saccade.load(runs[0], model=network),
        lambda: api.predict(runs[0], [image_NHW[0]], model=network),
        lambda: api.evaluate(runs[0], "digits", model=network),
        lambda: api.features(runs[0], [image_NHW[0]], tmp_path / "out.csv", model=network),
    ):
        with pytest.raises(UsageError) as error:
            ask()
        assert error.value.message == (
            f"{runs[0]} is a run of lenet5, which its files say how to build; 'model' is for a run that was trained "
            f"with a network from Python.\nLeave 'model' out."
        )


def test_a_relative_path_is_looked_up_where_the_host_is_now(
    runs: list[Path], image_NHW: np.ndarray, files: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(runs[0].parent)
    loaded = saccade.load("0", runtime=RUNTIME)
    monkeypatch.chdir(files[0].parent)
    assert loaded("0.png").probabilities == loaded(image_NHW[0]).probabilities
    with pytest.raises(CheckpointError, match="^The run 0 is not there.\n"):
        saccade.load("0")
