"""A run's bits do not depend on how many processes computed it, nor on how many of them went on after a save."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.group import run_group

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
