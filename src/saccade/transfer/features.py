"""Frozen features of many images: taken from the cache where they lie there, computed and kept where not.

Images pass through the frozen part in groups of one fixed size, the last one filled up, so that the features of an
image do not depend on its neighbours: the same image gives the same bits, cached or not, in whatever order.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..core.errors import StorageError
from ..data.augmentation_policy import AugmentConfig
from ..data.loading.loader import LoaderConfig, build_loader
from ..data.loading.unchanged import Unchanged
from ..kernels.one_core_each import one_core_each
from .cache import RECORDS_PER_FILE, FeatureCache
from .feature_plan import FeaturePlan, features_changed
from .frozen import DTYPES, FrozenPart, Tap


@dataclass(kw_only=True)
class FeatureReport:
    """What happened: images passed through the network, records found, and sentences a person should read."""

    num_computed: int = 0
    num_found: int = 0
    notes: list[str] = field(default_factory=list)

    def tell(self, note: str) -> None:
        """Something a person should read, once."""
        if note not in self.notes:
            self.notes.append(note)


@dataclass(kw_only=True)
class FeatureWork:
    """How features are kept, who hears of it, and what may stop the work. `cache` is (folder, limit in bytes), or None
    to keep nothing on disk; `check` is called between groups of images and while another process computes the same, and
    may raise; `note` hears at once what cannot wait for the report."""

    cache: tuple[Path, int] | None
    report: FeatureReport = field(default_factory=FeatureReport)
    check: Callable[[], None] = lambda: None
    progress: Callable[[int, int], None] = lambda done, total: None
    note: Callable[[str], None] = lambda text: None


def collect_features(
    plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, work: FeatureWork, view: int = 0
) -> dict[Tap, torch.Tensor]:
    """The features of the images `index_N` at every tap, (N, ...) in `plan.dtype`, images in the order given.

    Where the disk is full, read-only or smaller than the limit allows, they are computed all the same, not kept, and
    the report says so. Raises what reading an image or `work.check` raises; what was kept until then stays.
    """
    digest_NB = plan.digests(index_N, view)
    with ExitStack() as stack:
        stores = _open_stores(plan, taps, view, work, stack)
        known = {tap: store.has(digest_NB) for tap, store in stores.items()}
        nothing_N = np.zeros(len(index_N), bool)
        is_missing_N = ~np.logical_and.reduce([known.get(tap, nothing_N) for tap in taps])
        work.report.num_found += int((~is_missing_N).sum())
        work.report.num_computed += int(is_missing_N.sum())
        position_M, found_M = np.flatnonzero(is_missing_N), np.flatnonzero(~is_missing_N)
        if not len(position_M):
            return {tap: stores[tap].take(digest_NB) for tap in taps}
        result: dict[Tap, torch.Tensor] = {}
        keep = stack.enter_context(_kept_aside(stores, work))
        for start, values in _passes(plan, taps, index_N[position_M], view, work):
            part_M = position_M[start : start + len(values[0])]
            if not result:
                for tap, value in zip(taps, values, strict=True):
                    result[tap] = torch.empty((len(index_N), *value.shape[1:]), dtype=value.dtype)
                    if len(found_M):
                        result[tap][torch.from_numpy(found_M)] = stores[tap].take(digest_NB[found_M])
                needed = {tap: len(position_M) * value[0].nbytes for tap, value in zip(taps, values, strict=True)}
                _check_room(needed, stores, work)
            for tap, value in zip(taps, values, strict=True):
                result[tap][torch.from_numpy(part_M)] = value
            keep(digest_NB[part_M], dict(zip(taps, values, strict=True)))
            del values, value  # before the next ones are computed
    return result


def count_missing(plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, work: FeatureWork) -> int:
    """Of how many of these images the features at some of the taps are not kept yet."""
    digest_NB = plan.digests(index_N, 0)
    own = FeatureWork(cache=work.cache, check=work.check, note=work.note)
    with ExitStack() as stack:
        stores = _open_stores(plan, taps, 0, own, stack)
        nothing_N = np.zeros(len(index_N), bool)
        known = [stores[tap].has(digest_NB) if tap in stores else nothing_N for tap in taps]
        return int((~np.logical_and.reduce(known)).sum())


def _open_stores(
    plan: FeaturePlan, taps: list[Tap], view: int, work: FeatureWork, stack: ExitStack
) -> dict[Tap, FeatureCache]:
    """The caches of all taps, held by this process, always in one order, so that two processes cannot wait for each
    other; a cache that cannot be written to is left out, and that is said."""
    if work.cache is None:
        return {}
    root, limit_bytes = work.cache
    found = {tap: FeatureCache(root=root, key=plan.key(tap, view), limit_bytes=limit_bytes) for tap in taps}
    opened = {}
    for tap in sorted(taps, key=lambda tap: found[tap].folder):
        try:
            stack.enter_context(found[tap].building(work.note, work.check))
            num_lost = found[tap].drop_damaged()
        except StorageError as error:
            work.report.tell(f"features are not kept on disk: {_reason(error)}")
            continue
        work.report.notes += found[tap].notes
        if num_lost:
            work.report.tell(f"{num_lost:,} kept features ({tap}) are damaged; they are computed again")
        opened[tap] = found[tap]
    return opened


def _check_room(needed_bytes: dict[Tap, int], stores: dict[Tap, FeatureCache], work: FeatureWork) -> None:
    """Stop keeping the features of a tap that do not fit into the limit beside those of the taps before it, whose files
    are still to come."""
    granted_bytes = 0
    for tap, more_bytes in needed_bytes.items():
        if tap not in stores:
            continue
        try:
            if stores[tap].make_room(granted_bytes + more_bytes):
                granted_bytes += more_bytes
                continue
            limit_bytes = stores[tap].limit_bytes
            reason = f"{more_bytes / 1e9:,.1f} GB do not fit into the limit of {limit_bytes / 1e9:,.1f} GB"
        except StorageError as error:
            reason = _reason(error)
        work.report.tell(f"features ({tap}) are not kept on disk: {reason}")
        stores.pop(tap)


def _reason(error: StorageError) -> str:
    """Its cause, with advice for this folder; its own is about --out."""
    return f"{error.message.splitlines()[0]} Choose another place with --cache DIR, or --cache none."


@contextmanager
def _kept_aside(
    stores: dict[Tap, FeatureCache], work: FeatureWork
) -> Iterator[Callable[[np.ndarray, dict[Tap, torch.Tensor]], None]]:
    """What keeps the features of some images by tap, on a thread of its own: checksums and the disk wait for nobody
    who computes. One lot at a time, so that no more than one is held; all are kept when the block ends."""
    pending: list[Future[None]] = []

    def write(digest_NB: np.ndarray, value_of: dict[Tap, torch.Tensor]) -> None:
        for tap in list(value_of):
            _keep(tap, stores, digest_NB, value_of.pop(tap), work)

    with ThreadPoolExecutor(1) as pool:

        def keep(digest_NB: np.ndarray, value_of: dict[Tap, torch.Tensor]) -> None:
            for lot in pending:
                lot.result()
            pending[:] = [pool.submit(write, digest_NB, value_of)]

        yield keep
        for lot in pending:
            lot.result()


def _keep(
    tap: Tap, stores: dict[Tap, FeatureCache], digest_NB: np.ndarray, value: torch.Tensor, work: FeatureWork
) -> None:
    if tap not in stores:
        return
    try:
        stores[tap].add(digest_NB, value)
    except StorageError as error:
        work.report.tell(f"features ({tap}) are no longer kept on disk: {_reason(error)}")
        stores.pop(tap)


def _passes(
    plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, view: int, work: FeatureWork
) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """(position of the first image, features at every tap) for up to RECORDS_PER_FILE images at a time."""
    if not len(index_N):
        return
    augment = plan.view_augment if view else AugmentConfig()
    config = LoaderConfig(batch_size=RECORDS_PER_FILE, memory_limit_bytes=0)
    frozen = FrozenPart(plan.model, taps, plan.preprocessing, plan.runtime, DTYPES[plan.dtype])
    source = Unchanged(plan.source, plan.digest_NB, features_changed)
    with (
        build_loader(source, index_N, plan.preprocessing, augment, config, plan.seed) as loader,
        one_core_each(plan.runtime) as pool,
    ):
        start = 0
        for batch in loader.epoch(view, shuffle=False):
            num_images = len(batch.image_BCHW)
            groups = pool.map(frozen.outputs, batch.image_BCHW.split(frozen.group))

            def tell(done: int, start: int = start) -> None:
                work.check()
                work.progress(start + done, len(index_N))

            yield start, _whole(groups, num_images, tell)  # held by nobody here while the next ones are computed
            start += num_images


def _whole(groups: Iterator[list[torch.Tensor]], num_images: int, tell: Callable[[int], None]) -> list[torch.Tensor]:
    """The features of `num_images` images at every tap, from those of their groups; `tell` hears how many are there."""
    whole: list[torch.Tensor] = []
    done = 0
    for values in groups:
        if not whole:
            whole = [torch.empty((num_images, *value.shape[1:]), dtype=value.dtype) for value in values]
        for target, value in zip(whole, values, strict=True):
            target[done : done + len(value)] = value
        done += len(values[0])
        tell(done)
    return whole
