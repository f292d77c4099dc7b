"""A batch computed in parts by one core each gives the gradients of the batch, and only where it may."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.layers import StochasticDepth
from saccade.models.new_head import SignedLog
from saccade.train.config import RunConfig
from saccade.train.core_by_core import can_part, gradients_of_parts, num_parts
from saccade.train.step import TrainingStep

CPU = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=2)
SPEC = ModelSpec(num_classes=3, input_CHW=(3, 64, 64))
RGB = Preprocessing(channels="rgb", input_height_px=64, input_width_px=64, mean=(0.5,) * 3, std=(0.25,) * 3)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def test_the_parts_add_up_to_the_gradient_of_the_batch():
    network = small_network()
    draw = torch.Generator().manual_seed(1)
    image_BCHW, label_B = torch.randn(11, 3, 8, 8, generator=draw), torch.arange(11) % 3
    exact = copy.deepcopy(network).double()
    functional.cross_entropy(exact(image_BCHW.double()), label_B).backward()
    unused = nn.Parameter(torch.zeros(2))
    still = nn.Parameter(torch.zeros(2), requires_grad=False)
    seen: list[int] = []

    def part(place: slice) -> tuple[torch.Tensor, torch.Tensor]:
        logits_BK, own_B = network(image_BCHW[place]), label_B[place]
        seen.append(torch.get_num_threads())
        return functional.cross_entropy(logits_BK, own_B, reduction="sum") / 11, (logits_BK.argmax(1) == own_B).sum()

    threads_before = torch.get_num_threads()
    loss, num_right = gradients_of_parts(part, 11, [*network.parameters(), unused, still], CPU)
    assert seen == [1, 1]
    assert torch.get_num_threads() == threads_before
    with torch.no_grad():
        logits_BK = exact(image_BCHW.double())
    assert float(loss) == pytest.approx(float(functional.cross_entropy(logits_BK, label_B)), abs=1e-6)
    assert int(num_right) == int((logits_BK.argmax(1) == label_B).sum())
    for parameter, wanted in zip(network.parameters(), exact.parameters(), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()
        torch.testing.assert_close(parameter.grad.double(), wanted.grad, rtol=0, atol=1e-6)
    assert unused.grad is None
    assert still.grad is None


def test_what_goes_wrong_in_a_part_is_raised():
    def part(place: slice) -> tuple[torch.Tensor, torch.Tensor]:
        raise MemoryError(f"from {place.start}")

    with pytest.raises(MemoryError, match="from 0"):
        gradients_of_parts(part, 8, list(small_network().parameters()), CPU)


@pytest.mark.parametrize(
    ("layers", "may"),
    [
        ((nn.Conv2d(3, 4, 3), nn.ReLU(), nn.LayerNorm(4), SignedLog()), True),
        ((nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), False),
        ((nn.Dropout(0.0), StochasticDepth(0.0)), True),
        ((nn.Dropout(0.2),), False),
        ((nn.Sequential(nn.ReLU(), StochasticDepth(0.1)),), False),
        ((type("OfAStranger", (nn.Module,), {"__module__": "stranger"})(),), False),
    ],
)
def test_only_layers_that_see_each_image_alone_are_computed_apart(layers: tuple[nn.Module, ...], may: bool):
    assert can_part(layers, CPU) == may


def test_a_part_has_four_images_and_many_cores_share_layers_as_before():
    assert [num_parts(num_images, CPU) for num_images in (1, 7, 8, 32)] == [1, 1, 2, 2]
    for num_threads in (1, 5):
        runtime = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=num_threads)
        assert not can_part((nn.ReLU(),), runtime)


def test_a_step_behind_a_frozen_part_learns_what_one_core_learns():
    config = RunConfig().with_overrides(["model=squeezenet1.1+linear", "batch_size=9", "transfer.frozen=stage2"])
    image_BCHW = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 3, 64, 64), dtype=np.uint8))
    batch = Batch(image_BCHW=image_BCHW, target=torch.arange(9) % 3, index_B=np.arange(9))
    found = []
    for num_threads in (1, 2, 2):
        torch.manual_seed(0)
        network = build_model("squeezenet1.1", SPEC)
        network.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 3))
        runtime = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=num_threads)
        step = TrainingStep(network, config, RGB, runtime)
        step.set_epoch(0)
        assert step.run(batch, 0, 1.0)
        found.append(network.state_dict())
    alone, apart, again = found
    for name, value in alone.items():
        torch.testing.assert_close(apart[name], value, rtol=0, atol=2e-5)
        assert torch.equal(apart[name], again[name])
