"""Making one batch: its images are read in parallel, each into its own row, then finished together."""

import threading

import numpy as np
import torch

from ...core.errors import ImageError
from ...core.types import Batch
from ..augmenter import Augmenter, Plan
from ..images.bands import network_pixels
from ..images.decode import decode_image
from ..images.preprocess import decoded_short_side_px, prepare_image, refuse_large_resize
from ..labels import labels_of
from ..source import DataSource
from .order import Order
from .reader_threads import Readers


class BatchMaker:
    """Knows how an image of `source` becomes a row of a batch.

    A set that fits into `memory_limit_bytes` is decoded once and kept as uint8 (bands of 16 bits: uint16), at the input
    size where augmentation does not resample the source pixels, else at the source's size. Memory is taken as the
    images come. Positions count within `index_N`, indices within the source.
    """

    def __init__(self, source: DataSource, index_N: np.ndarray, augmenter: Augmenter, memory_limit_bytes: int) -> None:
        self.source = source
        self.augmenter = augmenter
        self.index_N = np.array(index_N, dtype=np.int64)
        self.label_N = labels_of(source, index_N)  # label_NK of several labels
        self._white = augmenter.preprocessing.white_16_bit
        channels, height, width = augmenter.preprocessing.input_CHW
        self._image_HWC = (height, width, channels)
        self._pixel_type = augmenter.preprocessing.pixel_type
        self._prepared_NHWC: np.ndarray | None = None
        self._is_prepared_N = np.zeros(len(index_N), dtype=bool)
        self._decoded: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._bytes_left = 0
        if augmenter.sees_source:
            self._bytes_left = memory_limit_bytes if self._decoded_bytes() <= memory_limit_bytes else 0
        elif len(index_N) * height * width * channels * np.dtype(self._pixel_type).itemsize <= memory_limit_bytes:
            self._prepared_NHWC = np.empty((len(index_N), *self._image_HWC), self._pixel_type)
        self._decodes_whole = self._bytes_left > 0  # what is kept serves every crop, so it has the full size

    @property
    def keeps_prepared(self) -> bool:
        """Whether rows belong to a memory that outlives the batch."""
        return self._prepared_NHWC is not None

    def all_prepared(self) -> np.ndarray | None:
        """All images at the input size, uint8 (N, H, W, C), once each of them has been made; not to be written to."""
        return self._prepared_NHWC if self._is_prepared_N.all() else None

    def rows(self, position_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A block image_XHWC of prepared pixels and the row_B of it that hold, or are to hold, the samples."""
        if self._prepared_NHWC is not None:
            return self._prepared_NHWC, position_B
        return np.empty((len(position_B), *self._image_HWC), self._pixel_type), np.arange(len(position_B))

    def missing(self, position_B: np.ndarray) -> np.ndarray:
        """Which of the B samples must be made, as places in the batch, int64."""
        return np.flatnonzero(~self._is_prepared_N[position_B])

    def make(self, position: int, row_HWC: np.ndarray, plan: Plan, row: int) -> None:
        """Read, decode and render one sample into its row. Raises ImageError naming the file."""
        if self.augmenter.sees_source:
            self.augmenter.render(self._source_pixels(position, plan, row), plan, row, row_HWC)
            return
        preprocessing = self.augmenter.preprocessing
        image_HWC = self._decode(position, decoded_short_side_px(preprocessing))
        refuse_large_resize(self.key(position), image_HWC.shape[:2], preprocessing)
        row_HWC[...] = prepare_image(image_HWC, preprocessing)
        if self._prepared_NHWC is not None:
            self._is_prepared_N[position] = True  # last: a row counts only when it is whole

    def plan(self, epoch: int, order: Order) -> Plan:
        """What will happen to the samples of a batch in `epoch`."""
        index_B = self.index_N[order.position_N]
        return self.augmenter.plan(epoch, index_B, order.draw_index(index_B, len(self.source)))

    def key(self, position: int) -> str:
        """The name of a sample, for messages."""
        return self.source.record(int(self.index_N[position])).key

    def _source_pixels(self, position: int, plan: Plan, row: int) -> np.ndarray:
        if position in self._decoded:
            return self._decoded[position]
        content, key = self.source.read(int(self.index_N[position])), self.key(position)
        if not self._decodes_whole:
            return self.augmenter.read(content, key, plan, row)
        pixels_HWC = self.augmenter.read_whole(content, key)
        with self._lock:
            if position not in self._decoded and self._bytes_left >= pixels_HWC.nbytes:
                self._bytes_left -= pixels_HWC.nbytes
                self._decoded[position] = pixels_HWC
        return pixels_HWC

    def _decode(self, position: int, short_side_px: int | None) -> np.ndarray:
        content = self.source.read(int(self.index_N[position]))
        key = self.key(position)
        return network_pixels(decode_image(content, key, short_side_px, self._white), key, self.augmenter.preprocessing)

    def _decoded_bytes(self) -> int:
        """About what the decoded set takes, judged by its first image that can be read."""
        for position in range(min(16, len(self.index_N))):
            try:
                content = self.source.read(int(self.index_N[position]))
                return len(self.index_N) * self.augmenter.read_whole(content, self.key(position)).nbytes
            except ImageError:
                continue  # it is reported when its batch is made
        return 0


class Assembly:
    """One batch on its way. `start` queues the work, `wait` and `batch` collect it."""

    def __init__(self, maker: BatchMaker, epoch: int, order: Order, lane_sizes: tuple[int, ...] = ()) -> None:
        self.position_B = position_B = order.position_N
        self.lane_sizes = lane_sizes or (len(position_B),)
        self._order = order
        self._maker = maker
        self._epoch = epoch
        self._block_XHWC, self._row_B = maker.rows(position_B)
        self._bad: dict[int, ImageError] = {}
        self._error: BaseException | None = None
        self._plan: Plan | None = None
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

    def lane_sizes_left(self) -> tuple[int, ...]:
        """How many images of each lane could be read."""
        lane_B = np.repeat(np.arange(len(self.lane_sizes)), self.lane_sizes)
        good_B = np.setdiff1d(np.arange(len(lane_B)), list(self._bad))
        return tuple(np.bincount(lane_B[good_B], minlength=len(self.lane_sizes)).tolist())

    def batch(self) -> Batch:
        """The finished batch without its bad images. Raises what went wrong on a reading thread."""
        if self._error is not None:
            raise self._error
        if self._batch is None:
            raise RuntimeError("the batch was cancelled, or all of its images are bad")
        return self._batch

    def _work(self, share: np.ndarray, readers: Readers) -> None:
        try:
            plan = self._planned()
            for place in share.tolist():
                if self._is_cancelled:
                    break
                with readers.reading(self._maker.key(int(self.position_B[place]))):
                    self._make(place, plan)
        except BaseException as error:  # noqa: BLE001  raised again by `batch`, on the thread that asked for it
            self._error = error
        finally:
            self._leave()

    def _planned(self) -> Plan:
        """What will happen to the samples: drawn by the first job that asks, not by the thread that trains."""
        with self._lock:
            if self._plan is None:
                self._plan = self._maker.plan(self._epoch, self._order)
            return self._plan

    def _make(self, place: int, plan: Plan) -> None:
        try:
            self._maker.make(int(self.position_B[place]), self._block_XHWC[self._row_B[place]], plan, place)
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
        plan, position_B, row_B = self._planned(), self.position_B, self._row_B
        lane_sizes = self.lane_sizes
        if self._bad:
            good_B = np.setdiff1d(np.arange(len(position_B)), list(self._bad))
            plan, position_B, row_B = plan.take(good_B), position_B[good_B], row_B[good_B]
            lane_sizes = self.lane_sizes_left()
        if not len(position_B):
            return
        is_whole = len(row_B) == len(self._block_XHWC) and not self._maker.keeps_prepared
        image_BHWC = self._block_XHWC if is_whole else np.take(self._block_XHWC, row_B, axis=0)
        num_classes = len(self._maker.source.classes)
        image_BHWC, target = self._maker.augmenter.finish(
            plan, image_BHWC, self._maker.label_N[position_B], num_classes, lane_sizes
        )
        self._batch = Batch(
            image_BCHW=torch.from_numpy(image_BHWC).permute(0, 3, 1, 2),
            target=torch.from_numpy(target),
            index_B=plan.index_B,
            lane_sizes=lane_sizes,
        )
