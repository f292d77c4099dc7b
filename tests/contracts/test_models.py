"""What every registered network must do; a new file in models/ is held to it the day it appears."""

import dataclasses
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from saccade.core.errors import ContractError, ModelError
from saccade.models.architecture import MODELS, Architecture, ImageClassifier, ModelSpec, Reference, does_not_fit
from saccade.models.build import without_weights
from saccade.testing import check_architecture
from saccade.testing.architectures import _check_description, _check_figures, _check_parts
from saccade.testing.contract import place_of

ALL = MODELS.names()

# Billions of multiply-adds that torchvision 0.28 and 0.29 state for networks (`_ops` of weights), three decimals.
STATED_BILLIONS = {
    "alexnet-one-tower": 0.714,
    "convnext-base": 15.355,
    "convnext-small": 8.684,
    "convnext-tiny": 4.456,
    "densenet121": 2.834,
    "densenet169": 3.36,
    "densenet201": 4.291,
    "efficientnet-b0": 0.386,
    "efficientnet-b1": 0.687,
    "efficientnet-b2": 1.088,
    "efficientnet-b3": 1.827,
    "efficientnet-b4": 4.394,
    "efficientnetv2-s": 8.366,
    "googlenet-bn3x3": 1.498,
    "inception-v3": 5.713,
    "mobilenetv2": 0.301,
    "regnety-1.6gf": 1.612,
    "regnety-16gf": 15.912,
    "regnety-3.2gf": 3.176,
    "regnety-400mf": 0.402,
    "regnety-800mf-torchvision": 0.834,
    "regnety-8gf-torchvision": 8.473,
    "mobilenetv3-large": 0.217,
    "mobilenetv3-small": 0.057,
    "resnet18": 1.814,
    "resnet34": 3.664,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "resnet152": 11.514,
    "resnext101-32x8d": 16.414,
    "resnext50-32x4d": 4.23,
    "shufflenetv2-0.5": 0.04,
    "shufflenetv2-1.0": 0.145,
    "shufflenetv2-1.5": 0.296,
    "shufflenetv2-2.0": 0.583,
    "squeezenet1.0": 0.819,
    "squeezenet1.1": 0.349,
    "vgg11": 7.609,
    "vgg13": 11.308,
    "vgg16": 15.47,
    "vgg19": 19.632,
    "wide-resnet50-2": 11.398,
}


@cache
def smallest_of_each_kind() -> frozenset[str]:
    """Of networks of the same layers from one module, such as five sizes of EfficientNet, the one of fewest weights."""
    smallest: dict[tuple[str, frozenset[str]], str] = {}
    for name in sorted(ALL, key=lambda name: MODELS.get(name).references[0].parameters):
        entry = MODELS.get(name)
        with without_weights():
            layers = {type(layer).__qualname__ for layer in entry.build(entry.default_spec).modules()}
        smallest.setdefault((MODELS._origins[name], frozenset(layers)), name)
    return frozenset(smallest.values())


@pytest.mark.parametrize("name", ALL)
def test_it_keeps_the_contract_of_a_network(name: str):
    """Described and cited, named parts, published figures, sizes; of one of each kind also gradients, one image as in
    a batch, seeds."""
    state = torch.get_rng_state()
    if name in smallest_of_each_kind():
        check_architecture(name)
    else:
        for check in (_check_description, _check_parts, _check_figures):
            check(MODELS.get(name))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", STATED_BILLIONS)
def test_the_figures_are_those_that_torchvision_states(name: str):
    for reference in MODELS.get(name).references:
        assert round(reference.multiply_adds / 1e9, 3) == STATED_BILLIONS[name]


# What the author of a plug-in is told.


class Tiny(ImageClassifier):
    """A convolution, its mean, a linear layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.stem = nn.Conv2d(spec.input_CHW[0], 4, 3, padding=1)
        self.stages = nn.Sequential()
        self.stages.add_module("stage1", nn.ReLU())
        self.neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, spec.num_classes)


SPEC = ModelSpec(num_classes=10, input_CHW=(3, 16, 16))
TINY = Architecture(
    name="tiny",
    build=Tiny,
    summary="one convolution, for a test",
    citation="a test, 2025",
    default_spec=SPEC,
    # 3 * 4 * 9 + 4 and 4 * 10 + 10 parameters; 108 products a pixel and 40 in the head.
    references=(Reference(spec=SPEC, source="by hand", parameters=162, multiply_adds=108 * 256 + 40),),
)


def refused(monkeypatch: pytest.MonkeyPatch, architecture: Architecture) -> list[str]:
    monkeypatch.setitem(MODELS._entries, "tiny", architecture)
    monkeypatch.setitem(MODELS._origins, "tiny", __name__)
    with pytest.raises(ContractError) as error:
        check_architecture(architecture)
    lines = str(error.value).splitlines()
    assert 2 <= len(lines) <= 4
    assert lines[-1] == f"Where: {place_of(architecture.build)}."
    return lines[:-1]


def test_a_network_of_ones_own_that_keeps_its_promises_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODELS._entries, "tiny", TINY)
    monkeypatch.setitem(MODELS._origins, "tiny", __name__)
    check_architecture(TINY)
    check_architecture("tiny")


def test_a_network_that_is_not_registered_is_told_how_to_be():
    with pytest.raises(ContractError) as error:
        check_architecture(TINY)
    assert str(error.value).startswith(
        "network 'tiny': it is not registered under its name.\n"
        "Write 'register(architecture, __name__)' below it; it is in saccade.models.architecture.\n"
    )


class Unused(Tiny):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.head.register_parameter("unused", nn.Parameter(torch.zeros(1)))


class OtherPart(Tiny):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.extra = nn.Linear(1, 1)


class Misnamed(Tiny):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.stages = nn.Sequential(nn.ReLU())


class Neighbours(Tiny):
    def forward_features(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        feature_BD = super().forward_features(image_BCHW)
        return feature_BD - feature_BD.mean(dim=0)


class Unseeded(Tiny):
    num = 0

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        Unseeded.num += 1
        with torch.no_grad():
            self.head.bias.fill_(Unseeded.num)


class OnlyColour(Tiny):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(dataclasses.replace(spec, input_CHW=(3, *spec.input_CHW[1:])))


class NoPadding(Tiny):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.stem = nn.Conv2d(spec.input_CHW[0], 4, 3)


class Vague(NoPadding):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if spec.input_CHW[1] < 3:
            raise ModelError("too small")


class Refusing(NoPadding):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if spec.input_CHW[1] < 3:
            does_not_fit("tiny", "stem", spec, "a window of 3 needs 3 pixels", "Use an input of 3 pixels or more.")


class Listed(Tiny):
    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return [super().forward(image_BCHW)]  # type: ignore[return-value]


class Keyed(Tiny):
    def forward_features(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        raise KeyError("stem")


def test_an_error_of_a_network_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODELS._origins, "tiny", __name__)
    for build, told in (
        (Listed, "AttributeError: 'list' object has no attribute 'shape'"),
        (Keyed, "KeyError: 'stem'"),
    ):
        monkeypatch.setitem(MODELS._entries, "tiny", dataclasses.replace(TINY, build=build))
        with pytest.raises(ContractError) as error:
            check_architecture("tiny")
        lines = error.value.message.splitlines()
        assert lines[0] == f"network 'tiny': it ends in {told}."
        assert lines[2].startswith("Where: ")
        assert __file__ in lines[2]


FIGURES = (Reference(spec=SPEC, source="by hand", parameters=162, multiply_adds=108 * 196 + 40),)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (OtherPart, "weights lie outside its parts, in extra."),
        (Misnamed, "its parts are stem, 0, neck, head."),
        (lambda spec: nn.Linear(3, 3), "build does not give an ImageClassifier."),
        (Neighbours, "when it answers, an image's logits depend on the other images of its batch."),
        (Unseeded, "torch's seed does not decide its weights."),
    ],
)
def test_broken_promises_are_told(monkeypatch: pytest.MonkeyPatch, build: Callable[..., nn.Module], told: str):
    assert refused(monkeypatch, dataclasses.replace(TINY, build=build))[0] == f"network 'tiny': {told}"


def test_figures_sizes_and_words_are_checked(monkeypatch: pytest.MonkeyPatch):
    assert refused(monkeypatch, dataclasses.replace(TINY, build=Unused))[0] == (
        "network 'tiny': it has 163 parameters and 27,688 multiply-adds, and its reference (by hand) states 162 and "
        "27,688."
    )
    counted = (dataclasses.replace(TINY.references[0], parameters=163),)
    assert refused(monkeypatch, dataclasses.replace(TINY, build=Unused, references=counted))[0] == (
        "network 'tiny': 1 of its parameters never get a gradient, the first 'head.unused'."
    )
    assert refused(monkeypatch, dataclasses.replace(TINY, references=()))[0] == (
        "network 'tiny': it states no published figures."
    )
    assert "its citation has no year" in refused(monkeypatch, dataclasses.replace(TINY, citation="me"))[0]
    assert "its summary does not have" in refused(monkeypatch, dataclasses.replace(TINY, summary="short"))[0]
    assert refused(monkeypatch, dataclasses.replace(TINY, build=OnlyColour))[0].startswith(
        "network 'tiny': an input of 16x16x1 ends in torch's own error: "
    )
    assert refused(monkeypatch, dataclasses.replace(TINY, build=NoPadding, references=FIGURES))[0].startswith(
        "network 'tiny': an input of 1x1x3 ends in torch's own error: "
    )
    vague = refused(monkeypatch, dataclasses.replace(TINY, build=Vague, references=FIGURES))
    assert vague[0] == "network 'tiny': its refusal of an input of one pixel does not name the layer."
    monkeypatch.setitem(MODELS._entries, "tiny", dataclasses.replace(TINY, build=Refusing, references=FIGURES))
    check_architecture("tiny")
