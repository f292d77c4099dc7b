"""Training on a GPU, without one: torch's "meta" device has shapes and no values.

A step that mixed it with the processor's tensors, or that asked a tensor for its value and so made the processor wait
for the GPU, fails there. Both are what only a machine with a GPU would show otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn import functional

from saccade.core import torch_private
from saccade.core.errors import ModelError
from saccade.core.runtime import Runtime, RuntimeConfig, start
from saccade.core.types import Batch, Preprocessing
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.augmenter import Augmenter
from saccade.data.loading.on_device import ResidentSet
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

META = torch.device("meta")
SIDES_PX = (32, 64, 224)  # the first one that a network takes
NOTATION = "conv 8 f3 same | lrn | pool | fc 64"
NETWORKS = (
    "alexnet convnet-b googlenet inception-block lenet5 lenet5-1998 mobilenetv2 nin resnet18 resnet20 resnet50".split()
)
NETWORKS += [*"speedrun squeezenet1.1 vgg11-bn".split(), NOTATION]
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "muon")
SETTINGS = (
    *(f"optimizer.name={name}" for name in OPTIMIZERS),
    "optimizer.name=muon optimizer.unit_filters=true",
    "optimizer.clip_norm=1",
    "optimizer.stem_fraction=0.5",
    "accumulate=2",
    "average.decay=0.99 average.every_steps=1 average.lookahead=true",
    "loss.label_smoothing=0.1",
    "input.start_fraction=0.5",
)


class WithoutValues(Runtime):
    """A machine whose GPU computes shapes."""

    @contextmanager
    def arithmetic(self, precision: torch.dtype | None = None) -> Iterator[None]:
        yield


RUNTIME = WithoutValues(device=META, precision=torch.float32, num_threads=1)


@pytest.fixture(autouse=True)
def _fused_kernels_check_their_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has none for this device; on a GPU they want every tensor there."""

    def check(*lists: list[torch.Tensor], **numbers: object) -> None:  # noqa: ARG001
        assert {tensor.device for tensors in lists for tensor in tensors} == {META}

    for name in ("fused_sgd_", "fused_adam_", "fused_adamw_"):
        monkeypatch.setattr(torch_private, name, check)


def make_training(name: str, settings: str = "") -> TrainingStep:
    config = RunConfig().with_overrides([f"model={name}", "batch_size=4", *settings.split()])
    for side_px in SIDES_PX:
        pixels = Preprocessing(
            channels="rgb", input_height_px=side_px, input_width_px=side_px, mean=(0.5,) * 3, std=(0.5,) * 3
        )
        try:
            network = resolve_model(name, ModelSpec(num_classes=10, input_CHW=pixels.input_CHW))
        except ModelError:
            continue
        return TrainingStep(network, config, pixels, RUNTIME)
    raise AssertionError(f"{name} takes no image of {SIDES_PX} pixels")


def take_steps(training: TrainingStep, target: torch.Tensor) -> None:
    image_BCHW = torch.zeros(4, *training.preprocessing.input_CHW, dtype=torch.uint8)
    for epoch in range(2):
        training.set_epoch(epoch)
        assert training.run(Batch(image_BCHW=image_BCHW, target=target, index_B=np.arange(4)), epoch, 1.0)
    assert training.totals.loss_sum.device == META


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_stays_on_its_device_and_never_waits_for_it(name: str):
    take_steps(make_training(name), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_way_to_train_stays_on_its_device_and_never_waits_for_it(settings: str):
    take_steps(make_training("resnet20", settings), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("is_weighed", [False, True])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_every_loss_stays_on_its_device_and_never_waits_for_it(is_weighed: bool, is_mixed: bool):
    training = make_training("resnet20")
    target = torch.zeros(4, dtype=torch.int64)
    if is_weighed:
        training.class_weight_K = torch.ones(10, device=META)
    take_steps(training, functional.one_hot(target, 10).float() if is_mixed else target)


@pytest.mark.parametrize("border", ["reflect", "mean"])
def test_batches_are_made_on_their_device_without_waiting_for_it(border: str):
    pixels = Preprocessing(channels="rgb", input_height_px=8, input_width_px=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    moves = {"mirror": {"probability": 0.5}, "shift": {"max_px": 1}, "cutout": {"size_px": 2, "probability": 1.0}}
    augmenter = Augmenter(AugmentConfig.parse(moves | {"border": border}), pixels, 0)
    resident = ResidentSet(np.zeros((6, 8, 8, 3), np.uint8), augmenter, META)
    position_B = np.arange(4)
    batch = resident.batch(position_B, augmenter.plan(0, position_B), np.zeros(4, np.int64))
    assert (batch.image_BCHW.device, batch.image_BCHW.shape) == (META, (4, 3, 8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_makes_a_card_wait(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # the real kernels
    monkeypatch.setattr(f"{__name__}.RUNTIME", start(RuntimeConfig(device="cuda")))
    training = make_training(name)
    image_BCHW = torch.zeros(4, *training.preprocessing.input_CHW, dtype=torch.uint8)
    batch = Batch(image_BCHW=image_BCHW, target=torch.zeros(4, dtype=torch.int64), index_B=np.arange(4))
    training.run(batch, 0, 1.0)  # constants go to the card once
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.run(batch, 1, 1.0)
    finally:
        torch.cuda.set_sync_debug_mode(0)


def test_what_waits_for_a_device_or_mixes_it_fails_here():
    value = torch.zeros(3, device=META)
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.isfinite(value.sum()))
    with pytest.raises(RuntimeError, match="device"):
        value + torch.zeros(3)
