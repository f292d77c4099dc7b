"""A second part of the loss, beside the labels': what somebody else says of the very images of a step."""

from collections.abc import Callable
from typing import Protocol

import torch

from ..core.runtime import Runtime
from ..runs.seen import Seen
from .config import RunConfig
from .prepare import Images


class ExtraLoss(Protocol):
    """Such a part, for example teachers' answers (ensemble/distillation.py). The loss is
    (1 - weight) * that of the labels + weight * `of_step`."""

    @property
    def weight(self) -> float:
        """Its share of the loss, in 0 to 1."""

    @property
    def seen(self) -> tuple[tuple[str, Seen | str], ...]:
        """Whom it asks ("the teacher runs/a was") and what each was trained on, or why nothing says it."""

    def of_step(self, image_BCHW: torch.Tensor, logits_BK: torch.Tensor) -> torch.Tensor:
        """A scalar, the mean over uint8 images and the network's logits for them."""


FindExtraLoss = Callable[[RunConfig, Images, Runtime], tuple[RunConfig, ExtraLoss | None]]


def no_extra_loss(config: RunConfig, images: Images, runtime: Runtime) -> tuple[RunConfig, None]:
    """The labels alone. A configuration with teachers needs `ensemble.distillation.load_teachers` in its place."""
    if config.distill.teachers:
        raise RuntimeError("the configuration names teachers; pass ensemble.distillation.load_teachers")
    return config, None
