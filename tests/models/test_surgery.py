"""Gradual unfreezing: part after part, each of which has something to train; bodies that are moved to other inputs."""

import numpy as np
import pytest
import torch

from saccade.core.errors import ModelError
from saccade.models.architecture import ImageClassifier, ModelSpec
from saccade.models.build import resolve_model
from saccade.models.surgery import for_channels, freeze, thaw, transplant


def trained(model: ImageClassifier) -> set[str]:
    """The parts with parameters that steps may change."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {".".join(name.split(".")[:2]) if name.startswith("stages.") else name.split(".")[0] for name in names}


def test_every_step_of_gradual_unfreezing_releases_a_part_with_parameters():
    model = resolve_model("resnet18+loglinear", ModelSpec(num_classes=2, input_CHW=(3, 64, 64)))
    freeze(model, "none")
    parts = ["head", "stages.stage4", "stages.stage3", "stages.stage2", "stages.stage1", "stem"]
    for number in range(6):
        waiting = thaw(model, "none", number / 5)
        assert trained(model) == set(parts[: number + 1])
        held = {id(module) for module in waiting}
        assert (id(model.stem) in held) == (number < 5)
    assert thaw(model, "none", 1.0) == ()
    assert thaw(model, "none", 3.0) == ()
    thaw(model, "none", 0.0)
    assert trained(model) == {"head"}


def test_what_is_frozen_never_thaws():
    model = resolve_model("resnet18+loglinear", ModelSpec(num_classes=2, input_CHW=(3, 64, 64)))
    freeze(model, "stage3")
    thaw(model, "stage3", 1.0)
    assert trained(model) == {"head", "stages.stage4"}


@pytest.mark.parametrize("name", ["squeezenet1.1", "resnet20", "convnext-atto", "mobilenetv3-small", "lenet5"])
def test_a_colour_network_on_grey_inputs_answers_as_for_three_equal_channels(name: str):
    torch.manual_seed(0)
    colour = resolve_model(name, ModelSpec(num_classes=5, input_CHW=(3, 64, 64))).eval()
    _, grey = transplant(colour, name, ModelSpec(num_classes=4, input_CHW=(1, 64, 64)))
    image_B1HW = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = colour.stages(colour.stem(image_B1HW.expand(-1, 3, -1, -1)))
        shown = grey.eval().stages(grey.stem(image_B1HW))
    assert shown.shape == expected.shape
    assert torch.allclose(shown, expected, atol=1e-4 * float(expected.abs().max()))


def test_a_grey_network_is_not_stretched_to_colours():
    backbone = resolve_model("lenet5", ModelSpec(num_classes=5, input_CHW=(1, 32, 32)))
    with pytest.raises(ModelError) as error:
        transplant(backbone, "lenet5", ModelSpec(num_classes=5, input_CHW=(3, 32, 32)))
    assert str(error.value).startswith("lenet5 does not hold 1 of the tensors that lenet5")


@pytest.mark.parametrize("name", ["squeezenet1.1", "resnet20", "convnext-atto", "mobilenetv3-small", "lenet5"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_colour_network_on_repeated_colours_answers_as_for_the_colours(name: str, times: int):
    torch.manual_seed(0)
    colour = resolve_model(name, ModelSpec(num_classes=5, input_CHW=(3, 64, 64))).eval()
    _, wide = transplant(colour, name, ModelSpec(num_classes=4, input_CHW=(3 * times, 64, 64)))
    image_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = colour.stages(colour.stem(image_BCHW))
        shown = wide.eval().stages(wide.stem(image_BCHW.repeat(1, times, 1, 1)))
    assert torch.allclose(shown, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("num", [2, 4, 5, 8, 13])
def test_filters_for_other_channels_are_repeated_in_turn_and_scaled(num: int):
    weight_OIHW = torch.randn(4, 3, 5, 5)
    wanted = np.stack([weight_OIHW[:, channel % 3].numpy() * 3 / num for channel in range(num)], axis=1)
    assert for_channels(weight_OIHW, num).numpy() == pytest.approx(wanted, rel=1e-6)
    assert torch.equal(for_channels(weight_OIHW, 1), weight_OIHW.sum(dim=1, keepdim=True))


def test_a_grey_network_on_equal_bands_answers_as_for_one():
    torch.manual_seed(0)
    grey = resolve_model("lenet5", ModelSpec(num_classes=5, input_CHW=(1, 32, 32))).eval()
    _, wide = transplant(grey, "lenet5", ModelSpec(num_classes=4, input_CHW=(5, 32, 32)))
    image_B1HW = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = grey.stages(grey.stem(image_B1HW))
        shown = wide.eval().stages(wide.stem(image_B1HW.expand(-1, 5, -1, -1)))
    assert torch.allclose(shown, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("own", ["resnet18", "mobilenetv2", "densenet121", "regnety-400mf", "convnext-atto"])
def test_a_plain_head_in_the_place_of_a_logarithm_is_that_of_the_registered_network(own: str):
    spec = ModelSpec(num_classes=3, input_CHW=(3, 64, 64))
    torch.manual_seed(0)
    begun = resolve_model(f"{own}+loglinear", spec).eval()
    name, plain = transplant(begun, f"{own}+loglinear", spec)
    assert name == own
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in resolve_model(own, spec).state_dict().items()
    }
    image_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain.eval().forward_features(image_BCHW), begun.forward_features(image_BCHW))
    kept, _ = transplant(begun, f"{own}+loglinear", spec, "loglinear")
    assert kept == f"{own}+loglinear"


def test_a_network_that_ends_in_filters_gets_a_plain_head_of_its_own():
    spec = ModelSpec(num_classes=3, input_CHW=(3, 64, 64))
    begun = resolve_model("squeezenet1.1+loglinear", spec)
    assert transplant(begun, "squeezenet1.1+loglinear", spec)[0] == "squeezenet1.1+linear"
