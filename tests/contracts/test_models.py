"""What every registered network must do; a new file in models/ is held to it the day it appears."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saccade.core.errors import ModelError
from saccade.models.base import MODELS, Architecture, ImageClassifier, ModelSpec, build_model

ALL = MODELS.names()

# Billions of multiply-adds that torchvision 0.28 states for its networks (`_ops` of the weights), three decimals.
STATED_BILLIONS = {
    "alexnet-one-tower": 0.714,
    "googlenet-bn3x3": 1.498,
    "mobilenetv2": 0.301,
    "resnet18": 1.814,
    "resnet34": 3.664,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "resnet152": 11.514,
    "squeezenet1.0": 0.819,
    "squeezenet1.1": 0.349,
    "vgg11": 7.609,
    "vgg13": 11.308,
    "vgg16": 15.47,
    "vgg19": 19.632,
}


def small_spec(architecture: Architecture, num_classes: int = 7) -> ModelSpec:
    """The smallest usual input of a network, so that its contract costs little."""
    channels, height_px, width_px = architecture.default_spec.input_CHW
    fixed = {"alexnet": 227}
    size_px = fixed.get(architecture.name, min(height_px, 64))
    return ModelSpec(num_classes=num_classes, input_CHW=(channels, size_px, min(width_px, size_px)))


def count(architecture: Architecture, spec: ModelSpec) -> tuple[int, int]:
    """(parameters, multiply-adds) by torch's own counter, on the meta device."""
    with torch.device("meta"):
        model = build_model(architecture.name, spec).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *spec.input_CHW))
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() // 2


def weight_limit(architecture: Architecture) -> bool:
    """Whether the network is small enough to be run in full here."""
    return architecture.references[0].parameters < 30_000_000


RUNNABLE = [name for name in ALL if weight_limit(MODELS.get(name))]


@pytest.mark.parametrize("name", ALL)
def test_published_figures_are_met_exactly(name: str):
    architecture = MODELS.get(name)
    assert architecture.references, "a network states its parameters and multiply-adds, and where they come from"
    for reference in architecture.references:
        parameters, multiply_adds = count(architecture, reference.spec)
        assert (reference.parameters, reference.multiply_adds) == (parameters, multiply_adds)
        if name in STATED_BILLIONS:
            assert round(multiply_adds / 1e9, 3) == STATED_BILLIONS[name]


@pytest.mark.parametrize("name", ALL)
def test_it_is_named_described_and_cited(name: str):
    architecture = MODELS.get(name)
    assert architecture.name == name
    assert 10 <= len(architecture.summary) <= 90
    assert any(character.isdigit() for character in architecture.citation)


@pytest.mark.parametrize("name", ALL)
def test_the_parts_have_the_fields_names(name: str):
    architecture = MODELS.get(name)
    with torch.device("meta"):
        model = build_model(name, architecture.default_spec)
    assert isinstance(model, ImageClassifier)
    names = [endpoint for endpoint, _ in model.endpoints()]
    num_stages = len(model.stages)
    assert names == ["stem", *(f"stage{number + 1}" for number in range(num_stages)), "neck", "head"]
    prefixes = {key.split(".")[0] for key in model.state_dict()}
    assert prefixes <= {"stem", "stages", "neck", "head", "auxiliary"}


@pytest.mark.parametrize("name", RUNNABLE)
def test_logits_gradients_and_a_step(name: str):
    architecture = MODELS.get(name)
    spec = small_spec(architecture)
    torch.manual_seed(0)
    model = build_model(name, spec)
    assert isinstance(model, ImageClassifier)
    image_BCHW = torch.randn(4, *spec.input_CHW, generator=torch.Generator().manual_seed(1))
    model.train()
    logits_BK, auxiliary = model.forward_train(image_BCHW)
    assert logits_BK.shape == (4, 7)
    loss = logits_BK.square().mean() + sum(weight * other_BK.square().mean() for weight, other_BK in auxiliary)
    loss.backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None and parameter.requires_grad]
    assert without == [], "these parameters never receive a gradient"
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
    model.eval()
    with torch.no_grad():
        alone_BK = model(image_BCHW[:1])
        torch.testing.assert_close(model(image_BCHW)[:1], alone_BK, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.head(model.forward_features(image_BCHW[:1])), alone_BK, rtol=0, atol=0)


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_seed_decides_the_weights(name: str):
    spec = small_spec(MODELS.get(name))

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build_model(name, spec).parameters())

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize("name", ALL)
def test_grey_images_are_taken(name: str):
    architecture = MODELS.get(name)
    _, height_px, width_px = architecture.default_spec.input_CHW
    spec = ModelSpec(num_classes=3, input_CHW=(1, height_px, width_px))
    with torch.device("meta"):
        model = build_model(name, spec).eval()
        assert model(torch.zeros(1, *spec.input_CHW)).shape == (1, 3)


@pytest.mark.parametrize("name", ALL)
def test_an_input_that_is_too_small_is_refused_by_the_layer_that_cannot_take_it(name: str):
    architecture = MODELS.get(name)
    channels = architecture.default_spec.input_CHW[0]
    smallest = ModelSpec(num_classes=3, input_CHW=(channels, 1, 1))
    refusal = ""
    try:
        with torch.device("meta"):
            logits_BK = build_model(name, smallest).eval()(torch.zeros(1, channels, 1, 1))
    except ModelError as error:
        refusal = error.message
    if refusal:
        assert refusal.startswith(f"{name} cannot take an input of 1x1x{channels}: layer '")
        assert 2 <= len(refusal.splitlines()) <= 4
    else:
        assert logits_BK.shape == (1, 3)
