"""Whether this machine has the memory for a training, asked before anything of it is made."""

import torch
from torch import nn

from ..core.errors import ModelError, brief
from ..core.free_memory import free_memory_bytes
from ..core.in_memory import is_given
from ..core.runtime import Runtime
from ..design.memory import STATE_PER_PARAMETER
from ..design.text import size
from ..models.architecture import ModelSpec
from ..models.build import resolve_model, without_weights
from .config import RunConfig

FLOAT_BYTES = 4  # weights, gradients and the optimizer's state are float32 whatever the arithmetic is


def refuse_too_large(config: RunConfig, spec: ModelSpec, runtime: Runtime) -> None:
    """Raise ModelError where what a step needs of memory, whatever its batch, is more than is free on the device.

    The network is built without memory. One that was given from Python is there already.
    """
    if is_given(config.model):
        return
    with without_weights():
        model = resolve_model(config.model, spec)
    needed_bytes, free_bytes = fixed_bytes(model, config), free_on(runtime.device)
    if free_bytes is None or needed_bytes <= free_bytes:
        return
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    raise ModelError(
        f"'{brief(config.model, 80)}' has {num_parameters:,} parameters. To train it takes at least "
        f"{size(needed_bytes)} of memory, for weights, gradients and the state of {config.optimizer.name}; "
        f"{size(free_bytes)} are free.\n"
        f"Make its layers smaller: a smaller batch takes no less of that. 'saccade table' shows the parameters of each."
    )


def fixed_bytes(model: nn.Module, config: RunConfig) -> int:
    """What a step needs of memory whatever its batch: weights, their gradients, the optimizer's state, the average."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    averaged = weights if config.average.decay else 0
    state = STATE_PER_PARAMETER.get(config.optimizer.name, 0)
    return FLOAT_BYTES * (weights + averaged + (1 + state) * trained)


def free_on(device: torch.device) -> int | None:
    """Bytes that a tensor on `device` may still take; None where nothing tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory_bytes() if device.type == "cpu" else None


def parts_that_fit(model: nn.Module, config: RunConfig, step_bytes: int, free_bytes: int) -> int:
    """In how many parts a batch must be computed for a step, which takes `step_bytes` now, to need no more memory than
    `free_bytes`; 0 where no number of parts does it."""
    always = min(step_bytes, fixed_bytes(model, config))
    num_parts = max(1, config.accumulate)
    while 2 * num_parts <= config.batch_size // 2:  # batch normalisation needs two images
        num_parts *= 2
        if always + (step_bytes - always) * max(1, config.accumulate) / num_parts <= free_bytes:
            return num_parts
    return 0
