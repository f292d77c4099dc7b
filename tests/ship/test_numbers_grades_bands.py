"""Runs that answer with a number or a grade, and runs of bands, leave as runs of classes do: `predict` gives the answer
that the graphs and the server have to give."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "starlette", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")

from tests.ship.asked import HOST, Reply, app_of, ask, service_of  # noqa: E402
from tests.ship.test_serve_protocol import encoded, tensor  # noqa: E402
from tests.ship.test_serve_requests import PREDICT  # noqa: E402
from tests.ship.untrained import BANDS_16, untrained_run  # noqa: E402

from saccade import api  # noqa: E402
from saccade.core.errors import CheckpointError, UsageError  # noqa: E402
from saccade.core.task import GRADE, Task  # noqa: E402
from saccade.core.types import Preprocessing  # noqa: E402
from saccade.data.images.bands import network_pixels  # noqa: E402
from saccade.data.images.decode import decode_image  # noqa: E402
from saccade.data.images.normalize import normalize  # noqa: E402
from saccade.data.images.preprocess import prepare_image  # noqa: E402
from saccade.ship.bundle import read_bundle, read_bundle_file  # noqa: E402
from saccade.ship.engine import join_networks, open_network  # noqa: E402
from saccade.ship.onnx_file import run_onnx  # noqa: E402
from saccade.ship.openvino_file import run_openvino  # noqa: E402
from saccade.weights.public import find_weights, load_backbone  # noqa: E402

SMALL = "conv 6 f3 s2 bn | conv 8 f3 s2 bn | gap"
PHOTOS = Preprocessing(resize_px=36, input_height_px=32, input_width_px=32)
DEEP = BANDS_16.model_copy(update={"resize_px": 18})
AGE = Task(kind="number", mean=1.5e6, deviation=12.5, half_width=6.0, half_width_images=120)
AGED = {
    "task": "number",
    "number": "age *in* days",
    "kind": "held-out",
    "num_samples": 360,
    "mae": 3.25,
    "mae_low": 2.9,
    "mae_high": 3.5,
    "median": 45.0,
    "baseline_mae": 22.5,
}
GRADED = {
    "task": "grade",
    "kind": "held-out",
    "num_samples": 360,
    "top1": 0.8,
    "top1_low": 0.75,
    "top1_high": 0.85,
    "mae": 0.25,
    "mae_low": 0.2,
    "mae_high": 0.3,
    "baseline_mae": 1.1,
    "median_grade": "2",
}
GRAPHS = ["onnx", "openvino", "triton"]


def exported(folder: Path, **values: object) -> tuple[Path, Path]:
    """(a run that nobody trained, its export)."""
    run = untrained_run(folder / "run", SMALL, temperature=1.0, **values)
    return run, api.export(run, folder / "out", formats=GRAPHS).folder


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    values = {"preprocessing": PHOTOS, "task": AGE, "classes": ("age *in* days",), "metrics": AGED, "head_scale": 200.0}
    return exported(tmp_path_factory.mktemp("aged"), **values)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    values = {"preprocessing": PHOTOS, "task": GRADE, "classes": tuple("01234"), "metrics": GRADED, "head_scale": 5.0}
    return exported(tmp_path_factory.mktemp("graded"), **values)


@pytest.fixture(scope="module")
def banded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    values = {"preprocessing": DEEP, "classes": ("field", "forest", "water"), "head_scale": 200.0}
    return exported(tmp_path_factory.mktemp("banded"), **values)


@pytest.fixture
def photos(shared: Callable) -> list[Path]:
    return sorted(shared("data/clothing-small").rglob("*.jpg"))[::300][:8]


def fields(folder: Path) -> list[Path]:
    """Images of five channels, of 16 bits beyond white and of 8 bits."""
    draw = np.random.default_rng(6)
    for number, (most, dtype) in enumerate([(4095, np.uint16), (9000, np.uint16), (255, np.uint8)]):
        coarse_HWC = draw.integers(0, most + 1, (5, 6, 5))
        np.save(folder / f"{number}.npy", coarse_HWC.repeat(7, axis=0).repeat(5, axis=1).astype(dtype))
    return sorted(folder.glob("*.npy"))


def prepared(paths: list[Path], preprocessing: Preprocessing) -> np.ndarray:
    decoded = [decode_image(path.read_bytes(), path.name) for path in paths]
    return np.stack([prepare_image(network_pixels(image, "", preprocessing), preprocessing) for image in decoded])


def answers(folder: Path, image_NHWC: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime, OpenVINO and the file for Triton say besides logits."""
    bundle = read_bundle(folder)
    files = {name: read_bundle_file(folder, bundle, name) for name in bundle.files}
    assert files["triton/classifier/1/model.onnx"] == files["model.onnx"]
    return [run_onnx(files["model.onnx"], image_NHWC)[1], run_openvino(files, image_NHWC)[1]]


def app(*folders: Path):
    return app_of(service_of(join_networks("it", [open_network(folder, 1) for folder in folders])))


def predicted(app, path: Path) -> dict[str, object]:
    reply = ask(app, "POST", PREDICT, [HOST, ("content-type", "application/octet-stream")], path.read_bytes())
    assert reply.status == 200, reply.content
    return reply.json


def inferred(app, given: tuple[dict[str, object], bytes], *names: str) -> dict[str, dict]:
    """The outputs of the Open Inference Protocol by name, those of `names` or the usual ones."""
    image, raw = given
    head = {"inputs": [image]} | ({"outputs": [{"name": name} for name in names]} if names else {})
    text = json.dumps(head).encode()
    headers = [HOST, ("inference-header-content-length", str(len(text)))]
    reply: Reply = ask(app, "POST", "/v2/models/it/infer", headers, text + raw)
    assert reply.status == 200, reply.content
    return {output["name"]: output for output in reply.json["outputs"]}


def test_a_number_is_that_of_predict_in_every_engine_and_over_http(aged: tuple[Path, Path], photos: list[Path]):
    run, folder = aged
    said = list(api.predict(run, photos))
    numbers = [answer.value for answer in said]
    assert np.ptp(numbers) > 0.5  # the photos differ in their answers
    for found in answers(folder, prepared(photos, PHOTOS)):
        assert found.shape == (8, 1)
        np.testing.assert_allclose(found[:, 0], numbers, atol=0.2)  # float32 near 1.5 million
    served = app(folder)
    for answer, path in zip(said, photos, strict=True):
        assert answer.value is not None
        found = predicted(served, path)
        assert found["number"] == pytest.approx(answer.value, abs=1e-3)
        assert found["interval"] == pytest.approx([answer.value - 6, answer.value + 6], abs=1e-3)
        assert {name: found[name] for name in ("name", "withheld_number", "unlike_training", "no_answer")} == {
            "name": "age *in* days",
            "withheld_number": None,
            "unlike_training": None,
            "no_answer": None,
        }
        assert not {"class", "probability", "top"} & set(found)
    outputs = inferred(served, encoded(*[path.read_bytes() for path in photos]))
    assert {name: (found["datatype"], found["shape"]) for name, found in outputs.items()} == {
        "number": ("FP64", [8, 1]),
        "logits": ("FP32", [8, 1]),
    }
    np.testing.assert_allclose(outputs["number"]["data"], numbers, atol=1e-3)
    config = ask(served, "GET", "/v2/models/it/config").json
    assert [(output["name"], output["data_type"]) for output in config["output"]] == [
        ("number", "TYPE_FP64"),
        ("logits", "TYPE_FP32"),
    ]
    parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
    assert parameters == {
        "classes": '["age *in* days"]',
        "task": "number",
        "mean": "1500000.0",
        "deviation": "12.5",
        "half_width": "6.0",
    }
    assert ask(served, "GET", "/api/v1/models/it").json["half_width"] == 6.0


def test_several_runs_give_the_mean_of_their_numbers_without_an_interval(aged: tuple[Path, Path], photos: list[Path]):
    run, folder = aged
    (answer,) = api.predict([run, run], photos[0])
    found = predicted(app(folder, folder), photos[0])
    assert found["number"] == pytest.approx(answer.value, abs=1e-3)
    assert found["interval"] is answer.interval is None


def test_the_card_of_a_number_says_its_unit_its_error_and_how_near_it_is(aged: tuple[Path, Path]):
    _, folder = aged
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert (
        "Mean absolute error 3.25 of 'age &#42;in&#42; days' on 360 held-out images (95 % interval 2.9 to 3.5)" in text
    )
    assert "is age &#42;in&#42; days, in the unit of the labels it was trained on." in text
    assert "`logits * 12.5 + 1500000.0`" in text
    assert (
        "Nine of ten truths are expected within 6 of the answer, to both sides, on images like the 120 validation "
        "images that say so (split conformal prediction)."
    ) in text
    assert 'session.run(["logits", "number"]' in text
    assert "probabilities" not in text
    assert "- Images unlike those it was trained on: the graph gives a number all the same." in text
    assert (
        'name: "number", data_type: TYPE_FP32, dims: [ 1 ] }' in (folder / "triton/classifier/config.pbtxt").read_text()
    )


def test_an_export_whose_number_is_another_than_that_of_its_run_is_not_served(aged: tuple[Path, Path]):
    _, folder = aged
    network = open_network(folder, 1)
    first = network.bundle.check[0]
    moved = first.model_copy(update={"number": (first.number or 0.0) + 0.05})
    network.bundle = network.bundle.model_copy(update={"check": (moved, *network.bundle.check[1:])})
    with pytest.raises(CheckpointError) as refused:
        network.self_test(folder)
    assert refused.value.message == (
        f"{folder} answers otherwise here than its run did: numbers of check/image-1.png differ by 0.05; allowed are "
        "0.001.\nIt is not served. Export the run again on this machine."
    )


def test_a_grade_is_the_median_in_every_engine_and_over_http(graded: tuple[Path, Path], photos: list[Path]):
    run, folder = graded
    said = list(api.predict(run, photos))
    assert any(answer.grade != answer.classes[int(np.argmax(answer.probabilities))] for answer in said)
    places = [answer.classes.index(str(answer.grade)) for answer in said]
    code = next(line for line in (folder / "README.md").read_text().splitlines() if line.startswith("grade = "))
    for found in answers(folder, prepared(photos, PHOTOS)):
        np.testing.assert_allclose(found, [answer.probabilities for answer in said], atol=1e-6)
        names: dict[str, np.ndarray] = {"probabilities": found}
        exec(code, names)
        assert names["grade"].tolist() == places
    served = app(folder)
    for answer, path in zip(said, photos, strict=True):
        found = predicted(served, path)
        assert found["class"] == answer.grade
        assert [entry["class"] for entry in found["top"]] == [name for name, _ in answer.top(5)]
    outputs = inferred(served, encoded(*[path.read_bytes() for path in photos]), "grade", "probabilities")
    assert outputs["grade"] == {"name": "grade", "datatype": "INT64", "shape": [8], "data": places}
    assert "Off by 0.250 grades on average" in (folder / "README.md").read_text()


def test_the_hub_gets_grades_and_its_card_says_what_is_said_elsewhere(tmp_path: Path):
    run = untrained_run(tmp_path / "run", task=GRADE, classes=tuple("012"), metrics=GRADED, temperature=1.0)
    text = (api.export(run, tmp_path / "out", formats=["hub"]).folder / "README.md").read_text()
    assert "`saccade predict` says the median of the probabilities" in text
    assert "# mobilenetv3-small: 3 grades" in text


@pytest.mark.parametrize("mean", [12.5, -4e5])
def test_the_hub_gets_numbers_with_their_scale_in_the_last_layer(tmp_path: Path, mean: float):
    task = AGE.model_copy(update={"mean": mean})
    run = untrained_run(tmp_path / "run", task=task, classes=("age *in* days",), metrics=AGED, temperature=1.0)
    written = api.export(run, tmp_path / "out", formats=["hub"])
    config = json.loads((written.folder / "config.json").read_text())
    assert (config["problem_type"], config["num_classes"], config["label_names"]) == (
        *("regression", 1),
        ["age *in* days"],
    )
    photos = [written.folder / "check" / f"image-{number}.png" for number in (1, 2, 3)]
    weights = find_weights(str(written.folder), "mobilenetv3-small")
    network = load_backbone(weights).eval()
    with torch.inference_mode():
        image_BCHW = torch.from_numpy(prepared(photos, weights.preprocessing)).permute(0, 3, 1, 2)
        number_B1 = network(normalize(image_BCHW, weights.preprocessing, torch.float32)).numpy()
    said = [answer.value for answer in api.predict(run, photos)]
    np.testing.assert_allclose(number_B1[:, 0], said, rtol=3e-7, atol=1e-3)
    assert (written.differences["hub"].numbers or 0) < 1e-2
    text = (written.folder / "README.md").read_text()
    assert "# mobilenetv3-small: 'age *in* days', a number" in text.replace("\\", "")
    assert 'measure("photo.jpg", function_to_apply="none")[0]["score"]' in text
    assert "class" not in text.split("## Input")[1].split("## Where it comes from")[0]
    assert "{'type': 'mae', 'value': " in str(yaml.safe_load(text.split("---")[1])["model-index"])


def test_a_number_that_is_its_logit_is_served(tmp_path: Path):
    """OpenVINO leaves out what changes nothing, and one output has two names."""
    values = {"preprocessing": PHOTOS, "task": Task(kind="number"), "classes": ("angle",), "metrics": {}}
    run = untrained_run(tmp_path / "run", SMALL, temperature=1.0, **values)
    network = open_network(api.export(run, tmp_path / "out", formats=["openvino"]).folder, 1)
    said = network.answer(np.zeros((1, 32, 32, 3), np.uint8))
    assert said.probability_NK.tolist() == said.logits_NK.tolist()


def test_bands_of_16_bits_are_answered_as_by_predict_in_every_engine_and_over_http(
    banded: tuple[Path, Path], tmp_path: Path
):
    run, folder = banded
    paths = fields(tmp_path)
    said = list(api.predict(run, paths))
    expected_NK = [answer.probabilities for answer in said]
    assert np.ptp(expected_NK, axis=0).max() > 0.01
    image_NHWC = prepared(paths, DEEP)
    assert image_NHWC.dtype == np.uint16
    for found in answers(folder, image_NHWC):
        np.testing.assert_allclose(found, expected_NK, atol=1e-6)
    assert sorted(path.name for path in (folder / "check").iterdir()) == [f"image-{n}.npy" for n in (1, 2, 3)]
    served = app(folder)
    for answer, path in zip(said, paths, strict=True):
        found = predicted(served, path)
        by_class = {entry["class"]: entry["probability"] for entry in found["top"]}
        assert [by_class[name] for name in ("field", "forest", "water")] == pytest.approx(
            answer.probabilities, abs=1e-6
        )
        assert found["notes"] == list(answer.notes)
    raw = image_NHWC.tobytes()
    given = tensor("UINT16", list(image_NHWC.shape), parameters={"binary_data_size": len(raw)})
    outputs = inferred(served, (given, raw))
    np.testing.assert_allclose(np.reshape(outputs["probabilities"]["data"], (3, 3)), expected_NK, atol=1e-6)
    text = (folder / "README.md").read_text()
    assert "uint16 (batch, 16, 16, 5), 5 channels in the order of the file" in text
    assert "TYPE_UINT16, dims: [ 16, 16, 5 ]" in (folder / "triton/classifier/config.pbtxt").read_text()


def test_an_image_of_other_channels_is_refused_by_the_server(banded: tuple[Path, Path], tmp_path: Path):
    np.save(tmp_path / "four.npy", np.zeros((16, 16, 4), np.uint16))
    headers = [HOST, ("content-type", "application/octet-stream")]
    reply = ask(app(banded[1]), "POST", PREDICT, headers, (tmp_path / "four.npy").read_bytes())
    assert (reply.status, reply.code) == (422, "bad_image")
    assert reply.json["error"]["message"] == "It has 4 channels, and the network takes 5."
    given = tensor("UINT8", [1, 16, 16, 5], parameters={"binary_data_size": 16 * 16 * 5})
    text = json.dumps({"inputs": [given]}).encode()
    headers = [HOST, ("inference-header-content-length", str(len(text)))]
    reply = ask(app(banded[1]), "POST", "/v2/models/it/infer", headers, text + bytes(16 * 16 * 5))
    assert (reply.status, reply.json["error"]) == (
        400,
        "'image' is BYTES (encoded files) or UINT16 (prepared pixels), not another datatype.",
    )


def test_what_does_not_know_bands_is_refused_in_words(banded: tuple[Path, Path], tmp_path: Path):
    for what, values in {
        "--format hub": {"formats": ["onnx", "hub"]},
        "--format browser": {"formats": ["browser"]},
    }.items():
        with pytest.raises(UsageError) as bands:
            api.export(banded[0], tmp_path / "new", **values)
        assert bands.value.message == (
            f"{what} is for grey or colours, and the run takes images of 5 channels.\n"
            "Export a graph, which takes pixels that are prepared already: --format onnx or openvino."
        )
    assert not (tmp_path / "new").exists()
