"""What an augmentation is. A new one is one file in this folder that registers itself; nothing else changes.

Every augmentation is two pure functions. `draw` turns uniform numbers, which depend on (seed, epoch, sample index)
only, into parameters; the second one turns parameters into what is composed with all others of its kind:

    Geometric   a 3x3 matrix      output to source, centred on the image, in output pixels   one resample
    Framing     a 3x3 matrix      output to source pixels: which part of the source is seen   the same resample
    Warping     a displacement    in output pixels, added before the matrices                 the same resample
    Colouring   a 3x4 matrix      RGB 0-1 to RGB 0-1                                          one matrix
    Erasing     a box             filled with the mean colour
    Mixing      two images of the batch become one, and their targets with them

Strength zero is the default of every field that sets one, and the identity bit for bit.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.config import FrozenConfig
from ...core.registry import Registry
from ...core.types import Preprocessing

Border = Literal["reflect", "edge", "mean", "black"]


class Strengths(FrozenConfig):
    """The values of one augmentation. The defaults leave every image as it is."""

    @property
    @abstractmethod
    def is_active(self) -> bool:
        """Whether any draw can change an image."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the drawing functions may know besides their strengths: the network's input and the epoch."""

    preprocessing: Preprocessing
    epoch: int

    @property
    def size_HW(self) -> tuple[int, int]:
        """Height and width of the output in pixels."""
        return self.preprocessing.input_height_px, self.preprocessing.input_width_px


Drawn = Mapping[str, np.ndarray]  # parameter name (with its unit) -> values, first axis B


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What all kinds have: `draw(strengths, uniform_BN, scene)` gets `num_draws(strengths, scene)` numbers a sample.

    `source` is where the augmentation comes from. `applied_B(drawn)`-like facts need no field of their own: whatever
    `draw` returns is what the preview prints.
    """

    name: str
    summary: str
    source: str
    strengths: type[Strengths]
    num_draws: Callable[[Any, Scene], int]
    draw: Callable[[Any, np.ndarray, Scene], Drawn]


@dataclass(frozen=True, kw_only=True)
class Geometric(Augmentation):
    """`matrices(drawn, scene)` gives matrix_B33, homogeneous, from output to source coordinates.

    Both are centred on the image and in output pixels, x to the right and y down, so that a matrix does not depend
    on the size of the file. They compose in the alphabetical order of the augmentations' names.
    """

    matrices: Callable[[Drawn, Scene], np.ndarray]


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", "augmentations", "saccade.data.augment")


def register(augmentation: Augmentation, origin: str) -> None:
    """Enter `augmentation` under its name; `origin` is the module's `__name__`."""
    AUGMENTATIONS.add(augmentation.name, augmentation, origin)


def identities(num: int) -> np.ndarray:
    """`num` identity matrices, float64 (num, 3, 3), to be changed in place."""
    return np.tile(np.eye(3), (num, 1, 1))
