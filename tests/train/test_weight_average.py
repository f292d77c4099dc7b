"""The running average of a network whose layers share weights, against the same sum in NumPy float64."""

import numpy as np
import torch
from torch import nn

from saccade.train.config import AverageConfig
from saccade.train.weight_average import WeightAverage


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, dtype=torch.float64), nn.Linear(3, 3, dtype=torch.float64)
        self.b.weight = self.a.weight


def test_weights_that_two_layers_share_are_averaged_once():
    network = Tied()
    average = WeightAverage(network, AverageConfig(decay=0.9, every_steps=1))
    value_OI = network.a.weight.detach().numpy().copy()
    expected_OI = value_OI.copy()
    for step in range(4):
        value_OI = value_OI + step
        with torch.no_grad():
            network.a.weight.copy_(torch.from_numpy(value_OI))
        average.update(step)
        decay = min(0.9, (2 + step) / (11 + step))
        expected_OI = decay * expected_OI + (1 - decay) * value_OI
    for layer in (average.model.a, average.model.b):
        np.testing.assert_allclose(layer.weight.numpy(), expected_OI, rtol=1e-12)
