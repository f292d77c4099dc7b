"""The contestants of the frozen pass come to the same features, whatever their batch."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saccade.models.architecture import ModelSpec, build_model

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def frozen_pass(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY)
    return importlib.import_module("benchmarks.frozen_pass")


@pytest.mark.parametrize("network", ["mobilenetv3-small", "convnext-atto"])
def test_all_ways_give_the_same_features(frozen_pass: Any, network: str):
    image_NCHW = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    features = {}
    for kind, build in frozen_pass.PASSES.items():
        torch.manual_seed(0)
        model = build_model(network, ModelSpec(num_classes=10, input_CHW=(3, 32, 32))).eval()
        features[kind] = build(model, image_NCHW, 2, 1)().float().numpy()
    scale = np.abs(features["plain"]).max()
    assert features["plain"].shape[0] == 5
    assert features["plain"].std(0).max() > 1e-3 * scale  # images differ
    exactness = (
        0.05
        if importlib.import_module("benchmarks.train_throughput").find_precision(torch.device("cpu")) == torch.bfloat16
        else 1e-5
    )
    for kind in ("by hand", "ours"):
        np.testing.assert_allclose(features[kind] / scale, features["plain"] / scale, atol=exactness)


def test_a_line_names_both_ratios_and_the_batch_of_the_loop_by_hand(frozen_pass: Any):
    ratio = {"median": 1.2, "low": 1.1, "high": 1.3}
    result = {"images_per_second": {"ours": 40.04}, "ours_over_plain": ratio, "ours_over_by_hand": ratio}
    line = frozen_pass.table_row("convnext-atto", result | {"batch_by_hand": 8, "difference": 1.25e-6})
    assert line.split() == "convnext-atto 40.0 1.20 (1.10 to 1.30) 1.20 (1.10 to 1.30) 8 1.25e-06".split()
