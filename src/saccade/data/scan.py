"""The scan: every image decoded once before the first step, so that a bad file is named now and not hours later.

The processes of one machine share the images out, and each knows of all of them in the end. Other machines look at
theirs by themselves: their files may be others, which is found when the processes compare what they have.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import numpy as np

from ..core.agreement import agree, refuse_other_images
from ..core.errors import DataError, ImageError, SaccadeError, printable, shell_word
from ..core.ranks import ALONE, Ranks
from ..core.types import MAX_16_BIT, SPLITS, Preprocessing
from .images.bands import channel_words, picture_digest
from .images.decode import DecodedImage, decode_image
from .images.digests import BLOCK_BYTES, DIGEST_BYTES, content_digest, pixel_digest
from .images.near_duplicates import MAX_COPIES, THUMBNAIL_PX, Likeness, is_telling, thumbnail, thumbnails
from .images.pixel_statistics import statistics_of, statistics_of_bands, statistics_of_many
from .left_out import SHOWN_BAD, BadImage, OnBadImage, why_refused
from .source import DataSource
from .source_text import split_source_text

MAX_COMPARED = 250_000  # images that are compared for likeness: 64 MB of thumbnails
CHUNK = 64
ROUND = 16 * CHUNK  # images after which processes hear of each other: none waits longer for another than these take
Channels = Literal["auto", "colour", "bands"]


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What the scan found of N images. Rows of bad images are zero, and their indices are not in `good_N`.

    `pixel_digest_N` uint8 (N, 16): equal where the decoded pixels are; `bytes_digest_N` uint8 (N, 16): equal where the
    files are. `likeness` tells near duplicates; None among more than 250,000 images. `size_N2` int32 (height, width)
    upright.
    `mean_NC`, `square_NC` float32 (N, 3): mean and mean square of each image's pixels in 0 to 1. `is_grey_N`: all
    three channels are equal everywhere. `white_16_bit`: the value that became white in files of 16 bits a channel.
    `num_bands`: how many channels all images have that are taken as they are, and C of the means; 0 of grey and
    colours. `depth_bits` is 16 where some of their files have 16 bits a channel.
    """

    pixel_digest_N: np.ndarray
    bytes_digest_N: np.ndarray
    good_N: np.ndarray
    bad: tuple[BadImage, ...]
    size_N2: np.ndarray
    mean_NC: np.ndarray
    square_NC: np.ndarray
    is_grey_N: np.ndarray
    mode_counts: Mapping[str, int]
    num_rotated: int
    notes: tuple[str, ...] = ()  # on damage beside the pixels, each with the file's name
    likeness: Likeness | None = None
    white_16_bit: int = MAX_16_BIT
    num_bands: int = 0
    depth_bits: Literal[8, 16] = 8

    @cached_property
    def content_N(self) -> np.ndarray:
        """int32 (N,): equal where the decoded pixels are, and in the order of their digests."""
        halves_2N = np.ascontiguousarray(self.pixel_digest_N).view(">u8").T.astype(np.uint64)
        order_N = np.lexsort(halves_2N[::-1])
        is_next_N = np.zeros(max(len(order_N) - 1, 0), bool)
        for half_N in halves_2N:
            sorted_N = half_N[order_N]
            is_next_N |= sorted_N[1:] != sorted_N[:-1]
        content_N = np.zeros(len(order_N), np.int32)
        content_N[order_N[1:]] = np.cumsum(is_next_N, dtype=np.int32)
        return content_N

    @cached_property
    def alike_groups(self) -> list[np.ndarray]:
        """Groups of good images that pairs of nearly the same images link, however large."""
        return self.likeness.groups(self.good_N) if self.likeness else []

    @cached_property
    def near_groups(self) -> tuple[tuple[np.ndarray, ...], int]:
        """(groups of good images that are nearly the same, how many images are in groups too large to be copies).

        Copies of one picture are few. Where more than a twentieth of all images (and more than 12) look alike, they are
        simple pictures, or frames of one scene: what they are only a person can say.
        """
        groups = self.alike_groups
        most = max(MAX_COPIES, len(self.good_N) // 20)
        alike = sum(len(group) for group in groups if len(group) > most)
        return tuple(group for group in groups if len(group) <= most), alike


def channels_of(preprocessing: Preprocessing) -> Channels:
    """The `channels` of a scan of images for a network that has them as `preprocessing` says."""
    return "bands" if preprocessing.has_bands else "colour"


def scan_source(
    source: DataSource,
    threads: int,
    on_bad_image: OnBadImage = "error",
    progress: Callable[[int, int], None] | None = None,
    white: int | None = None,
    channels: Channels = "auto",
    ranks: Ranks = ALONE,
) -> ScanReport:
    """Decode every image of `source` once. `progress(done, total)` is called as it goes on.

    `channels`: "colour" takes what is shown of every image, "bands" every channel as it is; "auto" as the files say.
    `ranks` are the processes that do this at the same time, each inside `agreed`.

    `white` is the value that becomes white in files of 16 bits a channel. Without it, it is found: 255, 511, 1023, ...
    or 65535, whichever the values outside of a given test part reach; then those files are decoded a second time.
    Raises DataError naming the first bad files: under `error` for any, under `skip` for more than 1 % (and than one);
    and where images differ in their channels, naming two of them. GroupError where another process fails.
    """
    sharing = ranks if ranks.is_one_machine else ALONE
    if not sharing.is_alone:
        agree(sharing, None, patiently=True)  # hears of a process that did not come here
        refuse_other_images(sharing, source.digest, len(source))
    scan = _Scan(source, MAX_16_BIT if white is None else white, channels, sharing)
    with ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="scan") as pool:
        scan.read_all(np.arange(len(source)), pool, progress)
        if white is None and scan.find_white() < MAX_16_BIT:
            scan.read_all(np.flatnonzero(scan.largest_N), pool)
    bad = tuple(scan.bad[index] for index in sorted(scan.bad))
    if refusal := why_refused(source, bad, on_bad_image):
        raise DataError(f"{refusal}{_all_named(source, bad)}")
    return scan.report(bad)


def _all_named(source: DataSource, bad: tuple[BadImage, ...]) -> str:
    """The command that names every bad image, where the message leaves some out."""
    is_named = len(bad) <= SHOWN_BAD or not os.path.exists(split_source_text(source.name)[0])
    return "" if is_named else f"\nAll of them are named by: saccade inspect {shell_word(source.name)}"


def white_of(source: DataSource, largest_N: np.ndarray) -> int:
    """The value of 16-bit channels that is white in a set: 255, 511, 1023, ... or 65535, the least that holds
    `largest_N`, the largest value in each file (0 where it has 8 bits). A given test part has no say."""
    deep_N = np.flatnonzero(largest_N)
    own_M = np.array([source.record(int(index)).split != SPLITS[2] for index in deep_N], bool)
    largest = int(largest_N[deep_N][own_M].max(initial=0))
    return max(255, (1 << largest.bit_length()) - 1) if largest else MAX_16_BIT


class _Scan:
    """The arrays that the threads fill, each its own rows, and other processes theirs."""

    def __init__(self, source: DataSource, white: int, channels: Channels, ranks: Ranks) -> None:
        self.source = source
        self.ranks = ranks
        self.white = white
        self.channels = channels
        count = len(source)
        self.pixels_N = np.zeros((count, DIGEST_BYTES), np.uint8)
        self.bytes_N = np.zeros((count, DIGEST_BYTES), np.uint8)
        self.thumbnail_NP = np.zeros((count if count <= MAX_COMPARED else 0, THUMBNAIL_PX**2), np.uint8)
        self.size_N2 = np.zeros((count, 2), np.int32)
        self.mean_NC = np.zeros((count, 3), np.float32)
        self.square_NC = np.zeros((count, 3), np.float32)
        self.is_grey_N = np.zeros(count, bool)
        self.num_bands_N = np.zeros(count, np.int32)  # 0 of grey and colours
        self.is_deep_N = np.zeros(count, bool)  # bands of 16 bits
        self.bands: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # mean_C and square_C of an image of bands
        self.largest_N = np.zeros(count, np.uint16)  # value of 16 bits; 0 in other files
        self.rotated_N = np.zeros(count, bool)
        self.as_read_N = np.zeros(count, bool)  # the pixels are what the source gave, so their digests may be one
        self.modes: list[str] = [""] * count
        self.bad: dict[int, BadImage] = {}
        self.notes: dict[int, str] = {}
        self.earlier: dict[bytes, int] = {}  # an image by the digest of its file, once it is measured

    def find_white(self) -> int:
        """Settle what is white by what the files hold; returns it."""
        self.white = white_of(self.source, self.largest_N)
        self.earlier.clear()  # what was measured by another white is measured again
        return self.white

    def read_all(
        self, index_M: np.ndarray, pool: ThreadPoolExecutor, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Measure the images at `index_M`: this process its part of them, in rounds, and the others theirs."""
        parts = np.array_split(index_M, self.ranks.world_size)
        own_M, done, longest = parts[self.ranks.rank], 0, max(map(len, parts))
        round_size = max(longest, 1) if self.ranks.is_alone else ROUND
        for first in range(0, longest, round_size):
            error: SaccadeError | None = None
            round_M = own_M[first : first + round_size]
            chunks = [round_M[start : start + CHUNK] for start in range(0, len(round_M), CHUNK)]
            try:
                for count in pool.map(self.read_images, chunks):
                    done += count
                    if progress:
                        progress(min(done * self.ranks.world_size, len(index_M)), len(index_M))
            except SaccadeError as found:
                error = found
            agree(self.ranks, error, patiently=True)
        if self.ranks.is_alone:
            return
        packed = self._packed(own_M)
        agree(self.ranks, None, patiently=True)
        for others_M, content in zip(parts, self.ranks.gather(packed, patiently=True), strict=True):
            self._take(others_M, content)

    def _rows(self) -> list[np.ndarray]:
        """All that is known by image, in the order in which it is sent."""
        rows: list[np.ndarray] = [self.pixels_N, self.bytes_N]
        if len(self.thumbnail_NP):
            rows.append(self.thumbnail_NP)
        rows += [self.size_N2, self.mean_NC, self.square_NC, self.num_bands_N, self.largest_N]
        return [*rows, self.is_grey_N, self.is_deep_N, self.rotated_N, self.as_read_N]

    def _packed(self, index_M: np.ndarray) -> bytes:
        """What this process has found of its images: a line of JSON, then their rows of every array."""
        own = set(index_M.tolist())
        texts = {
            "modes": [self.modes[index] for index in index_M.tolist()],
            "bad": {str(index): [bad.key, bad.reason] for index, bad in self.bad.items() if index in own},
            "notes": {str(index): note for index, note in self.notes.items() if index in own},
            "bands": {
                str(index): [values.tolist() for values in pair] for index, pair in self.bands.items() if index in own
            },
        }
        return json.dumps(texts).encode() + b"\n" + b"".join(rows[index_M].tobytes() for rows in self._rows())

    def _take(self, index_M: np.ndarray, content: bytes) -> None:
        """Know what another process has found of its images."""
        line, _, packed = content.partition(b"\n")
        texts = json.loads(line)
        for index, mode in zip(index_M.tolist(), texts["modes"], strict=True):
            self.modes[index] = mode
        self.bad |= {int(index): BadImage(key=key, reason=why) for index, (key, why) in texts["bad"].items()}
        self.notes |= {int(index): note for index, note in texts["notes"].items()}
        for index, (mean_C, square_C) in texts["bands"].items():
            self.bands[int(index)] = np.array(mean_C), np.array(square_C)
        offset = 0
        for rows in self._rows():
            shape = (len(index_M), *rows.shape[1:])
            rows[index_M] = np.frombuffer(packed, rows.dtype, prod(shape), offset).reshape(shape)
            offset += prod(shape) * rows.itemsize

    def read_images(self, index_M: np.ndarray) -> int:
        """Measure these; returns how many they are."""
        small: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)
        for index in index_M.tolist():
            try:
                pixels = self._read(index)
            except ImageError as error:
                self.bad[index] = BadImage(key=error.key, reason=error.reason)
                self._remember(index)
                continue
            if pixels is None:
                continue
            self.size_N2[index] = pixels.shape[:2]
            if pixels.nbytes < BLOCK_BYTES:
                small[pixels.shape].append((index, pixels))
            else:
                self._measure(index, pixels)
                self._remember(index)
        for same in small.values():
            self._measure_together(np.array([index for index, _ in same]), [pixels for _, pixels in same])
        return len(index_M)

    def _read(self, index: int) -> np.ndarray | None:
        """The pixels of an image: uint8 (H, W) or (H, W, 3); None where it is measured already: by its bands, or in an
        equal file."""
        content = self.source.read(index)
        digest = content_digest(content)
        self.bytes_N[index] = np.frombuffer(digest, np.uint8)
        if isinstance(content, bytes) and digest in self.earlier:
            self._repeat(index, self.earlier[digest])
            return None
        is_plain = isinstance(content, np.ndarray) and content.ndim == 2 and content.dtype == np.uint8
        if isinstance(content, np.ndarray) and is_plain and self.channels != "bands":
            self.modes[index], self.as_read_N[index] = "L", True
            return content
        decoded = decode_image(content, self.source.record(index).key, None, self.white)
        self.largest_N[index] = decoded.largest_16_bit
        self.modes[index], self.rotated_N[index] = decoded.mode, decoded.rotated
        takes_bands = self.channels == "bands" or (self.channels == "auto" and decoded.is_bands)
        if notes := decoded.notes_on_bands if takes_bands else decoded.notes:
            self.notes[index] = " ".join(notes)
        if takes_bands:
            self._measure_bands(index, decoded)
            self._remember(index)
            return None
        if decoded.is_bands:
            self.size_N2[index] = decoded.image_HWC.shape[:2]
            self._measure(index, decoded.image_HWC)
            self.pixels_N[index] = np.frombuffer(picture_digest(decoded), np.uint8)
            self._remember(index)
            return None
        self.as_read_N[index] = decoded.image_HWC is content
        return decoded.image_HWC

    def _remember(self, index: int) -> None:
        """A file that was decoded, in vain or not; nothing to gain where pixels came as they are or no file came."""
        if not self.as_read_N[index] and self.bytes_N[index].any():
            self.earlier[self.bytes_N[index].tobytes()] = index

    def _repeat(self, index: int, earlier: int) -> None:
        """An image whose file is equal to that of `earlier`: one file in many rows of a table is decoded once."""
        if earlier in self.bad:
            raise ImageError(self.source.record(index).key, self.bad[earlier].reason)
        statistics = (self.mean_NC, self.square_NC, self.is_grey_N, self.num_bands_N, self.is_deep_N)
        for values in (self.pixels_N, self.size_N2, self.rotated_N, self.largest_N, *statistics):
            values[index] = values[earlier]
        if len(self.thumbnail_NP):
            self.thumbnail_NP[index] = self.thumbnail_NP[earlier]
        self.modes[index] = self.modes[earlier]
        if earlier in self.bands:
            self.bands[index] = self.bands[earlier]
        if earlier in self.notes:
            self.notes[index] = self.notes[earlier]

    def _measure_bands(self, index: int, decoded: DecodedImage) -> None:
        """One image whose channels are all read."""
        band_HWC = decoded.band_HWC
        self.size_N2[index] = band_HWC.shape[:2]
        self.num_bands_N[index], self.is_deep_N[index] = band_HWC.shape[2], band_HWC.dtype == np.uint16
        self.bands[index] = statistics_of_bands(band_HWC, self.white if self.is_deep_N[index] else 255)
        self.pixels_N[index] = np.frombuffer(picture_digest(decoded), np.uint8)
        if len(self.thumbnail_NP):
            self.thumbnail_NP[index] = thumbnail(decoded.image_HWC)

    def _measure(self, index: int, pixels: np.ndarray) -> None:
        """One large picture."""
        self.is_grey_N[index], self.mean_NC[index], self.square_NC[index] = statistics_of(pixels)
        self.pixels_N[index] = np.frombuffer(pixel_digest(pixels, bool(self.is_grey_N[index])), np.uint8)
        if len(self.thumbnail_NP):
            self.thumbnail_NP[index] = thumbnail(pixels)

    def _measure_together(self, index_M: np.ndarray, pictures: list[np.ndarray]) -> None:
        """Small pictures of one shape: a call for each would cost more than its work."""
        image_MHWC = np.stack(pictures)
        grey_M, self.mean_NC[index_M], self.square_NC[index_M] = statistics_of_many(image_MHWC)
        self.is_grey_N[index_M] = grey_M
        if len(self.thumbnail_NP):
            self.thumbnail_NP[index_M] = thumbnails(image_MHWC)
        is_same_M = self.as_read_N[index_M] & (~grey_M if image_MHWC.ndim == 4 else True)
        self.pixels_N[index_M] = self.bytes_N[index_M]
        for place in np.flatnonzero(~is_same_M):
            digest = pixel_digest(pictures[place], bool(grey_M[place]))
            self.pixels_N[index_M[place]] = np.frombuffer(digest, np.uint8)
        for index in index_M.tolist():
            self._remember(index)

    def report(self, bad: tuple[BadImage, ...]) -> ScanReport:
        good_N = np.setdiff1d(np.arange(len(self.source), dtype=np.int64), np.array(sorted(self.bad), dtype=np.int64))
        num_bands = self._num_bands(good_N)
        return ScanReport(
            pixel_digest_N=self.pixels_N,
            bytes_digest_N=self.bytes_N,
            good_N=good_N,
            bad=bad,
            size_N2=self.size_N2,
            mean_NC=self._of_bands(0, num_bands) if num_bands else self.mean_NC,
            square_NC=self._of_bands(1, num_bands) if num_bands else self.square_NC,
            is_grey_N=self.is_grey_N,
            mode_counts=Counter(mode for mode in self.modes if mode),
            num_rotated=int(self.rotated_N.sum()),
            notes=tuple(
                f"{printable(self.source.record(index).key)}: {self.notes[index]}" for index in sorted(self.notes)
            ),
            likeness=self._likeness(),
            white_16_bit=self.white,
            num_bands=num_bands,
            depth_bits=16 if self.is_deep_N.any() else 8,
        )

    def _num_bands(self, good_N: np.ndarray) -> int:
        """How many bands every image has; 0 of grey and colours. Raises DataError where they differ."""
        different_M = good_N[self.num_bands_N[good_N] != self.num_bands_N[good_N[:1]]]
        if len(different_M):
            raise DataError(mixed_channels(self.source, self.num_bands_N, (int(good_N[0]), int(different_M[0]))))
        return int(self.num_bands_N[good_N[0]]) if len(good_N) else 0

    def _of_bands(self, which: int, num_bands: int) -> np.ndarray:
        value_NC = np.zeros((len(self.source), num_bands), np.float32)
        for index, values in self.bands.items():
            if len(values[which]) == num_bands:
                value_NC[index] = values[which]
        return value_NC

    def _likeness(self) -> Likeness | None:
        if not len(self.thumbnail_NP):
            return None
        telling_N = is_telling(self.size_N2, self.thumbnail_NP)
        return Likeness(thumbnail_NP=self.thumbnail_NP, is_telling_N=telling_N)


def mixed_channels(source: DataSource, num_bands_N: np.ndarray, pair: tuple[int, int]) -> str:
    """What is said of a set in which the images `pair` differ in their channels; `num_bands_N`: as many, or 0."""
    one, other = (
        f"{printable(source.record(index).key)} {'has ' + channel_words(num) if num else 'is grey or RGB'}"
        for index, num in ((index, int(num_bands_N[index])) for index in pair)
    )
    return (
        f"{printable(source.name)}: images differ in their channels: {one}, {other}.\n"
        f"Give images of one kind; or take what is shown of all of them, the first three channels: "
        f"--set input.channels=rgb."
    )
