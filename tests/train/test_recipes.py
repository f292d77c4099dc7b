"""Recipes: complete headers, values that hold, one recipe for a network."""

from collections import Counter

import pytest

from saccade.models.architecture import MODELS, build_model
from saccade.train.recipes import all_recipes, recipe_for


@pytest.mark.parametrize("name", all_recipes())
def test_a_recipe_says_where_it_comes_from_and_its_values_hold(name: str):
    recipe = all_recipes()[name]
    header = recipe.header
    assert 20 <= len(header.summary) <= 130
    assert any(character.isdigit() for character in header.source), "a source has a year"
    assert header.command.startswith(("saccade train ", "saccade transfer "))
    assert header.hardware
    assert header.time
    assert header.result
    taught = {"distill": {"teachers": ["run"]}} if name == "distill" else {}
    assert recipe.config("digits", None, taught).recipe == name
    for model in header.models:
        assert model in MODELS
        assert recipe_for(model).name == name


def test_no_network_has_two_recipes():
    counts = Counter(model for recipe in all_recipes().values() for model in recipe.header.models)
    assert set(counts.values()) == {1}


def test_the_speedrun_takes_its_own_recipe_with_the_records_rates():
    config = recipe_for("speedrun").config("digits", None)
    record_batch, bias_rate, decay = 2000, 0.053, 2e-6  # airbench94_muon.py, for the sum of the losses
    batch, rate = config.batch_size, config.optimizer.other_learning_rate
    assert batch == 500
    assert config.optimizer.learning_rate == pytest.approx(0.24 * (batch / record_batch) ** 0.5)
    assert rate == pytest.approx(bias_rate * batch)
    assert rate * config.optimizer.other_weight_decay == pytest.approx(decay * batch, rel=0.01)
    network = build_model("speedrun", MODELS.get("speedrun").default_spec)
    scale = network.head.get_submodule("scale").factor
    deviation = float(network.head.get_submodule("dense").weight.detach().std())
    head_rate, record_scale = 0.67 * batch, 1 / 256
    assert deviation * scale == pytest.approx(record_scale, rel=0.05)  # the same logits at the start
    # A weight that is smaller by c with an output larger by 1/c moves alike at c * c times the rate.
    assert config.optimizer.other_learning_rate == pytest.approx(head_rate * (record_scale / scale) ** 2, rel=0.05)
