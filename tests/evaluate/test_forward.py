"""Every judged image counts exactly once and gives the same answer, whatever it is batched with."""

import numpy as np
import pytest
import torch

from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import open_source
from saccade.evaluate.forward import Outputs, collect_outputs
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

INDEX_N = np.array([1700, *range(0, 101, 2), 3])  # 53 images, a number that no batch size here divides
PREPROCESSING = Preprocessing(
    channels="grey", resize_px=None, input_height_px=16, input_width_px=16, mean=(0.3,), std=(0.3,)
)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """A network with batch normalisation and dropout, which both do something else in training."""
    torch.manual_seed(0)
    line = "conv 8 f3 same bn | pool | dropout 0.5 | conv 16 f3 same bn | gap"
    network = resolve_model(line, ModelSpec(num_classes=10, input_CHW=(1, 16, 16)))
    network.train()
    for _ in range(3):
        network(torch.randn(32, 1, 16, 16) * 2 + 1)  # statistics that are not those of any batch
    return network


def judged(model: torch.nn.Module, batch_size: int) -> Outputs:
    loader_config = LoaderConfig(batch_size=batch_size)
    runtime = start(RuntimeConfig(device="cpu", num_threads=1))
    source = open_source("digits")
    model.train()
    with build_loader(source, INDEX_N, PREPROCESSING, AugmentConfig(), loader_config, seed=5) as loader:
        return collect_outputs(model, loader, PREPROCESSING, runtime, torch.float32)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_each_image_is_judged_once_in_order_and_alike_in_every_batch(model: torch.nn.Module, batch_size: int):
    outputs = judged(model, batch_size)
    assert outputs.index_N.tolist() == INDEX_N.tolist()
    source = open_source("digits")
    assert outputs.label_N.tolist() == [source.record(int(index)).label for index in INDEX_N]
    assert not model.training
    np.testing.assert_allclose(outputs.logits_NK, judged(model, 53).logits_NK, atol=1e-5)
