"""One look at every image: digests, size, colour, mean, and a thumbnail that survives scaling and re-encoding.

What was measured is kept by the digest of the file and the version of this measurement, so a renamed or touched
file is not decoded again and a changed one always is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ...core.errors import ImageError
from ..decode import decode_image
from ..digests import content_digest, pixel_digest
from ..likeness import thumbnail
from ..pixel_statistics import statistics_of
from ..source import DataSource

VERSION = 3  # of what is measured; a change makes kept measurements worthless
CHUNK = 64
NO_MODE = "?"

MEASURES = np.dtype(
    [
        ("digest", "V16"),
        ("pixels", "V16"),
        ("height_px", "i4"),
        ("width_px", "i4"),
        ("mode", "S12"),
        ("rotated", "?"),
        ("grey", "?"),
        ("mean", "f4", 3),
        ("square", "f4", 3),
        ("thumbnail", "u1", 256),
        ("reason", "S200"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`rows_N` of MEASURES for the N images of a source; `reason` is empty where the image could be decoded.

    `digest` is that of the file, `pixels` that of the picture.
    `fresh_N`: decoded now, not known from before. An unreadable file that has no content has a digest of zeros.
    """

    rows_N: np.ndarray
    fresh_N: np.ndarray

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
    """Measure every image; contents whose digest is in `known` (rows of MEASURES) are read but not decoded."""
    rows_N = np.zeros(len(source), MEASURES)
    fresh_N = np.zeros(len(source), bool)
    places = {} if known is None else {bytes(row["digest"]): place for place, row in enumerate(known)}

    def measure_chunk(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(source))):
            key = source.record(index).key
            try:
                content = source.read(index)
                digest = content_digest(content)
                place = places.get(digest)
                if place is not None and known is not None:
                    rows_N[index] = known[place]
                    continue
                fresh_N[index] = True
                rows_N[index]["digest"] = np.void(digest)
                _measure(content, key, rows_N[index : index + 1])
            except ImageError as error:
                rows_N[index]["reason"] = error.reason.encode("utf-8", "backslashreplace")[:200]

    with ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="measure") as pool:
        for done, _ in enumerate(pool.map(measure_chunk, range(0, len(source), CHUNK)), start=1):
            if progress:
                progress(min(done * CHUNK, len(source)), len(source))
    return Measured(rows_N=rows_N, fresh_N=fresh_N)


def _measure(content: bytes | np.ndarray, key: str, row_1: np.ndarray) -> None:
    """Fill one row of MEASURES. Raises ImageError naming `key`."""
    decoded = decode_image(content, key)
    image_HWC = decoded.image_HWC
    row_1["height_px"], row_1["width_px"] = image_HWC.shape[:2]
    row_1["mode"] = decoded.mode.encode()
    row_1["rotated"] = decoded.rotated
    row_1["grey"], row_1["mean"], row_1["square"] = statistics_of(image_HWC)
    row_1["pixels"] = np.void(pixel_digest(image_HWC, bool(row_1["grey"][0])))
    row_1["thumbnail"] = thumbnail(image_HWC)
