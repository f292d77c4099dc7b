"""Convolution and pooling in NumPy float64, with their gradients: what every faster path is checked against.

Clear rather than fast: each operation walks over the taps of the window and adds one shifted, strided view of the
padded image per tap. Shapes: image_BCHW, kernel_OIHW with I = C / groups, `windows` = (along height, along width).
All functions raise ModelError where shapes and windows do not agree.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ..core.errors import ModelError
from .geometry import Window

Windows = tuple[Window, Window]
PaddingMode = Literal["zero", "reflect", "replicate"]

NUMPY_PAD_MODES: dict[str, Literal["constant", "reflect", "edge"]] = {
    "zero": "constant",
    "reflect": "reflect",
    "replicate": "edge",
}


def flip(kernel_OIHW: np.ndarray) -> np.ndarray:
    """The kernel turned upside down and left to right: by 180 degrees. Works on kernel_HW too."""
    return kernel_OIHW[..., ::-1, ::-1]


def pad(image_BCHW: np.ndarray, windows: Windows, mode: PaddingMode) -> np.ndarray:
    """The image with the padding of `windows` filled in by `mode`; use windows without padding on the result."""
    pads = [window.pads for window in windows]
    for size, before_after, axis in zip(image_BCHW.shape[2:], pads, ("rows", "columns")):
        if mode == "reflect" and max(before_after) >= size:
            raise ModelError(
                f"Reflecting needs more {axis} than padding, got {size} {axis} and padding {max(before_after)}.\n"
                f"Use zero or replicate padding, or a larger image."
            )
    return np.pad(image_BCHW, [(0, 0), (0, 0), *pads], mode=NUMPY_PAD_MODES[mode])


def cross_correlate(image_BCHW: np.ndarray, kernel_OIHW: np.ndarray, windows: Windows, groups: int = 1) -> np.ndarray:
    """What networks call convolution: output[b, o, y, x] = sum of kernel[o, i, u, v] * padded image under it."""
    _check_kernel(image_BCHW, kernel_OIHW, windows, groups)
    kernel_GOIHW = _split_groups(np.asarray(kernel_OIHW, np.float64), 0, groups)
    image_BGIHW = _split_groups(_padded(image_BCHW, windows, 0.0), 1, groups)
    size_hw = _output_size(image_BCHW, windows)
    output_BGOHW = np.zeros((len(image_BCHW), *kernel_GOIHW.shape[:2], *size_hw))
    for row, column, view in _taps(windows, size_hw):
        output_BGOHW += np.einsum("bgihw,goi->bgohw", image_BGIHW[view], kernel_GOIHW[..., row, column])
    return _join_groups(output_BGOHW, 1)


def convolve(image_BCHW: np.ndarray, kernel_OIHW: np.ndarray, windows: Windows, groups: int = 1) -> np.ndarray:
    """True convolution: the kernel is flipped in both directions, then cross-correlated."""
    return cross_correlate(image_BCHW, flip(kernel_OIHW), windows, groups)


def full_windows(kernel_HW: np.ndarray) -> Windows:
    """Windows with full padding, f - 1 on every side: every overlap of image and kernel is computed."""
    height, width = (Window(size, padding=size - 1) for size in kernel_HW.shape)
    return height, width


def cross_correlate_gradients(
    upstream_BOHW: np.ndarray, image_BCHW: np.ndarray, kernel_OIHW: np.ndarray, windows: Windows, groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by the image and by the kernel of sum(upstream * cross_correlate(image, kernel))."""
    _check_kernel(image_BCHW, kernel_OIHW, windows, groups)
    kernel_GOIHW = _split_groups(np.asarray(kernel_OIHW, np.float64), 0, groups)
    image_BGIHW = _split_groups(_padded(image_BCHW, windows, 0.0), 1, groups)
    upstream_BGOHW = _split_groups(np.asarray(upstream_BOHW, np.float64), 1, groups)
    image_gradient_BGIHW, kernel_gradient_GOIHW = np.zeros_like(image_BGIHW), np.zeros_like(kernel_GOIHW)
    for row, column, view in _taps(windows, _output_size(image_BCHW, windows)):
        tap_GOI = kernel_GOIHW[..., row, column]
        image_gradient_BGIHW[view] += np.einsum("bgohw,goi->bgihw", upstream_BGOHW, tap_GOI)
        kernel_gradient_GOIHW[..., row, column] = np.einsum("bgohw,bgihw->goi", upstream_BGOHW, image_BGIHW[view])
    image_gradient_BCHW = _unpadded(_join_groups(image_gradient_BGIHW, 1), image_BCHW, windows)
    return image_gradient_BCHW, _join_groups(kernel_gradient_GOIHW, 0)


def convolve_gradients(
    upstream_BOHW: np.ndarray, image_BCHW: np.ndarray, kernel_OIHW: np.ndarray, windows: Windows, groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by the image and by the kernel of sum(upstream * convolve(image, kernel))."""
    image_gradient_BCHW, flipped_gradient_OIHW = cross_correlate_gradients(
        upstream_BOHW, image_BCHW, flip(kernel_OIHW), windows, groups
    )
    return image_gradient_BCHW, flip(flipped_gradient_OIHW)


def max_pool(image_BCHW: np.ndarray, windows: Windows) -> np.ndarray:
    """The largest value under each window; padding counts as minus infinity, so it never wins."""
    output_BCHW: np.ndarray = _stack_of_taps(image_BCHW, windows, -np.inf).max(axis=0)
    return output_BCHW


def max_pool_gradient(upstream_BCHW: np.ndarray, image_BCHW: np.ndarray, windows: Windows) -> np.ndarray:
    """Gradient by the image: each upstream value goes to the largest tap, the first in reading order among equals."""
    winner_BCHW = _stack_of_taps(image_BCHW, windows, -np.inf).argmax(axis=0)
    gradient_BCHW = np.zeros_like(_padded(image_BCHW, windows, 0.0))
    for number, (_, _, view) in enumerate(_taps(windows, _output_size(image_BCHW, windows))):
        gradient_BCHW[view] += np.where(winner_BCHW == number, upstream_BCHW, 0.0)
    return _unpadded(gradient_BCHW, image_BCHW, windows)


def average_pool(image_BCHW: np.ndarray, windows: Windows, count_include_pad: bool = True) -> np.ndarray:
    """The mean under each window. Padding counts as zeros where `count_include_pad` (torch's default), else not at
    all; what a window of ceil mode has beyond the padding never counts."""
    taps_TBCHW = _stack_of_taps(image_BCHW, windows, 0.0)
    output_BCHW: np.ndarray = taps_TBCHW.sum(axis=0) / _divisor(image_BCHW, windows, count_include_pad)
    return output_BCHW


def average_pool_gradient(
    upstream_BCHW: np.ndarray, image_BCHW: np.ndarray, windows: Windows, count_include_pad: bool = True
) -> np.ndarray:
    """Gradient by the image: each upstream value spreads evenly over what its window counted."""
    share_BCHW = upstream_BCHW / _divisor(image_BCHW, windows, count_include_pad)
    gradient_BCHW = np.zeros_like(_padded(image_BCHW, windows, 0.0))
    for _, _, view in _taps(windows, _output_size(image_BCHW, windows)):
        gradient_BCHW[view] += share_BCHW
    return _unpadded(gradient_BCHW, image_BCHW, windows)


def _taps(windows: Windows, size_hw: tuple[int, int]) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """For each tap in reading order: its row, its column, and the view of the padded image that it multiplies."""
    height, width = windows
    for row in range(height.kernel):
        for column in range(width.kernel):
            view = (..., _positions(height, row, size_hw[0]), _positions(width, column, size_hw[1]))
            yield row, column, view


def _positions(window: Window, tap: int, size: int) -> slice:
    first = tap * window.dilation
    return slice(first, first + (size - 1) * window.stride + 1, window.stride)


def _stack_of_taps(image_BCHW: np.ndarray, windows: Windows, fill: float) -> np.ndarray:
    """taps_TBCHW: what each of the T taps sees."""
    padded = _padded(image_BCHW, windows, fill)
    return np.stack([padded[view] for _, _, view in _taps(windows, _output_size(image_BCHW, windows))])


def _divisor(image_BCHW: np.ndarray, windows: Windows, count_include_pad: bool) -> np.ndarray:
    """How many positions each window counts, shape (1, 1, H, W)."""
    pads = [(0, 0), (0, 0), *(window.pads for window in windows)]
    counted = np.pad(np.ones((1, 1, *image_BCHW.shape[2:])), pads, constant_values=float(count_include_pad))
    size_hw = _output_size(image_BCHW, windows)
    counted = _extend(counted, windows, size_hw, 0.0)
    count_HW: np.ndarray = np.sum([counted[view] for _, _, view in _taps(windows, size_hw)], axis=0)
    return count_HW


def _padded(image_BCHW: np.ndarray, windows: Windows, fill: float) -> np.ndarray:
    """The image in float64 with its padding, and with what a last window of ceil mode needs beyond it."""
    _check_axes(image_BCHW)
    size_hw = _output_size(image_BCHW, windows)
    pads = [(0, 0), (0, 0), *(window.pads for window in windows)]
    padded = np.pad(np.asarray(image_BCHW, np.float64), pads, constant_values=fill)
    return _extend(padded, windows, size_hw, fill)


def _extend(padded_BCHW: np.ndarray, windows: Windows, size_hw: tuple[int, int], fill: float) -> np.ndarray:
    missing = [
        (0, max((size - 1) * window.stride + window.extent - available, 0))
        for window, size, available in zip(windows, size_hw, padded_BCHW.shape[2:])
    ]
    return np.pad(padded_BCHW, [(0, 0), (0, 0), *missing], constant_values=fill)


def _unpadded(padded_BCHW: np.ndarray, image_BCHW: np.ndarray, windows: Windows) -> np.ndarray:
    (top, _), (left, _) = (window.pads for window in windows)
    height, width = image_BCHW.shape[2:]
    return padded_BCHW[:, :, top : top + height, left : left + width]


def _output_size(image_BCHW: np.ndarray, windows: Windows) -> tuple[int, int]:
    height, width = (window.output_size(size) for window, size in zip(windows, image_BCHW.shape[2:]))
    for window, size, axis in zip(windows, image_BCHW.shape[2:], ("height", "width")):
        if window.output_size(size) < 1:
            raise ModelError(f"The window does not fit on the {axis}: {window.formula(size)}.")
    return height, width


def _check_axes(image_BCHW: np.ndarray) -> None:
    if image_BCHW.ndim != 4:
        raise ModelError(f"An image must have the four axes BCHW, got shape {image_BCHW.shape}.")


def _check_kernel(image_BCHW: np.ndarray, kernel_OIHW: np.ndarray, windows: Windows, groups: int) -> None:
    _check_axes(image_BCHW)
    expected = tuple(window.kernel for window in windows)
    if kernel_OIHW.ndim != 4 or kernel_OIHW.shape[2:] != expected:
        raise ModelError(f"The kernel must have shape (O, I, {expected[0]}, {expected[1]}), got {kernel_OIHW.shape}.")
    outputs, inputs = kernel_OIHW.shape[:2]
    if groups < 1 or outputs % groups or inputs * groups != image_BCHW.shape[1]:
        raise ModelError(
            f"Filter channels must equal image channels: {groups} groups of {inputs} for an image of "
            f"{image_BCHW.shape[1]} channels and {outputs} filters."
        )


def _split_groups(array: np.ndarray, axis: int, groups: int) -> np.ndarray:
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _join_groups(array: np.ndarray, axis: int) -> np.ndarray:
    shape = array.shape
    return array.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
