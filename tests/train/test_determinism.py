"""Same seed, same bits, for any number of loader threads; memory that runs out changes the parts, not the batch."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saccade import api
from saccade.core.errors import TrainingError
from saccade.core.runtime import Runtime, is_out_of_memory
from saccade.core.types import Batch, Preprocessing
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.runs.log import read_events
from saccade.train.config import RunConfig
from saccade.train.micro_batches import counted_as_one
from saccade.train.step import TrainingStep

REPOSITORY = Path(__file__).parent.parent.parent
VARIED = ["augment.shift.max_px=2", "augment.mixup.alpha=0.4", "average.decay=0.9", "optimizer.name=adamw"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY)
    return importlib.import_module("campaigns.small_training")


def test_loader_threads_change_no_bit_and_the_seed_does(small: Any, tmp_path: Path):
    def fingerprint(threads: int, seed: int) -> dict[str, Any]:
        run = tmp_path / f"{threads}-{seed}"
        settings = [*small.COMMON, *VARIED, f"loader.threads={threads}", "optimizer.learning_rate=0.002"]
        api.train(api.TrainRequest(source="digits", model=small.MODEL, epochs=2, out=run, seed=seed, settings=settings))
        return small.fingerprint(run)

    one, three, other = fingerprint(1, 0), fingerprint(3, 0), fingerprint(1, 1)
    for values in (one, three, other):
        values.pop("cursor").pop("data_digest")
    assert one == three
    assert one["weights"] != other["weights"]
    assert [event["train_loss"] for event in one["log"]] != [event["train_loss"] for event in other["log"]]


def out_of_memory_above(limit: int, step: TrainingStep, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable = step._loss

    def loss(image_BCHW: torch.Tensor, *others: Any) -> Any:
        if len(image_BCHW) > limit:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"
            )
        return real(image_BCHW, *others)

    monkeypatch.setattr(step, "_loss", loss)


def test_where_memory_runs_out_the_same_batch_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch):
    pixels = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.25,))
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float64, num_threads=1)
    image_BCHW = torch.randint(0, 256, (16, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    batch = Batch(image_BCHW=image_BCHW, target=torch.arange(16) % 3, index_B=np.arange(16))

    def step(limit: int) -> TrainingStep:
        torch.manual_seed(0)
        model = resolve_model("conv 4 f3 | fc 3", ModelSpec(num_classes=3, input_CHW=(1, 8, 8))).double()
        training = TrainingStep(model, RunConfig(), pixels, runtime)
        out_of_memory_above(limit, training, monkeypatch)
        assert training.run(batch, 0, 1.0)
        return training

    whole, parted = step(16), step(5)
    assert (whole.num_micro_batches, parted.num_micro_batches) == (1, 4)
    for a, b in zip(whole.model.parameters(), parted.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    with pytest.raises(TrainingError) as caught:
        step(1)  # batch norm needs two
    assert caught.value.message == (
        "Memory ran out in a step of 2 to 3 images of 8x8 pixels at a time: [enforce fail at alloc_cpu.cpp:127] "
        "DefaultCPUAllocator: can't allocate memory: you tried.\n"
        "What was saved is intact. Free memory and run again with --resume, or start a new run with a smaller network "
        "or --set input.size_px=32."
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("could not create a primitive"),  # oneDNN, of a convolution
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_all_that_say_that_memory_ran_out_are_understood(error: BaseException):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shape '[2]' is invalid for input of size 3"), ValueError("alloc")])
def test_other_errors_are_not_about_memory(error: BaseException):
    assert not is_out_of_memory(error)


def test_parts_move_the_running_statistics_as_far_as_one_batch():
    """Equal parts: the past keeps its weight of 0.9, and all of the parts together have that of the batch."""
    torch.manual_seed(0)
    part_BCHW = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    whole, parted = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    whole(part_BCHW)
    with counted_as_one(parted, 5):
        for _ in range(5):
            parted(part_BCHW)
    torch.testing.assert_close(whole.running_mean, parted.running_mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(whole.running_var, parted.running_var, rtol=1e-12, atol=1e-14)
    assert (int(parted.num_batches_tracked), parted.momentum) == (1, 0.1)
    still = nn.BatchNorm2d(3).eval()  # as a frozen part keeps it
    with counted_as_one(still, 2):
        still(part_BCHW.float())
    assert int(still.num_batches_tracked) == 0


def test_running_out_of_memory_is_told_once_and_logged(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = TrainingStep._loss

    def loss(self: TrainingStep, image_BCHW: torch.Tensor, *others: Any) -> Any:
        if len(image_BCHW) > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(self, image_BCHW, *others)

    monkeypatch.setattr(TrainingStep, "_loss", loss)
    notes: list[str] = []

    class Listener(api.Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    request = api.TrainRequest(
        source="digits", model=small.MODEL, epochs=1, out=tmp_path / "run", settings=small.COMMON
    )
    api.train(request, Listener())
    told = [note for note in notes if "memory" in note]
    assert told == [
        "memory ran out: each batch of 32 images is now computed in 2 parts; the step is the same, "
        "but batch normalisation sees 16 images at a time"
    ]
    logged = [event for event in read_events(tmp_path / "run" / "metrics.jsonl") if event["event"] == "memory"]
    assert logged == [{"event": "memory", "step": 1, "num_micro_batches": 2}]
