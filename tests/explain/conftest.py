"""A network whose evidence is known by construction, for the tests of explanations."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from saccade.models.architecture import ImageClassifier


class Spotter(ImageClassifier):
    """Finds one bright 4x4 square by hand-made weights: channel 0 is the local mean above half, channel 1 noise."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(OrderedDict(stage1=nn.MaxPool2d(2), stage2=nn.Conv2d(2, 2, 1, bias=False)))
        self.neck = nn.Sequential(nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.stem[0].weight[0] = 1 / 9
            self.stem[0].weight[1] = torch.tensor([[1.0, 0, -1], [0, 0, 0], [-1, 0, 1]])
            self.stem[0].bias.copy_(torch.tensor([-0.5, 0.0]))
            self.stages.stage2.weight.copy_(torch.eye(2)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[40.0, 0.0], [-40.0, 0.0]]))
            self.head.bias.copy_(torch.tensor([-1.0, 1.0]))


def image_with_spot(top, left, seed=0):
    image = np.random.default_rng(seed).uniform(0, 0.3, (1, 1, 24, 24)).astype(np.float32)
    image[0, 0, top : top + 4, left : left + 4] = 1.0
    return torch.from_numpy(image)


@pytest.fixture(scope="session")
def spotter_model() -> type[Spotter]:
    """The class of the network; call it for a fresh one."""
    return Spotter


@pytest.fixture(scope="session", name="image_with_spot")
def image_with_spot_fixture() -> Callable[..., torch.Tensor]:
    """`image_with_spot(top, left, seed=0)`: a dim 24x24 image with one bright 4x4 square."""
    return image_with_spot
