"""The graph that resizes makes the pixels of `prepare_image`, for every fit, filter and colour; OpenVINO refuses it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.ship.any_size import any_size_bytes, run_any_size

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")

RGB = {"channels": "rgb", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
GREY = {"channels": "grey", "mean": (0.3,), "std": (0.2,)}
FITS = {
    "short side and centre": {"resize_px": 72, "input_height_px": 64, "input_width_px": 64},
    "an odd centre": {"resize_px": 71, "input_height_px": 50, "input_width_px": 64},
    "no centre": {"input_height_px": 40, "input_width_px": 64},
    "cover": {"fit": "cover", "resize_px": 60, "input_height_px": 48, "input_width_px": 80},
    "pad": {"fit": "pad", "input_height_px": 48, "input_width_px": 80},
    "squash": {"fit": "squash", "input_height_px": 48, "input_width_px": 80},
}
SIZES_HW = [
    (480, 640),
    (600, 400),
    (64, 64),
    (72, 72),
    (37, 53),
    (301, 33),
    (33, 301),
    (5, 7),
    (97, 80),
    (145, 143),
    (700, 300),
]


def averages(preprocessing: Preprocessing) -> bytes:
    """A graph as `model.onnx` has it: its logits are the mean level of each channel."""
    helper, kinds = onnx.helper, onnx.TensorProto
    channels, height_px, width_px = preprocessing.input_CHW
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["wide", "axes"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "averages",
        [helper.make_tensor_value_info("image", kinds.UINT8, ["batch", height_px, width_px, channels])],
        [helper.make_tensor_value_info(name, kinds.FLOAT, ["batch", channels]) for name in ("logits", "probabilities")],
        [onnx.numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def preprocessing_of(fit: str, colour: dict, interpolation: str) -> Preprocessing:
    return Preprocessing.model_validate({**FITS[fit], **colour, "interpolation": interpolation})


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("fit", list(FITS))
def test_the_pixels_are_those_of_predict_for_every_fit_filter_and_shape(fit: str, interpolation: str):
    draw = np.random.default_rng(4)
    for colour in (RGB, GREY):
        preprocessing = preprocessing_of(fit, colour, interpolation)
        content = any_size_bytes(averages(preprocessing), preprocessing)
        for size_HW in SIZES_HW:
            image_HWC = draw.integers(0, 256, (*size_HW, 3), dtype=np.uint8)  # noise: nothing is harder to resize
            prepared_BHWC, logits_BK, _ = run_any_size(content, image_HWC[None])
            expected_HWC = prepare_image(image_HWC, preprocessing)
            difference_HWC = np.abs(prepared_BHWC[0].astype(int) - expected_HWC)
            is_shrunk = min(size_HW) >= 400
            assert difference_HWC.max() <= (1 if is_shrunk else 2), size_HW
            assert (difference_HWC > 0).mean() <= (0.002 if is_shrunk else 0.1), size_HW  # enlarged noise has many ties
            np.testing.assert_allclose(logits_BK[0], prepared_BHWC[0].mean(axis=(0, 1)), rtol=1e-5)


def test_a_batch_of_photos_of_one_size_is_answered_as_each_alone():
    preprocessing = preprocessing_of("short side and centre", RGB, "bilinear")
    content = any_size_bytes(averages(preprocessing), preprocessing)
    image_BHWC = np.random.default_rng(1).integers(0, 256, (3, 90, 130, 3), dtype=np.uint8)
    together = run_any_size(content, image_BHWC)
    for number in range(3):
        for joint, alone in zip(together, run_any_size(content, image_BHWC[number : number + 1])):
            np.testing.assert_array_equal(joint[number], alone[0])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_real_photos_come_out_as_predict_prepares_them(shared: Callable[[str], Path], interpolation: str):
    paths = sorted(shared("data/clothing-small/test").rglob("*.jpg"))[::40][:9]
    preprocessing = Preprocessing(resize_px=256, interpolation=interpolation)
    content = any_size_bytes(averages(preprocessing), preprocessing)
    for path in paths:
        image_HWC = decode_image(path.read_bytes(), path.name).image_HWC
        prepared_HWC = run_any_size(content, image_HWC[None])[0][0]
        difference_HWC = np.abs(prepared_HWC.astype(int) - prepare_image(image_HWC, preprocessing))
        assert difference_HWC.max() <= 1
        assert (difference_HWC > 0).mean() <= 0.0005


def test_openvino_which_ignores_antialiasing_refuses_the_graph():
    openvino = pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    preprocessing = preprocessing_of("short side and centre", RGB, "bilinear")
    content = any_size_bytes(averages(preprocessing), preprocessing)
    with pytest.raises(RuntimeError, match="not_for_OpenVINO"):
        openvino.Core().read_model(content, b"")


def test_onnxruntime_leaves_nothing_behind_that_it_could_report(tmp_path: Path):
    """In a process of its own, since it decides when it is loaded."""
    preprocessing = preprocessing_of("squash", RGB, "bilinear")
    (tmp_path / "graph.onnx").write_bytes(any_size_bytes(averages(preprocessing), preprocessing))
    program = (
        "import sys, pathlib, numpy; from saccade.ship.any_size import run_any_size;"
        "run_any_size(pathlib.Path(sys.argv[1]).read_bytes(), numpy.zeros((1, 9, 9, 3), numpy.uint8))"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program, tmp_path / "graph.onnx"], env=environment, check=True)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["graph.onnx"]


def test_the_file_says_for_which_engine_it_is_not():
    preprocessing = preprocessing_of("pad", RGB, "bilinear")
    model = onnx.load_model_from_string(any_size_bytes(averages(preprocessing), preprocessing))
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["saccade.engine"] == "not for OpenVINO, which ignores the antialiasing of Resize"


def test_grey_is_that_of_pillow_over_a_cube_of_colours():
    level = np.arange(0, 256, 5, dtype=np.uint8)
    image_HWC = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(52, -1, 3)
    preprocessing = Preprocessing.model_validate({**GREY, "input_height_px": 52, "input_width_px": 52 * 52 // 2})
    content = any_size_bytes(averages(preprocessing), preprocessing)
    for half_HWC in np.split(image_HWC, 2, axis=1):
        half_HWC = np.ascontiguousarray(half_HWC)
        prepared_HWC = run_any_size(content, half_HWC[None])[0][0]
        np.testing.assert_array_equal(prepared_HWC[..., 0], np.asarray(Image.fromarray(half_HWC).convert("L")))
