"""Small sets on the device: the bits of the reading threads, without them."""

import threading

import numpy as np
import pytest
import torch

from saccade.core.errors import ImageError
from saccade.core.types import Batch, Preprocessing, Record
from saccade.data.augmentation_policy import AugmentConfig, get_policy
from saccade.data.loading.loader import Loader, LoaderConfig, build_loader
from saccade.data.source import DataSource

DEVICES = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
SIZES = {"rgb": (0.3, 0.5, 0.7), "grey": (0.4,)}


class ArraySource(DataSource):
    """Random pixels; the read of `bad` fails."""

    name, digest, classes = "arrays", "0" * 64, ("left", "right")

    def __init__(self, bad: int = -1) -> None:
        self.pixel_NHWC = np.random.default_rng(1).integers(0, 256, (37, 12, 10, 3), dtype=np.uint8)
        self.bad, self.num_reads = bad, 0

    def __len__(self) -> int:
        return len(self.pixel_NHWC)

    def record(self, index: int) -> Record:
        return Record(key=f"image-{index}.png", label=index % 2)

    def read(self, index: int) -> np.ndarray:
        self.num_reads += 1
        if index == self.bad:
            raise ImageError(self.record(index).key, "is cut off")
        return self.pixel_NHWC[index]


def make(source: DataSource, config: AugmentConfig, channels: str = "rgb", **values: object) -> Loader:
    mean = SIZES[channels]
    preprocessing = Preprocessing(
        channels=channels, input_height_px=12, input_width_px=10, mean=mean, std=(0.2,) * len(mean)
    )
    return build_loader(source, np.arange(len(source)), preprocessing, config, LoaderConfig.parse(values), seed=3)


def same(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.image_BCHW.cpu(), second.image_BCHW)
        and first.image_BCHW.is_contiguous(memory_format=torch.channels_last)
        and torch.equal(first.target, second.target)
        and (first.index_B == second.index_B).all()
    )


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("channels", SIZES)
@pytest.mark.parametrize("border", ["reflect", "edge", "mean", "black"])
@pytest.mark.parametrize("policy", ["none", "shift-flip", "airbench", "cutout"])
def test_batches_made_on_the_device_have_the_bits_of_those_made_by_threads(policy, border, channels, device):
    values = get_policy(policy).config.model_copy(update={"border": border})
    config = AugmentConfig.parse(values.model_dump() | {"cutout": {"size_px": 5 if policy == "cutout" else 0}}, "test")
    source = ArraySource()
    with make(source, config, channels, batch_size=8) as plain, make(source, config, channels, batch_size=8) as kept:
        kept.keep_on(device)
        for epoch in range(3):
            first_batch = epoch // 2  # the last one as a resumed run sees it
            pairs = list(zip(kept.epoch(epoch, first_batch), plain.epoch(epoch, first_batch), strict=True))
            assert all(same(on_device, made) for on_device, made in pairs)
            assert len(pairs) == plain.num_batches - first_batch
            assert epoch == 0 or all(on_device.image_BCHW.device.type == device.type for on_device, _ in pairs)


def test_nothing_is_read_and_no_thread_runs_once_the_set_is_on_the_device():
    source = ArraySource()
    with make(source, get_policy("shift-flip").config, batch_size=8) as loader:
        loader.keep_on(torch.device("cpu"))
        list(loader.epoch(0))
        num_reads = source.num_reads
        loader.close()
        list(loader.epoch(1))
        assert source.num_reads == num_reads == len(source)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("saccade-reader")]


def test_processes_on_the_device_share_every_batch():
    source, config = ArraySource(), get_policy("airbench").config
    with (
        make(source, config, batch_size=8) as whole,
        make(source, config, batch_size=8, lanes=2, last_lane=0) as first,
        make(source, config, batch_size=8, lanes=2, first_lane=1) as second,
    ):
        for loader in (first, second):
            loader.keep_on(torch.device("cpu"))
        for epoch in range(12):
            for expected, left, right in zip(whole.epoch(epoch), first.epoch(epoch), second.epoch(epoch), strict=True):
                assert torch.equal(expected.image_BCHW, torch.cat([left.image_BCHW, right.image_BCHW]))
        assert first._resident is not None
        assert second._resident is not None


@pytest.mark.parametrize("policy", ["photo", "photo-mixed", "handwriting"])
def test_what_does_arithmetic_on_pixels_stays_with_the_threads(policy: str):
    with make(ArraySource(), get_policy(policy).config, batch_size=8) as loader:
        loader.keep_on(torch.device("cpu"))
        for epoch in range(2):
            list(loader.epoch(epoch))
        assert loader._resident is None


@pytest.mark.parametrize("reason", ["a bad file", "too little memory", "a full device"])
def test_a_set_that_is_not_whole_or_too_large_is_not_kept_there(reason: str, monkeypatch: pytest.MonkeyPatch):
    values: dict[str, object] = {"batch_size": 8, "on_bad_image": "skip"}
    if reason == "too little memory":
        values["memory_limit_bytes"] = 1000
    if reason == "a full device":
        monkeypatch.setattr(
            "saccade.data.loading.loader.has_room", lambda device, num_bytes: num_bytes < 37 * 12 * 10 * 3
        )
    with make(ArraySource(bad=5 if reason == "a bad file" else -1), AugmentConfig(), **values) as loader:
        loader.keep_on(torch.device("cpu"))
        for epoch in range(2):
            assert sum(len(batch.target) for batch in loader.epoch(epoch)) == 37 - (reason == "a bad file")
        assert loader._resident is None
