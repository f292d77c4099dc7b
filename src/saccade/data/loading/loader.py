"""Batches for training and evaluation: threads, bounded prefetch, one order for any number of threads and processes.

The order of an epoch and everything drawn for a sample are pure functions of (seed, epoch, sample index): a run that
resumes in mid-epoch through `first_batch`, or that changes its number of threads, sees the same bits.

A batch of one image would break batch normalisation, so it is never made (unless `batch_size` is 1): images that
are left over at the end of an epoch and are too few join the batch before them. Every epoch shows every image once;
with balanced sampling it has as many places, dealt evenly to the classes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from ...core.config import FrozenConfig
from ...core.errors import ConfigError, DataError, ImageError, printable
from ...core.processors import available_cpus
from ...core.types import Batch, Preprocessing
from ..augmentation_policy import AugmentConfig
from ..augmenter import Augmenter
from ..left_out import LeftOut, is_too_many
from ..source import DataSource
from ..store_place import DEFAULT_LIMIT_BYTES
from .batch_maker import Assembly, BatchMaker
from .on_device import ResidentSet, has_room
from .order import BLOCK_SHARDS, EpochOrder, Order, balanced, blocks, in_order, shuffled
from .reader_threads import Readers

MAX_LANES = 4096


class LoaderConfig(FrozenConfig):
    """How batches are made. Threads, prefetch and time limits change no bit of them.

    `memory_limit_bytes` can, where photographs are augmented from their source pixels: those that are not kept are
    decoded at 1/2, 1/4 or 1/8 scale when they are shown at no more than that.
    """

    batch_size: int = Field(64, ge=1, le=65536, description="images in a batch, over all processes together")
    threads: int = Field(0, ge=0, le=256, description="reading threads; 0: one per processor this process may use")
    prefetch_batches: int = Field(3, ge=1, le=64, description="batches made ahead of the one in use")
    memory_limit_bytes: int = Field(
        2**30, ge=0, description="decoded images are kept in memory if all of them fit into so many bytes"
    )
    timeout_s: float = Field(120.0, gt=0, description="a file that is read for longer is reported as stuck, in seconds")
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="what a file that cannot be decoded does: end the run, or stay out of it (at most 1 % may)"
    )
    sampling: Literal["every", "balanced"] = Field(
        "every",
        description="what an epoch of training shows: every image once, or every class equally often, rare images "
        "again, each time augmented anew",
    )
    order: Literal["auto", "full", "blocks"] = Field(
        "auto",
        description="order of training: any (full), or by blocks of shards, so that few are needed at a time; auto: "
        "blocks where the shards from a distance do not all fit into store_limit_bytes",
    )
    store: str = Field(
        "", description="folder on a disk of this machine for shards from a distance; empty: in the user's cache"
    )
    store_limit_bytes: int = Field(
        DEFAULT_LIMIT_BYTES,
        ge=0,
        description="shards from a distance are kept up to so many bytes; 0: each image is fetched by itself",
    )
    lanes: int = Field(1, ge=1, le=MAX_LANES, description="fixed parts of every batch; set by scale.lanes")
    first_lane: int = Field(0, ge=0, description="the first part that this process makes")
    last_lane: int = Field(-1, ge=-1, description="the last part that this process makes; -1: the last of all")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.own_lanes or self.own_lanes.stop > self.lanes:
            raise ValueError(f"lanes {self.first_lane} to {self.last_lane} are not among {self.lanes}")
        if self.lanes > 1 and self.batch_size < 2 * self.lanes:
            raise ValueError(f"batch_size must be at least two images for each of {self.lanes} lanes")
        return self

    @property
    def own_lanes(self) -> range:
        """The parts of every batch that this process makes."""
        return range(self.first_lane, self.lanes if self.last_lane < 0 else self.last_lane + 1)


def keep_waiting() -> None:
    """Nothing stands in the way of waiting for a file."""


class Loader:
    """Iterates over the samples `index_N` of a source. Close it, or use it as a context manager.

    `waited_s` adds up how long its user has waited for batches, the first one of an epoch included; `left_out` names
    files that turned unreadable.
    """

    def __init__(self, source: DataSource, index_N: np.ndarray, maker: BatchMaker, config: LoaderConfig) -> None:
        self.config = config
        self.left_out: list[LeftOut] = []
        self.waited_s = 0.0
        self._source = source
        self._index_N = np.asarray(index_N, dtype=np.int64)
        self._maker = maker
        self._bounds = batch_bounds(len(index_N), config.batch_size, config.lanes)
        self._readers: Readers | None = None
        self._device: torch.device | None = None
        self._resident: ResidentSet | None = None

    def keep_on(self, device: torch.device) -> None:
        """Make batches on `device` as soon as every image is in memory, where augmentation only moves whole pixels.

        The images are copied there once, if they leave room for a network; the bits of the batches stay the same.
        """
        augmenter = self._maker.augmenter
        self._device = device if augmenter.moves_whole_pixels and augmenter.preprocessing.depth_bits == 8 else None

    @property
    def num_batches(self) -> int:
        """Batches in an epoch: the same number in every process."""
        return len(self._bounds) - 1

    @property
    def num_samples(self) -> int:
        """Images in an epoch, over all processes."""
        return len(self._index_N)

    def epoch(
        self, epoch: int, first_batch: int = 0, shuffle: bool = True, check: Callable[[], None] = keep_waiting
    ) -> Iterator[Batch]:
        """The batches of one epoch from `first_batch` on; image_BCHW is as prepared, and channels-last.

        `check` is called twice a second while a batch is waited for; what it raises ends the epoch. Raises DataError
        naming the file where one cannot be read or hangs.
        """
        order = self._order(epoch) if shuffle else in_order(self.num_samples)
        resident = self._on_device()
        if resident is not None:
            for number in range(first_batch, self.num_batches):
                places, lane_sizes = self._share(number)
                yield self._resident_batch(resident, epoch, order.part(places), lane_sizes)
            return
        self._tell_source(order, first_batch)
        readers = self._start()
        pending: deque[Assembly] = deque()
        number = first_batch
        try:
            while number < self.num_batches or pending:
                while number < self.num_batches and len(pending) <= self.config.prefetch_batches:
                    places, lane_sizes = self._share(number)
                    pending.append(Assembly(self._maker, epoch, order.part(places), lane_sizes))
                    pending[-1].start(readers)
                    number += 1
                yield self._finished(pending.popleft(), readers, epoch, check)
        finally:
            for assembly in pending:
                assembly.cancel()

    def close(self) -> None:
        """End the threads. A closed loader starts new ones when it is used again."""
        if self._readers is not None:
            self._readers.close()
            self._readers = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> Readers:
        if self._readers is None:
            self._readers = Readers(self.config.threads or available_cpus())
        return self._readers

    def _on_device(self) -> ResidentSet | None:
        """The set on the device that was asked for, None until all of its images have been made."""
        if self._resident is None and self._device is not None:
            image_NHWC = self._maker.all_prepared()
            if image_NHWC is not None and has_room(self._device, image_NHWC.nbytes):
                self._resident = ResidentSet(image_NHWC, self._maker.augmenter, self._device)
        return self._resident

    def _order(self, epoch: int) -> EpochOrder:
        seed = self._maker.augmenter.seed
        if self.config.sampling == "balanced":
            return balanced(self._maker.label_N, seed, epoch)
        if (shard_N := self._shards_to_follow()) is not None:
            return blocks(shard_N[self._index_N], seed, epoch, self._lane_sizes())
        return shuffled(self.num_samples, seed, epoch)

    def _tell_source(self, order: EpochOrder, first_batch: int) -> None:
        """Let shards be fetched before they are read."""
        if self._source.far_bytes and first_batch < self.num_batches:
            numbers = range(first_batch, self.num_batches)
            shares = [order.part(self._share(number)[0]).position_N for number in numbers]
            self._source.expect(self._index_N[np.concatenate(shares)])

    def _shards_to_follow(self) -> np.ndarray | None:
        return self._source.shard_N() if takes_blocks(self.config, self._source) else None

    def _lane_sizes(self) -> np.ndarray:
        """Images of each lane in each batch, int64 (num_batches, lanes)."""
        lanes = range(self.config.lanes)
        shares = [[lane_share(num, lane, len(lanes)) for lane in lanes] for num in np.diff(self._bounds).tolist()]
        return np.diff(np.array(shares, np.int64), axis=2)[:, :, 0]

    def _resident_batch(self, resident: ResidentSet, epoch: int, order: Order, lane_sizes: tuple[int, ...]) -> Batch:
        started_s = time.monotonic()
        plan, position_B = self._maker.plan(epoch, order), order.position_N
        batch = resident.batch(position_B, plan, self._maker.label_N[position_B], lane_sizes)
        self.waited_s += time.monotonic() - started_s
        return batch

    def _share(self, number: int) -> tuple[slice, tuple[int, ...]]:
        """This process's part of batch `number`: positions in the epoch's order, and how many of them each lane has."""
        start, stop = int(self._bounds[number]), int(self._bounds[number + 1])
        shares = [lane_share(stop - start, lane, self.config.lanes) for lane in self.config.own_lanes]
        places = slice(start + shares[0][0], start + shares[-1][1])
        return places, tuple(upper - lower for lower, upper in shares)

    def _finished(self, assembly: Assembly, readers: Readers, epoch: int, check: Callable[[], None]) -> Batch:
        started_s = time.monotonic()
        while not assembly.wait(min(0.5, self.config.timeout_s / 4)):
            self._name_stuck_read(readers)
            check()
        self.waited_s += time.monotonic() - started_s
        bad = assembly.bad_images()
        if bad:
            self._leave_out(bad, epoch, assembly)
        return assembly.batch()

    def _name_stuck_read(self, readers: Readers) -> None:
        oldest = readers.oldest()
        if oldest is not None and oldest[1] > self.config.timeout_s:
            key, seconds = oldest
            raise DataError(
                f"Reading '{printable(key)}' has not finished after {seconds:.0f} s.\n"
                f"The disk or the network share it lies on may hang: try to open the file by hand.\n"
                f"What was saved is intact; if the disk is only slow, go on with --resume --set loader.timeout_s=600."
            )

    def _leave_out(self, bad: list[ImageError], epoch: int, assembly: Assembly) -> None:
        first = bad[0]
        if self.config.on_bad_image == "error":
            raise DataError(
                f"{first.message}\nThe file cannot be read now; it may have changed since the scan.\n"
                f"Repair it, or leave such files out: go on with --resume --set loader.on_bad_image=skip."
            ) from first
        known = {one.key for one in self.left_out}
        new = {error.key: error for error in bad if error.key not in known}  # once, however often it is shown
        self.left_out += [LeftOut(key=error.key, reason=error.reason, epoch=epoch) for error in new.values()]
        if is_too_many(len(self.left_out), self.num_samples):
            raise DataError(
                f"{len(self.left_out)} of {self.num_samples} images have turned unreadable, more than 1 %; the last: "
                f"{first.message}\nA disk or a network share may be failing. What was saved is intact."
            ) from first
        num_left, num_images = min(zip(assembly.lane_sizes_left(), assembly.lane_sizes, strict=True))
        if num_left < min(2, self.config.batch_size):
            what = "a batch" if self.config.lanes == 1 else "a lane of a batch"
            raise DataError(
                f"Only {num_left} of {num_images} images of {what} can be read; the first bad one: "
                f"{first.message}\nRepair the files, then run again with --resume."
            ) from first


def build_loader(
    source: DataSource,
    index_N: np.ndarray,
    preprocessing: Preprocessing,
    augmentation_config: AugmentConfig,
    loader_config: LoaderConfig,
    seed: int,
) -> Loader:
    """A loader of the samples `index_N` (indices into `source`). Raises DataError where there are too few of them.

    The default AugmentConfig gives every image as evaluation sees it. Nothing is read before the first epoch.
    """
    smallest = 2 * loader_config.lanes if loader_config.lanes > 1 else 1
    if len(index_N) < smallest:
        raise DataError(
            f"'{printable(source.name)}' gives {len(index_N)} images to load, but {smallest} are needed "
            f"for {loader_config.lanes} lanes, two for each.\nAdd images, or start a new run with a lower scale.lanes."
        )
    augmenter = Augmenter(augmentation_config, preprocessing, seed)
    maker = BatchMaker(source, index_N, augmenter, loader_config.memory_limit_bytes)
    return Loader(source, index_N, maker, loader_config)


def takes_blocks(config: LoaderConfig, source: DataSource) -> bool:
    """Whether training follows blocks of shards: by the configuration and the set alone, whatever the machine."""
    fits = not config.store_limit_bytes or source.far_bytes <= config.store_limit_bytes
    return config.order == "blocks" or (config.order == "auto" and not fits)


def check_order(config: LoaderConfig, source: DataSource) -> None:
    """Raise ConfigError where `loader.order` cannot be had, or the store is too small for it."""
    where, far, limit = printable(source.name[:200]), source.far_bytes, config.store_limit_bytes
    shard_N = source.shard_N()
    if config.order == "blocks" and shard_N is None:
        raise ConfigError(f"loader.order=blocks is for tar shards, and {where} has none.\nLeave it out.")
    if not far or not limit or far <= limit:
        return
    larger = f"The shards of {where} have {far:,} bytes, more than loader.store_limit_bytes, {limit:,}"
    if config.order == "full" or config.sampling == "balanced":
        what = "loader.order=full" if config.order == "full" else "loader.sampling=balanced"
        raise ConfigError(
            f"{larger}, and {what} needs all of them at any time.\n"
            f"Allow more, as with --set loader.store_limit_bytes={far}, or leave {what} out."
        )
    num_shards = 1 if shard_N is None else int(shard_N.max()) + 1
    num_needed = min(2 * BLOCK_SHARDS, num_shards)
    needed_bytes = num_needed * (far // num_shards)
    if limit < needed_bytes:
        raise ConfigError(
            f"{larger}; to go through them by blocks, {num_needed} shards must fit.\n"
            f"Allow more, as with --set loader.store_limit_bytes={needed_bytes}, or write smaller shards: "
            f"'saccade shard'."
        )


def batch_bounds(num_samples: int, batch_size: int, num_lanes: int = 1) -> np.ndarray:
    """Where batches begin and end, int64 (num_batches + 1,): too small a rest joins the batch before it."""
    bounds = list(range(0, num_samples, batch_size)) + [num_samples]
    smallest = 2 * num_lanes if batch_size > 1 else 1
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < smallest:
        del bounds[-2]
    return np.asarray(bounds, dtype=np.int64)


def lane_share(num_images: int, lane: int, num_lanes: int) -> tuple[int, int]:
    """First and one past the last image of a batch that are `lane`'s: whole pairs, because mixing pairs them."""
    if num_lanes == 1:
        return 0, num_images
    num_pairs = num_images // 2
    lower, upper = (2 * (number * num_pairs // num_lanes) for number in (lane, lane + 1))
    return lower, num_images if lane == num_lanes - 1 else upper
