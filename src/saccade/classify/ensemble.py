"""Several classifiers, several looks, one answer: probabilities are averaged, never weights, in one pass over images.

Every image is read and decoded once; it is prepared once for each distinct preprocessing among the members.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from ..core.errors import DataError, UsageError, printable
from ..core.types import Preprocessing
from ..data.decode import decode_image
from ..data.preprocess import decoded_short_side_px
from ..data.source import DataSource
from .looks import CENTRE, Look, prepare_looks
from .predictor import Predictor

MAX_MEMBERS = 15
BATCH_SIZE = 32
CHUNKS_AHEAD = 2

Prepared = dict[Preprocessing, np.ndarray]  # image_VHWC for each distinct preprocessing


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """`members` that know the same classes; `order_MK[m, k]` is where class k stands among the member's outputs."""

    members: tuple[Predictor, ...]
    classes: tuple[str, ...]
    order_MK: np.ndarray


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """What one pass over N images gave.

    `probability_NK` (float64) averages members and looks; `centre_logits_MNK` (float32) are each member's ordinary
    answers; both in the order of the ensemble's classes. `centre_M_s` is each member's computing time for its centre
    look alone, `forward_s` that of everything, `seconds` the whole pass with reading.
    """

    probability_NK: np.ndarray
    centre_logits_MNK: np.ndarray
    label_N: np.ndarray
    index_N: np.ndarray
    centre_M_s: np.ndarray
    forward_s: float
    seconds: float


def make_ensemble(members: Sequence[Predictor]) -> Ensemble:
    """Check that 1 to 15 `members` know the same classes, in whatever order. Raises UsageError or DataError."""
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise UsageError(f"An ensemble has 2 to {MAX_MEMBERS} runs, got {len(members)}.")
    classes = members[0].classes
    for member in members[1:]:
        only_first = [name for name in classes if name not in member.classes]
        only_other = [name for name in member.classes if name not in classes]
        if only_first or only_other:
            name, known, other = (
                (only_first[0], members[0], member) if only_first else (only_other[0], member, members[0])
            )
            raise DataError(
                f"An ensemble needs the same classes in every run: {printable(known.name)} knows '{printable(name)}', "
                f"{printable(other.name)} does not.\nTrain its members on the same set of classes."
            )
    order_MK = np.array([[member.classes.index(name) for name in classes] for member in members], dtype=np.int64)
    return Ensemble(members=tuple(members), classes=classes, order_MK=order_MK)


def run_ensemble(ensemble: Ensemble, source: DataSource, index_N: np.ndarray, wanted: Sequence[Look]) -> PassResult:
    """Judge the images `index_N` of `source` by the mean probability over all members and all `wanted` looks.

    Each member's own temperature is applied first. Raises ImageError naming a file that cannot be read.
    """
    started_s = time.perf_counter()
    views = tuple(wanted) if CENTRE in wanted else (CENTRE, *wanted)
    averaged = [view for view, look in enumerate(views) if look in wanted]
    num_images, num_classes = len(index_N), len(ensemble.classes)
    probability_NK = np.zeros((num_images, num_classes))
    centre_MNK = np.zeros((len(ensemble.members), num_images, num_classes), np.float32)
    centre_M_s, forward_s = np.zeros(len(ensemble.members)), 0.0
    for member in ensemble.members:  # the first call sets up kernels: it belongs to no image
        member.predict_batch(torch.zeros(1, *member.preprocessing.input_CHW, dtype=torch.uint8))
    for start, prepared in _prepared_chunks(ensemble, source, index_N, views):
        part = slice(start, start + len(next(iter(prepared.values()))))
        for number, member in enumerate(ensemble.members):
            image_BVHWC = prepared[member.preprocessing]
            for view in range(len(views)):
                logits_BK, seconds = _timed_logits(member, image_BVHWC[:, view], ensemble.order_MK[number])
                forward_s += seconds if view in averaged else 0.0
                if views[view] == CENTRE:
                    centre_MNK[number, part] = logits_BK
                    centre_M_s[number] += seconds
                if view in averaged:
                    scaled_BK = torch.from_numpy(logits_BK).double() / member.temperature
                    probability_NK[part] += torch.softmax(scaled_BK, dim=1).numpy()
    return PassResult(
        probability_NK=probability_NK / (len(ensemble.members) * len(averaged)),
        centre_logits_MNK=centre_MNK,
        label_N=np.array([source.record(int(index)).label for index in index_N], dtype=np.int64),
        index_N=np.asarray(index_N),
        centre_M_s=centre_M_s,
        forward_s=forward_s,
        seconds=time.perf_counter() - started_s,
    )


def weights_bytes(ensemble: Ensemble) -> list[int]:
    """The size of each member's weights in memory, in bytes."""
    return [sum(tensor.nbytes for tensor in member.model.state_dict().values()) for member in ensemble.members]


def batch_bytes(ensemble: Ensemble, num_looks: int) -> int:
    """The size of one batch of prepared images, in bytes: every look at it for every distinct preprocessing."""
    kinds = {member.preprocessing for member in ensemble.members}
    return BATCH_SIZE * num_looks * sum(math.prod(kind.input_CHW) for kind in kinds)


def _timed_logits(member: Predictor, image_BHWC: np.ndarray, order_K: np.ndarray) -> tuple[np.ndarray, float]:
    started_s = time.perf_counter()
    logits_BK = member.predict_batch(torch.from_numpy(np.ascontiguousarray(image_BHWC)).permute(0, 3, 1, 2))
    return logits_BK.numpy()[:, order_K], time.perf_counter() - started_s


def _prepared_chunks(
    ensemble: Ensemble, source: DataSource, index_N: np.ndarray, views: Sequence[Look]
) -> Iterator[tuple[int, Prepared]]:
    """(first position, image_BVHWC by preprocessing) of each batch, read ahead on threads."""
    kinds = list(dict.fromkeys(member.preprocessing for member in ensemble.members))
    starts = range(0, len(index_N), BATCH_SIZE)
    with ThreadPoolExecutor(ensemble.members[0].runtime.num_threads, thread_name_prefix="decode") as pool:
        pending: deque[tuple[int, list[Future[list[np.ndarray]]]]] = deque()
        for start in starts:
            chunk_N = index_N[start : start + BATCH_SIZE]
            pending.append((start, [pool.submit(_prepare, source, int(i), kinds, views) for i in chunk_N]))
            if len(pending) > CHUNKS_AHEAD:
                yield _collected(pending.popleft(), kinds)
        while pending:
            yield _collected(pending.popleft(), kinds)


def _collected(chunk: tuple[int, list[Future[list[np.ndarray]]]], kinds: list[Preprocessing]) -> tuple[int, Prepared]:
    start, futures = chunk
    images = [future.result() for future in futures]
    return start, {kind: np.stack([image[number] for image in images]) for number, kind in enumerate(kinds)}


def _prepare(source: DataSource, index: int, kinds: list[Preprocessing], views: Sequence[Look]) -> list[np.ndarray]:
    content, key = source.read(index), source.record(index).key
    largest = max(look.scale for look in views)
    decoded: dict[int | None, np.ndarray] = {}
    prepared = []
    for kind in kinds:
        short_px = decoded_short_side_px(kind)
        short_px = None if short_px is None else int(np.ceil(short_px * largest))
        if short_px not in decoded:
            decoded[short_px] = decode_image(content, key, short_px).image_HWC
        prepared.append(prepare_looks(decoded[short_px], kind, views))
    return prepared
