"""Which parameters an optimizer steps: every one that is trained, once, at the rate of its part."""

import pytest

from saccade.models.base import ModelSpec, build_model
from saccade.train.config import OptimizerConfig
from saccade.train.optim import build_optimizers

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
