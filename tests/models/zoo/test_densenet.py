"""DenseNet: one layer against a computation by hand, and the names of its public files, old and new."""

import numpy as np
import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, norm, with_bias

from saccade.conv import reference
from saccade.conv.geometry import Window
from saccade.core.errors import ModelError
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo.densenet import DenseLayer

BLOCKS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}


def test_a_dense_layer_hands_on_what_it_got_and_adds_what_it_computes():
    torch.manual_seed(0)
    layer = DenseLayer(5).double().eval()
    for module in (layer.norm1, layer.norm2):
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2)
    map_BCHW = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    output_BCHW = layer(map_BCHW)
    narrow = reference.cross_correlate(
        rectified(layer.norm1, map_BCHW.numpy()), weight(layer.convolution1), (Window(1),) * 2
    )
    new = reference.cross_correlate(
        rectified(layer.norm2, narrow), weight(layer.convolution2), (Window(3, padding=1),) * 2
    )
    assert torch.equal(output_BCHW[:, :5], map_BCHW)
    np.testing.assert_allclose(output_BCHW[:, 5:].detach().numpy(), new, rtol=1e-9, atol=1e-12)


def weight(convolution: torch.nn.Conv2d) -> np.ndarray:
    return convolution.weight.detach().numpy()


def rectified(norm: torch.nn.BatchNorm2d, map_BCHW: np.ndarray) -> np.ndarray:
    """max(0, gain (x - mean) / sqrt(variance + 1e-5) + shift), channel by channel."""
    gain, shift, mean, variance = (
        tensor.detach().numpy()[:, None, None]
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    return np.maximum(gain * (map_BCHW - mean) / np.sqrt(variance + 1e-5) + shift, 0)


def test_maps_shrink_and_grow_as_in_table_1():
    with torch.device("meta"):
        model = build_model("densenet201", ModelSpec(num_classes=1000, input_CHW=(3, 224, 224)))
        map_BCHW = model.stem(torch.zeros(1, 3, 224, 224))
        shapes = [tuple(map_BCHW.shape[1:])]
        for stage in model.stages:
            map_BCHW = stage(map_BCHW)
            shapes.append(tuple(map_BCHW.shape[1:]))
    assert shapes == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (896, 7, 7), (1920, 7, 7)]


def test_an_input_without_a_position_left_names_the_transition_that_pools_it_away():
    with pytest.raises(ModelError) as error:
        build_model("densenet121", ModelSpec(num_classes=10, input_CHW=(3, 28, 40)))
    assert str(error.value) == (
        "densenet121 cannot take an input of 28x40x3: layer 'stages.stage3.transition.pool': pooling f2 s2 on 1x2: "
        "floor((1 + 0 - 2)/2) + 1 = 0.\n"
        "Use larger images than 28x40, for example --input 80x80x3 for a table, --set input.size_px=80 to train."
    )


def public_shapes(name: str, numbered: str) -> Shapes:
    """Torchvision's tensors, `numbered` saying how the first layer of a kind is written."""
    theirs: Shapes = {"features.conv0.weight": (64, 3, 7, 7), **norm("features.norm0", 64)}
    channels = 64
    for block, count in enumerate(BLOCKS[name], start=1):
        for layer in range(1, count + 1):
            place = f"features.denseblock{block}.denselayer{layer}"
            first, second = (numbered.format(number) for number in (1, 2))
            theirs |= {f"{place}.conv{first}.weight": (128, channels, 1, 1), **norm(f"{place}.norm{first}", channels)}
            theirs |= {f"{place}.conv{second}.weight": (32, 128, 3, 3), **norm(f"{place}.norm{second}", 128)}
            channels += 32
        if block < 4:
            place = f"features.transition{block}"
            theirs |= {f"{place}.conv.weight": (channels // 2, channels, 1, 1), **norm(f"{place}.norm", channels)}
            channels //= 2
    return theirs | norm("features.norm5", channels) | with_bias("classifier", 1000, channels)


@pytest.mark.parametrize("numbered", ["{}", ".{}"], ids=["now", "before 2018"])
@pytest.mark.parametrize("name", BLOCKS)
def test_every_tensor_of_the_public_files_has_its_place(name: str, numbered: str):
    check_every_tensor_has_its_place(name, public_shapes(name, numbered))
