"""One look at every image: digests, size, colour, mean, and a thumbnail that survives scaling and re-encoding.

What was measured is kept by the digest of the file and the version of this measurement, so a renamed or touched
file is not decoded again and a changed one always is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ...core.errors import ImageError
from ...core.types import MAX_16_BIT
from ..images.bands import picture_digest
from ..images.decode import decode_image
from ..images.digests import content_digest
from ..images.formats.table import format_of
from ..images.near_duplicates import thumbnail
from ..images.pixel_statistics import statistics_of, statistics_of_bands
from ..scan import white_of
from ..source import DataSource

VERSION = 7  # of what is measured; a change makes kept measurements worthless
CHUNK = 64


def measures(num_channels: int) -> "np.dtype[np.void]":
    """A row of what is measured of one image, in a set of so many channels: 3 of grey and colours."""
    return np.dtype(
        [
            ("digest", "V16"),
            ("pixels", "V16"),
            ("height_px", "i4"),
            ("width_px", "i4"),
            ("mode", "S12"),
            ("format", "S12"),  # by the first bytes; empty for pixels that came without a file
            ("rotated", "?"),
            ("grey", "?"),
            ("mean", "f4", num_channels),  # of bands of which 1 is the largest value; zeros of other channels
            ("square", "f4", num_channels),
            ("thumbnail", "u1", 256),
            ("reason", "S200"),
            ("bands", "u1"),  # channels of an image that is neither grey nor colours, 0 of others
            ("largest", "u2"),  # value of files of 16 bits a channel, 0 of others
            ("white", "u2"),  # the value of 16 bits that was white when this was measured
            ("profile", "S48"),  # name of the colour profile that was converted
            ("note", "S200"),  # sentences on a file that is used as it is: damage beside the pixels, further pages
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`rows_N` of `measures` for the N images of a source; `reason` is empty where the image could be decoded.

    `digest` is that of the file, `pixels` that of the picture. `white_16_bit` is white in files of 16 bits a channel.
    `fresh_N`: decoded now, not known from before. An unreadable file that has no content has a digest of zeros.
    """

    rows_N: np.ndarray
    fresh_N: np.ndarray
    white_16_bit: int = MAX_16_BIT

    @property
    def good_N(self) -> np.ndarray:
        """Indices of the images that could be decoded."""
        return np.flatnonzero(self.rows_N["reason"] == b"")


def measure_source(
    source: DataSource,
    threads: int,
    known: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Measure every image; contents whose digest is in `known` (rows of `measures`), or came before, are not
    decoded."""
    kind = measures(_num_channels(source))
    rows_N = np.zeros(len(source), kind)
    known = known if known is not None and known.dtype == kind else None
    fresh_N = np.zeros(len(source), bool)
    earlier: dict[bytes, np.ndarray] = {}  # rows of contents that were measured now
    places = {} if known is None else {bytes(row["digest"]): place for place, row in enumerate(known)}

    def measure(index: int, white: int, may_know: bool) -> None:
        key = source.record(index).key
        try:
            content = source.read(index)
            digest = content_digest(content)
            place = places.get(digest) if may_know else None
            if place is not None and known is not None:
                rows_N[index] = known[place]
                return
            fresh_N[index] = True
            if may_know and digest in earlier:
                rows_N[index] = earlier[digest]
                return
            rows_N[index] = np.zeros((), kind)
            rows_N[index]["digest"] = np.void(digest)
            _measure(content, key, rows_N[index : index + 1], white)
        except ImageError as error:
            rows_N[index]["reason"] = error.reason.encode("utf-8", "backslashreplace")[:200]
        if may_know and any(rows_N[index]["digest"].tobytes()):
            earlier[rows_N[index]["digest"].tobytes()] = rows_N[index]

    def measure_chunk(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(source))):
            measure(index, MAX_16_BIT, True)

    with ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="measure") as pool:
        for done, _ in enumerate(pool.map(measure_chunk, range(0, len(source), CHUNK)), start=1):
            if progress:
                progress(min(done * CHUNK, len(source)), len(source))
        white = white_of(source, rows_N["largest"])
        others = np.flatnonzero((rows_N["largest"] > 0) & (rows_N["white"] != white))
        list(pool.map(lambda index: measure(int(index), white, False), others))
    return Measured(rows_N=rows_N, fresh_N=fresh_N, white_16_bit=white)


def _num_channels(source: DataSource) -> int:
    """Those of the first image that can be decoded, among the first few: of bands all, else 3."""
    for index in range(min(CHUNK, len(source))):
        try:
            decoded = decode_image(source.read(index), "")
        except ImageError:
            continue
        return decoded.band_HWC.shape[2] if decoded.is_bands else 3
    return 3


def _measure(content: bytes | np.ndarray, key: str, row_1: np.ndarray, white: int) -> None:
    """Fill one row of `measures`. Raises ImageError naming `key`."""
    decoded = decode_image(content, key, None, white)
    image_HWC = decoded.image_HWC
    row_1["height_px"], row_1["width_px"] = image_HWC.shape[:2]
    row_1["mode"] = decoded.mode.encode()
    file_format = None if isinstance(content, np.ndarray) else format_of(content)
    row_1["format"] = b"" if file_format is None else file_format.name.encode()[:12]
    row_1["rotated"] = decoded.rotated
    row_1["largest"], row_1["white"] = decoded.largest_16_bit, white
    row_1["profile"] = decoded.profile.encode("utf-8", "backslashreplace")[:48]
    row_1["bands"] = decoded.band_HWC.shape[2] if decoded.is_bands else 0
    row_1["note"] = " ".join(decoded.notes_on_bands).encode("utf-8", "backslashreplace")[:200]
    row_1["grey"], mean_C, square_C = statistics_of(image_HWC)
    if decoded.is_bands:
        mean_C, square_C = statistics_of_bands(decoded.band_HWC, white if decoded.largest_16_bit else 255)
    if len(mean_C) == row_1["mean"].shape[1]:  # else the set is refused for it
        row_1["mean"], row_1["square"] = mean_C, square_C
    row_1["pixels"] = np.void(picture_digest(decoded))
    row_1["thumbnail"] = thumbnail(image_HWC)
