"""Netpbm's PBM, PGM and PPM, plain and raw, read by NumPy: Pillow goes value by value where the largest is not 255.

    first bytes   values                      what it is
    P1, P4        0 white, 1 black            black and white
    P2, P5        0 to `largest`              grey: 8 bits up to 255, else 16
    P3, P6        0 to `largest`              red, green and blue: the same

`largest`, 1 to 65,535, is white as the header says (pbm, pgm, ppm: the manual pages of Netpbm). A raw file may go on
with further images, of which none is read; PAM (P7) and floating point (Pf, PF) are not.
"""

import re
from collections.abc import Iterator

import numpy as np

from ....core.errors import ImageError
from ....core.types import MAX_16_BIT
from ...limits import refuse_declared_size
from .stored import StoredImage, stored_array

MAX_HEADER_BYTES = 65_536  # comments included
GAP = rb"(?:[ \t\n\v\f\r]|#[^\r\n]*[\r\n])+"
HEADER = {
    is_bitmap: re.compile(
        rb"P[1-6]" + (GAP + rb"(\d{1,10})") * (2 if is_bitmap else 3) + rb"(?:#[^\r\n]*)?[ \t\n\v\f\r]"
    )
    for is_bitmap in (True, False)
}
COMMENT = re.compile(rb"#[^\r\n]*")
SPACES = b" \t\n\v\f\r"
SPACE = re.compile(rb"[ \t\n\v\f\r]")
PIECE_BYTES = 1 << 20  # of text that becomes numbers at a time
TOO_LONG = re.compile(rb"[1-9]\d{9}")  # a number far above all that are read
NOTHING = np.zeros(0, np.int64)
PLAIN_VALUES = re.compile(rb"[\d \t\n\v\f\r]*")
FURTHER_IMAGES = "it holds further images; the first one is read."


def read_netpbm(content: bytes, key: str) -> StoredImage:
    """The first image. Raises ImageError for what is not read, ValueError for damage, EOFError where it is cut."""
    kind = int(content[1:2])
    header = HEADER[kind in (1, 4)].match(content[:MAX_HEADER_BYTES])
    if header is None:
        raise ValueError("its header does not say its size")
    width_px, height_px, largest = (*map(int, header.groups()), 1)[:3]
    refuse_declared_size(key, width_px, height_px)
    if not 1 <= largest <= MAX_16_BIT:
        raise ImageError(key, f"its values go to {largest:,}; 1 to {MAX_16_BIT:,} are read.")
    num_channels = 3 if kind in (3, 6) else 1
    shape = (height_px, width_px, num_channels)
    if kind <= 3:
        values = _plain_values(content[header.end() :], height_px * width_px * num_channels, largest, kind == 1)
        return stored_array(_scaled(values.reshape(shape), largest, kind == 1))
    row_bytes = -(-width_px // 8) if kind == 4 else width_px * num_channels * (2 if largest > 255 else 1)
    end = header.end() + height_px * row_bytes
    if len(content) < end:
        raise EOFError(f"it holds {len(content) - header.end():,} bytes of values, and needs {height_px * row_bytes:,}")
    dtype = np.dtype(">u2" if largest > 255 else "u1")
    values = np.frombuffer(content, dtype, height_px * row_bytes // dtype.itemsize, header.end())
    if kind == 4:
        values = np.unpackbits(values.reshape(height_px, row_bytes), axis=1, count=width_px)
    stored = stored_array(_scaled(values.reshape(shape), largest, kind == 4))
    has_more = re.match(rb"\s*P[1-6]\s", content[end : end + 16]) is not None
    return StoredImage(pixels=stored.pixels, mode=stored.mode, notes=(FURTHER_IMAGES,)) if has_more else stored


def _plain_values(text: bytes, num_values: int, largest: int, is_bitmap: bool) -> np.ndarray:
    """`num_values` numbers that are written as text, up to `largest`; of a bitmap perhaps without a space between."""
    text = COMMENT.sub(b"", text)
    if PLAIN_VALUES.fullmatch(text) is None:
        raise ValueError("its values are no whole numbers")
    if is_bitmap:
        values = np.frombuffer(text.translate(None, SPACES), np.uint8) - ord("0")
    else:
        values = np.concatenate([np.zeros(0, np.uint16), *_numbers(text, num_values, largest)])
    if len(values) < num_values:
        raise EOFError(f"it holds {len(values):,} values, and needs {num_values:,}")
    return values[:num_values]


def _numbers(text: bytes, num_values: int, largest: int) -> Iterator[np.ndarray]:
    """At least `num_values` numbers, uint16, a piece after the other: as a whole they would take eight bytes each."""
    start = num_found = 0
    while start < len(text) and num_found < num_values:
        gap = SPACE.search(text, start + PIECE_BYTES)
        part = text[start : gap.start() if gap else len(text)]
        is_long = TOO_LONG.search(part) is not None
        piece = np.fromstring(part.decode("ascii"), np.int64, sep=" ") if part.strip() and not is_long else NOTHING
        if is_long or piece.max(initial=0) > largest:
            raise ValueError(f"a value is above {largest:,}, the largest that its header allows")
        yield piece.astype(np.uint16)
        start, num_found = start + len(part), num_found + len(piece)


def _scaled(value_HWC: np.ndarray, largest: int, is_bitmap: bool) -> np.ndarray:
    """uint8, or uint16 where `largest` is above 255: 0 to `largest` as 0 to 255 or 65,535, rounded."""
    if value_HWC.size and int(value_HWC.max()) > largest:
        raise ValueError(f"a value is above {largest:,}, the largest that its header allows")
    if is_bitmap:
        return ((1 - value_HWC) * 255).astype(np.uint8)
    white = 255 if largest <= 255 else MAX_16_BIT
    dtype = np.dtype(np.uint8 if largest <= 255 else np.uint16)
    levels = ((np.arange(largest + 1) * white + largest // 2) // largest).astype(dtype)
    return np.ascontiguousarray(value_HWC, dtype) if largest == white else levels[value_HWC]
