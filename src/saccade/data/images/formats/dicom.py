"""DICOM, through pydicom (the extra `dicom`): the first frame, as its own window shows it (DICOM PS3.3, C.11).

    photometric interpretation    what is read
    MONOCHROME2, MONOCHROME1      with a window (or a look-up table for it): rescaled, windowed, 0 to 255; without one:
                                  the stored values over their bits; MONOCHROME1 is inverted
    RGB, YBR_FULL                 RGB
    PALETTE COLOR                 its colours

Uncompressed pixels and RLE are decoded. Others need codecs that pydicom does not have, and are refused in words.
"""

import importlib.util
import io
import struct
from typing import Any

import numpy as np

from ....core.errors import ImageError
from ...limits import refuse_declared_size
from ..pillow_warnings import stand_between
from .stored import StoredImage

PREAMBLE_BYTES = 132  # with the letters DICM
SYNTAX_ELEMENT = b"\x02\x00\x10\x00UI"  # (0002,0010) TransferSyntaxUID, explicit and little-endian
IMPLICIT = "1.2.840.10008.1.2"
READ_SYNTAXES = (IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5")
GREY, PALETTE = ("MONOCHROME1", "MONOCHROME2"), "PALETTE COLOR"
KINDS = (*GREY, PALETTE, "RGB", "YBR_FULL")
MAX_HEADER_BYTES = 4096  # of the part in which the transfer syntax stands


def is_missing() -> bool:
    """Whether pydicom is not installed."""
    return importlib.util.find_spec("pydicom") is None


def read_dicom(content: bytes, key: str) -> StoredImage:
    """The first frame. Raises ImageError for what is not read, ValueError and what pydicom raises for damage."""
    import pydicom
    import pydicom.misc

    stand_between((pydicom.misc,))
    syntax = _transfer_syntax(content)
    if syntax not in READ_SYNTAXES:
        raise ImageError(
            key,
            f"its pixels are compressed ({_shown(pydicom.uid.UID(syntax).name)}), which is not read. Write it without "
            f"compression first, for example with 'gdcmconv --raw IN OUT'.",
        )
    damage = (pydicom.errors.BytesLengthException, pydicom.errors.InvalidDicomError, AttributeError, RuntimeError)
    try:
        dataset = pydicom.dcmread(io.BytesIO(content))
        return _first_frame(dataset, key)
    except damage as error:
        raise ValueError(str(error)) from error


def _transfer_syntax(content: bytes) -> str:
    """The identifier of how the file is written, before pydicom unpacks anything."""
    place = content.find(SYNTAX_ELEMENT, PREAMBLE_BYTES, PREAMBLE_BYTES + MAX_HEADER_BYTES)
    if place < 0:
        raise ValueError("it does not say how it is written: it has no transfer syntax")
    (length,) = struct.unpack_from("<H", content, place + 6)
    return content[place + 8 : place + 8 + min(length, 64)].rstrip(b"\0 ").decode("ascii", "replace")


def _first_frame(dataset: Any, key: str) -> StoredImage:
    from pydicom.pixels import apply_color_lut, pixel_array

    height_px, width_px = int(dataset.Rows), int(dataset.Columns)
    refuse_declared_size(key, width_px, height_px)
    kind, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
    if kind not in KINDS or int(dataset.BitsAllocated) not in (8, 16) or not 1 <= bits <= 16:
        raise ImageError(
            key,
            f"its pixels ({_shown(kind)}, {int(dataset.BitsAllocated)} bits) are not read; 8 and 16 bits of "
            f"{', '.join(KINDS)} are.",
        )
    if int(dataset.SamplesPerPixel) != (1 if kind in GREY or kind == PALETTE else 3):
        raise ValueError(f"it has {int(dataset.SamplesPerPixel)} samples a pixel")
    num_frames = int(dataset.get("NumberOfFrames", 1) or 1)
    notes = (f"it has {num_frames:,} frames; the first one is read.",) if num_frames > 1 else ()
    pixels = pixel_array(dataset, index=0)
    if pixels.shape[:2] != (height_px, width_px):
        raise ValueError("its pixels have another size than it declares")
    if kind in GREY:
        pixels = _grey(pixels, dataset, bits, kind == "MONOCHROME1")
    elif kind == PALETTE:
        pixels = apply_color_lut(pixels, dataset)[:, :, :3]
        bits = 8 * pixels.dtype.itemsize
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.uint32) * 255 // ((1 << bits) - 1)).clip(0, 255).astype(np.uint8)
    mode = {np.dtype(np.uint16): "I;16"}.get(pixels.dtype, "L") if pixels.ndim == 2 else "RGB"
    return StoredImage(pixels=np.ascontiguousarray(pixels), mode=mode, notes=notes)


def _grey(pixels: np.ndarray, dataset: Any, bits: int, is_inverted: bool) -> np.ndarray:
    """uint8 (H, W), or uint16 where the file has no window and more than 8 bits. Worked out for each value once."""
    lowest = -(1 << (bits - 1)) if int(dataset.PixelRepresentation) else 0
    stored_V = np.arange(lowest, lowest + (1 << bits))
    level_V = _windowed(stored_V, dataset)
    if level_V is None:
        value_V = (stored_V - lowest).astype(np.uint16 if bits > 8 else np.uint8)
        level_V = (value_V.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8) if bits < 8 else value_V
    if is_inverted:
        level_V = (((1 << bits) - 1 if level_V.dtype == np.uint16 else 255) - level_V).astype(level_V.dtype)
    return level_V[(pixels.astype(np.int32) - lowest).clip(0, len(level_V) - 1)]


def _windowed(stored_V: np.ndarray, dataset: Any) -> np.ndarray | None:
    """uint8 level of each stored value by rescale and window; None where the file has no window."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    value_V = np.asarray(apply_modality_lut(stored_V, dataset), dtype=np.float64)
    if dataset.get("VOILUTSequence"):
        first, bits = dataset.VOILUTSequence[0].LUTDescriptor[1], dataset.VOILUTSequence[0].LUTDescriptor[2]
        number_V = np.maximum(np.round(value_V), first).astype(np.int64)
        level_V = np.asarray(apply_voi(number_V, dataset), np.float64) * 255 / ((1 << int(bits)) - 1)
        return np.round(level_V).clip(0, 255).astype(np.uint8)
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        return None
    centre, width = _first(dataset.WindowCenter), _first(dataset.WindowWidth)
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if width < (1 if function == "LINEAR" else 1e-9):
        raise ValueError(f"its window is {width:g} wide")
    with np.errstate(over="ignore"):
        if function == "SIGMOID":
            part_V = 1 / (1 + np.exp(-4 * (value_V - centre) / width))
        elif function == "LINEAR_EXACT":
            part_V = (value_V - centre) / width + 0.5
        else:
            part_V = (value_V - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return np.round(part_V.clip(0, 1) * 255).astype(np.uint8)


def _first(value: Any) -> float:
    """The first of one or several windows, which is the one to show."""
    number = float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)
    if not np.isfinite(number):
        raise ValueError("its window is not a number")
    return number


def _shown(text: str) -> str:
    return "".join(letter for letter in text[:60] if letter.isprintable())
