"""Frozen features of many images: taken from the cache where they lie there, computed and kept where not.

Images pass through the frozen part in groups of one fixed size, the last one filled up, so that the features of an
image do not depend on its neighbours: the same image gives the same bits, cached or not, in whatever order.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ..core.agreement import agreed
from ..core.apart import apart, first_apart, nothing
from ..core.errors import StorageError, WeightsError, counted, printable
from ..core.ranks import ALONE, Ranks
from ..core.types import Batch
from ..data.augmentation_policy import AugmentConfig
from ..data.loading.loader import LoaderConfig, batch_bounds, build_loader
from ..data.loading.unchanged import Unchanged
from ..data.source import DataSource
from ..kernels.one_core_each import one_core_each
from .cache import RECORDS_PER_FILE, FeatureCache
from .feature_plan import FeaturePlan, features_changed
from .frozen import DTYPES, GROUP, FrozenPart, Tap

FIRST_IMAGES = 64  # that are looked at for any difference


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
    may raise; `note` hears at once what cannot wait for the report. `ranks` are the processes that share the work."""

    cache: tuple[Path, int] | None
    report: FeatureReport = field(default_factory=FeatureReport)
    check: Callable[[], None] = lambda: None
    progress: Callable[[int, int], None] = lambda done, total: None
    note: Callable[[str], None] = lambda text: None
    ranks: Ranks = ALONE


def collect_features(
    plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, work: FeatureWork, view: int = 0, to_all: bool = True
) -> dict[Tap, torch.Tensor]:
    """The features of the images `index_N` at every tap, (N, ...) in `plan.dtype`, images in the order given.

    The processes of `work.ranks` share the images out by whole groups: each image passes once, and the first process
    keeps what comes of it. All have all features then; without `to_all` the first alone, and the others none.

    Where the disk is full, read-only or smaller than the limit allows, they are computed all the same, not kept, and
    the report says so. Raises what reading an image or `work.check` raises; what was kept until then stays. Raises
    WeightsError where features are not finite.
    """
    digest_NB = plan.digests(index_N, view)
    with ExitStack() as stack:
        stores: dict[Tap, FeatureCache] = {}

        def look(check: Callable[[], None]) -> bytes:
            stores.update(_open_stores(plan, taps, view, replace(work, check=check), stack))
            nothing_N = np.zeros(len(index_N), bool)
            known: list[np.ndarray] = [stores[tap].has(digest_NB) if tap in stores else nothing_N for tap in taps]
            return bytes(~np.logical_and.reduce(known))

        is_missing_N = np.frombuffer(first_apart(work.ranks, look, work.check), bool)
        work.report.num_found += int((~is_missing_N).sum())
        work.report.num_computed += int(is_missing_N.sum())
        whole = _Whole(taps=taps, num_images=len(index_N), dtype=DTYPES[plan.dtype], ranks=work.ranks, to_all=to_all)
        position_M, found_M = np.flatnonzero(is_missing_N), np.flatnonzero(~is_missing_N)
        if not len(position_M):
            whole.begin([stores[tap].take(digest_NB[:1]) for tap in taps] if stores else [])
            whole.take_found(found_M, digest_NB, stores)
            return whole.values
        keep = stack.enter_context(_kept_aside(stores, work))
        for part_by_rank, values in _passes(plan, taps, index_N, position_M, view, work):
            if not whole.values:
                whole.begin(values)
                whole.take_found(found_M, digest_NB, stores)
                needed = {tap: len(position_M) * whole.values[tap][0].nbytes for tap in taps if tap in stores}
                _check_room(needed, stores, work)
            for giver, part_U in enumerate(part_by_rank):
                own = values if giver == work.ranks.rank else []
                keep(digest_NB[part_U], dict(whole.take(part_U, own, giver)))
            del values, own  # before the next ones are computed
    return whole.values


def refuse_alike(feature_ND: torch.Tensor, digest_NB: np.ndarray) -> None:
    """Raise WeightsError where the first images differ, by `digest_NB`, and all have the same features."""
    first_ND, num_different = feature_ND[:FIRST_IMAGES], len(np.unique(digest_NB[:FIRST_IMAGES], axis=0))
    if num_different > 1 and len(first_ND) > 1 and bool((first_ND == first_ND[:1]).all()):
        raise WeightsError(
            f"The network sees no difference between {num_different} images: the features of all are the same.\n"
            f"Its weights are damaged, or were never trained; take another file."
        )


@dataclass(kw_only=True)
class _Whole:
    """The features of `num_images` images, filled as they come: in every process, or, not `to_all`, in the first."""

    taps: list[Tap]
    num_images: int
    dtype: torch.dtype
    ranks: Ranks
    to_all: bool
    values: dict[Tap, torch.Tensor] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether this process is to have them."""
        return self.to_all or self.ranks.is_first

    def begin(self, values: list[torch.Tensor]) -> None:
        """Make room, by the shapes that `values` of the first process have: those of some images at every tap."""
        shapes = json.dumps([list(value.shape[1:]) for value in values]).encode()
        num_images = self.num_images if self.is_here else 0
        for tap, shape in zip(self.taps, json.loads(self.ranks.tell(shapes, patiently=True)), strict=True):
            self.values[tap] = torch.empty((num_images, *shape), dtype=self.dtype)

    def take_found(self, position_M: np.ndarray, digest_NB: np.ndarray, stores: dict[Tap, FeatureCache]) -> None:
        """Those of the images at these positions, which the first process has kept."""
        for start in range(0, len(position_M), RECORDS_PER_FILE):
            part_U = position_M[start : start + RECORDS_PER_FILE]
            self.take(part_U, [stores[tap].take(digest_NB[part_U]) for tap in self.taps] if stores else [], 0)

    def take(self, part_U: np.ndarray, own: list[torch.Tensor], giver: int) -> list[tuple[Tap, torch.Tensor]]:
        """Those of the images at these positions, which process `giver` has as its `own`; what came of them here."""
        came = []
        for number, (tap, whole) in enumerate(self.values.items()):
            value = own[number] if own else torch.empty((len(part_U), *whole.shape[1:]), dtype=self.dtype)
            if self.to_all:
                self.ranks.hand_out(value, giver)
            else:
                self.ranks.bring(value, giver)
            if self.is_here:
                whole[torch.from_numpy(part_U)] = value
                came.append((tap, value))
        return came


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
    """Its cause, with advice for this folder."""
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
    plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, position_M: np.ndarray, view: int, work: FeatureWork
) -> Iterator[tuple[list[np.ndarray], list[torch.Tensor]]]:
    """(positions of the images that passed in each process, by rank; their features at every tap in this one), round
    after round, all of them those at `position_M`."""
    ranks = work.ranks
    size = images_of_a_round(len(position_M), ranks.world_size)
    bounds = batch_bounds(len(position_M), size)
    parts = [position_M[start:stop] for start, stop in itertools.pairwise(bounds)]
    own = parts[ranks.rank :: ranks.world_size]
    with ExitStack() as stack:
        passing: _Passing | None = None
        with agreed(ranks):
            if own:
                own_N = [index_N[part] for part in own]
                passing = stack.enter_context(_passing(plan, taps, own_N, size, view))
                passing.tell = lambda done: work.progress(min(done, len(position_M)), len(position_M))
        for first in range(0, len(parts), ranks.world_size):
            by_rank = parts[first : first + ranks.world_size]
            compute = passing.of_round(by_rank) if passing and ranks.rank < len(by_rank) else _no_part
            yield by_rank, apart(ranks, compute, work.check)  # held by nobody here while the next are computed


def _no_part(check: Callable[[], None]) -> list[torch.Tensor]:
    """What a process computes in a round that has no images for it."""
    return []


def images_of_a_round(num_images: int, num_processes: int) -> int:
    """How many images pass in a process at a time: no more than a file of the cache holds, whole groups, and alike in
    all processes, so that none waits for long."""
    if num_processes == 1:
        return RECORDS_PER_FILE
    num_rounds = -(-num_images // (RECORDS_PER_FILE * num_processes))
    return min(RECORDS_PER_FILE, GROUP * -(-num_images // (num_rounds * num_processes * GROUP)))


class _Passing:
    """The images of this process on their way through the frozen part. `tell` hears how many have passed in all
    processes: in this round as many in each as here."""

    def __init__(
        self,
        batches: Callable[[Callable[[], None]], Iterator[Batch]],
        frozen: FrozenPart,
        pool: Executor,
        source: DataSource,
    ) -> None:
        self._batches = batches(lambda: self._check())
        self._frozen, self._pool, self._source = frozen, pool, source
        self._check: Callable[[], None] = nothing
        self.tell: Callable[[int], None] = lambda done: None
        self._num_before, self._num_working = 0, 1

    def of_round(self, part_by_rank: list[np.ndarray]) -> Callable[[Callable[[], None]], list[torch.Tensor]]:
        """What computes the part of this process in a round of these."""
        before, self._num_working = self._num_before, len(part_by_rank)
        self._num_before += sum(map(len, part_by_rank))
        return lambda check: self._next_part(check, before)

    def _next_part(self, check: Callable[[], None], num_before: int) -> list[torch.Tensor]:
        """The features of the next images at every tap, behind `num_before` others. `check` may raise."""
        self._check = check
        batch = next(self._batches)
        image_BCHW = batch.image_BCHW

        def tell(done: int) -> None:
            check()
            self.tell(num_before + self._num_working * done)

        groups = self._pool.map(self._frozen.outputs, image_BCHW.split(self._frozen.group))
        values = _whole(groups, len(image_BCHW), tell)
        self._refuse_not_finite(values, batch.index_B)
        return values

    def _refuse_not_finite(self, values: list[torch.Tensor], index_B: np.ndarray) -> None:
        """Raise WeightsError where features of the images `index_B` overflow."""
        is_bad_B = torch.stack([~value.flatten(1).isfinite().all(dim=1) for value in values]).any(dim=0).numpy()
        if is_bad_B.any():
            key = printable(self._source.record(int(index_B[is_bad_B][0])).key)
            raise WeightsError(
                f"The network gives values that are not finite for {is_bad_B.sum():,} of "
                f"{counted(len(index_B), 'image')}, such as {key}.\n"
                f"Its weights are damaged or too large, or expect pixels in another range (--preprocessing)."
            )


@contextmanager
def _passing(plan: FeaturePlan, taps: list[Tap], parts: list[np.ndarray], size: int, view: int) -> Iterator[_Passing]:
    """The images of `parts`, indices into the source, `size` in each but the last, ready to pass."""
    augment = plan.view_augment if view else AugmentConfig()
    config = LoaderConfig(batch_size=size, memory_limit_bytes=0)
    frozen = FrozenPart(plan.model, taps, plan.preprocessing, plan.runtime, DTYPES[plan.dtype])
    source = Unchanged(plan.source, plan.digest_NB, features_changed)
    index_N = np.concatenate([np.zeros(0, np.int64), *parts])
    with (
        build_loader(source, index_N, plan.preprocessing, augment, config, plan.seed) as loader,
        one_core_each(plan.runtime) as pool,
    ):
        yield _Passing(lambda check: loader.epoch(view, shuffle=False, check=check), frozen, pool, source)


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
