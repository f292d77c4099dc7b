"""Mirrors and shifts by whole pixels, for a whole batch at once and without any arithmetic on pixel values."""

import numpy as np

from ...augmentation import Border


def source_rows_and_columns(matrix_B33: np.ndarray, size_HW: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """row_BH and column_BW, int64: which source row and column each output row and column shows.

    `matrix_B33` maps centred output to centred source coordinates and only mirrors and moves by whole pixels, so the
    results are whole; they lie outside the image where the border shows.
    """
    height, width = size_HW
    x_W = np.arange(width) - (width - 1) / 2
    y_H = np.arange(height) - (height - 1) / 2
    column_BW = matrix_B33[:, 0, 0, None] * x_W + matrix_B33[:, 0, 2, None] + (width - 1) / 2
    row_BH = matrix_B33[:, 1, 1, None] * y_H + matrix_B33[:, 1, 2, None] + (height - 1) / 2
    return np.rint(row_BH).astype(np.int64), np.rint(column_BW).astype(np.int64)


def move_pixels(image_BHWC: np.ndarray, matrix_B33: np.ndarray, border: Border, fill_C: np.ndarray) -> np.ndarray:
    """The batch of prepared images seen through lossless matrices; `fill_C` is what borders 'mean' and 'black' show."""
    num, height, width, channels = image_BHWC.shape
    row_BH, column_BW = source_rows_and_columns(matrix_B33, (height, width))
    inside_row_BH, inside_column_BW = fold(row_BH, height, border), fold(column_BW, width, border)
    pixel_BH1 = (np.arange(num)[:, None] * height + inside_row_BH)[:, :, None] * width
    pixel = (
        np.ascontiguousarray(image_BHWC).reshape(-1).view(f"V{channels * image_BHWC.itemsize}")
    )  # one item a pixel: one copy each
    moved_BHWC = np.take(pixel, pixel_BH1 + inside_column_BW[:, None, :]).view(image_BHWC.dtype)
    moved_BHWC = moved_BHWC.reshape(num, height, width, channels)
    if border in ("mean", "black"):
        outside_BHW = (row_BH != inside_row_BH)[:, :, None] | (column_BW != inside_column_BW)[:, None, :]
        moved_BHWC[outside_BHW] = fill_C
    return moved_BHWC


def fold(position: np.ndarray, size: int, border: Border) -> np.ndarray:
    """Positions outside 0 to size - 1 replaced by the ones inside that a border shows (the nearest for a colour)."""
    if border != "reflect" or size == 1:
        return position.clip(0, size - 1)
    period = 2 * (size - 1)  # the edge itself is not repeated: 2 1 0 1 2
    return (size - 1) - np.abs((size - 1) - position % period)
