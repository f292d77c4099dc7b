"""The memory estimate: hand figures, torch's own bookkeeping, and the optimizers' real state."""

import pytest
import torch
from torch import nn

from saccade.core.errors import ModelError
from saccade.design.memory import STATE_PER_PARAMETER, StepPlan, estimate_memory
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.train.config import OptimizerConfig
from saccade.train.optimizers import build_optimizers, optimizer_tensors

FLOAT = 4


def test_saved_activations_are_those_of_the_hand_calculation():
    """A convolution keeps its input; ReLU its output; the dense layer its input; the loss the logits' softmax."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    batch = 16
    memory = estimate_memory(network, (3, 8, 8), StepPlan(batch_size=batch, precision="float32", optimizer="sgd"))
    image, relu, logits = 3 * 8 * 8, 8 * 6 * 6, 10
    assert memory.saved_activations == batch * (image + relu + logits) * FLOAT
    parameters = 8 * 27 + 8 + 288 * 10 + 10
    assert (memory.weights, memory.gradients, memory.optimizer_state) == (parameters * FLOAT, parameters * FLOAT, 0)


def test_batch_norm_keeps_its_input_as_well():
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    normed = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )
    batch = 4
    more = (
        estimate_memory(
            normed, (3, 8, 8), StepPlan(batch_size=batch, precision="float32", optimizer="sgd")
        ).saved_activations
        - estimate_memory(
            plain, (3, 8, 8), StepPlan(batch_size=batch, precision="float32", optimizer="sgd")
        ).saved_activations
    )
    statistics = 2 * 8  # mean and inverse deviation of every channel
    assert more == (batch * 288 + statistics) * FLOAT


def test_saved_activations_are_what_autograd_saves():
    network = resolve_model("resnet20", ModelSpec(num_classes=10, input_CHW=(3, 32, 32)))
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        image_BCHW = torch.zeros(8, 3, 32, 32)
        logits = network(image_BCHW)
    buffers = {b.untyped_storage().data_ptr() for b in network.buffers()}
    saved = sum(size for pointer, size in storages.items() if pointer not in buffers)
    expected = saved + logits.numel() * FLOAT
    memory = estimate_memory(network, (3, 32, 32), StepPlan(batch_size=8, precision="float32", optimizer="sgd"))
    assert memory.saved_activations == pytest.approx(expected, rel=0.01)


def test_half_precision_saves_less_and_the_peak_grows_with_the_batch():
    network = resolve_model("resnet20", ModelSpec(num_classes=10, input_CHW=(3, 32, 32)))
    full = estimate_memory(network, (3, 32, 32), StepPlan(batch_size=64, precision="float32", optimizer="sgd"))
    half = estimate_memory(network, (3, 32, 32), StepPlan(batch_size=64, precision="bfloat16", optimizer="sgd"))
    double = estimate_memory(network, (3, 32, 32), StepPlan(batch_size=128, precision="float32", optimizer="sgd"))
    assert 0.45 < half.saved_activations / full.saved_activations < 0.75
    assert 1.9 < double.saved_activations / full.saved_activations < 2.0
    assert full.training_peak > full.weights + full.gradients + full.saved_activations
    assert full.inference_peak < full.training_peak


@pytest.mark.parametrize("name", STATE_PER_PARAMETER)
def test_optimizer_state_is_what_the_optimizers_keep(name: str):
    network = nn.Sequential(nn.Conv2d(16, 64, 3), nn.Flatten(), nn.Linear(64, 128))
    groups = build_optimizers(network, OptimizerConfig.parse({"name": name}))
    numbers = sum(tensor.numel() for tensor in optimizer_tensors(groups).values() if tensor.ndim > 0)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert numbers == STATE_PER_PARAMETER[name] * parameters


def test_a_frozen_network_needs_neither_gradients_nor_state():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(288, 10))
    network[0].requires_grad_(False)
    memory = estimate_memory(network, (3, 8, 8), StepPlan(batch_size=4, precision="float32", optimizer="adamw"))
    assert memory.gradients == 2890 * FLOAT
    assert memory.optimizer_state == 2 * 2890 * FLOAT


def test_a_network_that_cannot_be_trained_on_the_batch_is_refused():
    with pytest.raises(ModelError) as error:
        estimate_memory(nn.BatchNorm2d(3), (3, 1, 1), StepPlan(batch_size=1, precision="float32", optimizer="sgd"))
    assert str(error.value) == (
        "An input of 1x1x3 does not fit BatchNorm2d: "
        "Expected more than 1 value per channel when training, got input size torch.Size([1, 3, 1, 1]).\n"
        "Training may need more than one image at once (batch normalisation does): give a larger --batch."
    )
