"""A step that is given up leaves no trace, not even in the statistics that its forward pass has changed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saccade.core.errors import ConfigError
from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.run import leave_out_branches
from saccade.train.step import TrainingStep

GREY = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))


def make_step() -> TrainingStep:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1)
    return TrainingStep(network, RunConfig().with_overrides(["batch_size=8"]), GREY, runtime)


def make_batch() -> Batch:
    draw = np.random.default_rng(0)
    image_BCHW = torch.from_numpy(draw.integers(0, 256, (8, 1, 8, 8), dtype=np.uint8))
    return Batch(image_BCHW=image_BCHW, target=torch.arange(8) % 3, index_B=np.arange(8))


def everything(step: TrainingStep) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in step.model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_step_whose_loss_is_not_finite_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    step = make_step()
    assert step.run(make_batch(), 0, 1.0)
    before, real = everything(step), step._inputs
    monkeypatch.setattr(step, "_inputs", lambda image_BCHW: real(image_BCHW) * float("inf"))
    assert not step.run(make_batch(), 1, 1.0)
    assert equal(everything(step), before)
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in step.model.parameters())
    monkeypatch.undo()
    assert step.run(make_batch(), 1, 1.0)  # and training goes on from there
    assert not equal(everything(step), before)
    assert all(torch.isfinite(value).all() for value in everything(step).values())


def test_stochastic_depth_is_taken_from_the_configuration_and_follows_from_the_seed_and_the_step():
    colours = Preprocessing(input_height_px=32, input_width_px=32)
    draw = np.random.default_rng(0)
    image_BCHW = torch.from_numpy(draw.integers(0, 256, (8, 3, 32, 32), dtype=np.uint8))
    batch = Batch(image_BCHW=image_BCHW, target=torch.arange(8) % 3, index_B=np.arange(8))
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1)

    def stepped(settings: list[str], step: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = build_model("mobilenetv3-small", ModelSpec(num_classes=3, input_CHW=(3, 32, 32)))
        config = RunConfig().with_overrides(["batch_size=8", *settings])
        leave_out_branches(model, config)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        training = TrainingStep(model, config, colours, runtime)
        assert training.run(batch, step, 1.0)
        return everything(training)

    asked = ["stochastic_depth=0.5"]
    assert equal(stepped(asked, 3), stepped(asked, 3))
    assert not equal(stepped(asked, 3), stepped(asked, 4))
    assert equal(stepped([], 3), stepped(["stochastic_depth=0"], 4))  # the network itself leaves nothing out


def test_stochastic_depth_where_no_block_can_be_left_out_is_refused():
    model = build_model("resnet20", ModelSpec(num_classes=3, input_CHW=(3, 32, 32)))
    with pytest.raises(ConfigError) as error:
        leave_out_branches(model, RunConfig(model="resnet20", stochastic_depth=0.2))
    assert error.value.message == (
        "'stochastic_depth' 0.2 leaves out branches of residual blocks, and resnet20 has none that can be left out.\n"
        "Leave the value out, or take a network that has it: a ConvNeXt, EfficientNet or MobileNetV4."
    )


def test_a_step_repeated_in_parts_counts_its_images_once_in_the_statistics(monkeypatch: pytest.MonkeyPatch):
    failing, parted = make_step(), make_step()
    parted.num_micro_batches = 2
    real: Callable = failing._loss

    def loss(image_BCHW: torch.Tensor, *others: Any) -> Any:
        found = real(image_BCHW, *others)  # memory runs out behind the forward pass, as it mostly does
        if len(image_BCHW) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return found

    monkeypatch.setattr(failing, "_loss", loss)
    assert failing.run(make_batch(), 0, 1.0)
    assert parted.run(make_batch(), 0, 1.0)
    assert failing.num_micro_batches == 2
    assert equal(everything(failing), everything(parted))
