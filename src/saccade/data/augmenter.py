"""From strengths to pixels: draw everything first, for a whole batch, then apply it."""

from dataclasses import dataclass

import numpy as np

from ..core.types import Preprocessing
from .augment.base import Augmentation, Drawn, Geometric, Scene, identities
from .augment.lossless import move_pixels
from .augment.policy import AugmentConfig
from .draws import uniform
from .preprocess import prepare_image


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will happen to the B samples of one batch. `drawn` holds the parameters by augmentation, for display."""

    index_B: np.ndarray
    drawn: dict[str, Drawn]
    matrix_B33: np.ndarray


class Augmenter:
    """Applies an AugmentConfig. Every result is a pure function of (seed, epoch, sample index, source pixels)."""

    def __init__(self, config: AugmentConfig, preprocessing: Preprocessing, seed: int) -> None:
        self.config = config
        self.preprocessing = preprocessing
        self.seed = seed
        self._active = config.active()
        self._geometric = [entry for entry in self._active if isinstance(entry, Geometric)]
        self._fill_C = border_colour(config, preprocessing)

    def plan(self, epoch: int, index_B: np.ndarray) -> Plan:
        """Draw the parameters of the samples `index_B` in `epoch`; nothing is read."""
        scene = Scene(preprocessing=self.preprocessing, epoch=epoch)
        drawn = {entry.name: self._draw(entry, scene, index_B) for entry in self._active}
        matrix_B33 = identities(len(index_B))
        for entry in self._geometric:
            matrix_B33 = matrix_B33 @ entry.matrices(drawn[entry.name], scene)
        return Plan(index_B=index_B, drawn=drawn, matrix_B33=matrix_B33)

    def render(self, image_HWC: np.ndarray) -> np.ndarray:
        """One decoded source image (RGB, any size) as uint8 (H, W, C) at the input size, before `finish`."""
        return prepare_image(image_HWC, self.preprocessing)

    def finish(self, plan: Plan, image_BHWC: np.ndarray) -> np.ndarray:
        """The rendered batch with everything applied that needs no source pixels."""
        if not self._geometric:
            return image_BHWC
        return move_pixels(image_BHWC, plan.matrix_B33, self.config.border, self._fill_C)

    def _draw(self, entry: Augmentation, scene: Scene, index_B: np.ndarray) -> Drawn:
        strengths = self.config.strengths_of(entry)
        num_draws = entry.num_draws(strengths, scene)
        return entry.draw(strengths, uniform(self.seed, scene.epoch, entry.name, index_B, num_draws), scene)


def border_colour(config: AugmentConfig, preprocessing: Preprocessing) -> np.ndarray:
    """The colour of the borders 'mean' and 'black', uint8 (C,)."""
    mean_C = np.asarray(preprocessing.mean if config.border == "mean" else [0.0] * preprocessing.num_channels)
    return np.rint(mean_C * 255).clip(0, 255).astype(np.uint8)
