"""Numbers in a file instead of a photo: `.npy` arrays and `.csv` tables, whose every value counts."""

import io
import math
import re
from pathlib import Path

import numpy as np

from ..core.errors import DataError, brief, printable
from ..core.plain_numbers import plain_float
from .photo import read_file, read_photo

NPY_SUFFIX, CSV_SUFFIX = ".npy", ".csv"
NUMBERS_SUFFIXES = (NPY_SUFFIX, CSV_SUFFIX)
MAX_NUMBER = 1e12  # beyond it sums lose their digits
MAX_CSV_BYTES = 1 << 23
SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
NPY_EXAMPLE = "image.npy"


def holds_numbers(path: Path) -> bool:
    """Whether the name says that the file holds numbers and not a picture."""
    return path.suffix.lower() in NUMBERS_SUFFIXES


def read_input(path: Path) -> np.ndarray:
    """What a kernel goes over: value_HWC, float64 of a file of numbers, uint8 of a photo.

    Raises DataError where there is no such file or its numbers are no matrix, ImageError where it is not an image.
    """
    return read_matrix(path, "photo") if holds_numbers(path) else read_photo(path)


def read_matrix(path: Path, what: str) -> np.ndarray:
    """value_HWC float64, C is 1 or 3, of a .npy or .csv file that a person named as `what`. Raises DataError."""
    content, shown = read_file(path, what), printable(str(path))
    value = _npy(content, shown) if path.suffix.lower() == NPY_SUFFIX else _csv(content, shown)
    value_HWC = value[..., None] if value.ndim == 2 else value
    if not value.size:
        raise DataError(f"'{shown}' holds no numbers: its shape is {value.shape}.")
    if value_HWC.ndim != 3 or value_HWC.shape[2] not in (1, 3):
        raise DataError(
            f"The numbers in '{shown}' have shape {value.shape}; a {what} has (height, width), "
            f"(height, width, 1) or (height, width, 3)."
        )
    is_bad_HWC = ~(np.abs(value_HWC) <= MAX_NUMBER)
    if is_bad_HWC.any():
        row, column, channel = np.argwhere(is_bad_HWC)[0].tolist()
        raise DataError(
            f"The number in row {row + 1}, column {column + 1} of '{shown}' is {value_HWC[row, column, channel]:g}; "
            f"numbers are finite and at most {MAX_NUMBER:g} here.\n"
            f"Write 0 for what is missing, and divide what is too large."
        )
    return value_HWC


def _npy(content: bytes, shown: str) -> np.ndarray:
    """The array of a .npy file. Its size is checked against the header first, which may promise any memory."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.kind not in "fiu":
            raise DataError(
                f"'{shown}' holds values of type {brief(str(dtype), 40)}, not whole or floating-point numbers.\n"
                f"Write it with numbers: numpy.save('{NPY_EXAMPLE}', array.astype('float64'))."
            )
        if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
            raise ValueError(f"it promises {dtype} numbers of shape {shape}")
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False).astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"'{shown}' is not a whole .npy file of numbers: {printable(str(error))}.\n"
            f"Write one with 'saccade filter PHOTO --kernel sobel-x --out target.npy'."
        ) from error


def _csv(content: bytes, shown: str) -> np.ndarray:
    """value_HW of a table: one row a line, numbers between commas, semicolons, tabs or spaces; empty lines are none."""
    if len(content) > MAX_CSV_BYTES:
        raise DataError(
            f"'{shown}' holds {len(content):,} bytes; tables of up to {MAX_CSV_BYTES:,} are read.\n"
            f"Write larger ones as .npy: numpy.save('{NPY_EXAMPLE}', array)."
        )
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"'{shown}' is not a text file of numbers.\n{_HOW_TO_WRITE}") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len({sign.strip() for sign in SEPARATOR.findall(line.strip())}) > 1:  # decimal commas would be two numbers
            raise DataError(
                f"Line {number} of '{shown}' separates its numbers in two ways: '{brief(line.strip(), 40)}'.\n"
                f"Write decimal points instead of decimal commas, and one sign between numbers, such as '1.5,2,0'."
            )
        rows.append([_number(cell, number, shown) for cell in SEPARATOR.split(line.strip())])
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"Line {number} of '{shown}' has {len(rows[-1])} numbers, the first one has {len(rows[0])}.\n"
                f"{_HOW_TO_WRITE}"
            )
    if not rows:
        raise DataError(f"'{shown}' holds no numbers.\n{_HOW_TO_WRITE}")
    return np.array(rows, np.float64)


_HOW_TO_WRITE = "Write one row of the image a line, with commas between its numbers, such as '10,10,10,0,0,0'."


def _number(cell: str, line_number: int, shown: str) -> float:
    try:
        return plain_float(cell)
    except ValueError as error:
        what = f"'{brief(cell, 40)}' is not a number" if cell else "a number is missing"
        raise DataError(f"Cannot read line {line_number} of '{shown}': {what}.\n{_HOW_TO_WRITE}") from error
