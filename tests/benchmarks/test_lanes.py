"""The benchmark of lanes: its contestants take the same images a step, whoever computes which."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saccade.core.ranks import _CURRENT, Ranks

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY)
    return importlib.import_module("benchmarks.lanes")


def test_the_processes_of_a_contestant_share_the_images_of_one(lanes: Any):
    training, whole = lanes.begin("lenet5", 32, 22, 1, 8, True)
    assert training.run(whole, 0, 1.0)
    assert int(training.totals.num_seen) == 22
    parts = []
    for rank in range(3):
        token = _CURRENT.set(Ranks(rank=rank, world_size=3))
        try:
            parts.append(lanes.begin("lenet5", 32, 22, 1, 8, True)[1])
        finally:
            _CURRENT.reset(token)
    assert np.concatenate([part.index_B for part in parts]).tolist() == whole.index_B.tolist()
    assert torch.equal(torch.cat([part.image_BCHW for part in parts]), whole.image_BCHW)
    assert sum((part.lane_sizes for part in parts), ()) == whole.lane_sizes


def test_every_contestant_has_a_name_of_its_own(lanes: Any):
    assert len(lanes.contestants_of(lanes.SETTINGS[0], 2, 2, {})) == 5
