"""Making one batch: its images are read in parallel, each into its own row, then finished together."""

import threading

import numpy as np
import torch

from ..core.errors import ImageError
from ..core.types import Batch
from .augmenter import Augmenter, Plan
from .base import DataSource
from .decode import decode_image
from .readers import Readers


class BatchMaker:
    """Knows how an image of `source` becomes a row of a batch.

    A set whose images all fit into `memory_limit_bytes` at the input size is decoded once and kept as uint8; the
    memory is taken as the images come. Positions count within `index_N`, indices within the source.
    """

    def __init__(self, source: DataSource, index_N: np.ndarray, augmenter: Augmenter, memory_limit_bytes: int) -> None:
        self.source = source
        self.augmenter = augmenter
        self.index_N = np.array(index_N, dtype=np.int64)
        self.label_N = np.fromiter((source.record(int(i)).label for i in index_N), np.int64, len(index_N))
        channels, height, width = augmenter.preprocessing.input_CHW
        self._image_HWC = (height, width, channels)
        fits = len(index_N) * height * width * channels <= memory_limit_bytes
        self._kept_NHWC = np.empty((len(index_N), *self._image_HWC), np.uint8) if fits else None
        self._is_kept_N = np.zeros(len(index_N), dtype=bool)

    def rows(self, position_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A uint8 block image_XHWC and the row_B of it that hold, or are to hold, the samples."""
        if self._kept_NHWC is not None:
            return self._kept_NHWC, position_B
        return np.empty((len(position_B), *self._image_HWC), np.uint8), np.arange(len(position_B))

    def missing(self, position_B: np.ndarray) -> np.ndarray:
        """Which of the B samples must be read, as places in the batch, int64."""
        return np.flatnonzero(~self._is_kept_N[position_B])

    def make(self, position: int, row_HWC: np.ndarray, readers: Readers) -> None:
        """Read, decode and render one sample into its row. Raises ImageError naming the file."""
        index = int(self.index_N[position])
        key = self.source.record(index).key
        with readers.reading(key):
            image_HWC = decode_image(self.source.read(index), key).image_HWC
            row_HWC[...] = self.augmenter.render(image_HWC)
        if self._kept_NHWC is not None:
            self._is_kept_N[position] = True  # last: a row counts only when it is whole


class Assembly:
    """One batch on its way. `start` queues the work, `wait` and `batch` collect it."""

    def __init__(self, maker: BatchMaker, epoch: int, position_B: np.ndarray) -> None:
        self.position_B = position_B
        self._maker = maker
        self._epoch = epoch
        self._block_XHWC, self._row_B = maker.rows(position_B)
        self._bad: dict[int, ImageError] = {}
        self._error: BaseException | None = None
        self._batch: Batch | None = None
        self._is_cancelled = False
        self._num_jobs = 0
        self._lock = threading.Lock()
        self._is_done = threading.Event()

    def start(self, readers: Readers) -> None:
        """Queue the work: one job on every thread, or a single one where every image is in memory."""
        missing = self._maker.missing(self.position_B)
        shares = [share for share in np.array_split(missing, readers.num_threads) if len(share)] or [missing]
        self._num_jobs = len(shares)
        for share in shares:
            readers.submit(lambda share=share: self._work(share, readers))  # type: ignore[misc]

    def cancel(self) -> None:
        """Do no more work than the images in hand."""
        self._is_cancelled = True

    def wait(self, timeout_s: float) -> bool:
        """Whether the batch is done, after `timeout_s` seconds at most."""
        return self._is_done.wait(timeout_s)

    def bad_images(self) -> list[ImageError]:
        """The errors of the images that could not be read, in the order of the batch."""
        return [self._bad[place] for place in sorted(self._bad)]

    def batch(self) -> Batch:
        """The finished batch without its bad images. Raises what went wrong on a reading thread."""
        if self._error is not None:
            raise self._error
        if self._batch is None:
            raise RuntimeError("the batch was cancelled, or all of its images are bad")
        return self._batch

    def _work(self, share: np.ndarray, readers: Readers) -> None:
        try:
            for place in share:
                if self._is_cancelled:
                    break
                self._make(int(place), readers)
        except BaseException as error:  # noqa: BLE001  raised again by `batch`, on the thread that asked for it
            self._error = error
        finally:
            self._leave()

    def _make(self, place: int, readers: Readers) -> None:
        try:
            self._maker.make(int(self.position_B[place]), self._block_XHWC[self._row_B[place]], readers)
        except ImageError as error:
            self._bad[place] = error

    def _leave(self) -> None:
        """The last job of a batch finishes it."""
        with self._lock:
            self._num_jobs -= 1
            is_last = self._num_jobs == 0
        if not is_last:
            return
        try:
            if self._error is None and not self._is_cancelled:
                self._finish()
        except BaseException as error:  # noqa: BLE001  raised again by `batch`, on the thread that asked for it
            self._error = error
        finally:
            self._is_done.set()

    def _finish(self) -> None:
        good_B = np.setdiff1d(np.arange(len(self.position_B)), list(self._bad))
        if not len(good_B):
            return
        position_B = self.position_B[good_B]
        image_BHWC = np.take(self._block_XHWC, self._row_B[good_B], axis=0)
        plan: Plan = self._maker.augmenter.plan(self._epoch, self._maker.index_N[position_B])
        image_BHWC = self._maker.augmenter.finish(plan, image_BHWC)
        self._batch = Batch(
            image_BCHW=torch.from_numpy(image_BHWC).permute(0, 3, 1, 2),
            target=torch.from_numpy(self._maker.label_N[position_B]),
            index_B=plan.index_B,
        )
