"""A network that a caller built: what no checkpoint could hold of it, and what cannot be trained, is refused."""

import threading

import pytest
import torch
from torch import nn

from saccade.core.errors import SaccadeError
from saccade.models.architecture import ModelSpec
from saccade.models.network_in_memory import check_given, copy_given, known_network

SPEC = ModelSpec(num_classes=2, input_CHW=(1, 4, 4))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


class WithState(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 1}


class Strict(nn.Linear):
    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        raise AssertionError("only 224 px")


class Table(nn.Linear):
    def forward(self, image_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return {"logits": image_BCHW}


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)
        self.lock = threading.Lock()


def masked() -> nn.Module:
    own = network()
    own.register_buffer("mask", torch.tensor([-torch.inf]))
    return own


REFUSED = {
    "a class": (
        nn.Linear,
        "'model' is the class Linear; it takes a name or a torch.nn.Module.\nGive one: model=Network().",
    ),
    "a number": (3, "'model' is of type int; it takes a name or a torch.nn.Module.\nGive one: model=Network()."),
    "state that is no tensor": (
        WithState(2, 2),
        "WithState: '_extra_state' is a dict, and a checkpoint holds tensors alone.\n"
        "Keep it by register_buffer in place of get_extra_state.",
    ),
    "no values": (
        network().to("meta"),
        "Sequential: '1.weight' has no values, only a shape (device meta).\n"
        "Build the network on the CPU, or give it values first.",
    ),
    "float64": (
        network().double(),
        "Sequential: '1.weight' is float64; weights are float32.\n"
        "Give network.float(); runtime.precision chooses the arithmetic.",
    ),
    "no copy": (
        Locked(),
        "Locked cannot be copied, and a copy is what is trained: cannot pickle '_thread.lock' object.\n"
        "Give a network that copy.deepcopy takes: what it cannot copy is kept outside, or made in forward.",
    ),
    "nothing to train": (
        network().requires_grad_(False),
        "Sequential has no weights that are trained: requires_grad is off for all of them.\n"
        "Give network.requires_grad_(True).",
    ),
    "not finite": (
        masked(),
        "Sequential: 'mask' holds values that are not finite, which a checkpoint does not take.\n"
        "A constant is kept out of it: register_buffer(..., persistent=False).",
    ),
    "an error of its own": (
        Strict(2, 2),
        "Strict cannot take images of 4x4x1: AssertionError: only 224 px.\n"
        "Set the input to what it takes: input.size_px for the height, input.width_px for another width, "
        "input.channels for grey or rgb.",
    ),
    "a table of outputs": (
        Table(2, 2),
        "Table gives a dict, not a tensor of logits.\nLet its forward return the logits alone, (images, 2).",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_cannot_be_trained_or_kept_is_refused_in_words(case: str):
    given, message = REFUSED[case]
    with pytest.raises(SaccadeError) as error, known_network(given) as text:  # type: ignore[arg-type]
        check_given(copy_given(text), text, SPEC)
    assert error.value.message == message


def test_a_network_that_can_be_is_not():
    with known_network(network()) as text:
        check_given(copy_given(text), text, SPEC)
