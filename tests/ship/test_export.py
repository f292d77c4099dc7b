"""An export of a real run: whole or none, the same bytes each time, the answers of `predict`, nothing of a machine."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.core.errors import CheckpointError, DataError, ExportError, UnknownNameError, UsageError
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.validation_file import read_validation
from saccade.ship.bundle import read_bundle, read_bundle_file
from saccade.ship.engine import Network
from saccade.ship.onnx_file import run_onnx
from saccade.ship.openvino_file import run_openvino

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")


def test_the_export_lies_in_the_run_and_says_what_it_is(run: Path, exported: Path):
    assert exported == run / "export"
    bundle = read_bundle(exported)
    assert bundle.formats == ("onnx", "openvino")
    assert bundle.classes == tuple("0123456789")
    manifest = json.loads((run / "checkpoint-best" / "manifest.json").read_text())
    assert bundle.temperature == manifest["temperature"]
    assert bundle.provenance["weights_sha256"] == manifest["files"]["weights.safetensors"]["sha256"]
    assert bundle.metrics["top1"] == manifest["metrics"]["top1"]
    found = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert found == {*bundle.files, "saccade.json"}


def test_its_images_have_the_answers_of_predict_in_three_ways(run: Path, exported: Path):
    bundle = read_bundle(exported)
    paths = [exported / image.file for image in bundle.check]
    said = [answer.probabilities for answer in api.predict(run, paths)]
    np.testing.assert_allclose([image.probabilities for image in bundle.check], said, atol=1e-6)
    pixels = [decode_image(path.read_bytes(), path.name).image_HWC for path in paths]
    prepared_BHWC = np.stack([prepare_image(image_HWC, bundle.preprocessing) for image_HWC in pixels])
    files = {name: read_bundle_file(exported, bundle, name) for name in ("model.onnx", "model.xml", "model.bin")}
    np.testing.assert_allclose(run_onnx(files["model.onnx"], prepared_BHWC)[1], said, atol=1e-6)
    np.testing.assert_allclose(run_openvino(files, prepared_BHWC)[1], said, atol=1e-6)


def test_a_second_export_has_the_same_bytes(run: Path, exported: Path, tmp_path: Path):
    again = api.export(run, tmp_path / "again", formats=["onnx", "openvino"]).folder
    for path in exported.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(exported)).read_bytes(), path.name


def test_nothing_of_the_machine_is_in_the_files(exported: Path):
    here = [str(Path(__file__).parents[2]).encode(), sys.prefix.encode(), b"site-packages", b'File "']
    for name in ("model.onnx", "model.xml", "README.md", "saccade.json"):
        content = (exported / name).read_bytes()
        assert not [text for text in here if text in content], name


def test_the_graph_says_what_it_is_by_its_own_metadata(exported: Path):
    props = {entry.key: entry.value for entry in onnx.load(exported / "model.onnx").metadata_props}
    assert json.loads(props["saccade.classes"]) == list("0123456789")
    assert json.loads(props["saccade.preprocessing"])["input_height_px"] == 32
    assert props["model_info.labels"] == "0 1 2 3 4 5 6 7 8 9"


@pytest.mark.parametrize("name", ["model.onnx", "model.xml", "model.bin", "README.md", "check/image-2.png"])
def test_a_byte_that_was_changed_is_refused(exported: Path, tmp_path: Path, name: str):
    copy = shutil.copytree(exported, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_bundle(copy)
    assert caught.value.message == (
        f"{copy / name} is damaged: its content is not what was exported.\nExport the run again."
    )


@pytest.mark.parametrize(
    ("said", "changed"), [('"7"', '"x"'), ('"temperature": ', '"temperature": 1'), ('"seed": ', '"seed": 1')]
)
def test_a_letter_that_was_changed_in_the_description_is_refused(
    exported: Path, tmp_path: Path, said: str, changed: str
):
    copy = shutil.copytree(exported, tmp_path / "copy")
    text = (copy / "saccade.json").read_text()
    assert said in text
    (copy / "saccade.json").write_text(text.replace(said, changed, 1))
    with pytest.raises(CheckpointError) as caught:
        read_bundle(copy)
    assert caught.value.message == (
        f"{copy / 'saccade.json'} is damaged: its content is not what was exported.\nExport the run again."
    )


def test_a_name_that_leads_outside_is_refused(exported: Path, tmp_path: Path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    values = json.loads((copy / "saccade.json").read_text())
    values["files"]["../../secret"] = values["files"]["README.md"]
    (copy / "saccade.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as caught:
        read_bundle(copy)
    assert caught.value.message == (
        f"{copy / 'saccade.json'} is damaged: it names a file outside: '../../secret'.\nExport the run again."
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"classes": ["a"] * 10}, ": a class stands there twice."),
        ({"task": {"kind": "number"}}, ": a number has one output, and there are 10 classes."),
        ({"task": {"kind": "several labels", "thresholds": [0.5] * 3}}, ": thresholds has 3 values for 10 classes."),
    ],
)
def test_classes_and_a_task_that_do_not_fit_each_other_are_refused(
    exported: Path, tmp_path: Path, changed: dict, told: str
):
    copy = shutil.copytree(exported, tmp_path / "copy")
    values = json.loads((copy / "saccade.json").read_text())
    (copy / "saccade.json").write_text(json.dumps(values | changed))
    with pytest.raises(CheckpointError) as caught:
        read_bundle(copy)
    assert caught.value.message == f"{copy / 'saccade.json'}{told}\nExport the run again."


def test_a_file_that_is_said_to_be_longer_than_the_memory_is_refused_without_taking_it(exported: Path, tmp_path: Path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    values = json.loads((copy / "saccade.json").read_text())
    values["files"]["model.bin"]["num_bytes"] = 2**53
    (copy / "saccade.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as caught:
        read_bundle(copy)
    assert caught.value.message == (
        f"{copy / 'model.bin'} is damaged: its content is not what was exported.\nExport the run again."
    )


def test_an_export_that_says_it_takes_other_channels_than_its_graph_is_refused(exported: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    text = json.loads((copy / "saccade.json").read_text())
    text["sha256"] = ""
    text["preprocessing"] |= {"channels": "bands", "mean": [0.5] * 5, "std": [0.2] * 5}
    (copy / "saccade.json").write_text(json.dumps(text))
    with pytest.raises(
        CheckpointError, match="^.* is damaged: its graph takes .*'image': .'\\?', 32, 32, 1.*, its descr"
    ):
        Network(copy, 1)


def test_a_folder_of_somebody_else_is_not_replaced(run: Path, tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("all of it")
    with pytest.raises(ExportError) as caught:
        api.export(run, tmp_path / "theirs")
    assert caught.value.message == (
        f"{tmp_path / 'theirs'} holds other files than an export, and they would be replaced.\n"
        f"Choose a new folder with --out."
    )
    assert (tmp_path / "theirs" / "thesis.txt").read_text() == "all of it"


def num_known_bytes(exported: Path) -> int:
    """What the features of training images take in a graph."""
    bundle = read_bundle(exported)
    known = bundle.int8.unlike_training if bundle.int8 else bundle.unlike_training
    assert known is not None
    return 2 * known.num_known * known.num_features


def test_half_is_half_the_size_and_answers_nearly_the_same_until_the_next_export_replaces_it(
    run: Path, exported: Path, tmp_path: Path
):
    half = api.export(run, tmp_path / "own", formats=["openvino"], half=True)
    known_bytes = num_known_bytes(exported)  # they are float16 in both
    sizes = [(folder / "model.bin").stat().st_size - known_bytes for folder in (half.folder, exported)]
    assert 0 < sizes[0] < 0.55 * sizes[1]
    assert 1e-5 < half.differences["openvino"].logits < 0.05
    api.export(run, tmp_path / "own", formats=["onnx"])
    assert not (tmp_path / "own" / "model.xml").exists()
    assert read_bundle(tmp_path / "own").formats == ("onnx",)


def test_what_cannot_be_exported_is_refused_before_any_work(run: Path, tmp_path: Path):
    with pytest.raises(UnknownNameError) as unknown:
        api.export(run, formats=["onix"])
    assert unknown.value.message == (
        "'onix' is not a format of an export. Did you mean 'onnx'? Use onnx, openvino, hub, browser or triton."
    )
    with pytest.raises(UsageError) as half:
        api.export(run, half=True)
    assert half.value.message == "--half is for OpenVINO's weights.\nAdd --format openvino, or leave --half out."


def test_a_missing_package_is_named_with_its_command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError) as caught:
        api.export(run, tmp_path / "out")
    assert caught.value.message == (
        "Export to ONNX needs onnx, onnxscript and onnxruntime, of which 'onnxscript' is not installed.\n"
        "Install them: pip install 'saccade-learn[export]'."
    )
    assert not (tmp_path / "out").exists()


def test_8_bits_are_judged_beside_float32_and_answer_as_they_were_judged(run: Path, exported: Path, tmp_path: Path):
    pytest.importorskip("nncf", reason="the extra 'int8' is not installed")
    int8 = api.AskedInt8(max_drop=20.0)
    made = [api.export(run, tmp_path / name, formats=["openvino"], int8=int8) for name in ("own", "again")]
    bundle = read_bundle(tmp_path / "own")
    assert bundle.files == made[1].bundle.files
    figures = bundle.int8
    assert figures is not None
    assert figures.num_calibration == 300
    assert figures.num_validation == len(read_validation(find_checkpoint(run)).label_N)
    whole_bytes = (exported / "model.bin").stat().st_size - num_known_bytes(exported)
    small_bytes = (tmp_path / "own" / "model.bin").stat().st_size - num_known_bytes(tmp_path / "own")
    assert small_bytes < 0.4 * whole_bytes
    assert bundle.unlike_training is None  # no graph in float32 is there
    assert f"float32 | {100 * figures.float32_top1:.1f}" in (tmp_path / "own" / "README.md").read_text()
    files = {name: read_bundle_file(tmp_path / "own", bundle, name) for name in ("model.xml", "model.bin")}
    Network(tmp_path / "own", 1).self_test(tmp_path / "own")
    draw = np.random.default_rng(1)
    image_BHWC = draw.integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    logits_BK, probability_BK, distance_B = run_openvino(files, image_BHWC)
    assert distance_B.shape == (3,)
    expected_BK = np.exp(logits_BK.astype(np.float64) / figures.temperature)
    np.testing.assert_allclose(probability_BK, expected_BK / expected_BK.sum(axis=1, keepdims=True), atol=1e-5)


def test_8_bits_that_cannot_be_shown_to_lose_little_are_not_written(run: Path, tmp_path: Path):
    pytest.importorskip("nncf", reason="the extra 'int8' is not installed")
    with pytest.raises(ExportError, match="Nothing was written") as caught:
        api.export(run, tmp_path / "out", formats=["openvino"], int8=api.AskedInt8(max_drop=0.1))
    assert "float32 is right on " in caught.value.message
    assert not (tmp_path / "out").exists()


def test_8_bits_need_openvino_alone_and_images(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError) as onnx_only:
        api.export(run, formats=["onnx"], int8=api.AskedInt8())
    assert onnx_only.value.message == ("--int8 is for OpenVINO's file.\nAdd --format openvino, or leave --int8 out.")
    with pytest.raises(UsageError) as both:
        api.export(run, formats=["openvino"], half=True, int8=api.AskedInt8())
    assert both.value.message == "--half and --int8 are two ways to store the same weights.\nLeave one out."
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ExportError) as missing:
        api.export(run, formats=["openvino"], int8=api.AskedInt8())
    assert missing.value.message == (
        "Export in 8 bits needs nncf, which is not installed.\nInstall it: pip install 'saccade-learn[int8]'."
    )


def write_folders(folder: Path) -> None:
    """Two classes of 40 pictures, dark and bright noise."""
    draw = np.random.default_rng(5)
    for name, level in (("dark", 60), ("bright", 190)):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = np.clip(draw.normal(level, 40, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_8_bits_of_a_run_whose_images_are_gone_say_how_to_name_them(tmp_path: Path):
    pytest.importorskip("nncf", reason="the extra 'int8' is not installed")
    write_folders(tmp_path / "photos")
    request = api.TrainRequest(source=str(tmp_path / "photos"), epochs=1, out=tmp_path / "run")
    api.train(request)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(DataError) as gone:
        api.export(tmp_path / "run", formats=["openvino"], int8=api.AskedInt8())
    assert gone.value.message.splitlines()[-1] == "If they lie elsewhere now, say where: --source SOURCE."
    there = api.AskedInt8(source=str(tmp_path / "moved"), max_drop=100.0)
    assert api.export(tmp_path / "run", formats=["openvino"], int8=there).bundle.int8 is not None
