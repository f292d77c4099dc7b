"""`seen.safetensors` of a run: which images it was trained on, so that no later figure is of them without a word.

    pixels_NB     uint8 (N, 16)   digests of the pixels of all images of the run
    part_N        uint8 (N,)      0 train, 1 validation, 2 test
    thumbnail_MP  uint8 (M, 256)  grey thumbnails of those training images that can be known again by one

Sixteen bytes an image, and 256 more for near duplicates, which are looked for among up to 250,000 images: 64 MB and 17
bytes an image at most. Each checkpoint's manifest holds the number of images and the digest of the file.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save as tensor_bytes

from ..core.types import SPLITS, Split
from ..data.scan import ScanReport
from .checkpoint import find_checkpoint
from .files import check_record, damaged, parse_tensor_file, read_run_file, take_array
from .manifest import SeenRecord
from .names import MANIFEST, SEEN

SHAPES: dict[str, tuple[int | None, ...]] = {"pixels_NB": (None, 16), "part_N": (None,), "thumbnail_MP": (None, 256)}
REMEDY = "It says what training saw. Put the file back from a copy; without it the figure is not of held-out images."


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a run was trained on; the arrays of its file."""

    pixels_NB: np.ndarray
    part_N: np.ndarray
    thumbnail_MP: np.ndarray

    def parts(self) -> dict[bytes, set[str]]:
        """The parts of the run in which each picture was, by the digest of its pixels."""
        found: dict[bytes, set[str]] = {}
        for row, part in zip(self.pixels_NB, self.part_N.tolist(), strict=True):
            found.setdefault(row.tobytes(), set()).add(SPLITS[part])
        return found

    def equal(self, scan: ScanReport) -> np.ndarray:
        """bool (N,): whether an image was trained on, or chose the epoch: its pixels are the same."""
        known = {row.tobytes() for row in self.pixels_NB[self.part_N < 2]}
        return np.array([row.tobytes() in known for row in scan.pixel_digest_N], dtype=bool)

    def near(self, scan: ScanReport) -> np.ndarray:
        """bool (N,): whether an image is nearly the same as one that was trained on; equal ones may be among them."""
        near_N = np.zeros(len(scan.pixel_digest_N), bool)
        if scan.likeness is not None and len(self.thumbnail_MP):
            near_N[scan.good_N] = scan.likeness.near_to(self.thumbnail_MP, scan.good_N)
        return near_N


def seen_content(scan: ScanReport, split: Split) -> bytes:
    """The content of the file for a run on the images of `scan`."""
    part_N = np.concatenate([np.full(len(split.indices(name)), k, np.uint8) for k, name in enumerate(SPLITS)])
    index_N = np.concatenate([split.indices(name) for name in SPLITS])
    thumbnail_MP = np.zeros((0, 256), np.uint8)
    if scan.likeness is not None:
        trained_N = index_N[part_N < 2]
        thumbnail_MP = scan.likeness.thumbnail_NP[trained_N[scan.likeness.is_telling_N[trained_N]]]
    return tensor_bytes({"pixels_NB": scan.pixel_digest_N[index_N], "part_N": part_N, "thumbnail_MP": thumbnail_MP})


def describe_seen(content: bytes) -> SeenRecord:
    """What the manifest says of a file of this content."""
    num_images = len(parse_tensor_file(content, Path(SEEN), REMEDY)["part_N"])
    sha256 = hashlib.sha256(content).hexdigest()
    return SeenRecord(kind="pixels", num_images=num_images, num_bytes=len(content), sha256=sha256)


def find_seen(run: Path) -> Path | None:
    """The record of what a run, or a checkpoint in one, was trained on; None where there is none."""
    places = (run, run.parent) if (run / MANIFEST).is_file() else (run,)
    return next((place / SEEN for place in places if (place / SEEN).is_file()), None)


def read_seen(run: Path) -> Seen | None:
    """What `run` was trained on; None where nothing says it: no file, or none that its manifest answers for.

    Raises CheckpointError for a file that is not what the manifest says.
    """
    path = find_seen(run)
    record = find_checkpoint(run).manifest.seen
    content = None if path is None else read_run_file(path, REMEDY)
    if path is None or record is None or content is None:
        return None
    check_record(content, record, path, REMEDY)
    arrays, where = parse_tensor_file(content, path, REMEDY), (path, REMEDY)
    seen = Seen(**{name: take_array(arrays, name, np.uint8, shape, where) for name, shape in SHAPES.items()})
    if not len(seen.pixels_NB) == len(seen.part_N) == record.num_images or seen.part_N.max(initial=0) > 2:
        raise damaged(path, f"it does not hold {record.num_images:,} images", REMEDY)
    return seen
