"""Frozen features of many images: taken from the cache where they lie there, computed and kept where not.

Images pass through the frozen part in groups of one fixed size, the last one filled up, so that the features of an
image do not depend on its neighbours: the same image gives the same bits, cached or not, in whatever order.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from ..core.errors import StorageError
from ..core.runtime import Runtime
from ..core.types import Preprocessing
from ..data.augment.base import Mixing
from ..data.augment.policy import AugmentConfig
from ..data.base import DataSource
from ..data.loader import LoaderConfig, build_loader
from ..data.preprocess import normalize
from .cache import RECORDS_PER_FILE, FeatureCache, FeatureKey
from .fusion import can_fuse, fuse_for_inference
from .surgery import cut, depths

CODE_VERSION = 1  # raise it when the same key would give other values
GROUP = 8  # images that pass through the frozen part together
LIBRARIES = ("torch", "numpy", "pillow", "simplejpeg", "opencv-python-headless")
Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Tap:
    """Where features are taken: behind what `depth` freezes, whole maps or, `pooled`, their means over positions."""

    depth: str
    pooled: bool

    def __str__(self) -> str:
        return f"{self.depth}, {'means' if self.pooled else 'maps'}"


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """What is computed of which images and with what. `digest_NB` uint8 (N, 16) are the contents of all images of
    `source`. `num_views` above 1 adds fixed views of an image, drawn once by `view_augment` and `seed`."""

    model: nn.Module
    network: str
    source: DataSource
    digest_NB: np.ndarray
    preprocessing: Preprocessing
    runtime: Runtime
    dtype: Dtype
    augment: AugmentConfig = AugmentConfig()
    num_views: int = 1
    seed: int = 0

    @property
    def view_augment(self) -> AugmentConfig:
        """`augment` without what mixes images: a view is of one image alone, whatever its neighbours are."""
        mixing = [entry for entry in self.augment.active() if isinstance(entry, Mixing)]
        return self.augment.model_copy(update={entry.name: entry.strengths() for entry in mixing})

    def key(self, tap: Tap, view: int) -> FeatureKey:
        """What the features of `tap` depend on, besides the images."""
        from importlib.metadata import version

        drawn = f"{self.view_augment.digest()} {self.seed}" if view else ""
        return FeatureKey(
            code_version=CODE_VERSION,
            network=self.network,
            frozen_sha256=weights_digest(cut(self.model, tap.depth).frozen),
            preprocessing_sha256=self.preprocessing.digest(),
            tap=str(tap),
            dtype=self.dtype,
            arithmetic=str(self.runtime.precision),
            device=self.runtime.device.type,
            views_sha256=hashlib.sha256(drawn.encode()).hexdigest() if view else "",
            libraries={name: version(name) for name in LIBRARIES},
        )

    def digests(self, index_N: np.ndarray, view: int) -> np.ndarray:
        """uint8 (N, 16): what the records of these images are found by. Views depend on the place in the source."""
        if not view:
            return self.digest_NB[index_N]
        rows = [
            hashlib.blake2b(self.digest_NB[index].tobytes() + f"{view} {index}".encode(), digest_size=16).digest()
            for index in index_N.tolist()
        ]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


@dataclass(kw_only=True)
class FeatureReport:
    """What happened: images passed through the network, records found, and sentences a person should read."""

    num_computed: int = 0
    num_found: int = 0
    notes: list[str] = field(default_factory=list)


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
        for start, values in _passes(plan, taps, index_N[position_M], view, work):
            part_M = position_M[start : start + len(values[0])]
            for tap, value in zip(taps, values, strict=True):
                if tap not in result:
                    result[tap] = torch.empty((len(index_N), *value.shape[1:]), dtype=value.dtype)
                    if len(found_M):
                        result[tap][torch.from_numpy(found_M)] = stores[tap].take(digest_NB[found_M])
                    _check_room(tap, stores, len(position_M) * value[0].nbytes, work)
                result[tap][torch.from_numpy(part_M)] = value
                _keep(tap, stores, digest_NB[part_M], value, work)
            del values, value  # before the next ones are computed
    return result


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
            work.report.notes.append(f"features are not kept on disk: {error.message.splitlines()[0]}")
            continue
        work.report.notes += found[tap].notes
        if num_lost:
            work.report.notes.append(f"{num_lost:,} kept features ({tap}) are damaged; they are computed again")
        opened[tap] = found[tap]
    return opened


def _check_room(tap: Tap, stores: dict[Tap, FeatureCache], needed_bytes: int, work: FeatureWork) -> None:
    """Stop keeping the features of `tap` where they do not fit into the limit."""
    try:
        if tap not in stores or stores[tap].make_room(needed_bytes):
            return
        reason = f"{needed_bytes / 1e9:,.1f} GB do not fit into the limit of {stores[tap].limit_bytes / 1e9:,.1f} GB"
    except StorageError as error:
        reason = error.message.splitlines()[0]
    work.report.notes.append(f"features ({tap}) are not kept on disk: {reason}")
    stores.pop(tap)


def _keep(
    tap: Tap, stores: dict[Tap, FeatureCache], digest_NB: np.ndarray, value: torch.Tensor, work: FeatureWork
) -> None:
    if tap not in stores:
        return
    try:
        stores[tap].add(digest_NB, value)
    except StorageError as error:
        work.report.notes.append(f"features ({tap}) are no longer kept on disk: {error.message.splitlines()[0]}")
        stores.pop(tap)


def _passes(
    plan: FeaturePlan, taps: list[Tap], index_N: np.ndarray, view: int, work: FeatureWork
) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """(position of the first image, features at every tap) for up to RECORDS_PER_FILE images at a time."""
    if not len(index_N):
        return
    augment = plan.view_augment if view else AugmentConfig()
    config = LoaderConfig(batch_size=RECORDS_PER_FILE, memory_limit_bytes=0)
    frozen = FrozenPart(plan, taps)
    with (
        build_loader(plan.source, index_N, plan.preprocessing, augment, config, plan.seed) as loader,
        _workers(plan.runtime) as pool,
    ):
        start = 0
        for batch in loader.epoch(view, shuffle=False):
            num_images = len(batch.image_BCHW)
            groups = pool.map(frozen.outputs, batch.image_BCHW.split(GROUP))

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


@contextmanager
def _workers(runtime: Runtime) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute one group each: on a CPU as many as the machine has, each on one core, which needs no
    waiting for each other inside a layer, and gives the same bits on any number of cores."""
    on_cpu = runtime.device.type == "cpu"
    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(runtime.num_threads if on_cpu else 1, initializer=_use_one_core if on_cpu else None)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)  # threads begin with the number that was set last anywhere


def _use_one_core() -> None:
    torch.set_num_threads(1)


class FrozenPart:
    """The frozen layers of a network up to every tap, ready to be run without gradients, in groups of one size."""

    def __init__(self, plan: FeaturePlan, taps: list[Tap]) -> None:
        runtime = plan.runtime
        model = plan.model.to(device=runtime.device, memory_format=runtime.memory_format).eval()  # type: ignore[call-overload]
        self.taps = taps
        self.preprocessing = plan.preprocessing
        self.runtime = runtime
        self.dtype = DTYPES[plan.dtype]
        self.segments: list[tuple[str, nn.Module]] = []  # the layers between one tap's depth and the next
        passed = 0
        for depth in [name for name in depths(model) if any(tap.depth == name for tap in taps)]:
            frozen = cut(model, depth).frozen
            layers = frozen[passed:]
            fast = can_fuse(runtime.device, runtime.precision)
            self.segments.append(
                (depth, fuse_for_inference(layers, runtime.precision) if fast else nn.Sequential(*layers))
            )
            passed = len(frozen)

    def outputs(self, image_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """Features (B, ...) of the plan's dtype on the CPU at each tap, of B <= GROUP prepared uint8 images."""
        num_images = len(image_BCHW)
        if num_images < GROUP:
            filler = image_BCHW[:1].expand(GROUP - num_images, -1, -1, -1)
            image_BCHW = torch.cat([image_BCHW, filler])
        value = normalize(image_BCHW.to(self.runtime.device), self.preprocessing, self.runtime.precision)
        found: dict[Tap, torch.Tensor] = {}
        with torch.inference_mode(), self.runtime.arithmetic():
            for depth, segment in self.segments:
                value = segment(value)
                for tap in [tap for tap in self.taps if tap.depth == depth]:
                    pooled = value.float().mean(dim=(2, 3)) if tap.pooled and value.ndim == 4 else value
                    found[tap] = pooled[:num_images].to(self.dtype).cpu()
        return [found[tap] for tap in self.taps]


def weights_digest(modules: tuple[nn.Module, ...]) -> str:
    """SHA-256 over names, shapes and values of all tensors of `modules`, in order."""
    digest = hashlib.sha256()
    for number, module in enumerate(modules):
        for name, tensor in module.state_dict().items():
            digest.update(f"{number} {name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
