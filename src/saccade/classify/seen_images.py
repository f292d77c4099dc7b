"""How many of the images that somebody asks about are training images of the runs that answer.

Every image is looked at once, on the threads that decode it. Most are told by a thumbnail of what was decoded for the
network; only where that says nothing (plain and tiny pictures, those like many others) are the pixels of the whole
image compared. What is kept does not grow with the number of images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import CheckpointError, printable
from ..data.images.bands import picture_digest
from ..data.images.decode import DecodedImage, decode_image
from ..data.images.near_duplicates import MAX_COPIES, KnownPictures, is_telling, thumbnail
from ..data.scan import MAX_COMPARED
from ..runs.seen import TEST, Seen, look_up_seen
from .stream import Way


class SeenImages:
    """What `runs` were trained on, or chose their epoch by, and how many images asked so far are among that."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self._unknown: list[str] = []
        self._records: list[_Record] = []
        self._num_runs, self._num_asked, self._num_seen, self._num_unlike = len(runs), 0, 0, 0
        for run in runs:
            try:
                found = look_up_seen(run)
            except CheckpointError as error:
                found = error.message.splitlines()[0].rstrip(".")
            if isinstance(found, Seen):
                if not any(record.is_of(found) for record in self._records):  # members share their images
                    self._records.append(_Record(found))
            if not isinstance(found, Seen) or not found.is_complete:
                why = found if isinstance(found, str) else "nothing is known of the weights that it began with"
                self._unknown.append(
                    f"Nothing says which images {printable(str(run))} was trained on ({why}): "
                    f"some of these may be among them."
                )

    def recognises(self, key: str, content: bytes | np.ndarray, decoded: DecodedImage, way: Way) -> bool:
        """Whether the image, decoded in this `way`, is one that a run learned from, or nearly the same."""
        picture = _Picture(key, content, decoded, way)
        return any(record.has(picture) for record in self._records)

    def count(self, num_asked: int, num_seen: int, num_unlike: int = 0) -> None:
        """Add images that were answered, how many of them were recognised, and how many of these are told to be unlike
        anything seen in training all the same."""
        self._num_asked += num_asked
        self._num_seen += num_seen
        self._num_unlike += num_unlike

    def caveats(self) -> list[str]:
        """What qualifies the answers: a sentence where any image was seen, and one where nothing says what was."""
        several = self._num_runs > 1
        told = []
        if self._num_seen:
            who = "a run" if several else "the run"
            which = f"{self._num_seen:,} of the {self._num_asked:,} images" if self._num_asked > 1 else "The image"
            one = self._num_seen == 1
            was, same = (
                ("was", "is nearly the same as one that was")
                if one
                else ("were", "are nearly the same as some that were")
            )
            told.append(
                f"{which} {was} used to train {who}, or {same}: such answers do not show how good it is."
                f"{self._unlike_words()}"
            )
        return told + self.unknown()

    def _unlike_words(self) -> str:
        """Why images of training can be told to be unlike those of training; empty where none is."""
        if not self._num_unlike:
            return ""
        which = f"{self._num_unlike:,} of these {'is' if self._num_unlike == 1 else 'are'}"
        which = "It is" if self._num_asked == 1 else which
        return f" {which} called unlike training all the same, being far from all others that were seen there."

    def unknown(self) -> list[str]:
        """A sentence where nothing says what a run was trained on; empty where it is known of all."""
        return self._unknown[:1]


class _Picture:
    """One image that is asked about; what it is compared by is computed once, when it is needed."""

    def __init__(self, key: str, content: bytes | np.ndarray, decoded: DecodedImage, way: Way) -> None:
        self._key, self._content, self._decoded, self._way = key, content, decoded, way
        self.thumbnail_P = thumbnail(decoded.image_HWC)
        size_12 = np.array([decoded.image_HWC.shape[:2]])
        self.is_telling = bool(is_telling(size_12, self.thumbnail_P[None])[0])
        self._digest = b""

    def digest(self) -> bytes:
        """That of the pixels of the whole image."""
        self._digest = self._digest or whole_digest(self._key, self._content, self._decoded, self._way)
        return self._digest


def whole_digest(key: str, content: bytes | np.ndarray, decoded: DecodedImage, way: Way) -> bytes:
    """The digest of all pixels of an image that was decoded in this `way`, perhaps at a smaller scale."""
    short_px, white = way
    if short_px is not None and min(decoded.image_HWC.shape[:2]) >= short_px:  # it may be a smaller one of the file's
        decoded = decode_image(content, key, None, white)
    return picture_digest(decoded)


class _Record:
    """The pictures that one run learned from, ready to be asked."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        pixels_NB = np.ascontiguousarray(seen.pixels_NB[seen.part_N != TEST])
        self._digest_N = np.sort(pixels_NB.view("S16").ravel())
        self._known = KnownPictures(seen.thumbnail_MP) if len(seen.thumbnail_MP) else None
        # Where all that can be told by a thumbnail have one, what is like none of them is equal to none of them.
        self._tells_all = len(seen.part_N) <= MAX_COMPARED and 2 * len(seen.thumbnail_MP) >= len(pixels_NB)

    def is_of(self, seen: Seen) -> bool:
        pairs = ((getattr(self._seen, name), getattr(seen, name)) for name in ("pixels_NB", "part_N", "thumbnail_MP"))
        return all(np.array_equal(one, other) for one, other in pairs)

    def has(self, picture: _Picture) -> bool:
        if picture.is_telling and self._known is not None:
            num_like = self._known.num_like(picture.thumbnail_P)
            if 0 < num_like <= MAX_COPIES or (num_like == 0 and self._tells_all):
                return num_like > 0
        digest = np.frombuffer(picture.digest(), "S16")
        place = np.searchsorted(self._digest_N, digest)[0]
        return bool(place < len(self._digest_N) and self._digest_N[place] == digest[0])
