"""The loader: order, batches, resume, threads, lanes, bad and stuck files, clean ends, memory."""

import gc
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.processes import PATIENCE_S

from saccade.core.errors import ConfigError, DataError, ImageError
from saccade.core.types import Batch, Preprocessing, Record
from saccade.data.augmentation_policy import AugmentConfig, get_policy
from saccade.data.images.preprocess import prepare_image
from saccade.data.loading.batch_maker import Assembly
from saccade.data.loading.loader import Loader, LoaderConfig, batch_bounds, build_loader, lane_share
from saccade.data.source import DataSource

GREY = Preprocessing(channels="grey", input_height_px=9, input_width_px=7, mean=(0.5,), std=(0.5,))
COLOUR = Preprocessing(input_height_px=9, input_width_px=7)
NO_AUGMENTATION = AugmentConfig()


class ArraySource(DataSource):
    """Random pixels; some reads fail, some hang, all are counted."""

    name = "arrays"
    digest = "0" * 64

    def __init__(self, num: int, size_HW: tuple[int, int] = (9, 7)) -> None:
        self.classes = ("left", "right", "middle")
        self.pixel_NHWC = np.random.default_rng(0).integers(0, 256, (num, *size_HW, 3), dtype=np.uint8)
        self.bad: set[int] = set()
        self.stuck: dict[int, threading.Event] = {}
        self.num_reads = 0

    def __len__(self) -> int:
        return len(self.pixel_NHWC)

    def record(self, index: int) -> Record:
        return Record(key=f"image-{index}.png", label=index % 3)

    def read(self, index: int) -> np.ndarray:
        self.num_reads += 1
        if index in self.stuck:
            self.stuck[index].wait(PATIENCE_S)
        if index in self.bad:
            raise ImageError(self.record(index).key, "is cut off")
        return self.pixel_NHWC[index]


def make(source: DataSource, preprocessing: Preprocessing = COLOUR, seed: int = 5, **values: object) -> Loader:
    config = values.pop("augmentation", NO_AUGMENTATION)
    indices = values.pop("index_N", np.arange(len(source)))
    return build_loader(source, indices, preprocessing, config, LoaderConfig.parse(values), seed)


def pixels(batch: Batch) -> np.ndarray:
    return batch.image_BCHW.permute(0, 2, 3, 1).numpy()


def snapshot(batches: Iterator[Batch]) -> list[tuple[list[int], bytes, list[int]]]:
    return [(batch.index_B.tolist(), pixels(batch).tobytes(), batch.target.tolist()) for batch in batches]


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("saccade-reader")]


def assert_ended(threads: Iterable[threading.Thread]) -> None:
    """They end by themselves: at once, where the processor has time for them."""
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(reader_threads())
    yield
    gc.collect()
    assert_ended(set(reader_threads()) - before)


def test_an_epoch_holds_every_image_once_as_evaluation_sees_it():
    source = ArraySource(23, size_HW=(20, 31))
    with make(source, batch_size=5) as loader:
        batches = list(loader.epoch(0))
    assert [len(batch.index_B) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate([batch.index_B for batch in batches]).tolist()) == list(range(23))
    for batch in batches:
        assert batch.image_BCHW.dtype == torch.uint8
        assert batch.target.dtype == torch.int64
        assert batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)
        assert batch.target.tolist() == [index % 3 for index in batch.index_B]
        for index, image_HWC in zip(batch.index_B, pixels(batch)):
            assert (image_HWC == prepare_image(source.pixel_NHWC[index], COLOUR)).all()


def test_grey_inputs_have_one_channel():
    source = ArraySource(6)
    with make(source, GREY, batch_size=6) as loader:
        (batch,) = loader.epoch(0, shuffle=False)
    assert batch.image_BCHW.shape == (6, 1, 9, 7)
    expected = np.stack([prepare_image(image, GREY) for image in source.pixel_NHWC])
    assert (pixels(batch) == expected).all()


def test_only_the_given_samples_are_loaded_and_without_shuffling_in_their_order():
    chosen = np.array([11, 3, 7, 2, 19])
    with make(ArraySource(20), batch_size=2, index_N=chosen) as loader:
        assert np.concatenate([batch.index_B for batch in loader.epoch(0, shuffle=False)]).tolist() == chosen.tolist()
        assert sorted(np.concatenate([batch.index_B for batch in loader.epoch(4)]).tolist()) == sorted(chosen)


def test_epochs_and_seeds_have_their_own_orders_and_repeat_exactly():
    def order(seed: int, epoch: int) -> list[int]:
        with make(ArraySource(40), batch_size=8, seed=seed) as loader:
            return np.concatenate([batch.index_B for batch in loader.epoch(epoch)]).tolist()

    orders = {(seed, epoch): order(seed, epoch) for seed in (1, 2) for epoch in (0, 1, 2)}
    assert len({tuple(values) for values in orders.values()}) == 6
    assert order(2, 1) == orders[2, 1]


@pytest.mark.parametrize("memory_limit_bytes", [0, 2**30])
def test_the_bits_do_not_depend_on_threads_prefetch_or_memory(memory_limit_bytes: int):
    policy = get_policy("shift-flip").config
    results = []
    for threads, prefetch in [(1, 1), (2, 3), (5, 2)]:
        settings = {"threads": threads, "prefetch_batches": prefetch, "memory_limit_bytes": memory_limit_bytes}
        with make(ArraySource(61), batch_size=7, augmentation=policy, **settings) as loader:
            results.append([snapshot(loader.epoch(epoch)) for epoch in (0, 1)])
    assert results[0] == results[1] == results[2]
    with make(ArraySource(61), batch_size=7, augmentation=policy, memory_limit_bytes=0) as loader:
        assert [snapshot(loader.epoch(epoch)) for epoch in (0, 1)] == results[0]


@pytest.mark.parametrize("first_batch", [0, 3, 8, 9])
def test_resuming_in_mid_epoch_gives_the_rest_of_the_same_epoch(first_batch: int):
    with make(ArraySource(61), batch_size=7, augmentation=get_policy("shift-flip").config) as loader:
        whole = snapshot(loader.epoch(3))
        assert len(whole) == loader.num_batches == 9
    with make(ArraySource(61), batch_size=7, augmentation=get_policy("shift-flip").config) as loader:
        assert snapshot(loader.epoch(3, first_batch=first_batch)) == whole[first_batch:]


def test_a_single_left_over_image_joins_the_batch_before_it():
    assert batch_bounds(61, 20).tolist() == [0, 20, 40, 61]
    assert batch_bounds(62, 20).tolist() == [0, 20, 40, 60, 62]
    assert batch_bounds(60, 20).tolist() == [0, 20, 40, 60]
    assert batch_bounds(3, 20).tolist() == [0, 3]
    assert batch_bounds(1, 20).tolist() == [0, 1]
    assert batch_bounds(3, 1).tolist() == [0, 1, 2, 3]
    with make(ArraySource(21), batch_size=10) as loader:
        assert [len(batch.index_B) for batch in loader.epoch(0)] == [10, 11]


@pytest.mark.parametrize("num_lanes", [2, 3])
def test_lanes_share_every_batch_in_whole_pairs_and_together_make_the_whole_batch(num_lanes: int):
    policy = get_policy("shift-flip").config
    with make(ArraySource(71), batch_size=13, augmentation=policy) as loader:
        whole = list(loader.epoch(2))
    shares = []
    for lane in range(num_lanes):
        config = {"batch_size": 13, "lanes": num_lanes, "first_lane": lane, "last_lane": lane}
        with make(ArraySource(71), augmentation=policy, **config) as loader:
            shares.append(list(loader.epoch(2)))
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert np.concatenate([part.index_B for part in parts]).tolist() == batch.index_B.tolist()
        assert (np.concatenate([pixels(part) for part in parts]) == pixels(batch)).all()
        assert all(len(part.index_B) % 2 == 0 for part in parts[:-1])
        assert min(len(part.index_B) for part in parts) >= 2


def test_every_lane_has_work_in_every_batch_for_all_sizes():
    for num_lanes in (2, 3, 5):
        for num in range(2 * num_lanes, 60):
            bounds = batch_bounds(num, 4 * num_lanes, num_lanes)
            for size in np.diff(bounds):
                shares = [lane_share(int(size), lane, num_lanes) for lane in range(num_lanes)]
                assert shares[0][0] == 0
                assert shares[-1][1] == size
                assert all(left[1] == right[0] for left, right in zip(shares, shares[1:]))
                assert min(stop - start for start, stop in shares) >= 2


def test_small_sets_are_read_once_and_large_ones_every_epoch():
    for limit, expected in [(2**20, 30), (30 * 9 * 7 * 3, 30), (30 * 9 * 7 * 3 - 1, 90)]:
        source = ArraySource(30)
        with make(source, batch_size=8, memory_limit_bytes=limit) as loader:
            for epoch in range(3):
                list(loader.epoch(epoch))
        assert source.num_reads == expected


def test_what_is_kept_in_memory_cannot_be_changed_through_a_batch():
    source = ArraySource(10)
    with make(source, batch_size=10) as loader:
        next(iter(loader.epoch(0, shuffle=False))).image_BCHW.zero_()
        (batch,) = loader.epoch(1, shuffle=False)
    assert (pixels(batch) == source.pixel_NHWC).all()


@pytest.mark.parametrize("memory_limit_bytes", [0, 2**30])
def test_a_file_that_turns_bad_ends_the_run_with_its_name(memory_limit_bytes: int):
    source = ArraySource(30)
    source.bad = {13}
    with make(source, batch_size=8, memory_limit_bytes=memory_limit_bytes) as loader:
        with pytest.raises(DataError) as error:
            list(loader.epoch(0))
    assert str(error.value) == (
        "image-13.png: is cut off\n"
        "The file cannot be read now; it may have changed since the scan.\n"
        "Repair it, or leave such files out: go on with --resume --set loader.on_bad_image=skip."
    )


@pytest.mark.parametrize("memory_limit_bytes", [0, 2**30])
def test_a_file_that_is_left_out_leaves_its_batch_and_nothing_else_changes(memory_limit_bytes: int):
    policy = get_policy("shift-flip").config
    settings = {"batch_size": 8, "memory_limit_bytes": memory_limit_bytes, "augmentation": policy}
    with make(ArraySource(150), **settings) as loader:
        good = list(loader.epoch(1))
    source = ArraySource(150)
    source.bad = {13}
    with make(source, on_bad_image="skip", **settings) as loader:
        left = list(loader.epoch(1))
        again = snapshot(loader.epoch(1))
        assert [(one.key, one.reason, one.epoch) for one in loader.left_out] == [("image-13.png", "is cut off", 1)]
    assert again == snapshot(iter(left))
    for with_all, without in zip(good, left, strict=True):
        keep = with_all.index_B != 13
        assert without.index_B.tolist() == with_all.index_B[keep].tolist()
        assert (pixels(without) == pixels(with_all)[keep]).all()


def test_more_than_one_per_cent_of_bad_files_ends_the_run():
    source = ArraySource(150)
    source.bad = {13, 14}
    with make(source, batch_size=8, on_bad_image="skip") as loader:
        with pytest.raises(DataError) as error:
            list(loader.epoch(0, shuffle=False))
    assert str(error.value) == (
        "2 of 150 images have turned unreadable, more than 1 %; the last: image-14.png: is cut off\n"
        "A disk or a network share may be failing. What was saved is intact."
    ).replace("image-14", "image-13")


def test_a_batch_that_bad_files_leave_with_one_image_ends_the_run():
    source = ArraySource(150)
    source.bad = {0}
    with make(source, batch_size=2, on_bad_image="skip") as loader:
        with pytest.raises(DataError) as error:
            list(loader.epoch(0, shuffle=False))
    assert str(error.value) == (
        "Only 1 of 2 images of a batch can be read; the first bad one: image-0.png: is cut off\n"
        "Repair the files, then run again with --resume."
    )


@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_a_file_that_is_left_out_leaves_its_lane_and_mixes_no_lane_with_another(num_processes: int):
    """Pairs are formed anew in the lane that lost an image, and in no other, whoever makes it."""
    settings = {"batch_size": 32, "lanes": 4, "on_bad_image": "skip", "augmentation": get_policy("photo-mixed").config}
    parts: list[list[Batch]] = []
    for process in range(num_processes):
        source = ArraySource(150)
        source.bad = {13}
        own = range(process * 4 // num_processes, (process + 1) * 4 // num_processes)
        with make(source, first_lane=own.start, last_lane=own.stop - 1, **settings) as loader:
            parts.append(list(loader.epoch(1)))
    source = ArraySource(150)
    with make(source, **settings) as loader:
        whole = list(loader.epoch(1))
    num_changed = 0
    for number, with_all in enumerate(whole):
        lanes = [lane for part in parts for lane in lanes_of_batch(part[number])]
        for lane, (image_BHWC, target, index_B) in zip(lanes_of_batch(with_all), lanes, strict=True):
            is_hit = 13 in lane[2]
            num_changed += is_hit
            assert index_B == [index for index in lane[2] if index != 13]
            assert is_hit or (image_BHWC.tobytes() == lane[0].tobytes() and target.tobytes() == lane[1].tobytes())
            digest = hashlib.sha256(image_BHWC.tobytes() + target.tobytes()).hexdigest()
            assert LOST_LANE.setdefault("it", digest) == digest if is_hit else True
    assert num_changed == 1


LOST_LANE: dict[str, str] = {}  # what the lane that lost an image is, whoever makes it


def lanes_of_batch(batch: Batch) -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Images, targets and indices of each lane."""
    starts = np.cumsum((0, *batch.lane_sizes))
    assert starts[-1] == len(batch.index_B)
    return [
        (pixels(batch)[start:stop], batch.target.numpy()[start:stop], batch.index_B[start:stop].tolist())
        for start, stop in pairwise(starts.tolist())
    ]


def test_a_lane_that_bad_files_leave_with_one_image_ends_the_run():
    source = ArraySource(150)
    source.bad = {2}
    with make(source, batch_size=8, lanes=4, on_bad_image="skip") as loader:
        with pytest.raises(DataError) as error:
            list(loader.epoch(0, shuffle=False))
    assert str(error.value) == (
        "Only 1 of 2 images of a lane of a batch can be read; the first bad one: image-2.png: is cut off\n"
        "Repair the files, then run again with --resume."
    )


def test_a_read_that_hangs_is_named():
    source = ArraySource(30)
    source.stuck = {17: threading.Event()}
    with make(source, batch_size=8, threads=2, timeout_s=2) as loader:
        with pytest.raises(DataError) as error:
            list(loader.epoch(0))
        source.stuck[17].set()
    assert re.sub(r"after \d+ s", "after 2 s", str(error.value), count=1) == (
        "Reading 'image-17.png' has not finished after 2 s.\n"
        "The disk or the network share it lies on may hang: try to open the file by hand.\n"
        "What was saved is intact; if the disk is only slow, go on with --resume --set loader.timeout_s=600."
    )


def test_an_error_that_nobody_expected_reaches_the_caller_and_later_epochs_work():
    source = ArraySource(30)
    failing = {"on": True}
    original = source.read

    def read(index: int) -> np.ndarray:
        if failing["on"] and index == 4:
            raise RuntimeError("a defect")
        return original(index)

    source.read = read  # type: ignore[method-assign]
    with make(source, batch_size=8) as loader:
        with pytest.raises(RuntimeError, match="^a defect$"):
            list(loader.epoch(0))
        failing["on"] = False
        assert len(list(loader.epoch(0))) == 4


def test_abandoned_epochs_leave_no_work_and_no_thread():
    source = ArraySource(400)
    loader = make(source, batch_size=4, memory_limit_bytes=0, prefetch_batches=3)
    for _ in loader.epoch(0):
        break
    gc.collect()
    time.sleep(0.2)
    reads = source.num_reads
    assert reads <= 4 * 6
    assert len(list(loader.epoch(1))) == 100
    loader.close()
    loader.close()
    assert_ended(reader_threads())
    assert len(list(loader.epoch(2))) == 100
    del loader  # the threads end with the loader that nobody closed


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see the memory in use")
def test_memory_does_not_creep():
    source = ArraySource(300, size_HW=(64, 80))
    policy = AugmentConfig.parse({"crop": {"min_area": 0.3}, "brightness": {"max_change": 0.3}, "mixup": {"alpha": 1}})
    preprocessing = Preprocessing(input_height_px=96, input_width_px=96)
    with make(source, preprocessing, batch_size=32, augmentation=policy, memory_limit_bytes=0) as loader:
        used = []
        for epoch in range(16):
            for _ in loader.epoch(epoch):
                pass
            used.append(resident_bytes())
    batch_bytes = 32 * 96 * 96 * 3
    assert used[-1] - used[5] < 4 * batch_bytes, [value >> 10 for value in used]


def test_waiting_is_measured(monkeypatch: pytest.MonkeyPatch):
    """By a clock that goes on only where a batch is waited for: 3 s the first batch, 5 s the second."""
    now_s, steps_s = [100.0], iter([3.0, 5.0])
    wait = Assembly.wait

    def slow(assembly: Assembly, timeout_s: float) -> bool:
        is_done = wait(assembly, timeout_s)
        now_s[0] += next(steps_s) if is_done else 0.0
        return is_done

    monkeypatch.setattr("saccade.data.loading.loader.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr(Assembly, "wait", slow)
    with make(ArraySource(20), batch_size=10, threads=1) as loader:
        waited_s = []
        for _ in loader.epoch(0):
            waited_s.append(loader.waited_s)
            now_s[0] += 1000  # the step that uses the batch is no waiting
    assert waited_s == [3.0, 8.0]


def test_prefetch_is_bounded():
    source = ArraySource(400)
    with make(source, batch_size=10, prefetch_batches=2, memory_limit_bytes=0) as loader:
        for number, _ in enumerate(loader.epoch(0)):
            time.sleep(0.01)
            assert source.num_reads <= 10 * (number + 1 + 3)
            if number == 5:
                break


def test_an_exception_in_the_training_step_ends_the_epoch_cleanly():
    loader = make(ArraySource(100), batch_size=4, memory_limit_bytes=0)

    def train() -> None:
        with loader:
            for _ in loader.epoch(0):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert_ended(reader_threads())


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError) as error:
        LoaderConfig.parse({"batch_size": 0})
    assert str(error.value) == "configuration: 'batch_size' must be 1 or more, not 0."
    with pytest.raises(ConfigError, match="lanes 2 to -1 are not among 2"):
        LoaderConfig.parse({"first_lane": 2, "lanes": 2})
    with pytest.raises(ConfigError, match="batch_size must be at least two images for each of 4 lanes"):
        LoaderConfig.parse({"batch_size": 6, "lanes": 4})
    with pytest.raises(DataError) as data_error:
        make(ArraySource(5), batch_size=8, lanes=3)
    assert str(data_error.value) == (
        "'arrays' gives 5 images to load, but 6 are needed for 3 lanes, two for each.\n"
        "Add images, or start a new run with a lower scale.lanes."
    )


def test_every_setting_is_described():
    assert all(field.description for field in LoaderConfig.model_fields.values())
