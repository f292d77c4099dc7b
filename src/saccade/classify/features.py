"""What the head of a classifier sees of images: one vector an image, for whatever compares or judges images by it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ..core.errors import ModelError
from ..data.sources.in_memory import HeldImage
from ..models.architecture import ImageClassifier
from .classifier import Member, join_members
from .stream import stream


class PooledFeatures(nn.Module):
    """What the head of a classifier sees: feature_BD, averaged over positions where it is a map."""

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """feature_BD of normalised images."""
        feature = self.model.forward_features(image_BCHW)
        return feature.mean(dim=(2, 3)) if feature.ndim == 4 else feature


def refuse_unnamed_parts(member: Member) -> ImageClassifier:
    """The network of `member`. Raises ModelError where it does not name its parts."""
    if not isinstance(member.model, ImageClassifier):
        raise ModelError(
            f"{type(member.model).__name__} does not name its parts, so what its head sees cannot be read.\n"
            f"Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
        )
    return member.model


def features_of(member: Member, items: Iterable[HeldImage]) -> np.ndarray:
    """feature_ND float32 of images in the order asked.

    Raises ImageError naming an image that cannot be used, and ModelError for a network that does not name its parts.
    """
    looking = replace(member, model=PooledFeatures(refuse_unnamed_parts(member)).eval())
    found = []
    for batch in stream(join_members([looking]), items):
        batch.refuse_bad_images()
        image_BCHW = torch.from_numpy(batch.prepared[member.preprocessing][:, 0]).permute(0, 3, 1, 2)
        found.append(looking.logits(image_BCHW).numpy())
    return np.concatenate(found)
