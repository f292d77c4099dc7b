"""`seen.safetensors` of a run: which images it was trained on, so that no later figure is of them without a word.

    pixels_NB     uint8 (N, 16)   digests of the pixels of all images of the run
    part_N        uint8 (N,)      0 train, 1 validation, 2 test; 3 trained on by the first weights or the teachers
    thumbnail_MP  uint8 (M, 256)  grey thumbnails of those training images that can be known again by one

Sixteen bytes an image, and 256 more for near duplicates, which are looked for among up to 250,000 images: 64 MB and 17
bytes an image at most. Each checkpoint's manifest holds the number of images and the digest of the file.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save as tensor_bytes

from ..core.errors import CheckpointError
from ..core.types import SPLITS, Split
from ..data.images.near_duplicates import exact_only
from ..data.scan import ScanReport
from .checkpoint import find_checkpoint
from .files import check_record, damaged, parse_tensor_file, read_run_file, take_array
from .manifest import SeenRecord
from .names import DATA, MANIFEST, SEEN
from .summary import read_data_summary

TEST, OF_WEIGHTS = SPLITS.index("test"), len(SPLITS)

SHAPES: dict[str, tuple[int | None, ...]] = {"pixels_NB": (None, 16), "part_N": (None,), "thumbnail_MP": (None, 256)}
REMEDY = "It says what training saw. Put the file back from a copy; without it the figure is not of held-out images."


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a run was trained on; the arrays of its file. `is_complete` is False where the run began with weights of
    which nothing says what they were trained on."""

    pixels_NB: np.ndarray
    part_N: np.ndarray
    thumbnail_MP: np.ndarray
    is_complete: bool = True

    @property
    def num_own(self) -> int:
        """How many images the run itself trained on, or chose its epoch by."""
        return int((self.part_N < TEST).sum())

    def parts(self) -> dict[bytes, set[str]]:
        """The parts of the run in which each picture was, by the digest of its pixels."""
        found: dict[bytes, set[str]] = {}
        is_own_N = self.part_N != OF_WEIGHTS
        for row, part in zip(self.pixels_NB[is_own_N], self.part_N[is_own_N].tolist(), strict=True):
            found.setdefault(row.tobytes(), set()).add(SPLITS[part])
        return found

    def equal(self, scan: ScanReport) -> np.ndarray:
        """bool (N,): whether an image was trained on, or chose the epoch: its pixels are the same."""
        known = _rows(self.pixels_NB[self.part_N != TEST])
        return np.array([row.tobytes() in known for row in scan.pixel_digest_N], dtype=bool)

    def only_chose(self, scan: ScanReport) -> np.ndarray:
        """bool (N,): whether an image chose the epoch, and neither it nor nearly the same one was trained on."""
        chose, trained = _rows(self.pixels_NB[self.part_N == 1]), _rows(self.pixels_NB[self.part_N % OF_WEIGHTS == 0])
        rows = [row.tobytes() for row in scan.pixel_digest_N]
        is_chosen_N = np.array([row in chose and row not in trained for row in rows], dtype=bool)
        if scan.likeness is not None and len(self.thumbnail_MP):
            own = _rows(scan.likeness.thumbnail_NP[is_chosen_N])  # they stand among those that were trained on
            others_KP = self.thumbnail_MP[[row.tobytes() not in own for row in self.thumbnail_MP]]
            index_M = np.flatnonzero(is_chosen_N)
            is_chosen_N[index_M[scan.likeness.near_to(others_KP, index_M)]] = False
        return is_chosen_N

    def near(self, scan: ScanReport) -> np.ndarray:
        """bool (N,): whether an image is nearly the same as one that was trained on; equal ones may be among them."""
        near_N = np.zeros(len(scan.pixel_digest_N), bool)
        if scan.likeness is not None and len(self.thumbnail_MP):
            near_N[scan.good_N] = scan.likeness.near_to(self.thumbnail_MP, scan.good_N)
        return near_N

    def exact_only(self, size_N2: np.ndarray) -> list[str]:
        """What is said where images of these sizes (height, width) can be told from training's by their pixels alone:
        training images without a thumbnail, whether it was never kept or somebody cut it off."""
        num_trained = int((self.part_N < 2).sum())
        return exact_only(max(0, num_trained - len(self.thumbnail_MP)), num_trained, size_N2)


UNKNOWN = Seen(  # weights of which nothing says what they were trained on
    pixels_NB=np.zeros((0, 16), np.uint8),
    part_N=np.zeros(0, np.uint8),
    thumbnail_MP=np.zeros((0, 256), np.uint8),
    is_complete=False,
)


def own_record(scan: ScanReport, split: Split) -> Seen:
    """What a run on the images of `scan` is trained on."""
    part_N = np.concatenate([np.full(len(split.indices(name)), k, np.uint8) for k, name in enumerate(SPLITS)])
    index_N = np.concatenate([split.indices(name) for name in SPLITS])
    thumbnail_MP = np.zeros((0, 256), np.uint8)
    if scan.likeness is not None:
        trained_N = index_N[part_N != TEST]
        thumbnail_MP = scan.likeness.thumbnail_NP[trained_N[scan.likeness.is_telling_N[trained_N]]]
    return Seen(pixels_NB=scan.pixel_digest_N[index_N], part_N=part_N, thumbnail_MP=thumbnail_MP)


def brought_along(weights: Seen, scan: ScanReport, split: Split) -> Seen:
    """What `weights` were trained on, less what a run on the images of `scan` that begins with them learns itself."""
    own = own_record(scan, split)
    known, like = _rows(own.pixels_NB[own.part_N != TEST]), _rows(own.thumbnail_MP)
    pixels_NB = weights.pixels_NB[weights.part_N != TEST]
    pixels_NB = pixels_NB[[row.tobytes() not in known for row in pixels_NB]]
    thumbnail_MP = weights.thumbnail_MP[[row.tobytes() not in like for row in weights.thumbnail_MP]]
    part_N = np.full(len(pixels_NB), OF_WEIGHTS, np.uint8)
    return Seen(pixels_NB=pixels_NB, part_N=part_N, thumbnail_MP=thumbnail_MP, is_complete=weights.is_complete)


def together(first: Seen, second: Seen) -> Seen:
    """What either of two was trained on; both were `brought_along`."""
    pixels_NB = np.unique(np.concatenate([first.pixels_NB, second.pixels_NB]), axis=0)
    return Seen(
        pixels_NB=pixels_NB,
        part_N=np.full(len(pixels_NB), OF_WEIGHTS, np.uint8),
        thumbnail_MP=np.unique(np.concatenate([first.thumbnail_MP, second.thumbnail_MP]), axis=0),
        is_complete=first.is_complete and second.is_complete,
    )


def seen_content(scan: ScanReport, split: Split, brought: Seen | None = None) -> bytes:
    """The content of the file for a run on the images of `scan`, whose first weights and teachers have `brought`
    along what they were trained on."""
    own = own_record(scan, split)
    records = [own] if brought is None else [own, brought]
    return tensor_bytes({name: np.concatenate([getattr(record, name) for record in records]) for name in SHAPES})


def describe_seen(content: bytes, is_complete: bool = True) -> SeenRecord:
    """What the manifest says of a file of this content."""
    return SeenRecord(
        kind="pixels",
        num_images=len(parse_tensor_file(content, Path(SEEN), REMEDY)["part_N"]),
        num_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        is_complete=is_complete,
    )


def _rows(rows_NB: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in rows_NB}


def find_seen(run: Path) -> Path | None:
    """The record of what a run, or a checkpoint in one, was trained on; None where there is none."""
    places = (run, run.parent) if (run / MANIFEST).is_file() else (run,)
    return next((place / SEEN for place in places if (place / SEEN).is_file()), None)


def read_seen(run: Path) -> Seen | None:
    """What `run` was trained on; None where nothing says it. Raises as `look_up_seen` does."""
    found = look_up_seen(run)
    return found if isinstance(found, Seen) else None


def look_up_seen(run: Path) -> Seen | str:
    """What `run` was trained on; or why nothing says it: no file, none that its manifest answers for, or one of fewer
    training images than `data.json` counts. Raises CheckpointError for a file that is not what the manifest says.
    """
    path = find_seen(run)
    record = find_checkpoint(run).manifest.seen
    content = None if path is None else read_run_file(path, REMEDY)
    if path is None or content is None:
        return f"{SEEN} is not there"
    if record is None:
        return f"its manifest does not answer for {SEEN}"
    check_record(content, record, path, REMEDY)
    seen = _parse(content, path, record)
    num_own, num_trained = int((seen.part_N == 0).sum()), _num_trained(path.parent)
    if not num_own:
        return f"{SEEN} names no training image"
    if num_trained is None:
        return f"{DATA} is damaged"
    return seen if num_own >= num_trained else f"{SEEN} names {num_own:,} training images, and {DATA} {num_trained:,}"


def _num_trained(run: Path) -> int | None:
    """The training images that `data.json` counts, 0 where it is not there; None where it is damaged."""
    try:
        summary = read_data_summary(run)
    except CheckpointError:
        return None
    if summary is None:
        return 0
    return summary.num_images.get("train", sum(summary.counts.get("train", ())))  # several labels count an image often


def _parse(content: bytes, path: Path, record: SeenRecord) -> Seen:
    arrays, where = parse_tensor_file(content, path, REMEDY), (path, REMEDY)
    taken = {name: take_array(arrays, name, np.uint8, shape, where) for name, shape in SHAPES.items()}
    seen = Seen(**taken, is_complete=record.is_complete)
    if not len(seen.pixels_NB) == len(seen.part_N) == record.num_images or seen.part_N.max(initial=0) > OF_WEIGHTS:
        raise damaged(path, f"it does not hold {record.num_images:,} images", REMEDY)
    return seen


def unknown_note(who: str, found: Seen | str) -> str:
    """What qualifies a figure of `who` ("the run was"), whose record was `found`; "" where it is whole."""
    if isinstance(found, Seen) and found.is_complete:
        return ""
    why = found if isinstance(found, str) else "nothing is known of the weights that it began with"
    return f"nothing says which images {who} trained on ({why}): if some of these are among them, the figure flatters."
