"""When the loss is not finite: which layer, which images, which learning rate."""

from typing import Any

import torch
from torch import nn

from ..core.errors import printable
from ..core.types import Batch
from ..data.images.normalize import normalize
from .state import Cursor
from .step import TrainingStep


def describe_divergence(training: TrainingStep, batch: Batch | None, where: str, is_saved: bool) -> str:
    """The four lines a person gets: what, where, what is safe, what to do. Without the `batch` it was an epoch's."""
    peak = training.config.optimizer.learning_rate
    return (
        f"The loss is not finite {where}.\n"
        f"{_first_layer(training, batch)}\n"
        f"Nothing bad was saved{': the last checkpoint is intact' if is_saved else ', and no checkpoint before it'}.\n"
        f"Lower the rate, for example --set optimizer.learning_rate={peak / 10:.2g}, and start a new run."
    )


def place_of_step(cursor: Cursor, keys: list[str], rate: float, num_bad: int) -> str:
    """`at step 5, as at the 3 before it (epoch 1, batch 5, images a, b, c, ...; learning rate 0.1)`: the step that
    `cursor` has next, at the learning rate `rate`."""
    images = ", ".join(printable(key) for key in keys)
    row = f", as at the {num_bad - 1} before it" if num_bad > 1 else ""
    return (
        f"at step {cursor.step + 1}{row} (epoch {cursor.epoch + 1}, batch {cursor.batch + 1}, images {images}, ...; "
        f"learning rate {rate:.3g})"
    )


def _first_layer(training: TrainingStep, batch: Batch | None) -> str:
    for name, parameter in training.model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"The weights '{name}' hold values that are not finite: an earlier step was too large."
    if batch is None:
        return "Every weight is finite: the sum of the losses overflowed."
    return _first_output(training, batch)


@torch.no_grad()
def _first_output(training: TrainingStep, batch: Batch) -> str:
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and not found and not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    leaves = [(name, module) for name, module in training.model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        for part_BCHW in batch.image_BCHW.split(max(2, len(batch.image_BCHW) // training.num_micro_batches)):
            image_BCHW = part_BCHW.to(training.runtime.device)
            training.model(normalize(image_BCHW, training.preprocessing, torch.float32))
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"The first layer whose output is not finite is '{found[0]}'."
    return "Every layer's output is finite in float32: the loss itself overflowed, or bfloat16 was too coarse."
