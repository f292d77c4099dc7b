"""EfficientNetV2-S: figures and torchvision's names, from Table 4 of the paper by hand."""

import math

import torch
from torch import nn

from saccade.models.architecture import MODELS, build_model
from saccade.models.layers import StochasticDepth
from saccade.weights.tensors import match_names, tensor_shapes

# Table 4: fused, expansion, channels, layers, stride.
TABLE_4 = (
    (1, 1, 24, 2, 1),
    (1, 4, 48, 4, 2),
    (1, 4, 64, 4, 2),
    (0, 4, 128, 6, 2),
    (0, 6, 160, 9, 1),
    (0, 6, 256, 15, 2),
)


def public_file() -> tuple[dict[str, tuple[int, ...]], int]:
    """(shapes by torchvision's names, multiply-adds at 384 pixels)."""
    shapes: dict[str, tuple[int, ...]] = {}
    side_px, products = 384, 0

    def convolution(place: str, out: int, given: int, kernel: int, stride: int = 1) -> None:
        nonlocal side_px, products
        side_px = math.ceil(side_px / stride)
        products += out * given * kernel**2 * side_px**2
        shapes[f"{place}.0.weight"] = (out, given, kernel, kernel)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{place}.1.{kind}"] = (out,)
        shapes[f"{place}.1.num_batches_tracked"] = ()

    convolution("features.0", 24, 3, 3, 2)
    given = 24
    for stage, (is_fused, expansion, out, layers, first_stride) in enumerate(TABLE_4, start=1):
        for layer in range(layers):
            place, inner = f"features.{stage}.{layer}.block", given * expansion
            stride = first_stride if layer == 0 else 1
            convolution(f"{place}.0", inner, given, 3 if is_fused else 1, stride if is_fused else 1)
            if not is_fused:
                convolution(f"{place}.1", inner, 1, 3, stride)
                for name, sizes in (("fc1", (given // 4, inner)), ("fc2", (inner, given // 4))):
                    shapes[f"{place}.2.{name}.weight"], shapes[f"{place}.2.{name}.bias"] = (*sizes, 1, 1), sizes[:1]
                    products += math.prod(sizes)
            if expansion > 1:
                convolution(f"{place}.{1 if is_fused else 3}", out, inner, 1)
            given = out
    convolution("features.7", 1280, given, 1)
    shapes |= {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}
    return shapes, products + 1000 * 1280


def test_figures_and_names_follow_from_table_4():
    theirs, products = public_file()
    parameters = sum(
        math.prod(shape) for name, shape in theirs.items() if not name.endswith(("mean", "var", "tracked"))
    )
    architecture = MODELS.get("efficientnetv2-s")
    (reference,) = architecture.references
    assert (reference.parameters, reference.multiply_adds) == (parameters, products)
    with torch.device("meta"):
        network = build_model(architecture.name, architecture.default_spec)
    ours = tensor_shapes(network)
    names, unused = match_names(list(theirs), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    assert {key: ours[place] for key, place in names.items()} == theirs
    assert {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    depths = [module.probability for module in network.modules() if isinstance(module, StochasticDepth)]
    assert depths == [0.2 * number / 40 for number in range(40)]
