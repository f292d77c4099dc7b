"""`evaluate --endpoint`: a deployed model is judged through its server, with the metrics of `evaluate`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from saccade import api

from .v2_server import MEAN, NAMES, SIDE, STD, Habits, scores, v2_server


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """24 pictures of one colour each in folders of three classes, with what the model must say of them: logits_N3 and
    label_N, in the model's order of classes. Some colours lie nearer to another class."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(3)
    logits, labels = [], []
    for name in sorted(NAMES):
        (folder / name).mkdir()
        for number in range(8):
            colour_3 = generator.integers(0, 256, 3)
            colour_3[NAMES.index(name)] = 200
            Image.fromarray(np.full((SIDE, SIDE, 3), colour_3, np.uint8)).save(folder / name / f"{number}.png")
            logits.append(scores(colour_3))
            labels.append(NAMES.index(name))
    return folder, np.array(logits), np.array(labels)


@pytest.fixture
def preparation(tmp_path: Path) -> Path:
    path = tmp_path / "preparation.json"
    values = {"input_height_px": SIDE, "input_width_px": SIDE, "mean": MEAN.tolist(), "std": STD.tolist()}
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def class_names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return path


@pytest.mark.parametrize("answers", ["probabilities", "logits"])
@pytest.mark.parametrize(
    ("takes", "binary"), [("BYTES", True), ("UINT8", True), ("UINT8", False), ("FP32", True), ("FP32", False)]
)
def test_every_kind_of_server_is_judged_with_the_figures_of_its_answers(
    saccade: Callable,
    photos: tuple[Path, np.ndarray, np.ndarray],
    preparation: Path,
    takes: str,
    answers: str,
    binary: bool,
):
    folder, logits_N3, label_N = photos
    with v2_server(Habits(takes=takes, answers=answers, binary=binary)) as url:
        prepared = [] if takes == "BYTES" else ["--preprocessing", preparation]
        asked = ["--endpoint", url, "--model", "colours", folder, *prepared]
        finished = saccade("evaluate", *asked, "--json")
        assert finished.status == 0, finished.errors
        values = json.loads(finished.output)
        assert saccade("evaluate", *asked, "--quiet").status == 0
    said_N = logits_N3.argmax(axis=1)
    assert 0.3 < np.mean(said_N == label_N) < 1
    assert values["run"] == f"{url}/v2/models/colours"
    assert (values["num_samples"], values["top1"]) == (24, pytest.approx(np.mean(said_N == label_N)))
    assert [row["class"] for row in values["per_class"]] == list(NAMES)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (label_N, said_N), 1)
    assert values["confusion"] == confusion.tolist()
    probability_N3 = np.exp(logits_N3) / np.exp(logits_N3).sum(axis=1, keepdims=True)
    assert values["loss"] == pytest.approx(log_loss(label_N, probability_N3), rel=1e-4)
    assert any("Nothing says which images the deployed model was trained on" in note for note in values["caveats"])
    kind = "probabilities" if answers == "probabilities" else "taken for logits"
    assert any(kind in note for note in values["notes"])


def test_a_source_with_a_test_part_is_judged_on_that_and_files_go_as_they_are(saccade: Callable, tmp_path: Path):
    for split, colour in (("train", (250, 0, 0)), ("test", (0, 250, 0))):
        for name in ("green", "red"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.full((SIDE, SIDE, 3), colour, np.uint8)).save(tmp_path / split / name / f"{name}.png")
    habits = Habits()
    with v2_server(habits) as url:
        finished = saccade("evaluate", "--endpoint", url + "/v2/", "--model", "colours", tmp_path, "--json")
    assert finished.status == 0, finished.errors
    values = json.loads(finished.output)
    assert (values["num_samples"], values["top1"]) == (2, 0.5)
    assert f"No images of 'blue', which the run knows: nothing is said of it." in values["notes"]  # noqa: F541
    assert len(habits.seen) == 1 + 2  # what its classes are called, then each image once


def test_python_judges_an_array_and_writes_what_evaluate_writes(tmp_path: Path):
    images = np.zeros((6, 5, 7, 3), np.uint8)
    images[:4, :, :, 0] = images[4:, :, :, 1] = 255
    labels = np.array(["red", "red", "red", "green", "green", "green"])
    with v2_server(Habits(answers="logits")) as url:
        evaluation = api.evaluate_endpoint(url, "colours", (images, labels))
    assert evaluation.metrics.num_samples == 6
    assert evaluation.metrics.top1 == pytest.approx(5 / 6)
    assert [mistake.said for mistake in evaluation.mistakes()] == ["red"]
    api.write_evaluated_answers(evaluation, tmp_path / "answers.csv")
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 7
    api.write_evaluation_report(evaluation, tmp_path / "page.html")
    assert f"{url}/v2/models/colours" in (tmp_path / "page.html").read_text()


def test_a_busy_server_is_asked_again_and_that_is_said(
    saccade: Callable, photos: tuple[Path, np.ndarray, np.ndarray], class_names: Path
):
    with v2_server(Habits(busy=3)) as url:
        asked = ["--endpoint", url, "--model", "colours", photos[0], "--class-names", class_names]
        finished = saccade("evaluate", *asked, "--json")
    assert finished.status == 0, finished.errors
    assert "The server was busy 3 times; those requests were sent again." in json.loads(finished.output)["notes"]


def test_a_token_is_sent_from_the_environment(
    saccade: Callable, photos: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    with v2_server(Habits(token="sesame")) as url:
        asked = ["evaluate", "--endpoint", url, "--model", "colours", photos[0], "--json"]
        finished = saccade(*asked)
        assert finished.status == 1
        assert finished.errors == (
            f"error: {url}/v2 answers with status 401: no token.\nIt wants a token: set SACCADE_ENDPOINT_TOKEN.\n"
        )
        monkeypatch.setenv("SACCADE_ENDPOINT_TOKEN", "sesame")
        assert saccade(*asked).status == 0


def refused(
    saccade: Callable, folder: Path, habits: Habits, *options: object, model: str = "colours"
) -> tuple[int, str, str]:
    """Status, address and message of an evaluation that must fail."""
    with v2_server(habits) as url:
        finished = saccade("evaluate", "--endpoint", url, "--model", model, folder, "--quiet", *options)
    assert finished.output == ""
    return finished.status, f"{url}/v2/models/{model}", finished.errors


def test_what_the_server_gets_wrong_is_told_by_name(saccade: Callable, photos: tuple[Path, np.ndarray, np.ndarray]):
    folder = photos[0]
    first = "Image 'blue/0.png': "
    protocol = "Check the address: it is that of a server with the routes /v2.\n"
    for answers, told in {
        "nan": "{where}, image '{key}': the model answers with values that are not finite.\nIts log may say why.\n",
        "garbage": "{first}What {where}/infer answers is not of the Open Inference Protocol: "
        "Invalid JSON: expected value at line 1 column 1.\n" + protocol,
        "short": "{first}What {where}/infer answers is not of the Open Inference Protocol: "
        "output 'probabilities' has no data, or less than it says.\n" + protocol,
        "large": "{first}{where}/infer answers with more than 64 MiB.\n"
        "That is not an answer of a classifier: check the address and the name of the model.\n",
    }.items():
        names = folder.parent / "names.txt"
        names.write_text("\n".join(NAMES))
        status, where, errors = refused(saccade, folder, Habits(answers=answers), "--class-names", names)
        assert (status, errors) == (
            1,
            "error: " + told.format(where=where, first=first, key="blue/0.png"),
        ), answers


def test_a_refused_image_and_another_number_of_classes_are_told_by_name(
    saccade: Callable, photos: tuple[Path, np.ndarray, np.ndarray], class_names: Path
):
    folder = photos[0]
    refused_file = (folder / "blue" / "0.png").read_bytes()
    status, where, errors = refused(saccade, folder, Habits(refuses=refused_file))
    assert (status, errors) == (
        1,
        f"error: Image 'blue/0.png': {where}/infer answers with status 400: the image cannot be decoded.\n"
        "The log of the server says more.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(answers="wide"), "--class-names", class_names)
    assert (status, errors) == (
        1,
        f"error: {where}, image 'blue/0.png': output 'probabilities' must have one number for each of the 3 "
        "classes, got shape [1, 4].\nChoose another output: --output NAME.\n",
    )


def test_what_the_server_does_not_say_is_asked_for_by_the_option_that_says_it(
    saccade: Callable, photos: tuple[Path, np.ndarray, np.ndarray], preparation: Path, tmp_path: Path
):
    folder = photos[0]
    status, where, errors = refused(saccade, folder, Habits(says_classes=False))
    assert (status, errors) == (
        2,
        f"error: {where} does not say what its classes are called.\n"
        "Name them in the order of its outputs: --class-names FILE, one a line.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(takes="FP32"))
    assert (status, errors) == (
        2,
        f"error: {where} takes pixels, image FP32 [-1, 3, 8, 8], and does not say how they are made.\n"
        "Say it: --preprocessing with the run or export that was deployed, a JSON file, or a network's name.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(takes="FP32"), "--preprocessing", "resnet18")
    assert (status, errors) == (
        2,
        f"error: {where} takes image FP32 [-1, 3, 8, 8]; --preprocessing makes [3, 224, 224].\n"
        "Name the run or export that was deployed.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(outputs=("one", "two")))
    assert (status, errors) == (
        2,
        f"error: {where} has several outputs or none: one, two.\nChoose one: --output NAME.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(binary=False))
    assert (status, errors) == (
        1,
        f"error: {where} takes image files, and its server does not know tensors in binary.\n"
        "Image files cannot be sent as JSON: serve the model by another server.\n",
    )
    status, where, errors = refused(saccade, folder, Habits(), model="other")
    assert (status, errors) == (
        1,
        f"error: {where} answers with status 404: no model at /v2/models/other.\n"
        "Check the address, and the name of the model: --model NAME.\n",
    )


def test_a_server_that_is_not_there_and_options_that_do_not_fit_are_refused(saccade: Callable, photos: tuple):
    folder = photos[0]
    with v2_server(Habits()) as url:
        pass
    finished = saccade("evaluate", "--endpoint", url, "--model", "colours", folder, "--quiet")
    assert (finished.status, finished.errors) == (
        1,
        f"error: {url}/v2 cannot be asked: [Errno 111] Connection refused.\n"
        "Check that the server runs, and its host and port.\n",
    )
    for options, told in {
        ("--endpoint", url, folder): (
            "--endpoint needs the name of the model on that server: --model NAME.\n"
            "'saccade serve' says it in its first line (\"Serving NAME\"), and at /api/v1/models."
        ),
        ("--endpoint", "localhost", "--model", "m", folder): (
            "--endpoint takes the address of a server such as http://localhost:8000, got 'localhost'."
        ),
        ("--endpoint", url, "--model", "m", folder, folder): (
            f"With --endpoint the only argument is the images, got 2: {folder} {folder}.\n"
            "The deployed model answers in place of a run."
        ),
        ("--endpoint", url, "--model", "m", folder, "--crops", "5"): (
            "--crops needs a run: it cannot be had of a deployed model. Leave it out."
        ),
        ("--model", "m", folder): "--model is for a deployed model: give its server, too, by --endpoint URL.",
    }.items():
        finished = saccade("evaluate", *options)
        assert (finished.status, finished.errors) == (2, f"error: {told}\n")
