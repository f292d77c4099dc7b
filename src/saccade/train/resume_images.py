"""The images of a run that is gone on with: those it began with, less what has gone or changed since then.

Without `loader.on_bad_image` "skip" they must be the same to the byte. With it, up to 1 % of them may be missing: each
of the others keeps its part, by the run's own record, so that no image that was trained on is judged on.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import CheckpointError, printable
from ..core.types import SPLITS, Split
from ..data.left_out import is_too_many
from ..runs.checkpoint import newest_checkpoint
from ..runs.files import parse_tensor_file, read_run_file, read_tensor_file
from ..runs.names import BEST, CONFIG, FOUND, LAST, SEEN
from ..runs.seen import Seen, read_seen
from ..runs.summary import read_data_summary
from .config import RunConfig
from .prepare import Images


def begun_with(run_dir: Path) -> str:
    """The digest of the images that the run in `run_dir` was saved with; empty where nothing was saved."""
    saved, _ = newest_checkpoint(run_dir / LAST)
    return str(saved.manifest.training.get("data_digest", "")) if saved else ""


def begun_white(run_dir: Path) -> int | None:
    """The 16-bit value that was white for the run in `run_dir`; None where nothing was saved."""
    saved, _ = newest_checkpoint(run_dir / LAST)
    return saved.manifest.preprocessing.white_16_bit if saved else None


def as_begun(images: Images, run_dir: Path, config: RunConfig, begun_digest: str) -> Images:
    """`images`, or those of them that the run in `run_dir` began with, whose digest was `begun_digest`; empty where
    nothing was saved yet.

    Raises CheckpointError where they are others, or where too many are missing.
    """
    if not begun_digest:
        return _as_recorded(images, run_dir, config)
    if begun_digest == images.digest():
        return images
    source = printable(config.source)
    if config.loader.on_bad_image != "skip":
        error = other_images(config, run_dir)
        raise CheckpointError(
            f"{error.message}\n"
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
    num_begun = seen.num_own
    if is_too_many(num_missing, num_begun) or not len(split.train_N):
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
        caveats=images.caveats + ((told,) if num_missing else ()),
        begun=read_run_file(run_dir / SEEN) or b"",
    )


def other_images(config: RunConfig, run_dir: Path) -> CheckpointError:
    """What is raised where images, or what is said of their pixels, are not those of the run."""
    pixels = run_dir / (FOUND if (run_dir / FOUND).exists() else CONFIG)
    return CheckpointError(
        f"The training images in {printable(config.source)}, or how {printable(str(pixels))} reads them, are not those "
        f"this run began with.\n"
        f"Put the images and that file back as they were, or start a new run with another --out."
    )


def _as_recorded(images: Images, run_dir: Path, config: RunConfig) -> Images:
    """`images` of a run that has saved nothing yet but which images it began with: then nothing was learned, so
    with "skip" it begins again with those that are there. Raises CheckpointError where they are others."""
    path = run_dir / SEEN
    before, data = read_tensor_file(path), read_data_summary(run_dir)
    if before is None or "pixels_NB" not in before or data is None:
        return images  # a run of an earlier version
    now = parse_tensor_file(images.seen, path)
    is_same = all(np.array_equal(before.get(name, now[name][:0]), now[name]) for name in ("pixels_NB", "part_N"))
    if is_same and {name: list(counts) for name, counts in data.counts.items()} == images.summary()["counts"]:
        return images
    if config.loader.on_bad_image != "skip":
        raise CheckpointError(
            f"The training images in {printable(config.source)} are not those this run began with, by "
            f"{printable(str(path))}.\n"
            f"Put the images back as they were, or start a new run with another --out.\n"
            f"Nothing was learned from them yet; to begin again with what is there: "
            f"--resume --set loader.on_bad_image=skip."
        )
    told = "the training images are not those the run was begun with; it had learned nothing from these"
    return replace(images, caveats=(*images.caveats, told))


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
    num_missing = seen.num_own - len(found["train"]) - len(found["validation"])
    return replace(own, train_N=train_N, validation_N=validation_N, test_N=test_N), max(0, num_missing)
