"""TIFF with channels that are not colours: the samples of its first page, whatever they mean.

No decoder at hand reads them as they are. But samples that lie beside each other are rows of a grey picture that is
that many times wider, and a plane of its own is a grey picture: each is described as one in a directory of its own,
behind the same compressed data, and Pillow (libtiff) decodes it. Differences between neighbours (predictor 2) are
between samples of one channel, so where channels lie beside each other they are added up here.
"""

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...limits import MAX_BAND_VALUES

NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
COMPRESSIONS = (NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD)
DIFFERENCES = 2  # predictor
SHORT, LONG = 3, 4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS = 256, 257, 258, 259, 262, 266, 273
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = (
    277,
    278,
    279,
    317,
    322,
    323,
    324,
    325,
)
BLACK_IS_ZERO = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the samples of a page lie: `offsets` and `byte_counts` of its pieces, each of `piece_HW` pixels, in
    reading order; of each plane in turn where `is_planar`. `order` is `<` or `>`."""

    content: bytes
    order: str
    size_HW: tuple[int, int]
    num_samples: int
    bits: int
    compression: int
    predictor: int
    fill_order: int
    is_planar: bool
    is_tiled: bool
    piece_HW: tuple[int, int]
    offsets: list[int]
    byte_counts: list[int]

    @property
    def pieces_HW(self) -> tuple[int, int]:
        """How many pieces lie below and beside each other."""
        return -(-self.size_HW[0] // self.piece_HW[0]), -(-self.size_HW[1] // self.piece_HW[1])


def read_samples(layout: Layout) -> np.ndarray:
    """uint8 or uint16 (H, W, samples), not turned. Raises ValueError, and what Pillow raises, for damage."""
    _check(layout)
    (height, width), samples = layout.size_HW, layout.num_samples
    if layout.is_planar:
        num = len(layout.offsets) // samples
        planes = [_decoded(layout, 1, layout.predictor, slice(k * num, (k + 1) * num)) for k in range(samples)]
        return np.stack(planes, axis=2)
    flat_HX = _decoded(layout, samples, NONE, slice(None))
    value_HWC = flat_HX.reshape(height, width, samples)
    return _added_up(value_HWC, layout.piece_HW[1]) if layout.predictor == DIFFERENCES else value_HWC


def _check(layout: Layout) -> None:
    if layout.bits not in (8, 16) or layout.compression not in COMPRESSIONS or layout.predictor not in (1, DIFFERENCES):
        raise ValueError(
            f"its {layout.num_samples} channels of {layout.bits} bits are compressed in a way that is not read; save "
            f"it uncompressed, or with LZW or deflate"
        )
    if min(layout.piece_HW) < 1:
        raise ValueError("its strips or tiles have no size")
    if layout.piece_HW[0] * layout.piece_HW[1] * layout.num_samples > MAX_BAND_VALUES:
        raise ValueError(f"its strips or tiles have {layout.piece_HW[1]:,}x{layout.piece_HW[0]:,} pixels")
    rows, columns = layout.pieces_HW
    wanted = rows * columns * (layout.num_samples if layout.is_planar else 1)
    if len(layout.offsets) != wanted or len(layout.byte_counts) != wanted:
        raise ValueError(f"it has {len(layout.offsets):,} strips or tiles, and needs {wanted:,}")
    ends = (offset + num for offset, num in zip(layout.offsets, layout.byte_counts, strict=True))
    if max(ends) > len(layout.content):
        raise EOFError("the last of its strips or tiles is truncated")


def _decoded(layout: Layout, times: int, predictor: int, pieces: slice) -> np.ndarray:
    """uint8 or uint16 (H, W * `times`) of the `pieces`."""
    content = _as_grey(layout, times, predictor, layout.offsets[pieces], layout.byte_counts[pieces])
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.load()
        pixels = np.asarray(image).astype(np.uint16 if layout.bits == 16 else np.uint8)
    if pixels.shape != (layout.size_HW[0], layout.size_HW[1] * times):
        raise ValueError("its channels cannot be read")
    return pixels


def _as_grey(layout: Layout, times: int, predictor: int, offsets: list[int], byte_counts: list[int]) -> bytes:
    """A TIFF file of one grey page, `times` as wide, whose data are those of `layout`."""
    order, body = layout.order, layout.content + b"\0" * (len(layout.content) % 2)
    place_offsets, place_counts = len(body), len(body) + 4 * len(offsets)
    body += struct.pack(f"{order}{len(offsets)}I", *offsets) + struct.pack(f"{order}{len(offsets)}I", *byte_counts)
    one = len(offsets) == 1
    entries = [
        (WIDTH, LONG, 1, layout.size_HW[1] * times),
        (HEIGHT, LONG, 1, layout.size_HW[0]),
        (BITS, SHORT, 1, layout.bits),
        (COMPRESSION, SHORT, 1, layout.compression),
        (PHOTOMETRIC, SHORT, 1, BLACK_IS_ZERO),
        (FILL_ORDER, SHORT, 1, layout.fill_order),
        (SAMPLES, SHORT, 1, 1),
        (PREDICTOR, SHORT, 1, predictor),
        (TILE_OFFSETS if layout.is_tiled else STRIP_OFFSETS, LONG, len(offsets), offsets[0] if one else place_offsets),
        (TILE_BYTES if layout.is_tiled else STRIP_BYTES, LONG, len(offsets), byte_counts[0] if one else place_counts),
    ]
    if layout.is_tiled:
        entries += [
            (TILE_WIDTH, LONG, 1, layout.piece_HW[1] * times),
            (TILE_HEIGHT, LONG, 1, layout.piece_HW[0]),
        ]
    else:
        entries.append((ROWS_PER_STRIP, LONG, 1, layout.piece_HW[0]))
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in sorted(entries):
        directory += struct.pack(order + "HHI", tag, kind, count)
        directory += struct.pack(order + ("HH" if kind == SHORT else "I"), *((value, 0) if kind == SHORT else (value,)))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", len(body))
    return head + body[8:] + directory + b"\0" * 4


def _added_up(difference_HWC: np.ndarray, piece_width: int) -> np.ndarray:
    """The values of which each piece holds the differences from left to right, modulo their bits."""
    value_HWC = difference_HWC.copy()
    for left in range(0, value_HWC.shape[1], piece_width):
        part = value_HWC[:, left : left + piece_width]
        np.cumsum(part, axis=1, dtype=value_HWC.dtype, out=part)
    return value_HWC
