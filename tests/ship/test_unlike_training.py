"""What is unlike anything seen in training is told by exports and the server as `predict` tells it."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade import api
from saccade.classify.classifier import open_member
from saccade.core.errors import CheckpointError, ExportError
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.data.sources.digits import Digits
from saccade.runs.checkpoint import find_checkpoint, update_manifest

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "starlette", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")

from tests.ship.asked import HOST, PNG, MeanColour, app_of, ask, service_of  # noqa: E402
from tests.ship.chromium import chromium, require_chromium  # noqa: E402
from tests.ship.test_serve_protocol import encoded, infer  # noqa: E402
from tests.ship.test_serve_requests import PREDICT, png  # noqa: E402

from saccade.ship import graph, kept  # noqa: E402
from saccade.ship.any_size import any_size_bytes, run_any_size  # noqa: E402
from saccade.ship.bundle import Bundle, bundle_bytes, read_bundle, read_bundle_file  # noqa: E402
from saccade.ship.engine import ServedModel, join_networks, open_network  # noqa: E402
from saccade.ship.onnx_file import run_onnx  # noqa: E402
from saccade.ship.openvino_file import run_openvino  # noqa: E402


@pytest.fixture(scope="module")
def before(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as earlier versions left it, which tells nothing."""
    copy = Path(shutil.copytree(run, tmp_path_factory.mktemp("before") / "run"))
    shutil.rmtree(copy / "export", ignore_errors=True)
    shutil.rmtree(copy / "served", ignore_errors=True)
    checkpoint = find_checkpoint(copy)
    update_manifest(checkpoint, checkpoint.manifest.metrics, checkpoint.manifest.temperature, checkpoint.manifest.task)
    return copy


@pytest.fixture(scope="module")
def exported_before(before: Path) -> Path:
    return api.export(before, formats=["openvino", "onnx"]).folder


def photos(folder: Path) -> list[Path]:
    """Digits, most of them like those of training; noise, a white and a black page."""
    draw = np.random.default_rng(4)
    pictures = {f"digit-{number}": Digits().read(number) for number in range(0, 1700, 85)}
    pictures["noise"] = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pictures |= {"white": np.full((9, 9), 255, np.uint8), "black": np.zeros((9, 9), np.uint8)}
    for name, pixels in pictures.items():
        Image.fromarray(pixels.squeeze()).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


def test_digits_and_noise_have_the_distance_and_the_verdict_of_predict(run: Path, exported: Path, tmp_path: Path):
    paths = photos(tmp_path)
    told = require_what_predict_tells(run, exported, paths)
    assert told[paths.index(tmp_path / "noise.png")] is True
    assert told.count(False) >= 15


def test_real_photos_have_the_distance_and_the_verdict_of_predict(run: Path, exported: Path, shared: Callable):
    paths = sorted(shared("data/clothing-small").rglob("*.jpg"))[::300][:8]
    assert True in require_what_predict_tells(run, exported, paths)


def require_what_predict_tells(run: Path, exported: Path, paths: list[Path]) -> list[bool]:
    """Each engine and the server tell of each photo what `predict` tells; that is given back."""
    bundle = read_bundle(exported)
    assert bundle.unlike_training is not None
    member, model = open_member(run), join_networks("run", [open_network(exported, 1)])
    app = app_of(service_of(model))
    files = {name: read_bundle_file(exported, bundle, name) for name in ("model.onnx", "model.xml", "model.bin")}
    whole = any_size_bytes(files["model.onnx"], bundle.preprocessing)
    told = []
    for path, said in zip(paths, api.predict(run, paths), strict=True):
        image_HWC = decode_image(path.read_bytes(), path.name).image_HWC
        prepared_BHWC = prepare_image(image_HWC, bundle.preprocessing)[None]
        _, distance_B = member.logits_and_distance(as_tensor(prepared_BHWC))
        assert distance_B is not None
        for found, tolerance in (
            (run_onnx(files["model.onnx"], prepared_BHWC), 1e-4),
            (run_openvino(files, prepared_BHWC), 1e-4),
            (run_any_size(whole, batch_of_one(image_HWC))[1:], 2e-2),  # ties of its resize are a level apart
        ):
            np.testing.assert_allclose(found[2], distance_B, atol=tolerance, strict=True)
            is_unlike = not found[2][0] <= bundle.unlike_training.threshold
            assert is_unlike is said.unlike_training, path.name
        body = path.read_bytes()
        kind = PNG if path.suffix == ".png" else ("content-type", "image/jpeg")
        answer = ask(app, "POST", PREDICT, [HOST, kind], body).json
        assert (answer["unlike_training"], answer["no_answer"]) == (said.unlike_training, said.no_answer or None)
        assert answer["class"] == said.answer
        assert answer["top"][0]["class"] == said.top(1)[0][0]
        assert (answer["probability"] is None) is said.unlike_training
        told.append(said.unlike_training)
    return told


def as_tensor(prepared_BHWC: np.ndarray) -> torch.Tensor:
    return torch.tensor(prepared_BHWC).permute(0, 3, 1, 2)


def batch_of_one(image_HWC: np.ndarray) -> np.ndarray:
    """A photo as `any-size.onnx` takes it: a batch of one, RGB."""
    return np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))[None]


def test_the_distance_is_that_to_the_fifth_nearest_by_another_way(run: Path, exported: Path):
    member, bundle = open_member(run), read_bundle(exported)
    assert member.novelty is not None
    pixel_NHWC = np.random.default_rng(9).integers(0, 256, (6, 32, 32, 1), dtype=np.uint8)
    pixel_NHWC[:3] = pixel_NHWC[:3] // 4 * np.eye(32, dtype=np.uint8)[:, :, None]
    features = []
    hook = member.model.head.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    member.logits(as_tensor(pixel_NHWC))
    hook.remove()
    feature_ND = features[0].flatten(1).double().numpy()
    unit_ND = feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)
    apart_NM = np.linalg.norm(unit_ND[:, None] - member.novelty.unit_MD.astype(np.float64)[None], axis=2)
    found = run_onnx(read_bundle_file(exported, bundle, "model.onnx"), pixel_NHWC)
    np.testing.assert_allclose(found[2], np.sort(apart_NM, axis=1)[:, 4], atol=1e-3)  # unit_MD is rounded to 11 bits


def test_the_export_says_from_where_on_an_image_is_unlike(run: Path, exported: Path):
    novelty, bundle = open_member(run).novelty, read_bundle(exported)
    known = bundle.unlike_training
    assert novelty is not None
    assert known is not None
    assert (known.threshold, known.share, known.neighbour) == (novelty.threshold, novelty.share, 5)
    assert (known.num_known, known.num_features) == novelty.unit_MD.shape
    assert all(difference < 1e-5 for difference in known.largest_difference.values())
    card = (exported / "README.md").read_text()
    assert f"Above {known.threshold:.6g} (`unlike_training` in `saccade.json`) it is unlike anything seen" in card
    assert "this file does not" not in card


def test_a_run_of_before_leaves_as_it_did(before: Path, exported_before: Path):
    assert "unlike_training" not in json.loads((exported_before / "saccade.json").read_text())
    assert "novelty_sha256" not in read_bundle(exported_before).provenance
    assert "`saccade predict` tells such images; this file does not." in (exported_before / "README.md").read_text()
    content = (exported_before / "model.onnx").read_bytes()
    assert len(run_onnx(content, np.zeros((1, 32, 32, 1), np.uint8))) == 2
    model = join_networks("before", [open_network(exported_before, 1)])
    reply = ask(app_of(service_of(model)), "POST", PREDICT, [HOST, PNG], png()).json
    assert (reply["unlike_training"], reply["no_answer"], reply["class"]) == (None, None, reply["top"][0]["class"])


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ((0.0, 2.0), False),
        ((0.0, None), True),
        ((None, None), None),
        ((0.0, 0.0, 2.0), True),
        ((0.0, 2.0, 2.0), False),
        ((0.0, 0.0, 2.0, None), True),
    ],
)
def test_of_several_networks_more_than_half_of_those_that_can_tell_decide(
    thresholds: tuple[float | None, ...], expected: bool | None, exported: Path, exported_before: Path
):
    networks = []
    for threshold in thresholds:
        network = open_network(exported if threshold is not None else exported_before, 1)
        if network.bundle.unlike_training:
            known = network.bundle.unlike_training.model_copy(update={"threshold": threshold})
            network.bundle = network.bundle.model_copy(update={"unlike_training": known})
        networks.append(network)
    model = join_networks("together", networks)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (32, 32), dtype=np.uint8)).save(buffer, "PNG")
    found = model.answer(model.see(buffer.getvalue()).prepared).unlike_N
    assert (None if found is None else found.tolist()) == (None if expected is None else [expected])


def test_an_export_whose_distances_are_others_than_those_of_its_run_is_not_served(exported: Path, tmp_path: Path):
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    values = json.loads((copy / "saccade.json").read_text())
    was = values["unlike_training"]["check"][1]
    values["unlike_training"]["check"][1] = (was**2 + 0.01) ** 0.5
    (copy / "saccade.json").write_text(json.dumps(values | {"sha256": ""}))
    with pytest.raises(CheckpointError) as refused:
        open_network(copy, 1)
    assert refused.value.message == (
        f"{copy} answers otherwise here than its run did: squared distances of check/image-2.png differ by 0.01; "
        f"allowed are 0.0001.\n"
        f"It is not served. Export the run again on this machine."
    )
    values["unlike_training"]["check"] = [was]
    (copy / "saccade.json").write_text(json.dumps(values | {"sha256": ""}))
    with pytest.raises(CheckpointError) as short:
        open_network(copy, 1)
    assert short.value.message == (
        f"{copy} is damaged: its distances do not fit its check images.\nExport the run again."
    )
    del values["unlike_training"]
    (copy / "saccade.json").write_text(json.dumps(values | {"sha256": ""}))
    with pytest.raises(CheckpointError, match="is damaged: its graph takes "):
        open_network(copy, 1)


def test_a_graph_that_counts_another_neighbour_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(graph, "NEIGHBOUR", 40)
    with pytest.raises(ExportError) as refused:
        api.export(run, tmp_path / "out", formats=["onnx"])
    assert refused.value.message.startswith(
        "onnxruntime tells otherwise than the run how far images lie from those of training: squared distances of "
        "generated images differ by up to 0."
    )
    assert refused.value.message.endswith(
        "; allowed are 1e-04.\nNothing was written. Report it with the network's name."
    )
    assert not (tmp_path / "out").exists()


def test_a_kept_export_that_tells_nothing_is_not_that_of_a_run_that_can(run: Path, exported: Path, before: Path):
    assert kept._is_of(exported, find_checkpoint(run))
    assert not kept._is_of(exported, find_checkpoint(before))
    assert not kept._is_of(before / "export", find_checkpoint(run))


def test_of_8_bits_beside_onnx_the_server_tells_nothing(exported: Path):
    network = open_network(exported, 1)
    assert network.unlike_training is not None
    values = json.loads(bundle_bytes(network.bundle))
    figures = dict.fromkeys(("float32_top1", "float32_low", "float32_high", "int8_top1", "int8_low", "int8_high"), 0.5)
    figures |= dict.fromkeys(("difference", "difference_low", "difference_high", "p_value", "same_answers"), 0.5)
    figures |= dict.fromkeys(("float32_ece", "int8_ece", "temperature", "max_drop"), 0.5)
    counts = dict.fromkeys(("num_calibration", "num_validation", "num_lost", "num_won"), 1)
    network.bundle = Bundle.model_validate_json(json.dumps(values | {"int8": figures | counts}))
    assert network.unlike_training is None
    network.format = "onnx"
    assert network.unlike_training is not None


def told_app():
    return app_of(service_of(MeanColour(tells_unlike=True)))


def test_http_gives_no_answer_to_what_is_unlike_and_says_what_it_would_be():
    dark = ask(told_app(), "POST", PREDICT, [HOST, PNG], png((30, 9, 9))).json
    assert {name: dark[name] for name in ("class", "probability", "unlike_training", "no_answer")} == {
        "class": None,
        "probability": None,
        "unlike_training": True,
        "no_answer": "unlike_training",
    }
    assert dark["top"][0]["class"] == "red"
    light = ask(told_app(), "POST", PREDICT, [HOST, PNG], png((200, 9, 9))).json
    assert (light["class"], light["unlike_training"], light["no_answer"]) == ("red", False, None)
    assert light["probability"] == light["top"][0]["probability"]
    assert ask(told_app(), "GET", "/api/v1/models").json["models"][0]["tells_unlike_training"] is True


def test_the_page_of_the_server_says_it_in_the_words_of_predict(run: Path, exported: Path, tmp_path: Path):
    for package in ("uvicorn", "httptools"):
        pytest.importorskip(package, reason="the extra 'serve' is not installed")
    command = require_chromium()
    photos(tmp_path)
    strange, like = tmp_path / "noise.png", tmp_path / "digit-0.png"
    with api.serve(exported, threads=1, deadline_s=60) as server, chromium(command, tmp_path / "profile") as new_tab:
        tab = new_tab()
        tab.open(server.url)
        tab.wait_for("document.getElementById('about')?.textContent.includes('10 classes')")
        about = tab.ask("document.getElementById('about').textContent")
        assert about.endswith("It says so where a photo is unlike anything seen in training.")
        found = []
        for path in (strange, like):
            tab.choose_files("#file", [path])
            tab.wait_for(f"document.getElementById('caption').textContent === '{path.name}'")
            found.append(tab.ask("document.getElementById('said').textContent"))
    stranger, digit = api.predict(run, [strange, like])
    assert (stranger.answer, digit.no_answer) == (None, "")
    assert found == [
        f"{run.name}: unlike anything seen in training; if it had to answer: {stranger.top(1)[0][0]}.",
        f"Answer of {run.name}: {digit.answer}.",
    ]


def test_the_protocol_gives_it_where_it_is_asked_for():
    given, raw = encoded(png((30, 9, 9)), png((200, 9, 9)))
    wanted = {"name": "unlike_training"}
    (output,) = infer({"inputs": [given], "outputs": [wanted]}, raw, app=told_app()).json["outputs"]
    assert output == {"name": "unlike_training", "datatype": "BOOL", "shape": [2], "data": [True, False]}
    binary = infer(
        {"inputs": [given], "outputs": [wanted], "parameters": {"binary_data_output": True}}, raw, app=told_app()
    )
    assert binary.content[int(binary.headers["inference-header-content-length"]) :] == b"\x01\x00"
    usual = infer({"inputs": [given]}, raw, app=told_app()).json["outputs"]
    assert [output["name"] for output in usual] == ["probabilities", "logits"]
    described = ask(told_app(), "GET", "/v2/models/colours").json["outputs"]
    assert described[-1] == {"name": "unlike_training", "datatype": "BOOL", "shape": [-1]}
    configured = ask(told_app(), "GET", "/v2/models/colours/config").json["output"]
    assert configured[-1] == {"name": "unlike_training", "data_type": "TYPE_BOOL", "dims": [-1]}
    many = infer({"inputs": [given], "outputs": [wanted] * 4}, raw, app=told_app())
    assert many.json["error"] == "outputs has to be a list of one to three of: probabilities, logits, unlike_training."
    classes = infer(
        {"inputs": [given], "outputs": [wanted | {"parameters": {"classification": 1}}]}, raw, app=told_app()
    )
    assert (classes.status, classes.json["error"]) == (400, "unlike_training has no classes.")
    untold = infer({"inputs": [given], "outputs": [wanted]}, raw)
    assert (untold.status, untold.json["error"]) == (400, "An output has the name probabilities or logits.")


def test_several_networks_without_a_distance_tell_nothing(exported_before: Path):
    model: ServedModel = join_networks("before", [open_network(exported_before, 1)] * 2)
    assert model.tells_unlike is False
