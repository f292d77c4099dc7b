"""A running average of the weights beside the network that is trained."""

import copy

import torch
from torch import nn

from ..core import torch_private
from .config import AverageConfig


class WeightAverage:
    """Exponential moving average of every floating tensor of a network; the others are copied.

    The decay grows as min(decay, (1 + updates) / (10 + updates)), so that the start weighs little (TensorFlow's
    ExponentialMovingAverage). It starts from the network at the step before its first turn, not from random weights,
    which a short run would be judged by. With `lookahead` it is given back to the network (Zhang et al. 2019).
    """

    def __init__(self, model: nn.Module, config: AverageConfig) -> None:
        self.config = config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._source = model

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step`, where it is this step's turn; before the first turn it is the network."""
        updates, is_between = divmod(step + 1, self.config.every_steps)
        if updates and is_between:
            return
        decay = min(self.config.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        source, average = self._source.state_dict(), self.model.state_dict()
        floating = [name for name, tensor in average.items() if tensor.is_floating_point()]
        once = {average[name].data_ptr(): name for name in floating}.values()  # what two layers share has two names
        averages, sources = [average[name] for name in once], [source[name] for name in once]
        torch_private.foreach_lerp_(averages, sources, 1 - decay)
        for name in average.keys() - set(floating):
            average[name].copy_(source[name])
        if self.config.lookahead and updates:
            torch_private.foreach_copy_(sources, averages)
