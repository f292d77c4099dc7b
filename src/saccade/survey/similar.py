"""The images of a set that a network finds most like one: nearest by the cosine of what its head sees of them.

Exact copies, whose pixels are equal, are told apart from images that are merely alike. Only the nearest are kept, so
that memory does not grow with the set.
"""

import heapq
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..classify.classifier import Member
from ..classify.features import BadImages, errors_json, raise_bad, stream_features
from ..core.display import Displayed, Rows
from ..core.errors import DataError, ImageError, counted, printable
from ..data.images.bands import picture_digest
from ..data.images.decode import decode_image
from ..data.sources.in_memory import HeldImage

MAX_COPIES_NAMED = 20
NEARLY_EQUAL = (
    1e-2  # cosine distance below which pixels are compared: a JPEG may be decoded at a smaller scale than its copy
)


@dataclass(frozen=True, kw_only=True)
class SimilarImage:
    """An image and its cosine distance: 0 where the network sees the same, 1 where nothing is in common, 2 at most."""

    key: str
    distance: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Similar(Displayed):
    """The images nearest to `query` among `num_images`, the nearest first, without its `num_copies` exact copies.

    `copies` are the first of those; `errors` are of images that could not be used. `items` read the query and the
    nearest images again.
    """

    query: str
    found: tuple[SimilarImage, ...]
    copies: tuple[str, ...]
    num_copies: int
    num_images: int
    errors: tuple[ImageError, ...]
    items: tuple[HeldImage, ...] = field(default=(), repr=False)

    def display_lines(self) -> list[str]:
        """How many were looked at, and the exact copies."""
        return [self.sentence(), *self.copy_lines()]

    def display_rows(self) -> Rows:
        """The nearest images with their distances."""
        return ("image", "distance"), [(image.key, f"{image.distance:.4f}") for image in self.found]

    def sentence(self) -> str:
        """How many images were compared, and how many of them are given."""
        if not self.found:
            return (
                f"{counted(self.num_images, 'image')} compared with {printable(self.query)}: no other image is there."
            )
        which = f"these are the {len(self.found):,} nearest" if len(self.found) > 1 else "this is the nearest"
        return f"{counted(self.num_images, 'image')} compared with {printable(self.query)}; {which}."

    def copy_lines(self) -> list[str]:
        """Which images are exact copies of the query."""
        if not self.num_copies:
            return []
        shown = ", ".join(printable(key) for key in self.copies)
        more = f" and {self.num_copies - len(self.copies):,} more" if self.num_copies > len(self.copies) else ""
        return [f"Equal pixels, so not counted as similar: {shown}{more}."]

    def as_json(self) -> dict[str, Any]:
        """The object of `similar --json`, without the run."""
        return {
            "query": self.query,
            "similar": [{"file": image.key, "distance": image.distance} for image in self.found],
            "copies": list(self.copies),
            "num_copies": self.num_copies,
            "num_images": self.num_images,
            "errors": errors_json(self.errors),
        }


def find_similar(
    member: Member, query: HeldImage, items: Iterable[HeldImage], count: int, bad: Callable[[ImageError], None]
) -> Similar:
    """The `count` images of `items` that are nearest to `query`; of equal distance, the first given.

    `bad` hears of each image that cannot be used. Raises ImageError for the query, DataError where the network sees
    nothing in it.
    """
    asked_D = _unit(_only_feature(member, query))
    if asked_D is None:
        raise DataError(
            f"The network sees nothing in {printable(query.key)}: all its features are 0, so nothing is more like it "
            f"than anything else.\nGive another image, or another run."
        )
    search, refused = _Search(query, count), BadImages(bad)
    for batch in refused.good_batches(stream_features(member, items)):
        for item, feature_D in zip(batch.good, batch.feature_GD, strict=True):
            search.add(item, cosine_distance(asked_D, feature_D))
    return search.result(refused.errors)


def cosine_distance(unit_D: np.ndarray, feature_D: np.ndarray) -> float:
    """1 less the cosine of the angle, within 0 to 2; 1 from features that are all 0, which have no direction."""
    other_D = _unit(feature_D)
    return 1.0 if other_D is None else min(max(1.0 - float(unit_D @ other_D), 0.0), 2.0)


class _Search:
    """The nearest images so far, the farthest of them on top."""

    def __init__(self, query: HeldImage, count: int) -> None:
        self._query, self._count = query, count
        self._heap: list[tuple[float, int, HeldImage]] = []
        self._pixels: tuple[tuple[int, ...], bytes] | None = None
        self._copies: list[str] = []
        self._num_copies, self._num_images = 0, 0

    def add(self, item: HeldImage, distance: float) -> None:
        self._num_images += 1
        if distance < NEARLY_EQUAL and self._is_copy(item):
            self._num_copies += 1
            if len(self._copies) < MAX_COPIES_NAMED:
                self._copies.append(item.key)
            return
        entry = (-distance, -self._num_images, item)  # no two have the same number, so items are never compared
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def result(self, errors: tuple[ImageError, ...]) -> Similar:
        nearest = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))
        return Similar(
            query=self._query.key,
            found=tuple(SimilarImage(key=item.key, distance=-negative) for negative, _, item in nearest),
            copies=tuple(self._copies),
            num_copies=self._num_copies,
            num_images=self._num_images,
            errors=errors,
            items=(self._query, *(item for _, _, item in nearest)),
        )

    def _is_copy(self, item: HeldImage) -> bool:
        if os.path.abspath(item.key) == os.path.abspath(self._query.key) and os.path.exists(item.key):
            return True
        self._pixels = self._pixels or pixels_of(self._query)
        return pixels_of(item) == self._pixels


def pixels_of(item: HeldImage) -> tuple[tuple[int, ...], bytes]:
    """(height and width, digest of all pixels) of an image: equal where the decoded images are. Raises ImageError."""
    decoded = decode_image(item.read(), item.key, None)
    return decoded.image_HWC.shape[:2], picture_digest(decoded)


def _only_feature(member: Member, item: HeldImage) -> np.ndarray:
    batch = next(BadImages(raise_bad).good_batches(stream_features(member, [item])))
    feature_D: np.ndarray = batch.feature_GD[0]
    return feature_D


def _unit(feature_D: np.ndarray) -> np.ndarray | None:
    """`feature_D` as a float64 vector of length 1; None where it is 0."""
    wide_D = feature_D.astype(np.float64)
    length = float(np.linalg.norm(wide_D))
    return wide_D / length if length > 0 else None
