"""Networks of every family leave as ONNX and OpenVINO and answer there as here; a graph that does not is refused."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from saccade.classify.classifier import Member, join_members
from saccade.core.errors import ExportError
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.kernels.response_norm import LocalResponseNorm
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.ship.check import FLOAT32_TOLERANCE, Reference, compare, reference_of, require_equal
from saccade.ship.graph import shipped
from saccade.ship.onnx_file import onnx_bytes, run_onnx
from saccade.ship.openvino_file import openvino_files, run_openvino

pytest.importorskip("onnx", reason="the extra 'export' is not installed")
pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")

FAMILIES = [  # one of each kind of layer; campaigns/export.py has all networks
    ("alexnet", (3, 127, 127)),  # two towers, local response normalisation
    ("googlenet", (3, 64, 64)),  # side branches, which no export has
    ("squeezenet1.1+loglinear", (3, 64, 64)),
    ("mobilenetv3-small", (3, 64, 64)),  # hard swish, squeeze-and-excitation
    ("efficientnet-lite0", (3, 64, 64)),  # padding as TensorFlow's
    ("convnext-atto", (3, 64, 64)),  # LayerNorm, stochastic depth
]


def preprocessing_of(input_CHW: tuple[int, int, int]) -> Preprocessing:
    channels, height_px, width_px = input_CHW
    return Preprocessing(
        channels="rgb" if channels == 3 else "grey",
        input_height_px=height_px,
        input_width_px=width_px,
        mean=(0.48, 0.45, 0.4)[:channels],
        std=(0.22, 0.23, 0.24)[:channels],
    )


def reference_to(model: nn.Module, preprocessing: Preprocessing) -> Reference:
    """What a run of four classes with the network `model` says."""
    member = Member(
        name="run",
        model=model,
        classes=("a", "b", "c", "d"),
        preprocessing=preprocessing,
        temperature=1.0,
        runtime=start(RuntimeConfig(device="cpu")),
    )
    return reference_of(join_members([member]), preprocessing)


@pytest.mark.parametrize(("name", "input_CHW"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_both_files_answer_as_the_network_does(name: str, input_CHW: tuple[int, int, int]):
    torch.manual_seed(5)
    model = resolve_model(name, ModelSpec(num_classes=10, input_CHW=input_CHW)).eval()
    preprocessing = preprocessing_of(input_CHW)
    pixel_NHWC = np.random.default_rng(3).integers(0, 256, (3, *input_CHW[1:], input_CHW[0]), dtype=np.uint8)
    with torch.inference_mode():
        image_NCHW = torch.from_numpy(pixel_NHWC).permute(0, 3, 1, 2)
        logits_NK = model(normalize(image_NCHW, preprocessing, torch.float32)).numpy()
    expected_NK = np.exp(logits_NK.astype(np.float64) / 1.7)
    expected_NK /= expected_NK.sum(axis=1, keepdims=True)
    network = shipped(model, preprocessing, 1.7, ONE_LABEL)
    content = onnx_bytes(network, (*input_CHW[1:], input_CHW[0]), {})
    files = openvino_files(content, {}, half=False)
    for found_NK, probability_NK in (run_onnx(content, pixel_NHWC), run_openvino(files, pixel_NHWC)):
        np.testing.assert_allclose(found_NK, logits_NK, atol=1e-4)
        np.testing.assert_allclose(probability_NK, expected_NK, atol=1e-5)


def test_several_labels_leave_with_their_slopes_and_shifts():
    torch.manual_seed(5)
    model = resolve_model("lenet5", ModelSpec(num_classes=3, input_CHW=(1, 32, 32))).eval()
    task = Task(kind="several labels", slopes=(0.5, 2.0, 1.0), shifts=(-1.0, 0.25, 0.0))
    network = shipped(model, preprocessing_of((1, 32, 32)), 1.0, task)
    logits_BK, probability_BK = network(torch.randint(0, 256, (4, 32, 32, 1), dtype=torch.uint8))
    np.testing.assert_allclose(probability_BK.numpy(), task.probabilities(logits_BK), atol=1e-6)


class TwoNorms(nn.Module):
    """A network whose normalisation writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), LocalResponseNorm(), nn.Flatten(), nn.Linear(8 * 30 * 30, 4))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return self.layers(image_BCHW)


def test_a_traced_graph_that_lost_a_layer_is_refused(tmp_path):
    torch.manual_seed(5)
    preprocessing, model = preprocessing_of((3, 32, 32)), TwoNorms().eval()
    reference = reference_to(model, preprocessing)
    network = shipped(model, preprocessing, 1.0, ONE_LABEL)
    good = onnx_bytes(network, (32, 32, 3), {})
    require_equal(reference, compare(reference, lambda image: run_onnx(good, image)), "onnxruntime", FLOAT32_TOLERANCE)

    network.network = model  # as it trains: the tracing exporter loses what it writes in place, without a word
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros((2, 32, 32, 3), dtype=torch.uint8),),
            tmp_path / "traced.onnx",
            dynamo=False,
            input_names=["image"],
            output_names=["logits", "probabilities"],
            dynamic_axes={"image": {0: "batch"}},
        )
    traced = (tmp_path / "traced.onnx").read_bytes()
    found = compare(reference, lambda image: run_onnx(traced, image))
    assert found.logits > 0.1
    with pytest.raises(ExportError) as caught:
        require_equal(reference, found, "onnxruntime", FLOAT32_TOLERANCE)
    assert caught.value.message == (
        f"onnxruntime answers otherwise than the run: logits of generated images differ by up to {found.logits:.3g}, "
        f"probabilities by up to {found.probabilities:.3g}; allowed are 1e-04 and 1e-03.\n"
        f"Nothing was written. A layer of this network is not translated rightly; report it with the network's name."
    )


def test_an_answer_that_is_no_number_is_refused():
    preprocessing = preprocessing_of((3, 32, 32))
    model = resolve_model("convnet-a", ModelSpec(num_classes=4, input_CHW=(3, 32, 32))).eval()
    reference = reference_to(model, preprocessing)

    def broken(image_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(image_BHWC), 4), np.nan), np.full((len(image_BHWC), 4), np.nan)

    with pytest.raises(ExportError, match="^onnxruntime answers otherwise than the run"):
        require_equal(reference, compare(reference, broken), "onnxruntime", FLOAT32_TOLERANCE)
