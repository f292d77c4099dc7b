"""TIFF: the first page, once all that its directory declares has been looked at (TIFF 6.0; BigTIFF).

what the first page holds                   what is read
1 and 8 bits, grey, palette, RGB, CMYK      Pillow's pixels
12 and 16 bits, grey                        the values; 12 packed bits are 12 bits, where white is 0 they are inverted
16 bits, RGB and RGBA                       the values, through OpenCV
YCbCr (JPEG)                                Pillow's pixels
8 and 16 bits, channels beside the colours  all of them, as bands (`tiff_bands`): 2 to 64 that nothing calls colours, or
                                            more than three of RGB; alpha among them is left out
floating point, signed, 32 bits, CIELAB     refused in words
camera raw (CFA)                            refused in words
"""

import io
import struct
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ....core.errors import ImageError
from ....core.types import MAX_16_BIT, MAX_BANDS
from ...limits import refuse_declared_size, refuse_expanding_image, refuse_many_values
from .stored import StoredImage, stored_bands
from .tiff_bands import Layout, read_samples

MAX_PAGES = 65_535  # that are counted
MAX_TAGS = 4_096  # of a page; cameras and microscopes write 10 to 100
MAX_VALUES = 200_000  # of one tag: strips or tiles of the largest image, in the smallest pieces that are usual
MAX_TILE_PIXELS = 1 << 24
WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 277
SUB_DIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability
ASSOCIATED_ALPHA = 1
COMPRESSION, FILL_ORDER, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, PLANES, PREDICTOR = (
    259,
    266,
    273,
    278,
    279,
    284,
    317,
)
TILE_OFFSETS, TILE_BYTES = 324, 325
UNSPECIFIED, UNASSOCIATED_ALPHA = 0, 2
TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT, PROFILE = 322, 323, 338, 339, 34675
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
COLOUR_SPACES = {8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "those of a camera's sensor (raw)", 34892: "raw"}
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of whole numbers, and their struct letters
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
BYTE_TYPES = (1, 2, 6, 7)


@dataclass(frozen=True, kw_only=True)
class Directory:
    """The tags of the first page, each as (type, count, place of its values), and how many pages there are."""

    content: bytes
    order: str
    tags: dict[int, tuple[int, int, int]]
    num_pages: int

    def numbers(self, tag: int, default: int) -> list[int]:
        """The whole numbers of a tag, at most MAX_BANDS of them."""
        return self.all_numbers(tag, MAX_BANDS) if tag in self.tags else [default]

    def all_numbers(self, tag: int, most: int = MAX_VALUES) -> list[int]:
        """The first `most` whole numbers of a tag; none where there is no such tag."""
        if tag not in self.tags:
            return []
        kind, count, place = self.tags[tag]
        if kind not in NUMBERS or not count:
            raise ValueError(f"its tag {tag} holds no whole number")
        return list(struct.unpack_from(f"{self.order}{min(count, most)}{NUMBERS[kind]}", self.content, place))

    def number(self, tag: int, default: int) -> int:
        """The first whole number of a tag."""
        return self.numbers(tag, default)[0]

    def data(self, tag: int) -> bytes:
        """The bytes of a tag; empty where there is none."""
        kind, count, place = self.tags.get(tag, (1, 0, 0))
        return self.content[place : place + count * TYPE_BYTES.get(kind, 1)]


def read_tiff(content: bytes, key: str) -> StoredImage:
    """The first page, upright. Raises ImageError for what is not read, ValueError and what Pillow raises for damage."""
    directory = read_directory(content)
    _check(directory, key)
    if (alpha := _alpha_beside_bands(directory)) is not None:
        return _bands(directory, alpha, key)
    is_deep_colour = max(directory.numbers(BITS, 1)) == 16 and directory.number(SAMPLES, 1) >= 3
    pixels, mode = _deep_colour(directory) if is_deep_colour else _as_numbers(_loaded(directory, key), directory)
    notes = tuple(note for note in (_pages(directory), _left_channels(directory, mode)) if note)
    return StoredImage(
        pixels=pixels,
        mode=mode,
        rotated=directory.number(ORIENTATION, 1) in range(2, 9),  # both decoders turn what they read
        profile=directory.data(PROFILE),
        notes=notes,
    )


def _pages(directory: Directory) -> str:
    return f"it has {directory.num_pages:,} pages; the first one is read." if directory.num_pages > 1 else ""


def _alpha_beside_bands(directory: Directory) -> list[int] | None:
    """Which channels of bands are alpha; None where the channels are grey or colours, and alpha at most."""
    num_samples, photometric = directory.number(SAMPLES, 1), directory.number(PHOTOMETRIC, 0)
    extra = directory.all_numbers(EXTRA_SAMPLES, MAX_BANDS)
    first = num_samples - len(extra)
    alpha = [first + place for place, kind in enumerate(extra) if kind in (ASSOCIATED_ALPHA, UNASSOCIATED_ALPHA)]
    if photometric == RGB:
        is_bands = (
            num_samples > 5 or (num_samples > 3 and extra[:1] == [UNSPECIFIED]) or (num_samples == 5 and not extra)
        )
    elif photometric == BLACK_IS_ZERO:
        is_bands = True
    else:
        is_bands = False
    return alpha if is_bands and num_samples - len(alpha) > 1 else None


def _bands(directory: Directory, alpha: list[int], key: str) -> StoredImage:
    """All channels but `alpha`; of bands nothing says how they would be shown but their order."""
    num_samples, bits_C = directory.number(SAMPLES, 1), set(directory.numbers(BITS, 1))
    size_HW = directory.number(HEIGHT, 0), directory.number(WIDTH, 0)
    refuse_many_values(key, size_HW[1], size_HW[0], num_samples)
    is_tiled = TILE_OFFSETS in directory.tags
    strip_HW = min(directory.number(ROWS_PER_STRIP, size_HW[0]), size_HW[0]), size_HW[1]
    tile_HW = directory.number(TILE_HEIGHT, 0), directory.number(TILE_WIDTH, 0)
    layout = Layout(
        content=directory.content,
        order=directory.order,
        size_HW=size_HW,
        num_samples=num_samples,
        bits=bits_C.pop() if len(bits_C) == 1 else 0,
        compression=directory.number(COMPRESSION, 1),
        predictor=directory.number(PREDICTOR, 1),
        fill_order=directory.number(FILL_ORDER, 1),
        is_planar=directory.number(PLANES, 1) == 2,
        is_tiled=is_tiled,
        piece_HW=tile_HW if is_tiled else strip_HW,
        offsets=directory.all_numbers(TILE_OFFSETS if is_tiled else STRIP_OFFSETS),
        byte_counts=directory.all_numbers(TILE_BYTES if is_tiled else STRIP_BYTES),
    )
    value_HWC = read_samples(layout)
    kept = [channel for channel in range(num_samples) if channel not in alpha]
    stored = stored_bands(np.ascontiguousarray(value_HWC[:, :, kept]) if alpha else value_HWC)
    left_out = "its alpha channel is left out." if alpha else ""
    notes = tuple(note for note in (_pages(directory), left_out) if note)
    return replace(stored, orientation=directory.number(ORIENTATION, 1), notes=notes)


def read_directory(content: bytes) -> Directory:
    """The tags of the first page and the number of pages. Raises ValueError or struct.error where they are nonsense."""
    order, is_big = ("<" if content[:2] == b"II" else ">"), content[2:4] in (b"+\0", b"\0+")
    count_letter, place_letter, entry_bytes, inline = ("Q", "Q", 20, 8) if is_big else ("H", "I", 12, 4)
    tags: dict[int, tuple[int, int, int]] = {}
    seen: set[int] = set()
    (place,) = struct.unpack_from(order + place_letter, content, 8 if is_big else 4)
    while place and place not in seen and len(seen) < MAX_PAGES:
        if seen and place + struct.calcsize("=" + count_letter) > len(content):
            break  # what is behind the first page does not matter
        (num_tags,) = struct.unpack_from(order + count_letter, content, place)
        start = place + struct.calcsize("=" + count_letter)
        if not seen:
            tags = _tags(content, order, is_big, start, num_tags)
            for sub_directory in SUB_DIRECTORIES & tags.keys():  # Pillow reads these, too
                _check_sub_directory(content, order, tags[sub_directory])
        seen.add(place)
        end = start + entry_bytes * num_tags
        (place,) = struct.unpack_from(order + place_letter, content, end) if end + inline <= len(content) else (0,)
    return Directory(content=content, order=order, tags=tags, num_pages=len(seen))


def _tags(content: bytes, order: str, is_big: bool, start: int, num_tags: int) -> dict[int, tuple[int, int, int]]:
    if num_tags > MAX_TAGS:
        raise ValueError(f"its first page has {num_tags:,} tags")
    letters, entry_bytes, inline_bytes = (order + "HHQQ", 20, 8) if is_big else (order + "HHII", 12, 4)
    tags: dict[int, tuple[int, int, int]] = {}
    total_bytes = 0
    for place in range(start, start + entry_bytes * num_tags, entry_bytes):
        tag, kind, count, value = struct.unpack_from(letters, content, place)
        num_bytes = count * TYPE_BYTES.get(kind, 1)
        if kind not in BYTE_TYPES and count > MAX_VALUES:
            raise ValueError(f"its tag {tag} holds {count:,} values")
        is_inline = num_bytes <= inline_bytes
        total_bytes += 0 if is_inline else num_bytes
        tags.setdefault(tag, (kind, count, place + entry_bytes - inline_bytes if is_inline else value))
    if total_bytes > len(content):
        raise ValueError("its tags are larger than the file")
    return tags


def _check_sub_directory(content: bytes, order: str, pointer: tuple[int, int, int]) -> None:
    kind, count, place = pointer
    if kind in (4, 13) and count == 1 and place + 4 <= len(content):
        (start,) = struct.unpack_from(order + "I", content, place)
        if start + 2 <= len(content):
            (num_tags,) = struct.unpack_from(order + "H", content, start)
            _tags(content, order, False, start + 2, min(num_tags, (len(content) - start - 2) // 12))


def _check(directory: Directory, key: str) -> None:
    """Refuse what is not read, and what declares more memory than it is worth."""
    width_px, height_px = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    refuse_declared_size(key, width_px, height_px)
    bits_C, num_samples = directory.numbers(BITS, 1), directory.number(SAMPLES, 1)
    kinds, photometric = set(directory.numbers(SAMPLE_FORMAT, 1)), directory.number(PHOTOMETRIC, 0)
    if kinds & {3, 6}:
        raise ImageError(
            key, "its pixels are floating-point numbers, of no known range; save it with 8 or 16 bits a channel."
        )
    if kinds - {1, 4} or max(bits_C) > 16:
        raise ImageError(
            key,
            f"its pixels are {'signed ' if kinds & {2, 5} else ''}numbers of {max(bits_C)} bits, of no known range; "
            f"save it with 8 or 16 bits a channel.",
        )
    if photometric in COLOUR_SPACES:
        raise ImageError(key, f"its colours are {COLOUR_SPACES[photometric]}; save it as RGB or grey.")
    if num_samples > MAX_BANDS:
        raise ImageError(key, f"it has {num_samples:,} channels; 1 to {MAX_BANDS} are read.")
    tile_pixels = directory.number(TILE_WIDTH, 0) * directory.number(TILE_HEIGHT, 0)
    if tile_pixels > MAX_TILE_PIXELS:
        raise ValueError(f"it declares tiles of {tile_pixels:,} pixels")
    num_bytes = width_px * height_px * num_samples * max(bits_C) // 8
    refuse_expanding_image(key, len(directory.content), num_bytes)


def _deep_colour(directory: Directory) -> tuple[np.ndarray, str]:
    """(pixels uint16 (H, W, 3 or 4) RGB or RGBA, mode); Pillow keeps only the upper 8 of 16 bits."""
    if directory.number(PHOTOMETRIC, 0) != RGB or set(directory.numbers(BITS, 1)) != {16}:
        raise ValueError("16 bits a channel are read of RGB and grey only; save it as one of them")
    pixels = cv2.imdecode(np.frombuffer(directory.content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError("the 16-bit pixels cannot be read")
    if pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels[:, :, ::-1]), "RGB;16"
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    if directory.number(EXTRA_SAMPLES, 0) == ASSOCIATED_ALPHA:
        alpha = np.maximum(pixels[:, :, 3:].astype(np.uint32), 1)
        pixels[:, :, :3] = np.minimum((pixels[:, :, :3] * np.uint32(MAX_16_BIT) + alpha // 2) // alpha, MAX_16_BIT)
    elif EXTRA_SAMPLES not in directory.tags or directory.number(EXTRA_SAMPLES, 0) == 0:
        return np.ascontiguousarray(pixels[:, :, :3]), "RGB;16"  # a fourth channel that nothing says to be alpha
    return pixels, "RGBA;16"


def _left_channels(directory: Directory, mode: str) -> str:
    """What is left out of channels beside red, green and blue, or taken for transparency; empty where nothing is."""
    num_samples, has_alpha = directory.number(SAMPLES, 1), mode.startswith("RGBA")
    if directory.number(PHOTOMETRIC, 0) != RGB or num_samples <= 3:
        return ""
    if num_samples > 3 + has_alpha:
        return f"it has {num_samples} channels; the first three are read{', and the fourth as alpha' * has_alpha}."
    return "" if EXTRA_SAMPLES in directory.tags else "nothing says what its fourth channel is; it is read as alpha."


def _loaded(directory: Directory, key: str) -> np.ndarray | Image.Image:
    """What Pillow loads, upright; where it has no name for grey of 16 bits, what OpenCV does."""
    try:
        image: Image.Image = Image.open(io.BytesIO(directory.content), formats=("TIFF",))
    except UnidentifiedImageError:
        bits, samples = directory.numbers(BITS, 1), directory.number(SAMPLES, 1)
        photometric = directory.number(PHOTOMETRIC, 0)
        if (bits, samples) == ([16], 1) and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            pixels = cv2.imdecode(np.frombuffer(directory.content, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 2:
                return pixels
            raise ValueError("the 16-bit pixels cannot be read") from None
        raise ImageError(
            key,
            f"its pixels ({samples} channels of {', '.join(map(str, bits))} bits, photometric {photometric}) are none "
            f"that are read; save it as 8 or 16 bits, grey or RGB.",
        ) from None
    image.load()
    return image


def _as_numbers(loaded: np.ndarray | Image.Image, directory: Directory) -> tuple[np.ndarray | Image.Image, str]:
    """(grey of 12 and 16 bits as uint16 (H, W), or an image as it is; mode)."""
    if isinstance(loaded, Image.Image) and not loaded.mode.startswith("I"):
        return loaded, loaded.mode
    pixels = np.asarray(loaded).astype(np.uint16)
    if directory.number(PHOTOMETRIC, BLACK_IS_ZERO) == WHITE_IS_ZERO:  # of 16 bits both decoders leave it to us
        pixels = ((1 << max(directory.numbers(BITS, 1))) - 1 - pixels.astype(np.int32)).clip(0).astype(np.uint16)
    return pixels, "I;16"
