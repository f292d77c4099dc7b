"""RegNetY: the widths that the paper prints, one block by hand, and the names of the public files."""

import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, norm, with_bias

from saccade.models.zoo.regnet import CONFIGS, RegNetBlock, block_widths

# Blocks and widths of the four stages: the paper's appendix; for the last two torchvision's networks.
STAGES = {
    "400mf": ((1, 48), (3, 104), (6, 208), (6, 440)),
    "800mf": ((1, 64), (3, 128), (8, 320), (2, 768)),
    "1.6gf": ((2, 48), (6, 120), (17, 336), (2, 888)),
    "3.2gf": ((2, 72), (5, 216), (13, 576), (1, 1512)),
    "8gf": ((2, 168), (4, 448), (10, 896), (1, 2016)),
    "16gf": ((2, 224), (4, 448), (11, 1232), (1, 3024)),
    "800mf-torchvision": ((1, 64), (3, 144), (8, 320), (2, 784)),
    "8gf-torchvision": ((2, 224), (4, 448), (10, 896), (1, 2016)),
}


@pytest.mark.parametrize("size", CONFIGS)
def test_the_line_gives_the_widths_of_the_paper(size: str):
    assert block_widths(CONFIGS[size]) == [width for count, width in STAGES[size] for _ in range(count)]


def test_the_shortcut_joins_what_the_channels_weights_have_passed():
    torch.manual_seed(0)
    block = RegNetBlock(8, 16, 2, 4).double().eval()
    assert block.convolution2.convolution.groups == 4
    assert block.excitation.reduce.weight.shape == (2, 16, 1, 1), "a quarter of what came into the block"
    map_BCHW = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    filtered_BCHW = block.convolution2(block.convolution1(map_BCHW).relu()).relu()
    torch.nn.init.zeros_(block.excitation.expand.weight)
    torch.nn.init.constant_(block.excitation.expand.bias, 0.0)  # whose sigmoid is one half
    expected_BCHW = (block.convolution3(filtered_BCHW / 2) + block.shortcut(map_BCHW)).relu()
    torch.testing.assert_close(block(map_BCHW), expected_BCHW)
    assert expected_BCHW.shape == (2, 16, 4, 4)


def torchvisions(size: str) -> Shapes:
    theirs: Shapes = {"stem.0.weight": (32, 3, 3, 3), **norm("stem.1", 32)}
    for place, layer, shape, channels in blocks(size):
        stage, block = place
        start = f"trunk_output.block{stage}.block{stage}-{block}"
        if layer.startswith("se"):
            theirs |= with_bias(f"{start}.f.se.fc{layer[-1]}", *shape)
        else:
            name = {"1": "f.a", "2": "f.b", "3": "f.c", "shortcut": "proj"}[layer]
            theirs |= {f"{start}.{name}.0.weight": shape, **norm(f"{start}.{name}.1", channels)}
    return theirs | with_bias("fc", 1000, STAGES[size][-1][1])


def timms(size: str) -> Shapes:
    theirs: Shapes = {"stem.conv.weight": (32, 3, 3, 3), **norm("stem.bn", 32)}
    for place, layer, shape, channels in blocks(size):
        start = f"s{place[0]}.b{place[1] + 1}"
        if layer.startswith("se"):
            theirs |= with_bias(f"{start}.se.fc{layer[-1]}", *shape)
        else:
            name = "downsample" if layer == "shortcut" else f"conv{layer}"
            theirs |= {f"{start}.{name}.conv.weight": shape, **norm(f"{start}.{name}.bn", channels)}
    return theirs | with_bias("head.fc", 1000, STAGES[size][-1][1])


def blocks(size: str) -> list[tuple[tuple[int, int], str, tuple[int, ...], int]]:
    """Every layer of every block: its (stage, block), its name, the shape of its weight, and its channels."""
    layers: list[tuple[tuple[int, int], str, tuple[int, ...], int]] = []
    before, group = 32, CONFIGS[size].group_width
    for stage, (count, width) in enumerate(STAGES[size], start=1):
        for block in range(count):
            place = (stage, block)
            layers += [
                (place, "1", (width, before, 1, 1), width),
                (place, "2", (width, group, 3, 3), width),
                (place, "se1", (before // 4, width, 1, 1), 0),
                (place, "se2", (width, before // 4, 1, 1), 0),
                (place, "3", (width, width, 1, 1), width),
            ]
            if block == 0:
                layers.append((place, "shortcut", (width, before, 1, 1), width))
            before = width
    return layers


@pytest.mark.parametrize("size", CONFIGS)
def test_every_tensor_of_the_public_files_has_its_place(size: str):
    for theirs in (torchvisions(size), timms(size)):
        check_every_tensor_has_its_place(f"regnety-{size}", theirs)
