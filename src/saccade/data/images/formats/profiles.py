"""Colour profiles (ICC): what a file says its numbers mean, converted to sRGB here and nowhere else, through LittleCMS.

The intent is perceptual, as in browsers. A profile that changes no colour of a cube by more than MAX_DIFFERENCE
levels, such as the many variants of sRGB that cameras write, counts as sRGB: it costs one look-up and changes no bit.
Profiles of grey and CMYK are used for such files. A profile that is damaged, too large, or for other channels is left
aside, and a note says so. Sixteen bits a channel are converted after they have become eight.
"""

import hashlib
import io
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 << 20  # those of printing presses have 0.5 to 3 MB
MAX_PNG_PROFILE_BYTES = 1 << 20  # unpacked; Pillow refuses an image whose profile is larger
MAX_DIFFERENCE = 2  # levels of 255
CUBE_SIDE = 17
MAX_KEPT = 16  # conversions
DAMAGED = "its colour profile is damaged: its colours are taken as sRGB."
TOO_LARGE = f"its colour profile has more than {MAX_PROFILE_BYTES:,} bytes: its colours are taken as sRGB."
ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError, RuntimeError)
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I", "LA;16")
PNG_SIGNATURE_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """From the channels `space` (RGB, GRAY or CMYK) of the profile `name` to sRGB."""

    name: str
    space: str
    transform: ImageCms.ImageCmsTransform | None = None
    level_256: np.ndarray | None = None

    def of_rgb(self, image_HWC: np.ndarray) -> np.ndarray:
        """Colours uint8 (H, W, 3), grey repeated, as sRGB."""
        if self.level_256 is not None:
            return cv2.LUT(image_HWC, self.level_256)
        return np.asarray(_applied(Image.fromarray(image_HWC), self.transform))

    def of_cmyk(self, image: Image.Image) -> np.ndarray:
        """Inks as sRGB (H, W, 3)."""
        return np.asarray(_applied(image, self.transform))


def find_conversion(profile: bytes, mode: str) -> tuple[Conversion | None, str]:
    """(what converts pixels of `mode` in a file that carries `profile`, or None; a note, or nothing)."""
    if not profile:
        return None, ""
    if len(profile) > MAX_PROFILE_BYTES:
        return None, TOO_LARGE
    found = _kept(profile)
    if isinstance(found, str):
        return None, found
    space = "CMYK" if mode == "CMYK" else "GRAY" if mode in GREY_MODES else "RGB"
    if found is None or found.space == space:
        return found, ""
    return None, f"its colour profile is for {found.space}, its pixels are {space}: they are taken as sRGB."


def is_converted(profile: bytes) -> bool:
    """Whether a JPEG file that carries `profile` needs more than being decoded."""
    return bool(profile) and (len(profile) > MAX_PROFILE_BYTES or _kept(profile) is not None)


def without_large_profile(content: bytes) -> tuple[bytes, bool]:
    """(a PNG file, whether its profile was cut out because it unpacks to more than Pillow takes)."""
    place = PNG_SIGNATURE_BYTES
    while content[place + 4 : place + 8] not in (b"", b"IDAT"):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] == b"iCCP":
            packed = content[place + 8 : end - 4].partition(b"\0")[2][1:]
            if _unpacks_beyond(packed, MAX_PNG_PROFILE_BYTES):
                return content[:place] + content[end:], True
        place = end
    return content, False


def _unpacks_beyond(packed: bytes, max_bytes: int) -> bool:
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, max_bytes)
    except zlib.error:
        return False  # Pillow leaves it aside
    return bool(unpacker.unconsumed_tail)


_conversions: "OrderedDict[bytes, Conversion | str | None]" = OrderedDict()
_lock = threading.Lock()
_sRGB = ImageCms.createProfile("sRGB")


def _kept(profile: bytes) -> Conversion | str | None:
    """The conversion of a profile, a note where it cannot be used, None where it is as good as sRGB."""
    digest = hashlib.blake2b(profile, digest_size=16).digest()
    with _lock:
        if digest not in _conversions:
            _conversions[digest] = _made(profile)
            if len(_conversions) > MAX_KEPT:
                _conversions.popitem(last=False)
        _conversions.move_to_end(digest)
        return _conversions[digest]


def _made(profile: bytes) -> Conversion | str | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        name = " ".join((opened.profile.profile_description or "").split())[:40] or "without a name"
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
        if mode is None:
            return f"its colour profile is for {space[:8]}, which is not read: its colours are taken as sRGB."
        transform = ImageCms.buildTransform(opened, _sRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        if mode == "CMYK":
            return Conversion(name=name, space=space, transform=transform)
        sample_HWC = _ramp() if mode == "L" else _cube()
        image = Image.fromarray(sample_HWC[:, :, 0] if mode == "L" else sample_HWC)
        converted_HWC = np.asarray(_applied(image, transform))
    except ERRORS:
        return DAMAGED
    if np.abs(converted_HWC.astype(int) - sample_HWC).max() <= MAX_DIFFERENCE:
        return None
    if mode == "L":
        return Conversion(name=name, space=space, level_256=converted_HWC[0, :, 1].copy())
    return Conversion(name=name, space=space, transform=transform)


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)  # type: ignore[arg-type]  # GRAY, which has none, has levels
    if converted is None:
        raise ValueError("its colours cannot be converted")
    return converted


def _ramp() -> np.ndarray:
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def _cube() -> np.ndarray:
    side = np.linspace(0, 255, CUBE_SIDE).round().astype(np.uint8)
    return np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(1, -1, 3)
