"""What the judged images are like, for the question where a classifier is worse: size, brightness, blur, folder.

Every image is decoded once more, whole. Brightness is the mean of grey, 0 to 1. Sharpness is the variance of the
Laplacian (Pech-Pacheco et al. 2000, ICPR 3, 314-317) of the grey picture, shrunk to a short side of 224 pixels where it
is larger, so that it does not measure the size again; small ones are blurred, or plain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np

from ..core.errors import printable
from ..core.plain_numbers import plain_float
from ..core.types import Preprocessing
from ..data.images.decode import decode_image
from ..data.source import DataSource
from ..evaluate.slices import MIN_IMAGES, Slice, corrected, cut_names, cut_numbers

SHARPNESS_PX = 224


@dataclass(frozen=True, kw_only=True)
class PictureTraits:
    """Of N images: the shorter side in pixels, brightness, sharpness (float64), and the folder, without that of its
    class."""

    short_side_N: np.ndarray
    brightness_N: np.ndarray
    sharpness_N: np.ndarray
    folder_N: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Of N images: `picture`, what they look like, None where that is not asked for; `columns` are texts by the name of
    a column of the source's table."""

    picture: PictureTraits | None
    columns: dict[str, tuple[str, ...]]

    def slices(self, right_N: np.ndarray) -> tuple[Slice, ...]:
        """All parts of the images by these traits, corrected for their number."""
        found: list[Slice] = []
        if self.picture is not None:
            found += [
                *cut_numbers("the short side", self.picture.short_side_N, right_N, " px"),
                *cut_numbers("brightness", self.picture.brightness_N, right_N),
                *cut_numbers("sharpness", self.picture.sharpness_N, right_N),
                *cut_names("the folder", self.picture.folder_N, right_N),
            ]
        for name, text_N in self.columns.items():
            value_N = _numbers(text_N)
            trait = f"column {name}"
            if value_N is not None and len(set(text_N)) > len(text_N) ** 0.5:
                found += cut_numbers(trait, value_N, right_N)
            else:
                found += cut_names(trait, text_N, right_N)
        return corrected(found)

    def told_uncompared(self, slices: Sequence[Slice]) -> list[str]:
        """A sentence for each column that was asked for and is in none of `slices`, or not with all of its values."""
        told = []
        for name, text_N in self.columns.items():
            num_values, trait = len(set(text_N)), f"column {name}"
            parts = [part for part in slices if part.trait == trait]
            shown = f"The column '{printable(name[:40])}'"
            num_left_out = len(text_N) - sum(part.num_images for part in parts)
            if num_values == 1:
                told.append(f"{shown} is not compared: it is the same for all judged images.")
            elif not parts:
                told.append(f"{shown} is not compared: no part of it has {MIN_IMAGES} judged images or more.")
            elif num_left_out:
                images = "1 image is" if num_left_out == 1 else f"{num_left_out:,} images are"
                told.append(f"{shown}: {images} in no part that is compared; these have {MIN_IMAGES} or more.")
        return told


def column_texts(
    source: DataSource, index_N: np.ndarray, columns: dict[str, dict[str, str]]
) -> dict[str, tuple[str, ...]]:
    """The texts of the images `index_N` by the name of a column; `columns` have them by the key of an image."""
    keys = [source.record(int(index)).key for index in index_N]
    return {name: tuple(of_key.get(key, "") for key in keys) for name, of_key in columns.items()}


def measure_picture(source: DataSource, index_N: np.ndarray, preprocessing: Preprocessing) -> PictureTraits:
    """What the images `index_N` look like. Raises ImageError."""
    records = [source.record(int(index)) for index in index_N]
    figures = [
        _figures(decode_image(source.read(int(index)), record.key, None, preprocessing.white_16_bit).image_HWC)
        for index, record in zip(index_N, records, strict=True)
    ]
    figure_N3 = np.array(figures, np.float64).reshape(-1, 3)
    return PictureTraits(
        short_side_N=figure_N3[:, 0],
        brightness_N=figure_N3[:, 1],
        sharpness_N=figure_N3[:, 2],
        folder_N=tuple(folder_of(record.key, source.classes) for record in records),
    )


def folder_of(key: str, classes: Sequence[str]) -> str:
    """The folder of an image, without the part that is its class."""
    parts = [part for part in PurePosixPath(key).parts[:-1] if part not in classes]
    return "/".join(parts)


def _figures(image_HWC: np.ndarray) -> tuple[float, float, float]:
    """(short side in pixels, brightness, sharpness) of a decoded image."""
    grey_HW = cv2.cvtColor(np.ascontiguousarray(image_HWC), cv2.COLOR_RGB2GRAY)
    height, width = grey_HW.shape
    short_px = min(height, width)
    brightness = float(grey_HW.mean()) / 255
    if short_px > SHARPNESS_PX:
        size = (round(width * SHARPNESS_PX / short_px), round(height * SHARPNESS_PX / short_px))
        grey_HW = cv2.resize(grey_HW, size, interpolation=cv2.INTER_AREA)
    return float(short_px), brightness, float(cv2.Laplacian(grey_HW, cv2.CV_64F).var())


def _numbers(text_N: Sequence[str]) -> np.ndarray | None:
    """The texts as numbers; None where one is none."""
    try:
        value_N = np.array([plain_float(text) for text in text_N])
    except ValueError:
        return None
    return value_N if np.isfinite(value_N).all() else None
