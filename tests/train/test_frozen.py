"""Frozen parts of a network with batch normalisation keep every bit while the rest is trained, statistics included."""

import numpy as np
import pytest
import torch

from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.surgery import cut
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

RGB = Preprocessing(channels="rgb", input_height_px=32, input_width_px=32, mean=(0.5,) * 3, std=(0.25,) * 3)
CPU = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1)


def begin(settings: list[str]) -> TrainingStep:
    torch.manual_seed(0)
    model = build_model("resnet20", ModelSpec(num_classes=3, input_CHW=(3, 32, 32)))
    return TrainingStep(model, RunConfig().with_overrides(["model=resnet20", "batch_size=8", *settings]), RGB, CPU)


def take_steps(step: TrainingStep, epoch: int) -> None:
    draw = np.random.default_rng(epoch)
    step.set_epoch(epoch)
    for number in range(2):
        image_BCHW = torch.from_numpy(draw.integers(0, 256, (8, 3, 32, 32), dtype=np.uint8))
        batch = Batch(image_BCHW=image_BCHW, target=torch.arange(8) % 3, index_B=np.arange(8))
        assert step.run(batch, 2 * epoch + number, 1.0)


def state(modules: tuple[torch.nn.Module, ...]) -> dict[str, torch.Tensor]:
    return {
        f"{number}.{name}": value.clone()
        for number, module in enumerate(modules)
        for name, value in module.state_dict().items()
    }


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("depth", ["stem", "stage1", "stage2", "all"])
def test_what_is_frozen_keeps_its_statistics_and_what_is_not_gathers_new_ones(depth: str):
    step = begin([f"transfer.frozen={depth}"])
    parts = cut(step.model, depth)
    frozen, live = state(parts.frozen), state(parts.live)
    assert any(name.endswith("running_mean") for name in frozen)
    take_steps(step, 0)
    assert not changed(frozen, state(parts.frozen))
    moved = changed(live, state(parts.live))
    assert moved >= {name for name in live if name.endswith(("running_mean", "running_var"))}
    assert any(name.endswith("weight") for name in moved)


def test_parts_that_wait_to_be_thawed_keep_their_statistics_until_their_turn():
    step = begin(["transfer.frozen=stem", "transfer.thaw_fraction=1.0", "epochs=4"])
    parts = cut(step.model, "stem")
    seen: list[int] = []
    for epoch in range(4):
        before = [state((module,)) for module in parts.live]
        take_steps(step, epoch)
        after = [state((module,)) for module in parts.live]
        moved = [bool(changed(one, other)) for one, other in zip(before, after, strict=True) if one]
        assert moved == sorted(moved)  # from some part on, all of them
        seen.append(sum(moved))
    assert seen == sorted(seen)
    assert seen[0] == 1 < seen[-1]
