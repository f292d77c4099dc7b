"""The images of a run that is gone on with: those it began with, less what has gone or changed since then.

Without `loader.on_bad_image` "skip" they must be the same to the byte. With it, up to 1 % of them may be missing: each
of the others keeps its part, by the run's own record, so that no image that was trained on is judged on.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import CheckpointError, printable
from ..core.types import SPLITS, Split
from ..data.loader import MAX_DROPPED_FRACTION
from ..runs.checkpoint import newest_checkpoint
from ..runs.names import BEST, LAST, SEEN
from ..runs.seen import Seen, read_seen
from .config import RunConfig
from .prepare import Images


def begun_with(run_dir: Path) -> str:
    """The digest of the images that the run in `run_dir` was saved with; empty where nothing was saved."""
    saved, _ = newest_checkpoint(run_dir / LAST)
    return str(saved.manifest.training.get("data_digest", "")) if saved else ""


def as_begun(images: Images, run_dir: Path, config: RunConfig, begun_digest: str) -> Images:
    """`images`, or those of them that the run in `run_dir` began with, whose digest was `begun_digest`.

    Raises CheckpointError where they are others, or where too many are missing.
    """
    if begun_digest in ("", images.digest()):
        return images
    source = printable(config.source)
    if config.loader.on_bad_image != "skip":
        raise CheckpointError(
            f"The training images in {source} are not those this run began with.\n"
            f"Put the images back as they were, or start a new run with another --out.\n"
            f"If single files are gone or changed, go on without them: --resume --set loader.on_bad_image=skip."
        )
    saved = newest_checkpoint(run_dir / LAST)[0] or newest_checkpoint(run_dir / BEST)[0]
    seen = read_seen(saved.folder) if saved else None
    if saved is None or seen is None or saved.manifest.classes != images.classes:
        raise CheckpointError(
            f"The images in {source} have changed, and the run does not say enough of what they were to go on.\n"
            f"Put the images back as they were, or start a new run with another --out."
        )
    split, num_missing = _same_parts(images, seen)
    num_begun = int((seen.part_N < 2).sum())
    if num_missing > max(1, MAX_DROPPED_FRACTION * num_begun) or not len(split.train_N):
        raise CheckpointError(
            f"{num_missing:,} of the {num_begun:,} images this run trains on are gone from {source}, or have changed: "
            f"more than 1 %.\nPut the images back as they were, or start a new run with another --out."
        )
    verb = "image was" if num_missing == 1 else "images were"
    told = f"{num_missing:,} of {num_begun:,} training {verb} lost or changed while the run was under way"
    return replace(
        images,
        split=split,
        preprocessing=saved.manifest.preprocessing,
        caveats=(told,) if num_missing else (),
        begun=(run_dir / SEEN).read_bytes(),
    )


def _same_parts(images: Images, seen: Seen) -> tuple[Split, int]:
    """(the split that the run began with, as far as its images are still there; how many it trains on are missing)."""
    parts, own = seen.parts(), images.split
    found: dict[str, list[int]] = {name: [] for name in SPLITS}
    for name in SPLITS:
        for index in own.indices(name).tolist():
            known = parts.get(images.scan.pixel_digest_N[index].tobytes(), set())
            part = name if name in known else next((part for part in SPLITS if part in known), None)
            if part is not None:
                found[part].append(index)
    train_N, validation_N, test_N = (np.array(sorted(found[name]), dtype=np.int64) for name in SPLITS)
    num_missing = int((seen.part_N < 2).sum()) - len(found["train"]) - len(found["validation"])
    return replace(own, train_N=train_N, validation_N=validation_N, test_N=test_N), max(0, num_missing)
