"""Which pictures are nearly the same: small grey thumbnails that correlate, and fingerprints of them few bits apart.

The scan, the split, the record of what a run has seen and the check-up all ask here. Pictures of other sizes, encodings
and qualities are found, and crops of a pixel or two; other crops and mirror images are not.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

THUMBNAIL_PX = 16
GRID_PX = 96  # samples on a side of a large picture, of which its thumbnail is the means
FREQUENCIES = 8  # the lowest ones on both axes of a thumbnail's cosine transform
MIN_DETAIL = 4.0  # standard deviation of a thumbnail, of 255, below which a picture is a plain area
MIN_SIDE_PX = 16  # below it, honest pictures look alike: an 8x8 digit is 64 numbers
MAX_BITS = 6  # of 64 that may differ between two copies of a picture
MIN_CORRELATION = 0.995  # of the thumbnails of two copies
MAX_COPIES = 12  # of a picture, however few images there are
BLOCK = 1024
PAIRS = 10_000  # that are compared in full at a time
DIMENSIONS = 3  # of the grid whose cells are searched
SHORTENED = 17  # numbers that a thumbnail is compared by first
SLACK = 1e-4  # for the rounding of float32
CELL_WIDTH = float(np.sqrt(2 - 2 * MIN_CORRELATION)) + SLACK
ROW = 64  # cells on an axis: coordinates are from -1 to 1, in cells from -10 to 10
AROUND = np.add.outer(
    [-(ROW**2), 0, ROW**2], [-ROW, 0, ROW]
).ravel()  # steps to the neighbours on all axes but the last
FEW = 4096  # that decide the directions of known pictures, in so many steps
STEPS = 10
SAMPLE = 20_000  # thumbnails that decide the directions of the grid

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """`thumbnail_NP` uint8 (N, 256); `is_telling_N`: neither plain nor tiny, so that likeness says something."""

    thumbnail_NP: np.ndarray
    is_telling_N: np.ndarray

    def groups(self, index_M: np.ndarray) -> list[np.ndarray]:
        """Those of the images `index_M` that are nearly the same, in groups of two and more indices."""
        telling_M = index_M[self.is_telling_N[index_M]]
        thumbnail_MP = self.thumbnail_NP[telling_M]
        return [telling_M[group] for group in near_groups(fingerprints(thumbnail_MP), thumbnail_MP)]

    def near_to(self, known_KP: np.ndarray, index_M: np.ndarray) -> np.ndarray:
        """bool (M,): whether the images `index_M` are nearly the same as 1 to 12 of the thumbnails `known_KP`.

        Copies of a picture are few: what is like many of them is a simple picture.
        """
        telling = np.flatnonzero(self.is_telling_N[index_M])
        thumbnail_NP = np.concatenate([known_KP, self.thumbnail_NP[index_M[telling]]])
        num_known, num_like_N = len(known_KP), np.zeros(len(thumbnail_NP), np.int64)

        def is_open(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            crosses = (left < num_known) != (right < num_known)
            return crosses & (num_like_N[np.maximum(left, right)] <= MAX_COPIES)

        for left, right in near_pairs(fingerprints(thumbnail_NP), thumbnail_NP, is_open):
            np.add.at(num_like_N, np.maximum(left, right), 1)
        is_near_M = np.zeros(len(index_M), bool)
        is_near_M[telling] = (num_like_N[num_known:] > 0) & (num_like_N[num_known:] <= MAX_COPIES)
        return is_near_M


class KnownPictures:
    """The thumbnails of many pictures, uint8 (K, 256), made ready to be asked of others, one at a time.

    `num_like` says what `near_pairs` says, and several threads may ask. Pictures lie in the order of the cells of its
    grid, so that the neighbours of a cell are nine runs of them. It takes 84 bytes a known picture.
    """

    def __init__(self, thumbnail_KP: np.ndarray) -> None:
        self._thumbnail_KP = thumbnail_KP
        self._direction_PD = _few_directions(_centred(thumbnail_KP[:: max(1, len(thumbnail_KP) // FEW)]))
        blocks = [thumbnail_KP[start : start + BLOCK] for start in range(0, len(thumbnail_KP), BLOCK)]
        short_KD = np.concatenate([_projected(_centred(block), self._direction_PD) for block in blocks])
        cell_K = _cell_numbers(short_KD)
        self._order_K = np.argsort(cell_K, kind="stable")
        self._cell_K, self._short_KD = cell_K[self._order_K], short_KD[self._order_K]

    def num_like(self, thumbnail_P: np.ndarray) -> int:
        """How many of the known pictures are nearly the same as one of this thumbnail, uint8 (256,)."""
        unit_1P = _centred(thumbnail_P[None])
        short_1D = _projected(unit_1P, self._direction_PD)
        rows = _cell_numbers(short_1D) + AROUND
        starts = np.searchsorted(self._cell_K, rows - 1, "left").tolist()
        ends = np.searchsorted(self._cell_K, rows + 1, "right").tolist()
        found = [
            start + np.flatnonzero(self._short_KD[start:end] @ short_1D[0] >= MIN_CORRELATION - SLACK)
            for start, end in zip(starts, ends, strict=True)
            if start < end
        ]
        if not any(map(len, found)):
            return 0
        thumbnail_MP = self._thumbnail_KP[self._order_K[np.concatenate(found)]]
        num_bits_M = np.bitwise_count(fingerprints(thumbnail_MP) ^ fingerprints(thumbnail_P[None]))
        return int(((num_bits_M <= MAX_BITS) & (_centred(thumbnail_MP) @ unit_1P[0] >= MIN_CORRELATION)).sum())


def _cell_numbers(short_ND: np.ndarray) -> np.ndarray:
    """int64 (N,): one number for each cell of the grid; that of its neighbour on the last axis is one more."""
    cell_N3 = np.floor(short_ND[:, :DIMENSIONS] / CELL_WIDTH).astype(np.int64)
    return (cell_N3 + ROW // 2) @ (ROW ** np.arange(DIMENSIONS)[::-1])


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (256,): 16x16 grey means of pixels uint8 (H, W) or (H, W, 3); of a large picture, of 96x96 samples.

    Samples lie at the middles of equal fields, so that copies of other sizes are sampled at the same places.
    """
    height_px, width_px = (GRID_PX if side_px >= 2 * GRID_PX else side_px for side_px in pixels.shape[:2])
    few = pixels
    if (height_px, width_px) != pixels.shape[:2]:
        few = cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
    grey_HW = few if few.ndim == 2 else cv2.cvtColor(few, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey_HW, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA).ravel()


def thumbnails(image_NHWC: np.ndarray) -> np.ndarray:
    """uint8 (N, 256): the thumbnails of pictures of one shape, uint8 (N, H, W) or (N, H, W, 3).

    Stacked below each other they are one picture, whose fields of means end where pictures end.
    """
    num, height_px, width_px = image_NHWC.shape[:3]
    if not THUMBNAIL_PX <= min(height_px, width_px) <= max(height_px, width_px) < 2 * GRID_PX:
        return np.stack([thumbnail(pixels) for pixels in image_NHWC])
    stack = image_NHWC.reshape(num * height_px, width_px, *image_NHWC.shape[3:])
    grey_HW = stack if stack.ndim == 2 else cv2.cvtColor(stack, cv2.COLOR_RGB2GRAY)
    small_HW = cv2.resize(grey_HW, (THUMBNAIL_PX, num * THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return small_HW.reshape(num, THUMBNAIL_PX**2)


def is_telling(size_N2: np.ndarray, thumbnail_NP: np.ndarray) -> np.ndarray:
    """bool (N,): whether a picture of this size (height, width in pixels) and thumbnail can be known again by it."""
    return (size_N2.min(axis=1) >= MIN_SIDE_PX) & (thumbnail_NP.std(axis=1, dtype=np.float32) >= MIN_DETAIL)


def exact_only(num_untold: int, num: int, size_N2: np.ndarray) -> list[str]:
    """What is said where `num_untold` of `num` training images can be known again in exact copies only.

    `size_N2`: (height, width) in pixels of the images that are compared with them.
    """
    small_N = size_N2.min(axis=1, initial=MIN_SIDE_PX) < MIN_SIDE_PX
    if len(small_N) and small_N.all():
        why = f"the images are smaller than {MIN_SIDE_PX} px"
        return [f"only exact copies of training images could be looked for: {why}"]
    found = []
    if num_untold:
        which = f"{num_untold:,} of {num:,}" if num_untold < num else f"all {num:,}"
        why = f"no thumbnail of them is kept, as of plain images and of those smaller than {MIN_SIDE_PX} px"
        found.append(f"only exact copies of {which} training images could be looked for: {why}")
    if small_N.any():
        count = int(small_N.sum())
        images = "1 image is" if count == 1 else f"{count:,} images are"
        found.append(f"{images} smaller than {MIN_SIDE_PX} px: only exact copies among them could be looked for")
    return found


def fingerprints(thumbnail_NP: np.ndarray) -> np.ndarray:
    """uint64 (N,): which of the 64 lowest cosine frequencies of each thumbnail are above their median.

    Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.1. Scaling,
    re-encoding and brightness change few bits; other pictures differ in about 32.
    """
    place = np.arange(THUMBNAIL_PX)
    wave_KP = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * (2 * place + 1) / (2 * THUMBNAIL_PX))
    result = [np.zeros(0, np.uint64)]
    for start in range(0, len(thumbnail_NP), BLOCK):
        image_BHW = thumbnail_NP[start : start + BLOCK].reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX).astype(np.float64)
        low_BF = (wave_KP @ image_BHW @ wave_KP.T).reshape(len(image_BHW), -1)
        median_B1 = np.median(low_BF[:, 1:], axis=1, keepdims=True)  # the first says how bright, not what is seen
        result.append(np.packbits(low_BF > median_B1, axis=1).view(">u8").ravel().astype(np.uint64))
    return np.concatenate(result)


def near_groups(fingerprint_N: np.ndarray, thumbnail_NP: np.ndarray) -> list[list[int]]:
    """Groups of two and more indices whose pictures are nearly the same, in the order of their first index.

    A group is what is linked by pairs, so its ends may differ by more.
    """
    parent = np.arange(len(fingerprint_N))

    def is_open(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return _roots(left, parent) != _roots(right, parent)  # else one group already, as frames of one scene are

    for left, right in near_pairs(fingerprint_N, thumbnail_NP, is_open):
        _join(left, right, parent)
    root_N = _roots(np.arange(len(parent)), parent)
    order = np.argsort(root_N, kind="stable")
    order = order[np.bincount(root_N, minlength=1)[root_N[order]] > 1]
    groups = np.split(order, np.flatnonzero(np.diff(root_N[order])) + 1)
    return sorted(group.tolist() for group in groups if len(group))


def near_pairs(
    fingerprint_N: np.ndarray, thumbnail_NP: np.ndarray, is_open: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Iterator[Pairs]:
    """The indices left_P and right_P of all near pairs, each once, for which `is_open(left_P, right_P)` still holds.

    Thumbnails of mean 0 and length 1 that correlate at r are sqrt(2 - 2 r) apart, and no farther in any projection: so
    only neighbouring cells of a grid of that width are compared. Their product in a few dimensions, with the length of
    what these leave out as one more, is never below their correlation: few pairs are compared in full, none is missed.
    """
    if len(fingerprint_N) < 2:
        return
    unit_NP = _centred(thumbnail_NP)
    short_ND = _shortened(unit_NP)
    cells = _cells(short_ND[:, :DIMENSIONS])
    for cell, own in cells.items():
        others = np.concatenate([own, *(cells[place] for place in _after(cell) if place in cells)])
        for start in range(0, len(own), BLOCK):
            for other in range(start, len(others), BLOCK):
                left, right = own[start : start + BLOCK], others[other : other + BLOCK]
                close_LR = short_ND[left] @ short_ND[right].T >= MIN_CORRELATION - SLACK
                row, column = np.divmod(np.flatnonzero(close_LR), len(right))  # nonzero of a matrix is much slower
                is_first = (other + column >= len(own)) | (start + row < other + column)  # each pair once
                left_P, right_P = left[row[is_first]], right[column[is_first]]
                for first in range(0, len(left_P), PAIRS):
                    some = slice(first, first + PAIRS)
                    yield _confirmed(left_P[some], right_P[some], fingerprint_N, unit_NP, is_open)


def _confirmed(
    left_P: np.ndarray,
    right_P: np.ndarray,
    fingerprint_N: np.ndarray,
    unit_NP: np.ndarray,
    is_open: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Pairs:
    """Those of the pairs that are near and open."""
    for is_kept in (
        is_open,
        lambda left, right: np.bitwise_count(fingerprint_N[left] ^ fingerprint_N[right]) <= MAX_BITS,
        lambda left, right: np.einsum("pd,pd->p", unit_NP[left], unit_NP[right]) >= MIN_CORRELATION,
    ):
        kept_P = is_kept(left_P, right_P)
        left_P, right_P = left_P[kept_P], right_P[kept_P]
    return left_P, right_P


def _shortened(unit_NP: np.ndarray) -> np.ndarray:
    """float32 (N, 17): the coordinates in which thumbnails differ most, the first most, then the length of the rest."""
    sample_MP = unit_NP[:: max(1, len(unit_NP) // SAMPLE)]
    sample_MP = sample_MP - sample_MP.mean(axis=0)
    _, direction_PP = np.linalg.eigh(sample_MP.T @ sample_MP)
    return _projected(unit_NP, direction_PP[:, :-SHORTENED:-1])


def _few_directions(unit_MP: np.ndarray) -> np.ndarray:
    """float32 (256, 16): orthonormal directions in which some thumbnails differ much, the first most.

    By subspace iteration, which costs little however busy the machine is; any orthonormal ones miss nothing.
    """
    sample_MP = unit_MP - unit_MP.mean(axis=0)
    scatter_PP = sample_MP.T @ sample_MP
    direction_PD = np.eye(len(scatter_PP), SHORTENED - 1, dtype=np.float32)
    for _ in range(STEPS):
        direction_PD = np.linalg.qr(scatter_PP @ direction_PD)[0]
    return direction_PD


def _projected(unit_NP: np.ndarray, direction_PD: np.ndarray) -> np.ndarray:
    """float32 (N, 17): the coordinates along orthonormal directions, then the length of what they leave out."""
    short_ND = unit_NP @ direction_PD
    rest_N1 = np.sqrt(np.maximum(0, 1 - (short_ND**2).sum(axis=1, keepdims=True)))
    return np.concatenate([short_ND, rest_N1], axis=1)


def _cells(short_N3: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
    """Indices by cell of a grid as wide as near thumbnails may be apart."""
    cell_N3 = np.floor(short_N3 / CELL_WIDTH).astype(np.int64)
    order = np.lexsort(cell_N3.T)
    ends = np.flatnonzero((np.diff(cell_N3[order], axis=0) != 0).any(axis=1)) + 1
    return {tuple(cell_N3[members[0]].tolist()): members for members in np.split(order, ends)}


def _after(cell: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The neighbours of a cell that come after it, so that every pair of cells is met once."""
    steps = itertools.product((-1, 0, 1), repeat=len(cell))
    return [
        tuple(place + by for place, by in zip(cell, step, strict=True)) for step in steps if step > (0,) * len(cell)
    ]


def _join(left_P: np.ndarray, right_P: np.ndarray, parent: np.ndarray) -> None:
    """Make one group of both sides of every pair; its root is the first index."""
    while len(left_P):
        left_P, right_P = _roots(left_P, parent), _roots(right_P, parent)
        differ_P = left_P != right_P
        left_P, right_P = left_P[differ_P], right_P[differ_P]
        np.minimum.at(parent, np.maximum(left_P, right_P), np.minimum(left_P, right_P))


def _roots(members: np.ndarray, parent: np.ndarray) -> np.ndarray:
    roots = parent[members]
    while (parent[roots] != roots).any():
        roots = parent[roots]
    return roots


def _centred(thumbnail_NP: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1: their products are correlations."""
    centred_NP = thumbnail_NP.astype(np.float32)
    centred_NP -= centred_NP.mean(axis=1, keepdims=True)
    length_N = np.sqrt(np.einsum("np,np->n", centred_NP, centred_NP))
    centred_NP /= np.maximum(length_N, 1e-6)[:, None]
    return centred_NP
