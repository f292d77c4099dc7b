"""From a file's bytes to pixels: one function, one explicit table of colour modes, one error.

Training, evaluation, prediction and serving all decode here. Only the formats of `formats/table.py` are read, each
known by its first bytes, of several frames or pages the first. Plain JPEG goes through simplejpeg (libjpeg-turbo,
releases the interpreter lock), most others through Pillow.

    mode of the file            what becomes of it
    1, L                        repeated on three channels
    P                           its palette's colours
    LA, PA, RGBA, P with tRNS   composited on white; so are La and RGBa, whose colours are multiplied by alpha
    I;16, 16 bits a channel     divided by `white` / 255 and rounded; `white` is 65535 if nobody says otherwise
    RGB, YCbCr                  as it is
    CMYK, YCCK                  Pillow's conversion; inks are taken as inverted in JPEG, as Adobe writes them
    bands                       shown: the first three as red, green and blue, of two the first as grey; networks of
                                bands get all of them, with their own bits (`bands.py`)

    format      modes, and what is special
    JPEG        L, RGB, CMYK, YCCK; of multi-picture files the first
    PNG         all; every checksum is tested
    WebP, GIF   P, RGB, RGBA; of animations the first frame
    BMP         1, L, P, RGB, RGBA
    TIFF        1, L, LA, P, RGB, RGBA, CMYK, YCbCr, I;16, 16 bits a channel, bands; the first of its pages
    NumPy       L, RGB, I;16, 16 bits a channel, bands; colour profiles: none
    Netpbm      L (of P1 and P4, too), RGB, I;16, 16 bits a channel; scaled by the largest value of the header
    AVIF        RGB, RGBA; 10 and 12 bits a channel become 8
    JPEG 2000   L, LA, P, RGB, RGBA, CMYK; grey of 9 to 16 bits: I;16, scaled to 16; else to 8 bits

Colours are converted to sRGB where the file carries another profile (`formats/profiles.py`); what AVIF and JPEG 2000
say of a colour space without a profile is not looked at. EXIF's orientation is undone in all formats (BMP,
GIF, JPEG 2000 and Netpbm have none).
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from ...core.errors import ImageError, printable
from ...core.types import MAX_16_BIT, MAX_BANDS
from ..limits import (
    MAX_IMAGE_PIXELS,
    MAX_JPEG_SCANS,
    refuse_declared_size,
    refuse_expanding_image,
    refuse_large_image,
    refuse_long_shape,
    refuse_many_values,
)
from .decode_memory import BYTES_PER_PIXEL, DECODE_MEMORY, jpeg_bytes, pillow_bytes, webp_bytes
from .formats.profiles import GREY_MODES, TOO_LARGE, Conversion, find_conversion, without_large_profile
from .formats.stored import StoredImage, stored_array
from .formats.table import ImageFormat, format_of
from .pillow_warnings import kept_warnings

MAX_WEBP_SIDE_PX = 16_383  # RFC 9649: a picture's sides have 14 bits; a canvas may claim 2^24
CANVASES = ("GIF", "BMP")  # whose pictures may be larger than what is drawn in them, at the cost of a few bytes
UNUSUAL = ("BMP",)  # whose files may have other first bytes than the table says
ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}
ANIMATION = "it is an animation; its first frame is read."
BACKGROUND = 255  # what shows through transparent pixels: white, as on paper and most pages

# What Pillow and the codecs raise on damaged files, found by mutating valid ones.
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_PARTS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
BAND_PIXELS = 1 << 18  # how many are converted at a time, so that wide intermediate values stay small

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """`image_HWC` uint8 RGB 0-255 upright; `mode` the file's colour mode; `rotated` whether EXIF turned it.

    `largest_16_bit` is the largest value of pixels of 16 bits a channel, 0 for others. `profile` names the colour
    profile that was converted to sRGB; "" where there was none to convert. `notes` are sentences on damage
    beside the pixels, such as in the EXIF block that says how to turn the image, and on what was left out.

    `stored_HWC` are the values as the file has them, uint8 or uint16 (H, W, C) upright, where `image_HWC` does not hold
    all of them: of bands, and of grey and colours of 16 bits. `is_bands`: the channels are neither grey nor colours;
    `view_note`, one of the notes, says what `image_HWC` shows of them.
    """

    image_HWC: np.ndarray
    mode: str
    rotated: bool
    largest_16_bit: int = 0
    profile: str = ""
    notes: tuple[str, ...] = ()
    stored_HWC: np.ndarray | None = None
    is_bands: bool = False
    view_note: str = ""

    @property
    def band_HWC(self) -> np.ndarray:
        """Every channel of the file, uint8 or uint16 (H, W, C), upright; of grey one."""
        if self.stored_HWC is not None:
            return self.stored_HWC
        return self.image_HWC[:, :, :1] if self.mode in GREY_MODES else self.image_HWC

    @property
    def notes_on_bands(self) -> tuple[str, ...]:
        """The notes that also count where all bands are read."""
        return tuple(note for note in self.notes if note != self.view_note)


def decode_image(
    content: bytes | np.ndarray, key: str, min_short_side_px: int | None = None, white: int = MAX_16_BIT
) -> DecodedImage:
    """Decode one image: upright, RGB, uint8. Raises ImageError naming `key` and the reason.

    With `min_short_side_px`, a JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as its short side stays at least
    that long. `white` is the value of 16-bit channels that becomes 255; greater ones do, too, and a note says so.
    Pixels that are already decoded, uint8 (H, W) or (H, W, 3), pass through; uint16 are scaled, and more channels are
    bands.
    """
    if isinstance(content, np.ndarray):
        _check_array(content, key)
        if content.dtype == np.uint16 or content.ndim == 3 and content.shape[2] != 3:
            return _finished(stored_array(content), white)
        return DecodedImage(image_HWC=as_rgb(content), mode="L" if content.ndim == 2 else "RGB", rotated=False)
    if not isinstance(content, bytes):
        kind = type(content).__name__
        raise ImageError(key, f"its source gives a value of type {kind}, not the bytes of a file or its pixels.")
    if not content:
        raise ImageError(key, "the file is empty (0 bytes).")
    refuse_large_image(key, len(content))
    found = format_of(content)
    if found is not None and found.is_missing():
        raise ImageError(key, f"it is {found.name}, which this installation cannot read. {found.remedy}")
    try:
        with kept_warnings() as warned:
            decoded = _decode(found, content, key, min_short_side_px, white)
        return replace(decoded, notes=(*map(_note, dict.fromkeys(warned)), *decoded.notes)) if warned else decoded
    except DECODE_ERRORS as error:
        raise ImageError(key, _reason(found, content, error)) from error


def decode_opened(image: Image.Image, key: str) -> np.ndarray:
    """image_HWC uint8 RGB, upright, of an image that Pillow opened or made, by the same table. Raises ImageError.

    A file and the image that Pillow makes of it give equal pixels, but for colours of 16 bits a channel, of which
    Pillow keeps the upper 8, and for `fast_decode`, which reads a smaller image from a JPEG file.
    """
    width_px, height_px = image.size
    if not 0 < width_px * height_px <= MAX_IMAGE_PIXELS:
        raise ImageError(
            key, f"the image has {width_px}x{height_px} pixels; 1 to {MAX_IMAGE_PIXELS:,} are read. Change its size."
        )
    refuse_long_shape(key, width_px, height_px)
    if image.mode == "F" or (image.mode == "I" and not _has_16_bits(image)):
        raise ImageError(
            key, f"its pixels (mode {image.mode}) have no known range; convert it to L or RGB, 0 to 255, first."
        )
    try:
        with kept_warnings():
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            pixels = _finished(
                StoredImage(pixels=image, mode=image.mode, profile=_profile_of(image)),
                MAX_16_BIT,
                image.info.get("transparency"),
            ).image_HWC
    except DECODE_ERRORS as error:
        raise ImageError(key, _reason(None, b"", error)) from error
    return _upright(pixels, orientation)


def opened_16_bit(image: Image.Image) -> np.ndarray | None:
    """uint16 (H, W), upright, of an image of Pillow that holds grey of 16 bits, for `decode_image`; else None."""
    if image.mode.startswith("I") and "transparency" not in image.info and _has_16_bits(image):
        values = np.asarray(image).astype(np.uint16)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        return _upright(values, orientation) if orientation in range(2, 9) else values
    return None


def _has_16_bits(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):  # of the orders of bytes Pillow knows the extrema of one
        return True
    lowest, highest = image.getextrema()
    return 0 <= lowest and highest <= 65535  # type: ignore[operator]  # one channel, so these are numbers


def _note(text: str) -> str:
    return f"{printable(' '.join(text.split()))[:160].rstrip('. ')}."


def _check_array(pixels: np.ndarray, key: str) -> None:
    is_shape = pixels.ndim == 2 or (pixels.ndim == 3 and 1 <= pixels.shape[2] <= MAX_BANDS)
    is_image = is_shape and pixels.dtype in (np.uint8, np.uint16)
    if not is_image or not 0 < pixels.shape[0] * pixels.shape[1] <= MAX_IMAGE_PIXELS:
        shape = "x".join(map(str, pixels.shape)) or "no"
        raise ImageError(key, f"its pixels are {shape} values of {pixels.dtype}, not 1 to {MAX_IMAGE_PIXELS:,} bytes.")
    if pixels.ndim == 3 and pixels.shape[2] > 3:
        refuse_many_values(key, pixels.shape[1], pixels.shape[0], pixels.shape[2])
    refuse_long_shape(key, pixels.shape[1], pixels.shape[0])


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """image_HWC of uint8 pixels (H, W) or (H, W, 3)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _decode(
    found: ImageFormat | None, content: bytes, key: str, min_short_side_px: int | None, white: int
) -> DecodedImage:
    if found is not None and found.read:
        return _finished(found.read(content, key), white)
    if found is not None and found.check:
        found.check(content, key)
    notes: tuple[str, ...] = ()
    if content[:8] == PNG_SIGNATURE:
        content, is_cut = without_large_profile(content)
        notes = (TOO_LARGE,) if is_cut else ()
    with (
        DECODE_MEMORY.reserved(webp_bytes(content)),
        Image.open(io.BytesIO(content), formats=found.pillow if found else UNUSUAL) as image,
    ):
        width_px, height_px = image.size
        if Image.MAX_IMAGE_PIXELS and width_px * height_px > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError  # where Pillow's alarm is only printed: filters belong to the process
        if image.format == "WEBP" and MAX_WEBP_SIDE_PX < max(width_px, height_px) <= MAX_IMAGE_PIXELS:
            raise ValueError(f"it declares {width_px}x{height_px} pixels; WebP pictures have at most 16,383 on a side")
        refuse_declared_size(key, width_px, height_px)
        if image.format in CANVASES:
            refuse_expanding_image(key, len(content), width_px * height_px * BYTES_PER_PIXEL)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        mode = image.mode
        pixels: np.ndarray | None = None
        is_whole = image.format != "PNG" or _check_png(content)
        if image.format in ("JPEG", "MPO") and mode in ("RGB", "L"):
            num_scans = _check_scans(content)
            with DECODE_MEMORY.reserved(jpeg_bytes(image, num_scans)):
                pixels = _decode_jpeg(content, min_short_side_px)
                if pixels is not None:
                    profile = _profile_of(image)
                    stored = StoredImage(pixels=pixels, mode=mode, orientation=orientation, profile=profile)
                    return _finished(stored, white)
        is_deep = _is_16_bit_png(content)
        with DECODE_MEMORY.reserved(pillow_bytes(image, is_deep)):
            if is_deep:
                image.load()  # Pillow reports damage in words; OpenCV keeps all 16 bits
                if not is_whole:
                    raise ValueError("a part of it runs past the end of the file")  # OpenCV would allocate that part
                pixels, mode = _decode_16_bit(content), f"{mode.partition(';')[0]};16"
            else:
                if min_short_side_px:
                    image.draft(None, (min_short_side_px, min_short_side_px))
                image.load()
            stored = StoredImage(
                pixels=image if pixels is None else pixels,
                mode=mode,
                orientation=orientation,
                profile=_profile_of(image),
                notes=notes,
            )
            decoded = _finished(stored, white, image.info.get("transparency"))
            note = _further_frames(image)  # last: to look for a second frame changes what is told of the first
            return replace(decoded, notes=(*decoded.notes, note)) if note else decoded


def _further_frames(image: Image.Image) -> str:
    """What to know of an animation; "" for an image that is none. A second picture in a JPEG, such
    as a map of its brightness, is no frame."""
    if image.format not in ANIMATED:
        return ""
    try:
        return ANIMATION if getattr(image, "is_animated", False) else ""
    except DECODE_ERRORS:
        return "what follows its first frame is damaged; the first one is read."


def _profile_of(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else b""


def _finished(stored: StoredImage, white: int, transparency: object = None) -> DecodedImage:
    """Upright RGB of eight bits; `transparency` is the grey of 16-bit pixels that lets the background through."""
    pixels, largest, notes = stored.pixels, 0, stored.notes
    if isinstance(pixels, Image.Image) and pixels.mode.startswith("I"):
        pixels = np.asarray(pixels)
    conversion, note = find_conversion(stored.profile, stored.mode)
    notes = (*notes, note) if note else notes
    value_HWC = stored.bands_HWC
    if isinstance(pixels, Image.Image):
        image_HWC = _to_rgb(pixels, conversion)
    else:
        if value_HWC is None and pixels.dtype != np.uint8 and pixels.shape[2:] != (4,):
            value_HWC = (pixels if pixels.ndim == 3 else pixels[:, :, None]).astype(np.uint16, copy=False)
        if pixels.dtype != np.uint8:
            deep = pixels[..., :3] if value_HWC is None else value_HWC
            largest = int(deep.max())
        image_HWC = _rgb_of_array(pixels, white, transparency, conversion)
    if largest > white:
        notes = (
            *notes,
            f"its values reach {largest:,}, above the {white:,} of the training images, and are cut there.",
        )
    rotated = stored.orientation in range(2, 9)
    return DecodedImage(
        image_HWC=_upright(image_HWC, stored.orientation) if rotated else image_HWC,
        mode=stored.mode,
        rotated=rotated or stored.rotated,
        largest_16_bit=largest,
        profile=conversion.name if conversion else "",
        notes=(*notes, stored.view_note) if stored.view_note else notes,
        stored_HWC=_upright(value_HWC, stored.orientation) if rotated and value_HWC is not None else value_HWC,
        is_bands=stored.bands_HWC is not None,
        view_note=stored.view_note,
    )


def _rgb_of_array(pixels: np.ndarray, white: int, transparency: object, conversion: Conversion | None) -> np.ndarray:
    """image_HWC of grey, RGB or RGBA of 8 or 16 bits."""
    eight_bit = _eight_bit(pixels, white) if pixels.dtype != np.uint8 else pixels
    if pixels.ndim == 2:
        if isinstance(transparency, int) and eight_bit is not pixels:
            eight_bit[pixels == transparency] = BACKGROUND  # OpenCV and Pillow leave the transparent grey to us
        return _converted(as_rgb(eight_bit), conversion)
    if pixels.shape[2] == 3:
        return _converted(eight_bit, conversion)
    return _composite(_converted(eight_bit, conversion))


def _converted(pixels: np.ndarray, conversion: Conversion | None) -> np.ndarray:
    """RGB or RGBA of eight bits as sRGB; alpha stays."""
    if conversion is None:
        return pixels
    if pixels.shape[2] == 3:
        return conversion.of_rgb(pixels)
    return np.dstack([conversion.of_rgb(np.ascontiguousarray(pixels[:, :, :3])), pixels[:, :, 3]])


def _decode_jpeg(content: bytes, min_short_side_px: int | None) -> np.ndarray | None:
    """Strictly decoded pixels; None where the file is unusual and Pillow shall decide whether it can be used."""
    side_px = min_short_side_px or 0
    try:
        return simplejpeg.decode_jpeg(content, "RGB", min_height=side_px, min_width=side_px, min_factor=2)
    except ValueError:
        return None


def _check_scans(content: bytes) -> int:
    """How many scans a JPEG file has. Raises ValueError where there are too many."""
    num_scans = content.count(b"\xff\xda")  # a marker: in coded pixels, ff is followed by 0 or a restart
    if num_scans > MAX_JPEG_SCANS:
        raise ValueError(f"it has {num_scans:,} scans; at most {MAX_JPEG_SCANS} are decoded")
    return num_scans


def _check_png(content: bytes) -> bool:
    """Whether no part runs past the end. Raises ValueError where one of the pixels' parts fails its checksum."""
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, end = content[place + 4 : place + 8], place + 8 + length
        if end + 4 > len(content):
            return False  # truncated, as Pillow will find where pixels are missing
        if (
            name in PNG_PIXEL_PARTS
            and zlib.crc32(content[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]
        ):
            raise ValueError(f"the checksum of its part {name.decode()} is wrong")
        place = end + 4
    return True


def _is_16_bit_png(content: bytes) -> bool:
    return content[:8] == PNG_SIGNATURE and content[12:16] == b"IHDR" and content[24:25] == b"\x10"


def _decode_16_bit(content: bytes) -> np.ndarray:
    """uint16 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("the 16-bit pixels cannot be read")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _eight_bit(pixels: np.ndarray, white: int) -> np.ndarray:
    """uint8 of values 0-65535: those of grey and colour times 255 / `white`, rounded, alpha divided by 257."""
    result = np.empty(pixels.shape, np.uint8)
    for rows in bands(pixels):
        result[rows] = _levels(white)[pixels[rows]]
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            result[rows, :, 3] = _levels(MAX_16_BIT)[pixels[rows, :, 3]]
    return result


@lru_cache(maxsize=16)
def _levels(white: int) -> np.ndarray:
    """level_65536 uint8 of every value of 16 bits."""
    return np.minimum((np.arange(MAX_16_BIT + 1) * 255 + white // 2) // white, 255).astype(np.uint8)


def _to_rgb(image: Image.Image, conversion: Conversion | None) -> np.ndarray:
    if image.mode == "CMYK" and conversion:
        return conversion.of_cmyk(image)
    if image.mode == "La":
        image = image.convert("LA")  # the one mode that Pillow turns it into
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _composite(_converted(np.asarray(image.convert("RGBA")), conversion))
    return _converted(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), conversion)


def _composite(image_RGBA: np.ndarray) -> np.ndarray:
    """Lay RGBA pixels on the background: (colour * alpha + background * (255 - alpha)) / 255, rounded."""
    result = np.empty((*image_RGBA.shape[:2], 3), np.uint8)
    for rows in bands(image_RGBA):
        alpha, colour = image_RGBA[rows, :, 3:].astype(np.uint32), image_RGBA[rows, :, :3].astype(np.uint32)
        result[rows] = (colour * alpha + BACKGROUND * (255 - alpha) + 127) // 255
    return result


def bands(pixels: np.ndarray) -> Iterator[slice]:
    """Runs of rows of about BAND_PIXELS pixels."""
    num_rows = max(1, BAND_PIXELS // pixels.shape[1])
    for start in range(0, pixels.shape[0], num_rows):
        yield slice(start, start + num_rows)


def _upright(image_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of 2 to 8 (Exif 2.32, tag 0x0112); nothing to undo for others."""
    if orientation not in range(2, 9):
        return image_HWC
    if orientation in (5, 6, 7, 8):
        image_HWC = image_HWC.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image_HWC = image_HWC[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image_HWC = image_HWC[::-1]
    return np.ascontiguousarray(image_HWC)


def _reason(found: ImageFormat | None, content: bytes, error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"the image declares far more than {MAX_IMAGE_PIXELS:,} pixels; it is not opened."
    if isinstance(error, UnidentifiedImageError):
        if content[:4] == b"\x89PNG" and content[:8] != PNG_SIGNATURE:
            return "something has changed the first bytes of this PNG file, as a transfer as text does: copy it again."
        if found:
            return f"it starts like a {found.name} file, but its header is damaged."
        start = printable(content[:12].decode("latin-1"))
        return f"not an image that can be read (see 'saccade sources'): it begins with '{start}'."
    text = printable(" ".join(str(error).split())) or type(error).__name__
    if text == "cannot load this image":
        return "it has no image data."
    is_short_webp = content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    if "truncated" in text or isinstance(error, EOFError | struct.error) or is_short_webp:
        return "the image data end too early: the file is truncated."
    return f"the image data are damaged ({text.rstrip('.')[:120]})."
