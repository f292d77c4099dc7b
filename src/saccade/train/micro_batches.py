"""Steps computed in parts: how memory that ran out is recognised, and how the parts count as one batch."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ..core import torch_private


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a network learns from the statistics of what passes through it together."""
    return any(isinstance(module, torch_private.BatchNorm) for module in model.modules())


@contextmanager
def counted_as_one(model: nn.Module, num_parts: int) -> Iterator[None]:
    """While entered, the forward passes of `num_parts` parts move running statistics as far as that of one batch would.

    Each part still normalises by its own mean and variance. The statistics are those of the parts in turn, each at
    momentum 1 - (1 - m)^(1/n), so that the past weighs (1 - m) in the end; batches counted are counted once.
    """
    if num_parts == 1:
        yield
        return
    norms = [(module, module.momentum) for module in model.modules() if isinstance(module, torch_private.BatchNorm)]
    counted = [(norm, norm.num_batches_tracked) for norm, momentum in norms if momentum is not None and norm.training]
    before = [(count, count.clone()) for _, count in counted if count is not None]
    for norm, momentum in norms:
        if momentum is not None:
            norm.momentum = 1 - (1 - momentum) ** (1 / num_parts)
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
        for count, value in before:
            count.copy_(value + 1)
