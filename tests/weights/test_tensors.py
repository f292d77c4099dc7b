"""Weight files: real ones give the published logits; damaged, foreign and dangerous ones are refused in words."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saccade.core.errors import WeightsError
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.data.images.preprocess import prepare_image
from saccade.models.architecture import MODELS, build_model
from saccade.weights.public import find_weights, load_backbone
from saccade.weights.tensors import load_weights, same_values

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


def photo(name: str):
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the photos")
    if name.startswith("motorcycle"):
        try:
            return data.stereo_motorcycle()[0]
        except OSError as error:
            pytest.skip(f"scikit-image has to download this photo: {error}")
    return getattr(data, name.split(".")[0])()


@pytest.fixture(scope="module")
def squeezenet() -> nn.Module:
    return build_model("squeezenet1.1", MODELS.get("squeezenet1.1").default_spec).eval()


@pytest.mark.parametrize("name", PHOTOS)
def test_real_weights_give_the_published_logits(shared: Callable, squeezenet: nn.Module, name: str):
    folder = shared("weights/squeezenet1_1")
    load_weights(squeezenet, folder / "model.safetensors", MODELS.get("squeezenet1.1").rename_key)
    expected = json.loads((folder / "expected.json").read_text())[name]
    preprocessing = Preprocessing(resize_px=256)
    image_HWC = torch.from_numpy(prepare_image(photo(name), preprocessing))
    with torch.no_grad():
        logits_K = squeezenet(normalize(image_HWC.permute(2, 0, 1)[None], preprocessing, torch.float32))[0]
    torch.testing.assert_close(logits_K[:8], torch.tensor(expected["logits_first8"]), rtol=0, atol=1e-3)
    top5 = [entry["index"] for entry in expected["top5"]]
    assert logits_K.topk(5).indices.tolist() == top5


def centre_of_256(image_HWC: np.ndarray) -> np.ndarray:
    """(224, 224, 3) as expected.json of EfficientNet-Lite was made: the long side rounded, the crop cut to pixels."""
    scale = 256 / min(image_HWC.shape[:2])
    height_px, width_px = (round(side * scale) for side in image_HWC.shape[:2])
    resized = Image.fromarray(image_HWC).resize((width_px, height_px), Image.Resampling.BICUBIC)
    left, top = (width_px - 224) // 2, (height_px - 224) // 2
    return np.asarray(resized.crop((left, top, left + 224, top + 224)))


@pytest.mark.parametrize("name", PHOTOS)
def test_real_efficientnet_lite_weights_give_the_published_logits(shared: Callable, name: str):
    """As `--weights` reads them: names, TensorFlow's padding and the authors' scale, without a card."""
    folder = shared("weights/efficientnet_lite0")
    found = find_weights(str(folder), "efficientnet-lite0")
    expected = json.loads((folder / "expected.json").read_text())[name]
    image_HWC = centre_of_256(photo(name))
    image_BCHW = torch.from_numpy(image_HWC.copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits_K = load_backbone(found).eval()(normalize(image_BCHW, found.preprocessing, torch.float32))[0]
    torch.testing.assert_close(logits_K[:8], torch.tensor(expected["logits_first8"]), rtol=0, atol=1e-3)
    assert float(logits_K.sum()) == pytest.approx(expected["logit_sum"], abs=0.02)
    assert logits_K.topk(5).indices.tolist() == [entry["index"] for entry in expected["top5"]]


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png"])
def test_our_pixels_are_those_where_no_side_is_rounded(name: str):
    preprocessing = MODELS.get("efficientnet-lite0").public_input.preprocessing
    np.testing.assert_array_equal(prepare_image(photo(name), preprocessing), centre_of_256(photo(name)))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.Linear(3, 1)


def save(path: Path, changes: dict[str, torch.Tensor | None]) -> Path:
    tensors = {name: torch.ones_like(tensor) for name, tensor in Tiny().state_dict().items()}
    tensors |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    save_file({name: tensor for name, tensor in tensors.items() if changes.get(name, tensor) is not None}, path)
    return path


def refused(path: Path) -> str:
    model = Tiny()
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    with pytest.raises(WeightsError) as error:
        load_weights(model, path)
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), before), "a refused file changed the network"
    assert len(error.value.message.splitlines()) <= 4
    return error.value.message


def test_names_of_wrapped_networks_are_understood(tmp_path: Path):
    tensors = {f"module._orig_mod.{name}": torch.ones_like(t) for name, t in Tiny().state_dict().items()}
    save_file(tensors, tmp_path / "w.safetensors")
    model = Tiny()
    assert load_weights(model, tmp_path / "w.safetensors").num_tensors == 4
    assert bool((model.a.weight == 1).all())


def test_missing_extra_and_wrongly_shaped_tensors(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    assert refused(save(path, {"b.bias": None})) == (
        f"{path} lacks 1 of the network's 4 tensors: 'b.bias'.\n"
        "All that it has fits, so it is incomplete; get it again from where it came."
    )
    assert refused(save(path, {"b.bias": None, "a.weight": torch.ones(9)})) == (
        f"{path}: 1 tensor has another shape than in the network: 'a.weight' has 9, expected "
        f"{'x'.join(map(str, Tiny().a.weight.shape))}.\n"
        "The file was made for another number of classes, another input or another variant of the network."
    )
    assert refused(save(path, {"b.bias": None, "c.bias": torch.ones(2)})) == (
        f"{path} lacks 1 of the network's 4 tensors: 'b.bias'. It has 1 other, such as 'c.bias'.\n"
        "It holds the weights of another architecture; choose the one it was made for."
    )
    assert refused(save(path, {"c.bias": torch.ones(2)})) == (
        f"{path} has 1 tensor that the network does not: 'c.bias'.\n"
        "It holds the weights of a larger or other architecture; choose the one it was made for."
    )
    assert refused(save(path, {"a.weight": torch.ones(2, 3)})) == (
        f"{path}: 1 tensor has another shape than in the network: 'a.weight' has 2x3, expected 3x2.\n"
        "The file was made for another number of classes, another input or another variant of the network."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path: Path, value: float):
    path = save(tmp_path / "w.safetensors", {"a.bias": torch.tensor([1.0, value, 1.0])})
    assert refused(path) == (
        f"{path}: the tensor 'a.bias' holds values that are not finite.\n"
        "The file is damaged or its training diverged; take another one."
    )


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_pickle_is_refused_unopened_whatever_its_name(tmp_path: Path, ending: str):
    path = tmp_path / f"weights{ending}"
    torch.save(Tiny().state_dict(), path)
    assert refused(path) == (
        f"{path} is a pickle, which can run any code when it is opened; it is not opened.\n"
        "Ask its author for a .safetensors file, or convert it in a child process with limits:\n"
        f"saccade convert {path} --model NAME --out FILE.safetensors"
    )


def header(entries: dict, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def raw(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + bytes(4)


NO_SIZES = [
    f'{{"a": {{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}}}'
    for shape, offsets in [
        ("[1e999]", "[0, 4]"),
        ("[1]", "[0, Infinity]"),
        ("[NaN]", "[0, 4]"),
        ("[1.0]", "[0, 4]"),
        ("[1.5]", "[0, 4]"),
        ('["1"]', "[0, 4]"),
        ("[true]", "[0, 4]"),
        ('"1"', "[0, 4]"),
        ("[1]", "[0, 4, 4]"),
        ("[1]", '"04"'),
        ("{}", "[0, 4]"),
        ("[1]", "null"),
    ]
] + ["[" * 1000, '{"a": []}', '{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}']


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has 0 bytes: no safetensors file is so short."),
        (struct.pack("<Q", 1 << 40) + b"{}", "is not a safetensors file, or it is truncated"),
        (struct.pack("<Q", 2) + b"{", "is not a safetensors file, or it is truncated"),
        (struct.pack("<Q", 2) + b"[]", "has a damaged header."),
        (header({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}), "has a damaged header."),
        (header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}), "has a damaged header."),
        *((raw(text), "has a damaged header.") for text in NO_SIZES),
        (header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}), "has a damaged header."),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}), "is truncated or padded"),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 9), "is truncated or padded"),
    ],
)
def test_headers_of_strangers_are_checked_before_anything_is_read(tmp_path: Path, content: bytes, what: str):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith(f"{path} {what}")
    assert message.endswith("Download it again.")


def test_a_type_of_numbers_that_is_not_read_is_named(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file(Tiny().state_dict(), path, metadata={"dtype": "I8"})  # what somebody writes about it is no type
    assert load_weights(Tiny(), path).num_tensors == 4
    save_file({name: tensor.to(torch.int8) for name, tensor in Tiny().state_dict().items()}, path)
    first = next(iter(json.loads(path.read_bytes()[8:].split(b"}}")[0] + b"}}")))
    assert refused(path) == (
        f"{path}: the tensor '{first}' has numbers of the type I8; read are F64, F32, F16, BF16, I64, I32, U8, BOOL.\n"
        "Take the file with the weights in float32 or float16."
    )


def test_a_missing_file(tmp_path: Path):
    path = tmp_path / "none.safetensors"
    assert refused(path) == f"There is no weight file {path}.\nCheck the path and its spelling."


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ((384, 96), (384, 96, 1, 1), True),  # a dense layer on every position is 1x1 filters
        ((384, 96, 1, 1), (384, 96), True),
        ((96, 1, 1), (96,), True),
        ((4096, 512, 7, 7), (4096, 25088), True),
        ((4096, 25088), (4096, 512, 7, 7), False),
        ((1, 96), (96,), False),
        ((96, 7, 7), (96, 1, 7, 7), False),
        ((96, 384), (384, 96), False),
        ((384, 96, 1, 1), (384 * 96,), False),
    ],
)
def test_which_shapes_hold_the_same_numbers_in_the_same_order(
    theirs: tuple[int, ...], ours: tuple[int, ...], same: bool
):
    assert same_values(theirs, ours) is same


def test_a_file_with_dense_layers_fills_1x1_filters(tmp_path: Path):
    torch.manual_seed(0)
    ours, theirs = nn.Conv2d(6, 4, 1), nn.Linear(6, 4)
    save_file(theirs.state_dict(), tmp_path / "dense.safetensors")
    load_weights(ours, tmp_path / "dense.safetensors")
    map_BCHW = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(ours(map_BCHW), theirs(map_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
