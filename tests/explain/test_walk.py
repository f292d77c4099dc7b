"""An image through every layer: what each row of the table makes of it is what its part puts out, strongest first."""

import numpy as np
import pytest
import torch
from torch import nn

from saccade.core.errors import ModelError
from saccade.design.table import layer_table
from saccade.design.target import drawn_from_words
from saccade.explain.endpoints import captured
from saccade.explain.walk import MAX_SIDE, walk

SIDE = 64


def image(channels: int = 3, side: int = SIDE) -> torch.Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(5))


def outputs(model: nn.Module, input_1CHW: torch.Tensor, names: list[str]) -> dict[str, np.ndarray]:
    """What the parts put out, float64, in evaluation."""
    model.eval()
    with torch.no_grad(), captured(model, names) as found:
        model(input_1CHW)
    return {name: found[name][0].double().numpy() for name in names}


def test_every_row_shows_what_its_part_puts_out_strongest_first():
    target = drawn_from_words("conv 6 f3 | relu | pool | conv 20 f5 | fc 7", (3, 150, 130), None, seed=1)
    table = layer_table(target.model, target.input_CHW, fold=False)
    input_1CHW = torch.randn(1, 3, 150, 130, generator=torch.Generator().manual_seed(5))
    before = {name: value.clone() for name, value in target.model.state_dict().items()}
    found = walk(target.model.train(), input_1CHW, table)
    assert target.model.training
    assert all(torch.equal(value, before[name]) for name, value in target.model.state_dict().items())
    assert [maps.name for maps in found] == [layer.name for layer in table.layers]
    made = outputs(target.model, input_1CHW, [layer.name for layer in table.layers])
    for maps, layer in zip(found, table.layers, strict=True):
        value = made[layer.name]
        assert (maps.least, maps.most) == pytest.approx((value.min(), value.max()), rel=1e-6)
        if value.ndim == 1:
            order = np.argsort(-value, kind="stable")[:5]
            assert [place for place, _ in maps.largest] == order.tolist()
            assert [told for _, told in maps.largest] == pytest.approx(value[order].tolist())
            continue
        strength_C = np.abs(value).mean(axis=(1, 2))
        assert [strength_C[channel] for channel in maps.channel_M] == sorted(strength_C, reverse=True)[:24]
        assert maps.strength_M == pytest.approx(sorted(strength_C, reverse=True)[:24])
        height, width = maps.shade_MHW.shape[1:]
        assert max(height, width) <= MAX_SIDE
        step = -(-max(value.shape[1:]) // MAX_SIDE)
        first = value[maps.channel_M[0]][: step * (value.shape[1] // step), : step * (value.shape[2] // step)]
        mean_HW = first.reshape(first.shape[0] // step, step, -1, step).mean(axis=(1, 3))
        shown_HW = maps.shade_MHW[0][: mean_HW.shape[0], : mean_HW.shape[1]].astype(np.float64)
        scale_HW = (shown_HW - 128) / 127 if maps.is_signed else shown_HW / 255
        assert np.abs(scale_HW * maps.top - mean_HW).max() <= maps.top / 127  # what a shade stands for


def test_the_colours_and_words_say_what_a_layer_holds():
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.positive, self.signed, self.dead = nn.ReLU(), nn.Identity(), nn.Identity()

        def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
            both = self.positive(image_BCHW) - 1
            return (both * 0).mean(dim=(2, 3))

    found = walk(Small(), torch.full((1, 3, 8, 8), 2.0), layer_table(Small(), (3, 8, 8), fold=False))
    first, last = found[0], found[-1]
    assert first.words() == "3 maps of 8x8. Values 2 to 2."
    assert first.legend() == "One scale for all: dark is 0, light 2."
    assert (first.picture() == [[[255, 255, 255]]]).all() == False  # noqa: E712 - the lightest colour is a yellow
    assert last.words() == "3 values, 3 of them zero. Values 0 to 0."
    assert last.legend() == "One scale for all: dark is 0, light 1; in rows, from the first value on."


@pytest.mark.parametrize(
    ("name", "input_CHW"),
    [
        ("lenet5", (1, 32, 32)),
        ("resnet20", (3, 32, 32)),
        ("squeezenet1.1", (3, 64, 64)),
        ("mobilenetv3-small", (3, 32, 32)),
    ],
)
def test_networks_compute_with_an_image_what_their_tables_were_drawn_up_from(
    name: str, input_CHW: tuple[int, int, int]
):
    target = drawn_from_words(name, input_CHW, 10, seed=0)
    table = layer_table(target.model, input_CHW)
    assert len(walk(target.model, torch.zeros(1, *input_CHW), table)) == len(table.layers)


def test_a_network_that_computes_otherwise_with_an_image_is_refused():
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.calls = 0

        def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 2:  # the table runs it twice
                return image_BCHW.mean(dim=(2, 3))
            return self.conv(image_BCHW).mean(dim=(2, 3))

    model = Fickle()
    table = layer_table(model, (3, 8, 8), name="fickle")
    model.calls = 9
    with pytest.raises(ModelError) as refused:
        walk(model, image(side=8), table)
    assert refused.value.message == (
        "fickle computes otherwise with an image than without one, from layer 'conv' on.\n"
        "Its maps cannot be told apart; 'saccade explain' shows those of its parts."
    )


def test_the_process_draws_on_as_if_no_weights_had_been_drawn():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one = drawn_from_words("conv 4 f3 | fc 2", (3, 8, 8), None, seed=7)
    other = drawn_from_words("conv 4 f3 | fc 2", (3, 8, 8), None, seed=7)
    assert torch.equal(torch.rand(2), expected)
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
