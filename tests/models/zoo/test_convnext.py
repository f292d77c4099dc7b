"""ConvNeXt: a block against a computation by hand, its rates, its rows in the table, and the names of public files."""

from math import erf, sqrt

import numpy as np
import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, with_bias

from saccade.conv import reference
from saccade.conv.geometry import Window
from saccade.design.desk import TableRequest, draw_table
from saccade.models.architecture import MODELS, build_model
from saccade.models.zoo.convnext import CONFIGS, Block, ChannelNorm, ConvNeXtConfig, stochastic_depth_rates


def test_a_block_is_what_figure_4_says():
    torch.manual_seed(0)
    block = Block(6, stochastic_depth=0.5).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    tensors = {name: tensor.detach().numpy() for name, tensor in block.branch.named_parameters()}
    map_BCHW = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    image, window = map_BCHW.numpy(), (Window(7, padding=3),) * 2
    filtered = reference.cross_correlate(image, tensors["depthwise.weight"], window, groups=6)
    filtered += tensors["depthwise.bias"][:, None, None]
    mean, variance = filtered.mean(1, keepdims=True), filtered.var(1, keepdims=True)
    normal = (filtered - mean) / np.sqrt(variance + 1e-6) * tensors["norm.weight"][:, None, None]
    normal += tensors["norm.bias"][:, None, None]
    wide = np.einsum("oc,bchw->bohw", tensors["expand.weight"][:, :, 0, 0], normal)
    wide += tensors["expand.bias"][:, None, None]
    wide *= (1 + np.vectorize(erf)(wide / sqrt(2))) / 2
    narrow = np.einsum("oc,bchw->bohw", tensors["project.weight"][:, :, 0, 0], wide)
    narrow += tensors["project.bias"][:, None, None]
    expected = image + narrow * tensors["scale.factor"][:, None, None]
    np.testing.assert_allclose(block(map_BCHW).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_fresh_block_changes_next_to_nothing():
    torch.manual_seed(0)
    map_BCHW = torch.randn(2, 8, 6, 6)
    change = (Block(8, 0)(map_BCHW) - map_BCHW).detach().abs().max()
    assert 0 < float(change) < 1e-4


def test_channels_are_normalised_alike_in_both_memory_layouts():
    torch.manual_seed(0)
    layer, map_BCHW = ChannelNorm(5), torch.randn(2, 5, 3, 4)
    assert torch.equal(layer(map_BCHW), layer(map_BCHW.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize(("name", "last"), [("atto", 0), ("tiny", 0.1), ("small", 0.4), ("base", 0.5)])
def test_stochastic_depth_rises_evenly_to_the_rate_of_table_5(name: str, last: float):
    config = next(config for config in CONFIGS if config.name == name)
    rates = stochastic_depth_rates(config)
    np.testing.assert_allclose(rates, np.linspace(0, last, sum(config.blocks)), atol=1e-12)
    with torch.device("meta"):
        model = build_model(f"convnext-{name}", MODELS.get(f"convnext-{name}").default_spec)
    assert [m.branch.stochastic_depth.probability for m in model.modules() if isinstance(m, Block)] == rates


def test_the_table_shows_what_a_block_costs():
    """By hand, 56x56 positions of 40 channels: 49 products a channel, then 40 to 160 and back."""
    table = draw_table("convnext-atto", TableRequest(input_CHW=(3, 224, 224), num_classes=1000))
    start = "stages.stage1.block1"
    rows = [
        (layer.name.removeprefix(start), layer.kind, layer.output, layer.parameters, layer.multiply_adds, layer.folded)
        for layer in table.layers
        if layer.name.startswith(f"{start}.")
    ]
    assert rows == [
        (".branch.depthwise", "depthwise conv", (40, 56, 56), 40 * 49 + 40 + 80, 3136 * 40 * 49, ("norm",)),
        (".branch.expand", "conv", (160, 56, 56), 6400 + 160, 3136 * 6400, ("gelu",)),
        (".branch.project", "conv", (40, 56, 56), 6400 + 40 + 40, 3136 * 6400, ("layer scale",)),
        (".add", "add", (40, 56, 56), 0, 0, ()),
    ]
    assert table.totals.jump == (32, 32)


def torchvisions(config: ConvNeXtConfig) -> Shapes:
    theirs = with_bias("features.0.0", config.channels[0], 3, 4, 4) | with_bias("features.0.1", config.channels[0])
    for stage, (count, channels) in enumerate(zip(config.blocks, config.channels, strict=True)):
        if stage:
            before = config.channels[stage - 1]
            theirs |= with_bias(f"features.{2 * stage}.0", before)
            theirs |= with_bias(f"features.{2 * stage}.1", channels, before, 2, 2)
        for block in range(count):
            place = f"features.{2 * stage + 1}.{block}"
            theirs[f"{place}.layer_scale"] = (channels, 1, 1)
            theirs |= with_bias(f"{place}.block.0", channels, 1, 7, 7) | with_bias(f"{place}.block.2", channels)
            theirs |= with_bias(f"{place}.block.3", 4 * channels, channels)
            theirs |= with_bias(f"{place}.block.5", channels, 4 * channels)
    return theirs | with_bias("classifier.0", channels) | with_bias("classifier.2", 1000, channels)


def timms(config: ConvNeXtConfig) -> Shapes:
    """Those of the small networks: the dense layers of a block are 1x1 convolutions."""
    theirs = with_bias("stem.0", config.channels[0], 3, 4, 4) | with_bias("stem.1", config.channels[0])
    for stage, (count, channels) in enumerate(zip(config.blocks, config.channels, strict=True)):
        if stage:
            before = config.channels[stage - 1]
            theirs |= with_bias(f"stages.{stage}.downsample.0", before)
            theirs |= with_bias(f"stages.{stage}.downsample.1", channels, before, 2, 2)
        for block in range(count):
            place = f"stages.{stage}.blocks.{block}"
            theirs[f"{place}.gamma"] = (channels,)
            theirs |= with_bias(f"{place}.conv_dw", channels, 1, 7, 7) | with_bias(f"{place}.norm", channels)
            theirs |= with_bias(f"{place}.mlp.fc1", 4 * channels, channels, 1, 1)
            theirs |= with_bias(f"{place}.mlp.fc2", channels, 4 * channels, 1, 1)
    return theirs | with_bias("head.norm", channels) | with_bias("head.fc", 1000, channels)


def authors(config: ConvNeXtConfig) -> Shapes:
    """Those of the paper's repository (github.com/facebookresearch/ConvNeXt)."""
    theirs: Shapes = {}
    for stage, (count, channels) in enumerate(zip(config.blocks, config.channels, strict=True)):
        place = f"downsample_layers.{stage}"
        before = config.channels[stage - 1]
        theirs |= (
            with_bias(f"{place}.1", channels, before, 2, 2) if stage else with_bias(f"{place}.0", channels, 3, 4, 4)
        )
        theirs |= with_bias(f"{place}.0", before) if stage else with_bias(f"{place}.1", channels)
        for block in range(count):
            inside = f"stages.{stage}.{block}"
            theirs[f"{inside}.gamma"] = (channels,)
            theirs |= with_bias(f"{inside}.dwconv", channels, 1, 7, 7) | with_bias(f"{inside}.norm", channels)
            theirs |= with_bias(f"{inside}.pwconv1", 4 * channels, channels)
            theirs |= with_bias(f"{inside}.pwconv2", channels, 4 * channels)
    return theirs | with_bias("norm", channels) | with_bias("head", 1000, channels)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_tensor_of_the_public_files_has_its_place(config: ConvNeXtConfig):
    for theirs in (torchvisions(config), timms(config), authors(config)):
        check_every_tensor_has_its_place(f"convnext-{config.name}", theirs)
