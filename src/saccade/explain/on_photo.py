"""From the network's input back to the photo it was made of: the inverse of `place_on_input`, for every fit.

A pixel of the input stands for the part of the photo that was resized to it. What crop cuts off has no place in the
input; what pad puts around the picture has none in the photo.
"""

from dataclasses import replace

import numpy as np

from ..core.types import Preprocessing
from ..data.images.preprocess import place_on_input
from .field import SeenField


def field_on_photo(field: SeenField, photo_HW: tuple[int, int], preprocessing: Preprocessing) -> SeenField | None:
    """`field` in pixels of the photo, all that it touches; None where no pixel of the photo lies in it."""
    (top, bottom), (left, right) = (
        _touched(*ends, *sides)
        for ends, sides in zip(
            ((field.top, field.bottom), (field.left, field.right)),
            zip(photo_HW, *place_on_input(photo_HW, preprocessing)),
        )
    )
    if top >= bottom or left >= right:
        return None
    return replace(field, top=top, left=left, bottom=bottom, right=right, size_px=photo_HW)


def map_on_photo(map_HW: np.ndarray, photo_HW: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """A map at the input's size as float32 (H, W) of the photo; NaN where the network does not see the photo."""
    resized_HW, start_HW = place_on_input(photo_HW, preprocessing)
    row_H, column_W = (
        np.floor((np.arange(side) + 0.5) * resized / side - start).astype(np.int64)
        for side, resized, start in zip(photo_HW, resized_HW, start_HW)
    )
    seen_H, seen_W = ((0 <= place) & (place < side) for place, side in zip((row_H, column_W), map_HW.shape))
    photo_map_HW = np.full(photo_HW, np.nan, np.float32)
    photo_map_HW[np.ix_(seen_H, seen_W)] = map_HW[np.ix_(row_H[seen_H], column_W[seen_W])]
    return photo_map_HW


def _touched(begin: int, end: int, side: int, resized: int, start: int) -> tuple[int, int]:
    """The pixels of a photo's side, up to but without the second, that [begin, end) of the input was made of."""
    first, last = (begin + start) * side // resized, -(-(end + start) * side // resized)
    return max(0, first), min(side, last)
