"""The layer table against the literature's figures and against counts made another way."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from saccade.core.errors import ModelError
from saccade.design.desk import TableRequest, draw_table
from saccade.design.layers import Layer
from saccade.design.memory import StepPlan
from saccade.design.table import counted_layers, layer_table
from saccade.design.target import resolve_target
from saccade.design.text import Totals
from saccade.models.architecture import MODELS, ModelSpec

NETWORK_B = "conv 8 f5 | pool | conv 16 f5 | pool | fc 120 | fc 84 | softmax"


def test_network_b_has_the_table_of_the_lecture():
    table = draw_table(NETWORK_B, TableRequest(input_CHW=(3, 32, 32), num_classes=10))
    rows = [(layer.name.split(".")[-1], layer.output, layer.activations, layer.parameters) for layer in table.layers]
    assert rows == [
        ("conv1", (8, 28, 28), 6272, 608),
        ("pool1", (8, 14, 14), 1568, 0),
        ("conv2", (16, 10, 10), 1600, 3216),
        ("pool2", (16, 5, 5), 400, 0),
        ("fc1", (120,), 120, 48120),
        ("fc2", (84,), 84, 10164),
        ("softmax", (10,), 10, 850),
    ]
    assert table.totals.parameters == 62_958


def test_network_a_has_the_sizes_of_the_lecture():
    table = draw_table("convnet-a", TableRequest(input_CHW=(3, 39, 39)))
    maps = [layer.output for layer in table.layers if len(layer.output) == 3]
    assert maps == [(10, 37, 37), (20, 17, 17), (40, 7, 7)]


def test_one_layer_of_ten_filters_has_280_parameters_whatever_the_image():
    for size_px in (9, 100, 1000):
        table = draw_table("conv 10 f3 linear | gap | softmax", TableRequest(input_CHW=(3, size_px, size_px)))
        assert table.layers[0].parameters == 280


def test_naive_and_bottleneck_inception_cost_what_the_lecture_says():
    naive = draw_table("conv 32 f5 same", TableRequest(input_CHW=(192, 28, 28))).layers[0]
    reduce, wide = draw_table("conv 16 f1 | conv 32 f5 same", TableRequest(input_CHW=(192, 28, 28))).layers[:2]
    assert naive.multiply_adds == 120_422_400
    assert (reduce.multiply_adds, wide.multiply_adds) == (2_408_448, 10_035_200)


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds", "field", "jump"),
    [
        ("resnet18", 11_689_512, 1_814_073_344, 435, 32),
        ("resnet50", 25_557_032, 4_089_184_256, 427, 32),
        ("vgg16", 138_357_544, 15_470_264_320, 212, 32),
    ],
)
def test_the_anchors_are_exact(name: str, parameters: int, multiply_adds: int, field: int, jump: int):
    totals = draw_table(name, TableRequest()).totals
    assert (totals.parameters, totals.multiply_adds) == (parameters, multiply_adds)
    assert (totals.receptive_field, totals.jump) == ((field, field), (jump, jump))


@cache
def rows_of(name: str, spec: ModelSpec) -> tuple[tuple[Layer, ...], Totals]:
    """The rows and totals of a network's table, counted once, without its memory, which takes as long again."""
    return counted_layers(resolve_target(name, spec.input_CHW, spec.num_classes).model, spec.input_CHW)


@pytest.mark.parametrize("name", MODELS.names())
def test_every_network_costs_what_was_published(name: str):
    for reference in MODELS.get(name).references:
        _, totals = rows_of(name, reference.spec)
        assert (totals.parameters, totals.multiply_adds) == (reference.parameters, reference.multiply_adds)


@pytest.mark.parametrize("name", MODELS.names())
def test_rows_add_up_to_the_totals_and_outputs_are_real(name: str):
    spec = MODELS.get(name).default_spec
    layers, totals = rows_of(name, spec)
    assert sum(layer.parameters for layer in layers) + totals.not_run == totals.parameters
    assert layers[-1].output == (spec.num_classes,) or layers[-1].activations == spec.num_classes
    assert len({layer.name for layer in layers}) == len(layers)


def test_a_network_larger_than_any_memory_gets_a_table():
    table = draw_table("conv 1000 f3 same | fc 1000000", TableRequest(input_CHW=(3, 224, 224)))
    assert table.totals.parameters > 5e13


class Bare(nn.Module):
    """A parameter that no layer owns."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.weight = nn.Parameter(torch.ones(5, 3, 3, 3))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(image_BCHW * self.scale, self.weight).mean((2, 3))


def test_bare_parameters_and_functions_are_counted():
    table = layer_table(Bare(), (3, 8, 8))
    assert [(layer.kind, layer.parameters, layer.multiply_adds) for layer in table.layers] == [
        ("multiply", 3, 0),
        ("conv", 135, 6 * 6 * 135),
        ("mean", 0, 0),
    ]


class Attention(nn.Module):
    """Self-attention over the positions of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        token_BND = image_BCHW.flatten(2).transpose(1, 2)
        return self.attention(token_BND, token_BND, token_BND, need_weights=False)[0].mean(1)


def test_attention_is_counted():
    tokens, width = 49, 16
    expected = tokens * 4 * width * width + 2 * tokens * tokens * width  # q, k, v, out; scores and their use
    totals = layer_table(Attention(), (16, 7, 7)).totals
    assert (totals.parameters, totals.multiply_adds) == (4 * width * width + 4 * width, expected)


def test_dense_layers_count_their_middle_axes():
    dense = nn.Linear(8, 5)
    table = layer_table(dense, (6, 7, 8))
    assert table.layers[0].multiply_adds == 6 * 7 * 8 * 5


def test_biases_and_normalisation_cost_no_multiply_adds_and_batches_do_not_multiply():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=True), nn.BatchNorm2d(4), nn.ReLU())
    for batch_size in (1, 8):
        assert (
            layer_table(network, (3, 10, 10), step=StepPlan(batch_size=batch_size)).totals.multiply_adds
            == 8 * 8 * 4 * 27
        )


def test_containers_do_not_count_twice_and_shared_weights_count_once():
    shared = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    network = nn.Sequential(nn.Sequential(shared, nn.ReLU()), nn.Sequential(nn.Sequential(shared)))
    table = layer_table(network, (4, 6, 6))
    assert [layer.parameters for layer in table.layers] == [144, 0]
    assert table.totals.parameters == 144
    assert table.totals.multiply_adds == 2 * 36 * 144


def test_a_row_for_each_nonlinearity_on_request():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    assert [layer.kind for layer in layer_table(network, (3, 8, 8), fold=False).layers] == [
        *("conv", "norm", "relu", "max pool")
    ]
    assert [(layer.kind, layer.folded) for layer in layer_table(network, (3, 8, 8)).layers] == [
        ("conv", ("norm", "relu")),
        ("max pool", ()),
    ]


def test_the_network_stays_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 2))
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    layer_table(network, (3, 8, 8), step=StepPlan(batch_size=4))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_input_that_does_not_fit_names_the_layer_and_the_formula():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    with pytest.raises(ModelError) as error:
        layer_table(network, (3, 3, 3))
    assert str(error.value) == (
        "An input of 3x3x3 does not fit Sequential: layer '1' (MaxPool2d): "
        "pooling f2 s2 on 1x1: floor((1 + 0 - 2)/2) + 1 = 0.\n"
        "Give another --input HEIGHTxWIDTHxCHANNELS, or look at that layer."
    )


def test_wrong_channels_are_refused_in_torchs_words():
    with pytest.raises(ModelError) as error:
        layer_table(nn.Sequential(nn.Conv2d(3, 4, 3)), (1, 8, 8))
    assert str(error.value).startswith("An input of 8x8x1 does not fit Sequential: layer '0' (Conv2d): ")


class Deciding(nn.Module):
    """A network whose way depends on values."""

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return image_BCHW.mean((2, 3)) if image_BCHW.sum() > 0 else image_BCHW.amax((2, 3))


def test_a_network_that_decides_by_values_is_refused():
    with pytest.raises(ModelError) as error:
        layer_table(Deciding(), (3, 8, 8))
    assert str(error.value) == (
        "Deciding decides by the values of its input (aten._local_scalar_dense.default), so its sizes are not fixed.\n"
        "Saccade draws up a table from shapes alone; take that decision out of forward()."
    )


@pytest.mark.parametrize("input_CHW", [(3, 0, 8), (3, 8)])
def test_impossible_inputs_are_refused(input_CHW: tuple[int, ...]):
    with pytest.raises(ModelError, match=r"^An input has channels, height and width of at least 1, got "):
        layer_table(nn.Conv2d(3, 4, 3), input_CHW)


class Turned(nn.Module):
    """A dense layer on the channels of every position, then a learned factor for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = ChannelsLast()
        self.scale = Scale()

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return self.scale(self.channels(image_BCHW))


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 3))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        return functional.linear(map_BCHW.permute(0, 2, 3, 1), self.weight).permute(0, 3, 1, 2)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(7))

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        return self.factor[:, None, None] * map_BCHW


def test_a_layer_that_turns_its_axes_inside_has_the_sizes_it_gives_and_a_factor_is_folded_into_it():
    table = layer_table(Turned(), (3, 4, 5))
    rows = [(layer.kind, layer.output, layer.parameters, layer.multiply_adds, layer.folded) for layer in table.layers]
    assert rows == [("dense", (7, 4, 5), 28, 4 * 5 * 21, ("scale",))]
