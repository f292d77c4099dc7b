"""Which parameters an optimizer steps: every one that is trained, once, at the rate of its part."""

import pytest
import torch
from torch import nn

from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.models.surgery import cut, freeze
from saccade.train.config import OptimizerConfig
from saccade.train.optimizers import build_optimizers, is_matrix
from saccade.train.update_rules import Muon

SMALL = ModelSpec(num_classes=2, input_CHW=(3, 64, 64))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_side_branches_are_trained_too_at_the_rate_of_the_last_layer(optimizer: str, factor: float):
    model = build_model("googlenet", SMALL)
    config = OptimizerConfig(name=optimizer, layer_rate_factor=factor, learning_rate=0.1, other_learning_rate=0.1)
    groups = build_optimizers(model, config)
    rate_of = {id(parameter): group.peak_rate for group in groups for parameter in group.parameters}
    assert len(rate_of) == sum(len(group.parameters) for group in groups)
    rates = {name: rate_of[id(parameter)] for name, parameter in model.named_parameters()}
    last = {rate for name, rate in rates.items() if name.startswith(("auxiliary.", "head."))}
    [first] = {rate for name, rate in rates.items() if name.startswith("stem.")}
    assert last == {0.1}
    assert first == pytest.approx(0.1 * factor**4)  # behind it: three stages and the last layer


def test_a_tail_by_itself_is_trained_at_the_rates_that_its_parts_have_in_the_network():
    """Tails stand for the fine-tuning behind a depth, so they follow its rates."""
    model, config = build_model("mobilenetv3-small", SMALL), OptimizerConfig(layer_rate_factor=0.5, learning_rate=0.1)
    freeze(model, "stage2")
    tail = nn.Sequential(*cut(model, "stage2").live)
    whole, alone = (
        {id(parameter): group.peak_rate for group in groups for parameter in group.parameters}
        for groups in (build_optimizers(model, config), build_optimizers(tail, config, parts=tail.children()))
    )
    assert alone == whole
    assert len({*alone.values()}) > 3


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_network_has_its_biases_and_normalisations_decayed(name: str):
    with torch.device("meta"):
        model = build_model(name, MODELS.get(name).default_spec)
    groups = build_optimizers(model, OptimizerConfig(name="sgd", weight_decay=0.1))
    decayed = {id(parameter) for group in groups if group.weight_decay for parameter in group.parameters}
    for path, parameter in model.named_parameters():
        is_one_a_channel = parameter.numel() == parameter.shape[0] and "weight" not in path.rpartition(".")[2]
        if is_one_a_channel or parameter.ndim < 2:
            assert id(parameter) not in decayed, path


def test_what_has_one_number_a_channel_is_no_matrix():
    assert not is_matrix(torch.zeros(6))
    assert not is_matrix(torch.zeros(6, 1, 1))
    assert not is_matrix(torch.zeros(6, 1, 1, 1))
    assert is_matrix(torch.zeros(6, 1))  # a dense layer's, of one feature
    assert is_matrix(torch.zeros(6, 1, 3, 3))


def test_muon_leaves_a_bank_of_zeros_finite():
    parameter = nn.Parameter(torch.zeros(4, 3))
    slots = {"momentum_buffer": [torch.zeros(4, 3)]}
    with torch.no_grad():
        Muon(0.9, torch.float32, unit_filters=True).step([parameter], [torch.zeros(4, 3)], slots, 0.1, 0.0)
    assert torch.equal(parameter, torch.zeros(4, 3))
