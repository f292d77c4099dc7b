"""From a source to images that can be trained on: opened, scanned, split, and how their pixels become inputs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..core.errors import DataError, printable, shell_word
from ..core.in_memory import is_given
from ..core.runtime import Runtime
from ..core.task import Task, images_a_class
from ..core.types import MAX_16_BIT, SPLITS, Preprocessing, Split
from ..data.augmentation import Erasing
from ..data.augmentation_policy import AugmentConfig
from ..data.augmenter import left_out_of_bands
from ..data.folds import deal_folds
from ..data.images.bands import bands_words
from ..data.labels import labels_of
from ..data.left_out import left_out_notes
from ..data.loading.loader import check_order
from ..data.loading.unchanged import Unchanged
from ..data.scan import ScanReport, scan_source
from ..data.source import DataSource, open_source
from ..data.split import split_source
from ..data.store_place import store_at
from ..models.architecture import ModelSpec
from ..runs.manifest import SeenRecord
from ..runs.seen import Seen, describe_seen, seen_content
from .choose_preprocessing import channels_asked, choose_preprocessing
from .config import RunConfig
from .loss import check_class_names, check_task

MUCH = 4  # times smaller: little of a photograph is left


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of a run: where they come from, which serve what, and how their pixels become inputs."""

    source: DataSource
    scan: ScanReport
    split: Split
    preprocessing: Preprocessing
    caveats: tuple[str, ...] = ()  # what qualifies every figure of the run, besides the notes of the split
    begun: bytes = b""  # the record of the images it began with, where some of them are not there any more
    brought: Seen | None = None  # what else the weights were trained on that it began with

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def task(self) -> Task:
        """Whether an image has one label or may have several, or which numbers are asked for."""
        return self._task

    @cached_property
    def _task(self) -> Task:
        task = self.source.task
        return task.of_numbers(labels_of(self.source, self.split.train_N)) if task.is_number else task

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(num_classes=len(self.classes), input_CHW=self.preprocessing.input_CHW)

    def labels(self, index_N: np.ndarray) -> torch.Tensor:
        """label_N int64 of the images at `index_N`; label_NK float32, 0 and 1, of several labels; value_N float64 of
        numbers."""
        return torch.from_numpy(labels_of(self.source, index_N))

    def key(self, index: int) -> str:
        """The stable name of an image."""
        return self.source.record(index).key

    @cached_property
    def seen(self) -> bytes:
        """The content of the run's record of its images."""
        return self.begun or seen_content(self.scan, self.split, self.brought)

    @cached_property
    def seen_record(self) -> SeenRecord:
        """What every manifest of the run says of that record."""
        return describe_seen(self.seen, self.brought is None or self.brought.is_complete)

    def digest(self) -> str:
        """Changes when a training or validation image, its label or its place in the split changes."""
        digest = hashlib.sha256(self.preprocessing.digest().encode())
        for name in ("train", "validation"):
            index_N = self.split.indices(name)
            digest.update(name.encode() + self.labels(index_N).numpy().tobytes())
            digest.update(np.ascontiguousarray(self.scan.bytes_digest_N[index_N]).tobytes())
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """What `data.json` holds: counts by class and split, what was left out, how pixels become inputs."""
        counts = {
            name: images_a_class(self.labels(self.split.indices(name)).numpy(), len(self.classes)).tolist()
            for name in SPLITS
        }
        several = {"num_images": {name: len(self.split.indices(name)) for name in SPLITS}}  # the counts add up to more
        return {
            "source": self.source.name,
            "num_samples": len(self.source),
            "classes": list(self.classes),
            "counts": counts,
            "split": self.split.origin,
            "notes": [*self.source.notes, *self.split.notes],
            "bad_images": [{"key": printable(bad.key), "reason": bad.reason} for bad in self.scan.bad],
            "image_notes": list(self.scan.notes),
            "modes": dict(self.scan.mode_counts),
            "num_rotated": self.scan.num_rotated,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            **(several if self.task.is_several else {}),
        }


def _tell_shrinking(
    config: RunConfig, scan: ScanReport, preprocessing: Preprocessing, note: Callable[[str], None]
) -> None:
    """Warn when photos are downscaled so far that detail is lost."""
    height_px, width_px = preprocessing.input_CHW[1:]
    short_px = float(np.median(scan.size_N2[scan.good_N].min(axis=1)))
    if short_px >= MUCH * min(height_px, width_px) and not config.transfer.backbone and not config.input.size_px:
        note(
            f"images of {short_px:.0f} pixels are shrunk to {height_px}x{width_px}, the input of "
            f"{printable(config.model)}, and lose detail; for photos use {_for_photos(config)}"
        )


def _tell_fit(config: RunConfig, preprocessing: Preprocessing, note: Callable[[str], None]) -> None:
    """Tell what an asked fit leaves without effect."""
    if preprocessing.fit not in ("pad", "squash"):
        return
    if any(entry.name == "window" for entry in config.augment.active()):
        note(f"augment.window has no effect: with fit {preprocessing.fit} nothing of a picture is cut off")
    if preprocessing.fit == "pad" and config.augment.border not in (AugmentConfig().border, "mean"):
        note(f"augment.border {config.augment.border} has no effect: with fit pad the mean colour lies around pictures")


def _tell_bands(config: RunConfig, preprocessing: Preprocessing, note: Callable[[str], None]) -> None:
    """Tell that channels are taken as they are, and what is left out for it."""
    if not preprocessing.has_bands:
        return
    note(f"images of {bands_words(preprocessing)}")
    if left_out := left_out_of_bands(config.augment):
        note(f"augmentations of colours are left out, which such channels are not: {', '.join(left_out)}")
    if any(isinstance(entry, Erasing) and entry.fill for entry in config.augment.active()):
        note("covered boxes show the mean of each channel")


def _for_photos(config: RunConfig) -> str:
    """The commands that serve photos better than the network of `config`."""
    photos = "SOURCE" if is_given(config.source) else shell_word(config.source)
    transfer = f"saccade transfer {photos}"
    return transfer if config.model == "resnet18" else f"--model resnet18, or: {transfer}"


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A source whose images were looked at, and not divided yet."""

    source: DataSource
    scan: ScanReport


def prepare_images(
    config: RunConfig,
    runtime: Runtime,
    note: Callable[[str], None],
    scanned: Callable[[int, int], None] | None = None,
    white: int | None = None,
) -> Images:
    """Open, scan and split the source of `config`. Raises DataError and ImageError before any training is begun.

    `scanned(done, total)` is called as images have been looked at. `white`: as in `scan_source`, of a run that goes on.
    """
    return divide(config, scan_images(config, runtime, note, scanned, white), note)


def scan_images(
    config: RunConfig,
    runtime: Runtime,
    note: Callable[[str], None],
    scanned: Callable[[int, int], None] | None = None,
    white: int | None = None,
) -> Scanned:
    """Open and scan the source of `config`. Arguments and errors as of `prepare_images`."""
    with store_at(config.loader.store, config.loader.store_limit_bytes):
        source = open_source(config.source, several=True)
    if config.split.folds:
        source.task.refuse_unknown("--folds", "several labels", "number", "grade")
    check_order(config.loader, source)
    check_task(config, source.task)
    if source.task.is_number and config.loss.label_smoothing:
        note("loss.label_smoothing, which the recipe sets, is for classes: it is not used for a number")
    if not source.task.is_number:
        check_class_names(config.loss, source.classes)
    on_bad, channels = config.loader.on_bad_image, channels_asked(config)
    scan = scan_source(source, runtime.num_threads, on_bad, scanned, white, channels, runtime.ranks)
    for text in left_out_notes(scan.bad, "; data.json in the run lists them all"):
        note(text)
    for text in scan.notes[:3]:
        note(f"used as it is, with a note: {text}")
    if len(scan.notes) > 3:
        note(f"so are {len(scan.notes) - 3:,} more images; data.json in the run lists them all")
    if scan.white_16_bit < MAX_16_BIT:
        note(f"16-bit values use 0 to {scan.white_16_bit:,}: scaled by that")
    return Scanned(source=source, scan=scan)


def divide(config: RunConfig, scanned: Scanned, note: Callable[[str], None]) -> Images:
    """The images of `scanned` in the parts that `config` asks for. Raises DataError."""
    source, scan = scanned.source, scanned.scan
    seed = config.split.seed if config.split.seed >= 0 else config.seed
    fold = _fold(config, scanned, seed)
    split = split_source(source, scan, seed, config.split.test_fraction, config.split.validation_fraction, fold)
    for text in (*source.notes, *split.notes):
        note(text)
    if len(split.train_N) < 2:
        raise DataError(
            f"{printable(config.source)} leaves {len(split.train_N)} images to train on after the split; "
            f"at least 2 are needed.\nAdd images, or hold out less with --set split.test_fraction=0.1."
        )
    preprocessing = choose_preprocessing(config, scan, split)
    _tell_shrinking(config, scan, preprocessing, note)
    _tell_fit(config, preprocessing, note)
    _tell_bands(config, preprocessing, note)
    source = Unchanged(source, scan.bytes_digest_N)
    return Images(source=source, scan=scan, split=split, preprocessing=preprocessing)


def _fold(config: RunConfig, scanned: Scanned, seed: int) -> tuple[np.ndarray, str] | None:
    """The images that the run of a fold is judged on, none of the run for use, and what they are in words; None of a
    run without folds."""
    num_folds, number = config.split.folds, config.split.fold
    if not num_folds:
        return None
    if not number:
        return np.zeros(0, np.int64), f"judged by {num_folds} folds"
    index_N, fold_N = deal_folds(scanned.source, scanned.scan, num_folds, seed)
    return index_N[fold_N == number], f"fold {number} of {num_folds}"
