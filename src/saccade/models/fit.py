"""Does an input fit a network? Answered before training, by the layer that says no and the formula that shows why."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..conv.geometry import Window
from ..core.errors import ModelError, printable
from ..core.torch_private.tracing import FAKE_TENSOR_LOGGER, FakeTensorMode
from .architecture import ModelSpec, does_not_fit

WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@contextmanager
def fake_machine() -> Iterator[FakeTensorMode]:
    """Tensors made in this block have a shape and a type but no memory; torch's operations on them compute nothing.

    What a network holds in real tensors is taken as it is. torch logs whatever does not fit with its traceback; the
    caller says it in one sentence instead.
    """
    logger = logging.getLogger(FAKE_TENSOR_LOGGER)
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as machine:
            yield machine
    finally:
        logger.disabled = was_disabled


def refuse_lazy(network: nn.Module, input_CHW: tuple[int, int, int] | None = None) -> None:
    """Raise ModelError, naming the layer, where a lazy layer does not know its sizes yet."""
    sides = ", ".join(str(side) for side in input_CHW) if input_CHW else "channels, height, width"
    for name, module in network.named_modules():
        if any(is_lazy(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            raise ModelError(
                f"{type(network).__name__}: layer '{printable(name)}' ({type(module).__name__}) is lazy and does not "
                f"know its sizes yet.\n"
                f"Run the network once before you give it: network(torch.zeros(2, {sides}))."
            )


def check_size(model: str, network: nn.Module, spec: ModelSpec, enough_px: int) -> None:
    """Raise ModelError, naming the layer and its formula, where an input of `spec` leaves a map without positions.

    Inputs of at least `enough_px` on both axes are known to fit. Smaller ones are tried on fake tensors, which have a
    shape and no memory.
    """
    if min(spec.input_CHW[1:]) >= enough_px:
        return
    last: list[tuple[str, nn.Module, torch.Size]] = []

    def remember(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            last[:] = [(name, module, inputs[0].shape)]

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    handles = [module.register_forward_pre_hook(remember(name)) for name, module in leaves]
    was_training = network.training
    network.eval()
    try:
        with fake_machine(), torch.no_grad():
            weightless = {name: torch.empty_like(tensor, device="cpu") for name, tensor in network.state_dict().items()}
            torch.func.functional_call(network, weightless, (torch.empty(1, *spec.input_CHW, device="cpu"),))
    except RuntimeError as error:
        name, module, shape = last[0]
        does_not_fit(model, name, spec, why_not(module, shape, error), _remedy(spec))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()


def why_not(module: nn.Module, shape: torch.Size, error: Exception) -> str:
    """Why `module` cannot take an input of `shape`: the formula of a window that does not fit, else torch's words."""
    if isinstance(module, WINDOWED) and len(shape) == 4:
        for axis, size in enumerate(shape[2:]):
            window = Window(
                kernel=_axis(module.kernel_size, axis),
                stride=_axis(module.stride, axis),
                padding=_axis(module.padding, axis),
                dilation=_axis(getattr(module, "dilation", 1), axis),
                ceil_mode=getattr(module, "ceil_mode", False),
            )
            if window.output_size(size) < 1:
                kind = "pooling" if not isinstance(module, nn.Conv2d) else "convolution"
                return f"{kind} f{window.kernel} s{window.stride} on {shape[2]}x{shape[3]}: {window.formula(size)}"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _axis(value: Any, axis: int) -> int:
    return value[axis] if isinstance(value, tuple) else int(value)


def _remedy(spec: ModelSpec) -> str:
    channels, height_px, width_px = spec.input_CHW
    larger_px = 2 * max(height_px, width_px)
    return (
        f"Use larger images than {height_px}x{width_px}, for example --input {larger_px}x{larger_px}x{channels} for a "
        f"table, --set input.size_px={larger_px} to train."
    )
