"""Which images compare depths: all of them, up to a cost that follows from the network, not from the clock.

A fit for one of three folds learns from the two others, so each judged image costs the same, however many folds are
judged: up to six passes through every tail. What the cost allows is spent on as many judged images as possible, then on
fits that learn from more. Further images never make the evidence weaker. Where they are many, the folds are judged one
after the other, and the evidence is looked at in between (`looks.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..core.errors import ModelError
from ..design.cost import multiply_adds
from ..design.trace import trace
from ..models.surgery import NONE, cut
from .evidence import TAIL_EPOCHS

FEW = 300  # images, up to which five folds are judged instead of three
ALL_AT_ONCE = 1200  # images, up to which all folds are judged before the evidence is looked at
ALWAYS = 600  # images that are judged whatever it costs
NUM_FOLDS = 3
PASSES = TAIL_EPOCHS * (NUM_FOLDS - 1)  # of an image through a tail, for each judged image
MAX_MULTIPLY_ADDS = 3e13  # of all these passes forward: 1,200 images judged by the tails of ResNet-18 at 224 pixels


@dataclass(frozen=True, kw_only=True)
class LadderImages:
    """`num_images` in `num_folds`, of which the first `num_judged_folds` are judged."""

    num_images: int
    num_folds: int
    num_judged_folds: int

    @property
    def looks(self) -> tuple[tuple[int, ...], ...]:
        """The folds that are judged before each look at the evidence."""
        folds = tuple(range(self.num_judged_folds))
        return tuple((fold,) for fold in folds) if self.num_images > ALL_AT_ONCE else (folds,)

    @property
    def num_judged(self) -> int:
        """How many images are answered for, but for the rounding of folds."""
        return self.num_images * self.num_judged_folds // self.num_folds


def choose_images(num_images: int, tail_multiply_adds: float) -> LadderImages:
    """What compares depths where there are `num_images`, and one image through all tails costs `tail_multiply_adds`."""
    if num_images <= FEW:
        return LadderImages(num_images=num_images, num_folds=5, num_judged_folds=5)
    affordable = int(MAX_MULTIPLY_ADDS / (PASSES * max(tail_multiply_adds, 1)))
    most = max(num_images, NUM_FOLDS * max(ALWAYS, affordable - affordable % 2))  # judged folds times images
    choices = [
        LadderImages(num_images=min(num_images, most // judged), num_folds=NUM_FOLDS, num_judged_folds=judged)
        for judged in range(1, NUM_FOLDS + 1)
    ]
    return max(choices, key=lambda choice: (choice.num_judged_folds * choice.num_images, choice.num_images))


def multiply_adds_behind(model: nn.Module, depths: Sequence[str], input_CHW: tuple[int, int, int]) -> dict[str, float]:
    """By depth, those of one image through everything behind it; without end where a network cannot be followed."""
    modules = cut(model, NONE).live
    try:
        with torch.device("cpu"):
            operations = trace(nn.Sequential(*modules), input_CHW).operations
    except ModelError:
        return dict.fromkeys(depths, float("inf"))  # it is taken for a costly one: as many images are judged as always
    costs = [0] * len(modules)
    for operation in operations:
        if operation.path:
            costs[int(operation.path.split(".")[0])] += multiply_adds(operation)
    return {depth: float(sum(costs[len(cut(model, depth).frozen) :])) for depth in depths}
