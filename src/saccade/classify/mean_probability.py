"""The answers of several runs, and of several looks at an image, averaged: the mean of their probabilities."""

import numpy as np
import torch

from ..core.task import ONE_LABEL, Task


class MeanProbability:
    """The mean of the probabilities of members and looks, in float64: softmax(logits / temperature) of one label."""

    def __init__(self, num_images: int, num_classes: int) -> None:
        self._total_BK = np.zeros((num_images, num_classes))
        self._num_added = 0

    def add(self, logits_BK: torch.Tensor, temperature: float, task: Task = ONE_LABEL) -> None:
        """Take the answers of one member by one look into the mean; `task` is in the order of these logits."""
        self._total_BK += task.probabilities(logits_BK, temperature)
        self._num_added += 1

    def value(self) -> np.ndarray:
        """probability_BK float64."""
        mean_BK: np.ndarray = self._total_BK / self._num_added
        return mean_BK
