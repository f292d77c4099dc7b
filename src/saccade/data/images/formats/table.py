"""The table of image formats: the only list of what is read, and by what.

A file is known by its first bytes, never by its ending; the endings say which files of a folder are looked at.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import features

from . import dicom, heif
from .jpeg2000 import check_jpeg2000
from .netpbm import read_netpbm
from .npy import read_npy
from .stored import StoredImage
from .tiff import read_tiff


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """One format of image files.

    `beginning` matches the first bytes of its files. Pillow reads it under the names `pillow`, after `check(content,
    key)` has looked at what the file declares, or else `read(content, key)` does. `extra`: what `pip install
    'saccade-learn[...]'` must bring.
    """

    name: str
    endings: tuple[str, ...]
    beginning: re.Pattern[bytes]
    pillow: tuple[str, ...] = ()
    check: Callable[[bytes, str], None] | None = None
    read: Callable[[bytes, str], StoredImage] | None = None
    extra: str = ""
    is_missing: Callable[[], bool] = lambda: False  # whether this installation lacks the decoder
    remedy: str = ""  # what to do where it does


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


FORMATS: tuple[ImageFormat, ...] = (
    ImageFormat(
        name="JPEG",
        endings=(".jpg", ".jpeg", ".jpe", ".jfif"),
        beginning=_begins(rb"\xff\xd8\xff"),
        pillow=("JPEG",),
    ),
    ImageFormat(name="PNG", endings=(".png",), beginning=_begins(rb"\x89PNG"), pillow=("PNG",)),
    ImageFormat(name="WebP", endings=(".webp",), beginning=_begins(rb"RIFF....WEBP"), pillow=("WEBP",)),
    ImageFormat(name="BMP", endings=(".bmp",), beginning=_begins(rb"BM....\0{4}"), pillow=("BMP",)),
    ImageFormat(name="GIF", endings=(".gif",), beginning=_begins(rb"GIF8[79]a"), pillow=("GIF",)),
    ImageFormat(
        name="TIFF",
        endings=(".tif", ".tiff"),
        beginning=_begins(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
        read=read_tiff,
    ),
    ImageFormat(
        name="AVIF",
        endings=(".avif",),
        beginning=_begins(rb"....ftyp(?:avi[fs]|(?:mif1|msf1)(?:....){1,8}avi[fs])"),
        pillow=("AVIF",),
        is_missing=lambda: not features.check("avif"),
        remedy="Install Pillow 11.3 or later, whose packages read AVIF.",
    ),
    ImageFormat(
        name="JPEG 2000",
        endings=(".jp2", ".j2k", ".jpx"),
        beginning=_begins(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \x0d\x0a\x87\x0a"),
        pillow=("JPEG2000",),
        check=check_jpeg2000,
        is_missing=lambda: not features.check("jpg_2000"),
        remedy="Install Pillow from its packages, which read JPEG 2000.",
    ),
    ImageFormat(
        name="HEIC",
        endings=(".heic", ".heif", ".hif"),
        beginning=_begins(rb"....ftyp(?:hei[cxms]|hev[cxms]|(?:mif1|msf1)(?:....){1,8}hei[cxms])"),
        read=heif.read_heif,
        extra="heic",
        is_missing=heif.is_missing,
        remedy="Install the decoder: pip install 'saccade-learn[heic]'.",
    ),
    ImageFormat(
        name="DICOM",
        endings=(".dcm", ".dicom"),
        beginning=_begins(rb".{128}DICM"),
        read=dicom.read_dicom,
        extra="dicom",
        is_missing=dicom.is_missing,
        remedy="Install the decoder: pip install 'saccade-learn[dicom]'.",
    ),
    ImageFormat(
        name="Netpbm",
        endings=(".ppm", ".pgm", ".pbm", ".pnm"),
        beginning=_begins(rb"P[1-6][ \t\n\v\f\r#]"),
        read=read_netpbm,
    ),
    ImageFormat(name="NumPy", endings=(".npy",), beginning=_begins(rb"\x93NUMPY"), read=read_npy),
)

BEGINNING_BYTES = 132
ENDINGS: tuple[str, ...] = tuple(ending for entry in FORMATS for ending in entry.endings)


def format_of(content: bytes) -> ImageFormat | None:
    """The format whose files begin like `content`; None where none does."""
    return next((entry for entry in FORMATS if entry.beginning.match(content[:BEGINNING_BYTES])), None)
