"""Recurrent and bilinear layers, attention and work on constants: counted as by hand and as torch's own counter."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saccade import api
from saccade.core.errors import ModelError
from saccade.design.table import layer_table
from saccade.design.text import table_text

STEPS, INPUTS, UNITS = 7, 8, 5  # an image of one channel, 7 rows as steps of 8 numbers


class Sequence(nn.Module):
    """Rows of an image as steps of a recurrent layer; a dense layer on the last one."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent
        width = (recurrent.proj_size or recurrent.hidden_size) * (1 + recurrent.bidirectional)
        self.head = nn.Linear(width, 3)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        rows_BTD = image_BCHW.squeeze(1)
        if not self.recurrent.batch_first:
            return self.head(self.recurrent(rows_BTD.transpose(0, 1))[0][-1])
        return self.head(self.recurrent(rows_BTD)[0][:, -1])


class Function(nn.Module):
    """Any function of an image and two matrices."""

    def __init__(self, function: Callable, *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)
        self.first, self.second = nn.Parameter(torch.ones(8, 3)), nn.Parameter(torch.ones(3, 3))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return self.function(self, image_BCHW) + 0 * self.first.sum()  # so that there is something to train


def by_torch(model: nn.Module) -> int:
    """Multiply-adds of one image by torch's counter, which sees the products that are really computed. In float64,
    where no LSTM is one kernel."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.double().eval()(torch.zeros(1, 1, STEPS, INPUTS, dtype=torch.float64))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        (lambda first: nn.LSTM(INPUTS, UNITS, batch_first=first), 7 * 4 * 5 * (8 + 5)),
        (lambda first: nn.GRU(INPUTS, UNITS, batch_first=first), 7 * 3 * 5 * (8 + 5)),
        (lambda first: nn.RNN(INPUTS, UNITS, batch_first=first), 7 * 5 * (8 + 5)),
        (lambda first: nn.LSTM(INPUTS, UNITS, bidirectional=True, batch_first=first), 2 * 7 * 4 * 5 * (8 + 5)),
        (lambda first: nn.GRU(INPUTS, UNITS, bidirectional=True, batch_first=first), 2 * 7 * 3 * 5 * (8 + 5)),
        (lambda first: nn.LSTM(INPUTS, UNITS, 2, batch_first=first), 7 * 4 * 5 * (8 + 5) + 7 * 4 * 5 * (5 + 5)),
        (
            lambda first: nn.LSTM(INPUTS, UNITS, 2, bidirectional=True, batch_first=first),
            2 * 7 * 4 * 5 * (8 + 5) + 2 * 7 * 4 * 5 * (10 + 5),
        ),
        (lambda first: nn.LSTM(INPUTS, UNITS, proj_size=2, batch_first=first), 7 * (4 * 5 * (8 + 2) + 2 * 5)),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_layers_count_every_step(layer: Callable[[bool], nn.RNNBase], by_hand: int, batch_first: bool):
    model = Sequence(layer(batch_first))
    table = layer_table(model, (1, STEPS, INPUTS))
    row, head = table.layers
    width = model.head.in_features
    assert (row.name, row.kind) == ("recurrent", type(model.recurrent).__name__.lower())
    assert (row.multiply_adds, head.multiply_adds) == (by_hand, 3 * width)
    assert (row.output, row.activations) == ((STEPS, width), STEPS * width)
    assert row.parameters == sum(parameter.numel() for parameter in model.recurrent.parameters())
    assert table.not_counted == ()
    assert table.totals.multiply_adds == by_torch(model)


FLAT = [nn.Linear(56, 6), nn.Bilinear(6, 4, 3)]
ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)


@pytest.mark.parametrize(
    ("model", "by_hand"),
    [
        # 3 outputs, each with a matrix of 6 x 4 weights, behind a dense layer of 56 x 6.
        (Function(lambda m, x: m.layers[1](m.layers[0](x.flatten(1)), x[:, 0, 0, :4]), *FLAT), 56 * 6 + 3 * 6 * 4),
        # A step of an LSTM: 4 gates of 4 units from 56 inputs and 4 units.
        (Function(lambda m, x: m.layers[0](x.flatten(1))[0], nn.LSTMCell(56, 4)), 4 * 4 * (56 + 4)),
        (Function(lambda m, x: m.layers[0](x.flatten(1)), nn.GRUCell(56, 4)), 3 * 4 * (56 + 4)),
        # Weights by weights, 3 x 3 x 3, each time; 3 x 3 for the image's 3 numbers; 8 x 3 before.
        (Function(lambda m, x: (x[:, 0, 0] @ m.first) @ (m.second @ m.second)), 8 * 3 + 3 * 3 + 3 * 3 * 3),
        # What nothing uses is computed, too.
        (Function(lambda m, x: (x[:, 0, 0] @ m.first, m.second @ m.second)[0]), 8 * 3 + 3 * 3 * 3),
        # 7 steps of 8: in 8 x 24, out 8 x 8; scores and mixtures of 7 x 7 pairs of 8 numbers.
        (Function(lambda m, x: m.layers[0](x[:, 0], x[:, 0], x[:, 0])[0], ATTENTION), 7 * 8 * 32 + 2 * 7 * 7 * 8),
        (Function(lambda m, x: nn.functional.scaled_dot_product_attention(x, x, x).flatten(1)), 2 * 7 * 7 * 8),
        (Function(lambda m, x: torch.addbmm(torch.zeros(7, 7), x[0], x[0].transpose(1, 2))), 7 * 7 * 8),
    ],
)
def test_products_that_no_layer_of_its_own_makes_are_counted(model: nn.Module, by_hand: int):
    table = layer_table(model, (1, STEPS, INPUTS))
    assert table.totals.multiply_adds == by_hand
    assert sum(layer.multiply_adds for layer in table.layers) == by_hand
    assert table.not_counted == ()


def test_what_is_not_counted_is_said_in_the_table_and_in_json():
    def whitened(model: Function, image_BCHW: torch.Tensor) -> torch.Tensor:
        rows_BTD = image_BCHW[:, 0]
        distance_BTT = torch.cdist(rows_BTD, rows_BTD)
        return torch.linalg.inv(distance_BTT).flatten(1) + torch.linalg.inv(distance_BTT).flatten(1)

    table = layer_table(Function(whitened), (1, STEPS, INPUTS))
    said = ["_cdist_forward (1 call)", "linalg_inv_ex (2 calls)"]
    assert table.as_json()["not_counted"] == said
    assert f"Not counted: {', '.join(said)}." in table_text(table).splitlines()
    inner = nn.Sequential(nn.Flatten(), Function(lambda model, x: torch.cdist(x, x)))
    assert layer_table(inner, (1, 2, 4)).not_counted == ("_cdist_forward in 1 (1 call)",)


def test_lazy_layers_are_told_by_name_and_left_as_they_are():
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    sentence = (
        "Sequential: layer '1' (LazyLinear) is lazy and does not know its sizes yet.\n"
        "Run the network once before you give it: "
    )
    with pytest.raises(ModelError) as error:
        layer_table(lazy, (1, STEPS, INPUTS))
    assert error.value.message == f"{sentence}network(torch.zeros(2, 1, 7, 8))."
    source = ([np.zeros((8, 8), np.uint8)] * 12, [0, 1] * 6)
    with pytest.raises(ModelError) as error:
        api.train(api.TrainRequest(source=source, model=lazy))
    assert error.value.message == f"{sentence}network(torch.zeros(2, channels, height, width))."
    lazy(torch.zeros(2, 1, STEPS, INPUTS))
    assert layer_table(lazy, (1, STEPS, INPUTS)).totals.multiply_adds == 2 * STEPS * INPUTS
