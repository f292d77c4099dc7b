"""How much memory all threads of the process may decode in at once: a small file can declare 50 million pixels.

Decoders hold a picture several times over: 7,000x7,000 pixels, 138 bytes as WebP, take 1 GB. Before that is allocated
a thread waits until what others hold leaves room for it. A picture that is larger than all there is decodes alone.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from PIL import Image

from ...core.processors import available_cpus

LEAST_BYTES = 1 << 30
BYTES_PER_CPU = 96 << 20  # so that JPEG photographs of 12 megapixels, turned upright, never wait

# The most bytes for each pixel, measured with Pillow 13.0, OpenCV 4.13 and simplejpeg 1.9 on 7,000x7,000 pixels.
BYTES_PER_PIXEL = 16  # Pillow: its picture (4), one of another mode (4), that as bytes (8)
JPEG_BYTES_PER_PIXEL = 6  # the pixels, and once more upright
SCANS_BYTES_PER_PIXEL = 6  # the coefficients of a JPEG file of several scans
DEEP_BYTES_PER_PIXEL = 24  # PNG of 16 bits a channel: Pillow's picture, OpenCV's, and what is made of it
WEBP_BYTES_PER_PIXEL = 24  # two canvases, for one picture too, and their pixels as bytes


class DecodeMemory:
    """A number of bytes that threads share out among them, in the order in which they ask."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self._wanted_limit_bytes = limit_bytes
        self._reset()
        myself = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_after_fork(myself))

    @cached_property
    def limit_bytes(self) -> int:
        """How many bytes all threads may hold together."""
        return self._wanted_limit_bytes or max(LEAST_BYTES, BYTES_PER_CPU * available_cpus())

    @contextmanager
    def reserved(self, num_bytes: int) -> Iterator[None]:
        """Hold `num_bytes`, or all there are where that is less, from when they are free. Nobody waits for none."""
        num_bytes = min(num_bytes, self.limit_bytes)
        if num_bytes <= 0:
            yield
            return
        with self._turn, self._changed:  # who comes later waits at the turn, so that a large picture has its turn too
            self._changed.wait_for(lambda: self._held_bytes + num_bytes <= self.limit_bytes)
            self._held_bytes += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._held_bytes -= num_bytes
                self._changed.notify_all()

    def _reset(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._held_bytes = 0


def _reset_after_fork(memory: "weakref.ref[DecodeMemory]") -> None:
    """What another thread held when the process was forked would never be given back in the child."""
    found = memory()
    if found is not None:
        found._reset()


DECODE_MEMORY = DecodeMemory()


def webp_bytes(content: bytes) -> int:
    """What decoding a WebP file takes by the size in its header (RFC 9649); 0 for other files.

    Pillow makes the canvases when it opens one, so this is asked before that.
    """
    kind = content[12:16] if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= 30 else b""
    if kind == b"VP8X":
        width_px, height_px = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        sizes = int.from_bytes(content[21:25], "little")
        width_px, height_px = 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width_px, height_px = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        return 0
    return WEBP_BYTES_PER_PIXEL * width_px * height_px


def jpeg_bytes(image: Image.Image, num_scans: int) -> int:
    """What libjpeg-turbo takes for an opened JPEG file of so many scans."""
    per_pixel = JPEG_BYTES_PER_PIXEL + (SCANS_BYTES_PER_PIXEL if num_scans > 1 else 0)
    return per_pixel * image.width * image.height


def pillow_bytes(image: Image.Image, is_deep: bool) -> int:
    """What Pillow takes for an opened file; `is_deep`: with 16 bits a channel. 0 for WebP, which `webp_bytes` knows."""
    if image.format == "WEBP":
        return 0
    return (DEEP_BYTES_PER_PIXEL if is_deep else BYTES_PER_PIXEL) * image.width * image.height
