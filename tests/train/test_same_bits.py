"""A run's bits do not depend on how many processes computed it, nor on how many of them went on after a save."""

import importlib
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.group import run_group

from saccade.data.augmentation import AUGMENTATIONS, Mixing
from saccade.train.config import AverageConfig, LossConfig, OptimizerConfig, ScheduleConfig

REPOSITORY = Path(__file__).parent.parent.parent
WORLDS = (1, 2, 3)


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY)
    return importlib.import_module("campaigns.lanes")


def test_one_two_and_three_processes_give_the_same_bits_with_every_way_to_train(lanes: Any):
    arguments = ["-m", "campaigns.lanes", "--child", "--threads", "1", "--cases", *lanes.CASES]
    said = {number: [json.loads(text) for text in run_group(arguments, number, REPOSITORY)] for number in WORLDS}
    assert lanes.differences(said) == []
    assert list(said[1][0]) == list(lanes.CASES)
    assert len(set(said[1][0].values())) == len(lanes.CASES)  # and each way is another one


def test_a_run_that_goes_on_with_fewer_and_fewer_processes_ends_in_the_bits_of_one(lanes: Any, tmp_path: Path):
    """Saved in mid-epoch, by four, three and two; images grow, and memory runs out on the way."""

    def part(world_size: int, first: int, last: int, name: str) -> list[dict[str, str]]:
        (tmp_path / name).mkdir(exist_ok=True)
        place = ["--steps", first, last, "--folder", tmp_path / name]
        said = run_group(["-m", "campaigns.lanes", "--child", "--threads", "1", *place], world_size, REPOSITORY)
        return [json.loads(text) for text in said]

    whole = part(1, 0, 12, "one")[0]
    assert list(whole) == list(lanes.ELASTIC)
    for world_size, first, last in ((4, 0, 2), (3, 2, 5), (2, 5, 8), (1, 8, 12)):
        said = part(world_size, first, last, "fewer")
        assert said == [said[0]] * world_size
    assert said[0] == whole


def test_every_way_to_train_that_a_recipe_can_ask_for_is_among_those_compared(lanes: Any):
    configs = [case.config() for case in (lanes.CASES | lanes.ELASTIC).values()]
    assert {config.optimizer.name for config in configs} == set(
        get_args(OptimizerConfig.model_fields["name"].annotation)
    )
    assert {config.schedule.name for config in configs} == set(get_args(ScheduleConfig.model_fields["name"].annotation))
    only_numbers = {
        *("optimizer.second_momentum", "optimizer.rmsprop_decay", "optimizer.muon_iterations", "optimizer.name"),
        *("optimizer.other_momentum", "optimizer.other_weight_decay", "loss.negative_margin"),
    }
    for prefix, kind in (("optimizer", OptimizerConfig), ("loss", LossConfig), ("average", AverageConfig)):
        for name in kind.model_fields:
            usual = getattr(kind(), name)
            is_varied = any(getattr(getattr(config, prefix), name) != usual for config in configs)
            assert is_varied or f"{prefix}.{name}" in only_numbers, f"{prefix}.{name}"
    mixing = {name for name in AUGMENTATIONS if isinstance(AUGMENTATIONS.get(name), Mixing)}
    assert mixing
    assert {entry.name for config in configs for entry in config.augment.active()} >= mixing
