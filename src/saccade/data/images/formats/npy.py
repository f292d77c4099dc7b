"""NumPy's .npy: one array of whole numbers as an image, (height, width) or (height, width, channels).

The header is read here and the values are taken as they lie in the file, so that no object is ever unpickled and
nothing is allocated that the file does not hold (format 1.0 to 3.0: numpy.lib.format).

    dtype                     shape              what it is
    uint8, uint16             (H, W), (H, W, 1)  grey
                              (H, W, 3)          red, green and blue
                              (H, W, C)          bands: 2 or 4 to 64 channels that are not colours
    any other                                    refused in words
"""

import ast
import struct
from typing import Any

import numpy as np

from ....core.errors import ImageError, printable
from ....core.types import MAX_BANDS
from ...limits import refuse_declared_size, refuse_many_values
from .stored import StoredImage, stored_array

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 4_096  # NumPy writes 64 to 128 for one plain array
KEYS = {"descr", "fortran_order", "shape"}
TYPES = {"|u1": "|u1", "<u1": "|u1", ">u1": "|u1", "<u2": "<u2", ">u2": ">u2"}
SAVE = "save it as uint8 or uint16"


def read_npy(content: bytes, key: str) -> StoredImage:
    """The array. Raises ImageError for what is not read, ValueError for damage."""
    descr, is_fortran, shape, start = _header(content)
    if not isinstance(descr, str) or descr not in TYPES:
        raise ImageError(key, f"its values are {_type_words(descr)}, of no known range; {SAVE}.")
    height_px, width_px, num_channels = _image_shape(shape, key)
    refuse_declared_size(key, width_px, height_px)
    refuse_many_values(key, width_px, height_px, num_channels)
    dtype = np.dtype(TYPES[descr])
    num_bytes = height_px * width_px * num_channels * dtype.itemsize
    if len(content) - start < num_bytes:
        raise EOFError(f"it holds {len(content) - start:,} bytes of values, and its shape needs {num_bytes:,}")
    if len(content) - start > num_bytes:
        raise ValueError(f"{len(content) - start - num_bytes:,} bytes lie behind its values")
    flat = np.frombuffer(content, dtype, offset=start)
    pixels = flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)
    return stored_array(np.ascontiguousarray(pixels, dtype=dtype.newbyteorder("=")))


def _header(content: bytes) -> tuple[Any, bool, tuple[Any, ...], int]:
    """(descr, whether columns lie together, shape, where the values begin). Raises ValueError where it is nonsense."""
    major = content[len(MAGIC) : len(MAGIC) + 1]
    length_format = {b"\1": "<H", b"\2": "<I", b"\3": "<I"}.get(major)
    if length_format is None:
        raise ValueError(f"its format is version {int.from_bytes(major, 'big')}; 1 to 3 are known")
    (num_bytes,) = struct.unpack_from(length_format, content, len(MAGIC) + 2)
    start = len(MAGIC) + 2 + struct.calcsize(length_format)
    if num_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {num_bytes:,} bytes")
    if start + num_bytes > len(content):
        raise EOFError("its header is truncated")
    text = content[start : start + num_bytes].decode("utf-8" if major == b"\3" else "latin-1")
    try:
        values = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
        raise ValueError("its header does not describe an array") from None
    if not isinstance(values, dict) or set(values) != KEYS:
        raise ValueError("its header does not describe an array")
    is_fortran, shape = values["fortran_order"], values["shape"]
    if not isinstance(is_fortran, bool) or not isinstance(shape, tuple):
        raise ValueError("its header does not describe an array")
    return values["descr"], is_fortran, shape, start + num_bytes


def _type_words(descr: Any) -> str:
    if not isinstance(descr, str):
        return "records of several fields"
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError):
        return f"of the type '{printable(descr[:20])}'"
    return "Python objects" if dtype.hasobject else dtype.newbyteorder("=").name


def _image_shape(shape: tuple[Any, ...], key: str) -> tuple[int, int, int]:
    """(height, width, channels). Raises ImageError where the shape is not that of one image."""
    text = "(" + ", ".join(printable(str(side)[:12]) for side in shape[:6]) + ")"
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"its shape is {text}")
    if len(shape) not in (2, 3):
        raise ImageError(key, f"its shape is {text}; an image is (height, width) or (height, width, channels).")
    height_px, width_px, num_channels = (*shape, 1)[:3]
    if 1 <= num_channels <= MAX_BANDS:
        return height_px, width_px, num_channels
    hint = "Put the channels last." if 1 <= height_px <= MAX_BANDS < num_channels else "Save fewer of them."
    raise ImageError(key, f"its shape is {text}: {num_channels:,} channels, and 1 to {MAX_BANDS} are read. {hint}")
