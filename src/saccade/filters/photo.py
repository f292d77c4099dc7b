"""One kernel over one photo: the response as numbers, and what a person should know about it, in words."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..conv import reference
from ..conv.filters import Kernel, flip_effect
from ..conv.geometry import Window, same_padding
from ..core.errors import DataError, UsageError, brief, did_you_mean, printable
from ..core.plain_files import open_plain_file
from ..data.images.decode import decode_image
from ..data.limits import refuse_large_image

PADDING_MODES: dict[str, reference.PaddingMode] = {
    "valid": "zero",
    "same": "zero",
    "zero": "zero",
    "reflect": "reflect",
    "replicate": "replicate",
}

MAX_STRIDE = 1_000  # pixels, as of a layer in one-line notation
BRIGHTNESS_C = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's and OpenCV's grey

FLIP_NOTES = {
    "equal": "Flipping leaves this kernel as it is: cross-correlation and true convolution give the same values.",
    "negative": (
        "Flipping only changes the sign of this kernel: true convolution gives the exact negative of "
        "cross-correlation, and as absolute values the two look the same."
    ),
    "different": (
        "Flipping changes this kernel: cross-correlation (what networks compute) and true convolution give "
        "different values."
    ),
}


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """How a kernel is applied. `padding` "valid" adds nothing, "same" is "zero"; the last four keep the size at
    stride 1. The kernel is divided by `divide_by`, and flipped first where `true_convolution`. `grey` filters the
    brightness instead of each colour channel by itself. Raises UsageError on values that cannot be."""

    padding: str = "valid"
    stride: int = 1
    true_convolution: bool = False
    divide_by: float = 1.0
    grey: bool = False

    def __post_init__(self) -> None:
        if self.padding not in PADDING_MODES:
            raise UsageError(
                f"Unknown padding '{printable(self.padding)}'.{did_you_mean(self.padding, PADDING_MODES)} "
                f"Use one of: {', '.join(PADDING_MODES)}."
            )
        if self.stride < 1:
            raise UsageError(f"The stride must be at least 1, got {brief(str(self.stride), 40)}.")
        if self.stride > MAX_STRIDE:
            raise UsageError(f"The stride must be at most {MAX_STRIDE:,} pixels, got {brief(str(self.stride), 40)}.")
        if not math.isfinite(self.divide_by) or abs(self.divide_by) < 1e-9:
            raise UsageError(f"The kernel cannot be divided by {self.divide_by:g}; use a number such as 9.")


@dataclass(frozen=True, kw_only=True)
class FilterResult:
    """`response_HWC` float64 (C is 1 or 3); `weights_HW` is what was applied, divided but not flipped."""

    response_HWC: np.ndarray
    weights_HW: np.ndarray
    input_size_hw: tuple[int, int]
    windows: tuple[Window, Window]
    coverage_notes: tuple[str, ...]

    @property
    def flip_note(self) -> str:
        """Whether cross-correlation and true convolution differ for this kernel, in words."""
        return FLIP_NOTES[flip_effect(self.weights_HW)]

    @property
    def formulas(self) -> tuple[str, str]:
        """The size formula with its numbers, for the height and the width."""
        height, width = (window.formula(size) for window, size in zip(self.windows, self.input_size_hw))
        return height, width


def read_photo(path: Path, what: str = "photo") -> np.ndarray:
    """The image at `path`, upright: uint8 RGB (H, W, 3), or (H, W, 1) where it has no colour; `what` is for messages.

    Raises DataError where there is no such file, ImageError where it is not an image.
    """
    image_HWC = decode_image(read_file(path, what), str(path)).image_HWC
    colourless = (image_HWC == image_HWC[..., :1]).all()
    return image_HWC[..., :1] if colourless else image_HWC


def read_file(path: Path, what: str) -> bytes:
    """The bytes of a file a person named as `what`. Raises DataError where there is none or it may not be read."""
    shown = printable(str(path))
    if os.path.isdir(path):  # os.path: a name too long for a file is then just no file
        raise DataError(f"'{shown}' is a folder; give one {what}.")
    if not os.path.exists(path):
        raise DataError(
            f"There is no file '{shown}' (looked in {printable(str(Path.cwd()))}).\nCheck the path of the {what}."
        )
    if not os.path.isfile(path):
        raise DataError(f"'{shown}' is not a regular file; give one {what}.")
    try:
        refuse_large_image(str(path), path.stat().st_size)
        with open_plain_file(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"Cannot read '{shown}': {error.strerror}.\nCheck its permissions.") from error


def brightness(image_HWC: np.ndarray) -> np.ndarray:
    """(H, W, 1) float64: 0.299 R + 0.587 G + 0.114 B, unrounded; a single channel passes through."""
    if image_HWC.shape[2] == 1:
        return image_HWC.astype(np.float64)
    brightness_HW1: np.ndarray = image_HWC.astype(np.float64) @ BRIGHTNESS_C[:, None]
    return brightness_HW1


def filter_photo(image_HWC: np.ndarray, kernel: Kernel, options: FilterOptions) -> FilterResult:
    """Apply `kernel` to each channel by itself. Raises DataError where the image is smaller than the kernel."""
    weights_HW = kernel.weights_HW / options.divide_by
    size_hw = (image_HWC.shape[0], image_HWC.shape[1])
    windows = _windows(weights_HW, options)
    _check_fits(size_hw, windows)
    channels_HWC = brightness(image_HWC) if options.grey else image_HWC
    applied_HW = reference.flip(weights_HW) if options.true_convolution else weights_HW
    output_hw = [window.output_size(size) for window, size in zip(windows, size_hw)]
    response_HWC = np.empty((*output_hw, channels_HWC.shape[2]))
    for channel in range(channels_HWC.shape[2]):
        response_HWC[..., channel] = _correlate(channels_HWC[..., channel], applied_HW, windows, options)
    return FilterResult(
        response_HWC=response_HWC,
        weights_HW=weights_HW,
        input_size_hw=size_hw,
        windows=windows,
        coverage_notes=coverage_notes(size_hw, windows),
    )


def coverage_notes(size_hw: tuple[int, int], windows: tuple[Window, Window]) -> tuple[str, ...]:
    """In words, the rows and columns that no window covers; empty where all are."""
    parts = [
        _missed(window.never_covered(size), size, axis)
        for window, size, axis in zip(windows, size_hw, ("row", "column"))
    ]
    missed = " and ".join(part for part in parts if part)
    return (f"No window covers {missed}.",) if missed else ()


def _missed(positions: tuple[int, ...], size: int, axis: str) -> str:
    if not positions:
        return ""
    if positions != tuple(range(size - len(positions), size)):
        return f"{len(positions)} of the {size} {axis}s"
    return f"the last {axis}" if len(positions) == 1 else f"the last {len(positions)} {axis}s"


def _windows(weights_HW: np.ndarray, options: FilterOptions) -> tuple[Window, Window]:
    height, width = (
        Window(size, options.stride, 0 if options.padding == "valid" else same_padding(size))
        for size in weights_HW.shape
    )
    return height, width


def _check_fits(size_hw: tuple[int, int], windows: tuple[Window, Window]) -> None:
    for window, size, axis in zip(windows, size_hw, ("height", "width")):
        if window.output_size(size) < 1:
            raise DataError(
                f"The image is smaller than the kernel: {size_hw[0]}x{size_hw[1]} pixels (height x width) for a kernel "
                f"of {windows[0].kernel}x{windows[1].kernel}.\n"
                f"Output {axis}: {window.formula(size)}.\n"
                f"Use --padding zero, a smaller kernel or a larger image."
            )


def _correlate(
    channel_HW: np.ndarray, weights_HW: np.ndarray, windows: tuple[Window, Window], options: FilterOptions
) -> np.ndarray:
    padded_BCHW = reference.pad(channel_HW[None, None], windows, PADDING_MODES[options.padding])
    height, width = (Window(window.kernel, window.stride) for window in windows)
    output_HW: np.ndarray = reference.cross_correlate(padded_BCHW, weights_HW[None, None], (height, width))[0, 0]
    return output_HW
