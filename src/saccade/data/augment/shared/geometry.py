"""All geometric augmentations of an image as one resample of its source pixels."""

import functools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from ....core import torch_private
from ....core.types import Preprocessing
from ...augmentation import Border
from ...images.opencv import written
from ...images.preprocess import mean_levels, place_on_input

# A general warp that shrinks reads a copy averaged over whole factors, the shrink factor plus this rounded down: the
# choice nearest to the antialiased filter of evaluation on photographs (root mean square difference, 1 to 3.3 times).
REDUCTION_OFFSET = 0.35
CHANNELS_AT_ONCE = 4  # that OpenCV gives a border colour, and torch's filter is fast for
_BORDERS = {
    "reflect": cv2.BORDER_REFLECT_101,
    "edge": cv2.BORDER_REPLICATE,
    "mean": cv2.BORDER_CONSTANT,
    "black": cv2.BORDER_CONSTANT,
}
_INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What is drawn on: the output's size, the filter, and what lies outside the source.

    `is_padded`: evaluation shows the whole source with room around it, so that boxes that reach beyond it are usual.
    """

    size_HW: tuple[int, int]
    interpolation: str
    border: Border
    fill_C: np.ndarray
    is_padded: bool = False


def canvas_for(preprocessing: Preprocessing, border: Border) -> Canvas:
    """The canvas of a network's input; borders 'mean' and 'black' have a colour. With fit pad the border is 'mean'."""
    mean_C = mean_levels(preprocessing)
    is_padded = preprocessing.fit == "pad"
    border = "mean" if is_padded else border
    return Canvas(
        size_HW=(preprocessing.input_height_px, preprocessing.input_width_px),
        interpolation=preprocessing.interpolation,
        border=border,
        fill_C=mean_C if border == "mean" else np.zeros_like(mean_C),
        is_padded=is_padded,
    )


def fitted_canvas(source_HW: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """(height, width), in source pixels, of what a random box is drawn on, so that training sees shapes as evaluation.

    The source itself where evaluation cuts its centre out; with fit pad and squash the smallest canvas of the input's
    shape that holds the source, which is then padded, or stretched, to fill it.
    """
    height, width = source_HW
    if preprocessing.fit not in ("pad", "squash"):
        return source_HW
    input_height, input_width = preprocessing.input_height_px, preprocessing.input_width_px
    return max(height, -(-width * input_height // input_width)), max(width, -(-height * input_width // input_height))


def centre_frame(source_HW: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """matrix_33 from centred output to centred source coordinates that shows what evaluation sees."""
    matrix_33 = np.eye(3)
    output_HW = (preprocessing.input_height_px, preprocessing.input_width_px)
    resized_HW, start_HW = place_on_input(source_HW, preprocessing)
    for axis, (size, resized, start, output) in enumerate(zip(source_HW, resized_HW, start_HW, output_HW)):
        scale = size / resized
        matrix_33[1 - axis, 1 - axis] = scale
        matrix_33[1 - axis, 2] = (start + output / 2 - resized / 2) * scale
    return matrix_33


def resample(
    image_HWC: np.ndarray,
    matrix_33: np.ndarray,
    displacement_HW2: np.ndarray | None,
    canvas: Canvas,
    out_HWC: np.ndarray | None = None,
) -> np.ndarray:
    """What centred output coordinates show of `image_HWC`, uint8 or uint16, any channels; antialiased when shrinking.

    A box with whole-pixel borders inside the image is resized by torch's antialiased filter, the same as evaluation
    uses, and on a padded canvas so is the part inside of a box that reaches beyond it, to the nearest whole pixels of
    the output; everything else is warped, from a copy reduced by whole factors where the source is much larger.
    The result goes to `out_HWC` where it is given: without gaps, of the canvas's size, otherwise like the image.
    """
    if out_HWC is None:
        out_HWC = np.empty((*canvas.size_HW, image_HWC.shape[2]), image_HWC.dtype)
    if image_HWC.shape[2] > CHANNELS_AT_ONCE:
        for first in range(0, image_HWC.shape[2], CHANNELS_AT_ONCE):
            some = slice(first, first + CHANNELS_AT_ONCE)
            own = replace(canvas, fill_C=canvas.fill_C[some])
            out_HWC[:, :, some] = resample(
                np.ascontiguousarray(image_HWC[:, :, some]), matrix_33, displacement_HW2, own
            )
        return out_HWC
    filtered = displacement_HW2 is None and canvas.interpolation != "nearest"
    box = whole_box(matrix_33, image_HWC.shape[:2], canvas) if filtered else None
    part = _part_inside(matrix_33, image_HWC.shape[:2], canvas) if filtered and canvas.is_padded and not box else None
    if box is not None:
        _resize_box(image_HWC, box, canvas, out_HWC)
    elif part is not None:
        _resize_part(image_HWC, part, canvas, out_HWC)
    else:
        _warp(image_HWC, matrix_33, displacement_HW2, canvas, out_HWC)
    return out_HWC


def shrink_factors(matrix_33: np.ndarray, size_HW: tuple[int, int]) -> tuple[float, float]:
    """Source pixels per output pixel across and down; with perspective at the corner that is shrunk least."""
    if is_projective(matrix_33):
        across, down = _corner_stretches(matrix_33[None], size_HW)[0].min(axis=0).tolist()
        return across, down
    (xx, xy, _), (yx, yy, _), _ = matrix_33.tolist()
    return math.hypot(xx, xy), math.hypot(yx, yy)


def largest_stretches(matrix_B33: np.ndarray, size_HW: tuple[int, int]) -> np.ndarray:
    """The most that each matrix lengthens an axis anywhere in an output of `size_HW`: float64 (B,)."""
    stretch_B = np.linalg.norm(matrix_B33[:, :2, :2], axis=2).max(axis=1)
    projective_B = (matrix_B33[:, 2, :2] != 0).any(axis=1)
    if projective_B.any():
        stretch_B[projective_B] = _corner_stretches(matrix_B33[projective_B], size_HW).max(axis=(1, 2))
    return stretch_B


def is_projective(matrix_33: np.ndarray) -> bool:
    """Whether the matrix is more than affine: straight lines stay straight, parallels do not stay parallel."""
    return bool(matrix_33[2, 0] != 0 or matrix_33[2, 1] != 0)


def _corner_stretches(matrix_B33: np.ndarray, size_HW: tuple[int, int]) -> np.ndarray:
    """Source pixels per output pixel, across and down, at the four corners of the output: float64 (B, 4, 2)."""
    half_2 = np.array([size_HW[1], size_HW[0]]) / 2
    corner_43 = np.concatenate([half_2 * [[-1, -1], [1, -1], [1, 1], [-1, 1]], np.ones((4, 1))], axis=1)
    place_B43 = corner_43 @ matrix_B33.transpose(0, 2, 1)
    depth_B41 = place_B43[:, :, 2:]
    # The derivative of a quotient: (row - place * last row) / depth.
    seen_B42 = place_B43[:, :, :2] / depth_B41
    slope_B422 = matrix_B33[:, None, :2, :2] - seen_B42[..., None] * matrix_B33[:, None, 2:, :2]
    return np.linalg.norm(slope_B422 / depth_B41[..., None], axis=3)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Whole source pixels that the output shows, and whether it shows them mirrored."""

    rows: slice
    columns: slice
    mirrored_across: bool
    mirrored_down: bool


def whole_box(matrix_33: np.ndarray, source_HW: tuple[int, ...], canvas: Canvas) -> Box | None:
    """The box of whole pixels inside the image that the matrix shows, None where it shows something else."""
    (xx, xy, right), (yx, yy, down), _ = matrix_33.tolist()
    if xy != 0 or yx != 0 or is_projective(matrix_33):
        return None
    rows = _whole_slice(source_HW[0], down, abs(yy) * canvas.size_HW[0])
    columns = _whole_slice(source_HW[1], right, abs(xx) * canvas.size_HW[1])
    if rows is None or columns is None:
        return None
    return Box(rows=rows, columns=columns, mirrored_across=xx < 0, mirrored_down=yy < 0)


def _whole_slice(size: int, middle: float, length: float) -> slice | None:
    """The pixels of a side that `length` around `middle` (counted from the side's middle) covers, if whole."""
    start, stop = size / 2 + middle - length / 2, size / 2 + middle + length / 2
    first, last = round(start), round(stop)
    if abs(start - first) > 1e-6 or abs(stop - last) > 1e-6 or first < 0 or last > size or first == last:
        return None
    return slice(first, last)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The whole source pixels that the output shows at `rows` and `columns` of it; all else lies outside the source."""

    box: Box
    rows: slice
    columns: slice


def _part_inside(matrix_33: np.ndarray, source_HW: tuple[int, ...], canvas: Canvas) -> _Part | None:
    """The part of an upright box that lies inside the source; None where it is not one of whole source pixels."""
    (xx, xy, right), (yx, yy, down), _ = matrix_33.tolist()
    if xy != 0 or yx != 0 or is_projective(matrix_33):
        return None
    rows = _inside_slices(source_HW[0], down, yy, canvas.size_HW[0])
    columns = _inside_slices(source_HW[1], right, xx, canvas.size_HW[1])
    if rows is None or columns is None:
        return None
    box = Box(rows=rows[0], columns=columns[0], mirrored_across=xx < 0, mirrored_down=yy < 0)
    return _Part(box=box, rows=rows[1], columns=columns[1])


def _inside_slices(size: int, middle: float, scale: float, output: int) -> tuple[slice, slice] | None:
    """(source pixels, output pixels) of one side, where the former are whole; mirrored where `scale` is negative."""
    length = abs(scale) * output
    start, stop = size / 2 + middle - length / 2, size / 2 + middle + length / 2
    first, last = max(start, 0), min(stop, size)
    inside = _whole_slice(size, (first + last - size) / 2, last - first) if first < last else None
    if inside is None:
        return None
    begin, end = (round((place - start) / abs(scale)) for place in (inside.start, inside.stop))
    begin = min(begin, output - 1)
    end = max(end, begin + 1)
    return inside, slice(output - end, output - begin) if scale < 0 else slice(begin, end)


def _resize_part(image_HWC: np.ndarray, part: _Part, canvas: Canvas, out_HWC: np.ndarray) -> None:
    out_HWC[..., : len(canvas.fill_C)] = canvas.fill_C  # colour may have a fourth byte, which is not used
    size_HW = (part.rows.stop - part.rows.start, part.columns.stop - part.columns.start)
    seen_HWC = np.empty((*size_HW, image_HWC.shape[2]), image_HWC.dtype)
    _resize_box(image_HWC, part.box, replace(canvas, size_HW=size_HW), seen_HWC)
    out_HWC[part.rows, part.columns] = seen_HWC


def _resize_box(image_HWC: np.ndarray, box: Box, canvas: Canvas, out_HWC: np.ndarray) -> None:
    source_HWC = image_HWC[box.rows, box.columns]
    if not source_HWC.flags.writeable:
        source_HWC = source_HWC.copy()  # torch takes no other
    is_mirrored = box.mirrored_across or box.mirrored_down
    resized_HWC = np.empty_like(out_HWC) if is_mirrored else out_HWC
    if source_HWC.dtype == np.uint16:
        _resize_deep(source_HWC, canvas, resized_HWC)
    else:
        _resize_levels(source_HWC, canvas, resized_HWC)
    if is_mirrored:
        direction = 1 if not box.mirrored_down else (-1 if box.mirrored_across else 0)
        written(cv2.flip(resized_HWC, direction, dst=out_HWC), out_HWC)


def _resize_deep(source_HWC: np.ndarray, canvas: Canvas, out_HWC: np.ndarray) -> None:
    """Sixteen bits, which torch's filter does not know: in float32, rounded to whole values."""
    resized_1CHW = torch.nn.functional.interpolate(
        _batch_of_one(source_HWC.astype(np.float32)), canvas.size_HW, mode=canvas.interpolation, antialias=True
    )
    out_HWC[...] = np.rint(resized_1CHW[0].permute(1, 2, 0).numpy()).clip(0, np.iinfo(np.uint16).max)


def _resize_levels(source_HWC: np.ndarray, canvas: Canvas, out_HWC: np.ndarray) -> None:
    # The operators behind torch.nn.functional.interpolate, which alone write into memory that is already there.
    operator = {
        "bilinear": torch_private.upsample_bilinear_into,
        "bicubic": torch_private.upsample_bicubic_into,
    }[canvas.interpolation]
    operator(_batch_of_one(source_HWC), list(canvas.size_HW), False, None, None, out=_batch_of_one(out_HWC))


def _batch_of_one(image_HWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image_HWC[None]).permute(0, 3, 1, 2)


def _warp(
    image_HWC: np.ndarray,
    matrix_33: np.ndarray,
    displacement_HW2: np.ndarray | None,
    canvas: Canvas,
    out_HWC: np.ndarray,
) -> None:
    image_HWC, reduce_33 = _reduce(image_HWC, matrix_33, canvas.size_HW)
    height, width = canvas.size_HW
    matrix_33 = _to_index(image_HWC.shape[:2]) @ reduce_33 @ matrix_33
    interpolation, border = _INTERPOLATIONS[canvas.interpolation], _BORDERS[canvas.border]
    fill = canvas.fill_C.tolist()
    if displacement_HW2 is None:
        # (column, row) of an output pixel, seen from the middle of the output
        matrix_33[:, 2] -= matrix_33[:, :2] @ [(width - 1) / 2, (height - 1) / 2]
        flags = interpolation | cv2.WARP_INVERSE_MAP
        if is_projective(matrix_33):
            warped = cv2.warpPerspective(image_HWC, matrix_33, (width, height), out_HWC, flags, border, fill)
        else:
            warped = cv2.warpAffine(image_HWC, matrix_33[:2], (width, height), out_HWC, flags, border, fill)
    else:
        place_HW2 = _places(height, width) + displacement_HW2
        map_HW2 = place_HW2 @ matrix_33[:2, :2].T.astype(np.float32) + matrix_33[:2, 2].astype(np.float32)
        if is_projective(matrix_33):
            map_HW2 /= (place_HW2 @ matrix_33[2, :2].astype(np.float32) + np.float32(matrix_33[2, 2]))[..., None]
        warped = cv2.remap(image_HWC, map_HW2, None, interpolation, out_HWC, border, fill)  # type: ignore[call-overload]
    written(warped, out_HWC)


def _reduce(image_HWC: np.ndarray, matrix_33: np.ndarray, size_HW: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The image averaged over whole factors, and the matrix from its centred coordinates to those of the copy.

    What is left over at the right and the bottom, less than a factor, is cut off: the border shows there.
    """
    height, width = image_HWC.shape[:2]
    shrink_across, shrink_down = shrink_factors(matrix_33, size_HW)
    across = min(max(1, int(shrink_across + REDUCTION_OFFSET)), width)
    down = min(max(1, int(shrink_down + REDUCTION_OFFSET)), height)
    if across == down == 1:
        return image_HWC, np.eye(3)
    small_HW = (height // down, width // across)
    whole_HWC = image_HWC[: small_HW[0] * down, : small_HW[1] * across]
    small_HWC = cv2.resize(whole_HWC, (small_HW[1], small_HW[0]), interpolation=cv2.INTER_AREA)
    to_small_33 = np.diag([1 / across, 1 / down, 1.0])
    to_small_33[0, 2] = (width - small_HW[1] * across) / (2 * across)  # the middle of the image is not the copy's
    to_small_33[1, 2] = (height - small_HW[0] * down) / (2 * down)
    return small_HWC.reshape(*small_HW, -1), to_small_33


def _to_index(size_HW: tuple[int, ...]) -> np.ndarray:
    """matrix_33 from centred coordinates to (column, row)."""
    matrix_33 = np.eye(3)
    matrix_33[:2, 2] = (size_HW[1] - 1) / 2, (size_HW[0] - 1) / 2
    return matrix_33


@functools.lru_cache(maxsize=8)
def _places(height: int, width: int) -> np.ndarray:
    """Centred coordinates of every output pixel, float32 (H, W, 2), (x, y)."""
    x_W = np.arange(width, dtype=np.float32) - (width - 1) / 2
    y_H = np.arange(height, dtype=np.float32) - (height - 1) / 2
    return np.stack(np.meshgrid(x_W, y_H), axis=-1)
