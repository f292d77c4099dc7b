"""What the head of a classifier sees of images: one vector an image, for whatever compares or judges images by it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..core.errors import ImageError, ModelError
from ..data.sources.in_memory import HeldImage
from ..models.architecture import ImageClassifier
from ..models.penultimate import LogitsAndFeatures, split_outputs, with_features
from .classifier import Member, join_members
from .stream import Recognises, stream


@dataclass(frozen=True, kw_only=True)
class FeatureBatch:
    """Some images in order: `items` are all of them, `errors` those that cannot be used, by their place; feature_GD
    float32 and probability_GK float64 are of the G others. `recognised`: as in `StreamBatch`."""

    items: tuple[HeldImage, ...]
    errors: dict[int, ImageError]
    feature_GD: np.ndarray
    probability_GK: np.ndarray
    recognised: frozenset[int]

    @property
    def good(self) -> list[HeldImage]:
        """The images that have features, in order."""
        return [item for place, item in enumerate(self.items) if place not in self.errors]

    @property
    def is_recognised_G(self) -> np.ndarray:
        """bool: which of the images that have features are known again."""
        return np.array(
            [place in self.recognised for place in range(len(self.items)) if place not in self.errors], bool
        )


class BadImages:
    """Images that cannot be used: each is told to who listens when it is met, and kept for the answer."""

    def __init__(self, told: Callable[[ImageError], None]) -> None:
        self._told = told
        self._errors: list[ImageError] = []

    def good_batches(self, batches: Iterable[FeatureBatch]) -> Iterator[FeatureBatch]:
        """Those of `batches` that have an image with features; bad images are told on the way."""
        for batch in batches:
            for error in batch.errors.values():
                self._errors.append(error)
                self._told(error)
            if batch.good:
                yield batch

    @property
    def errors(self) -> tuple[ImageError, ...]:
        return tuple(self._errors)


def errors_json(errors: Iterable[ImageError]) -> list[dict[str, Any]]:
    """The value of `errors` in a JSON object: files that could not be used, and why."""
    return [{"file": error.key, "reason": error.reason} for error in errors]


def refuse_unnamed_parts(member: Member) -> LogitsAndFeatures:
    """The network of `member`, giving its features too. Raises ModelError where what its head sees cannot be read."""
    name = type(member.model).__name__
    if not isinstance(member.model, ImageClassifier):
        raise ModelError(
            f"{name} does not name its parts, so what its head sees cannot be read.\n"
            f"Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
        )
    looking = with_features(member.model)
    if looking is None:
        raise ModelError(
            f"{name} has a 'forward' or 'forward_features' of its own, so what its head sees cannot be read.\n"
            f"Leave both as ImageClassifier has them, and put what differs into stem, stages, neck or head."
        )
    return looking


def num_features(member: Member) -> int:
    """D, the length of the vector that the head of `member` sees. Raises as `refuse_unnamed_parts` does."""
    looking = replace(member, model=refuse_unnamed_parts(member))
    both_BX = looking.logits(torch.zeros(1, *member.preprocessing.input_CHW, dtype=torch.uint8))
    return both_BX.shape[1] - len(member.classes)


def stream_features(
    member: Member, items: Iterable[HeldImage], recognises: Recognises | None = None
) -> Iterator[FeatureBatch]:
    """Features and answers of images as they come, in one pass through the network; memory does not grow with them.

    `recognises`: as in `stream`. Raises ModelError as `refuse_unnamed_parts` does.
    """
    looking = replace(member, model=refuse_unnamed_parts(member))
    num_outputs = len(member.classes) + num_features(member)
    waiting: list[HeldImage] = []  # images on their way

    def remembered() -> Iterator[HeldImage]:
        for item in items:
            waiting.append(item)
            yield item

    for batch in stream(join_members([looking]), remembered(), recognises=recognises):
        of_batch = tuple(waiting[: len(batch.keys)])
        del waiting[: len(batch.keys)]
        both_GX = torch.zeros(0, num_outputs)
        if batch.num_good:
            image_GCHW = torch.from_numpy(batch.prepared[member.preprocessing][:, 0]).permute(0, 3, 1, 2)
            both_GX = looking.logits(image_GCHW)
        logits_GK, feature_GD = split_outputs(both_GX, len(member.classes))
        yield FeatureBatch(
            items=of_batch,
            errors=batch.errors,
            feature_GD=np.ascontiguousarray(feature_GD.numpy()),
            probability_GK=member.task.probabilities(logits_GK, member.temperature),
            recognised=batch.recognised,
        )


def raise_bad(error: ImageError) -> None:
    """Raise the error of an image that cannot be used, where nobody wants to hear of it and go on."""
    raise error


def features_of(member: Member, items: Iterable[HeldImage]) -> np.ndarray:
    """feature_ND float32 of images in the order asked.

    Raises ImageError naming an image that cannot be used, and ModelError as `refuse_unnamed_parts` does.
    """
    return np.concatenate(
        [batch.feature_GD for batch in BadImages(raise_bad).good_batches(stream_features(member, items))]
    )
