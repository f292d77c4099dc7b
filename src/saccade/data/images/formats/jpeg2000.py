"""What a JPEG 2000 file declares, looked at before OpenJPEG allocates it (ISO/IEC 15444-1, annexes A.5.1 and I)."""

import struct

from ....core.errors import ImageError
from ...limits import refuse_declared_size, refuse_expanding_image

START = b"\xff\x4f\xff\x51"  # start of codestream, then the marker of the image's and the tiles' size
MAX_COMPONENTS = 4
MAX_TILES = 65_535  # which the format allows
BYTES_PER_SAMPLE = 8  # OpenJPEG holds each as 32 bits, twice while it transforms a tile


def check_jpeg2000(content: bytes, key: str) -> None:
    """Raise ImageError where the file declares more than is read, ValueError where it declares nonsense."""
    place = content.find(START)
    fields = content[place + 6 : place + 42]
    if place < 0 or len(fields) < 36:
        raise ValueError("it has no codestream")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack(
        ">IIIIIIIIH", fields[2:36]
    )
    if not (left < right and top < bottom and tile_width and tile_height and tile_left <= left and tile_top <= top):
        raise ValueError("its size makes no sense")
    refuse_declared_size(key, right - left, bottom - top)
    if components > MAX_COMPONENTS:
        raise ImageError(key, f"it has {components:,} components; 1 to {MAX_COMPONENTS} are read.")
    across, down = -(-(right - tile_left) // tile_width), -(-(bottom - tile_top) // tile_height)
    if across * down > MAX_TILES:
        raise ValueError(f"it declares {across * down:,} tiles; at most {MAX_TILES:,} are allowed")
    refuse_expanding_image(key, len(content), (right - left) * (bottom - top) * components * BYTES_PER_SAMPLE)
