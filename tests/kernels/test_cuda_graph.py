"""Recorded steps: what is decided around a recording, with a stand-in that repeats the step's arithmetic on request."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.kernels.cuda_graph import CudaRecorder, GradientGraphs, Outcome
from saccade.train.config import RunConfig
from saccade.train.loop import _take_step
from saccade.train.state import Cursor
from saccade.train.step import TrainingStep

GREY = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))
CPU = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1)


class StandIn:
    """Keeps the tensors of the first call and fills them anew at each replay, as a recording does."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.num_replays = 0
        self.num_forgotten = 0

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        outcome = call()
        gradients = self.take()

        def replay() -> None:
            self.num_replays += 1
            kept = [*outcome, *(gradient for gradient in gradients if gradient is not None)]
            again = [*call(), *(gradient for gradient in self.take() if gradient is not None)]
            with torch.no_grad():
                torch._foreach_copy_(kept, again)
            self.spoil(gradients)

        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return outcome, replay

    def forget(self) -> None:
        self.num_forgotten += 1

    def take(self) -> list[torch.Tensor | None]:
        gradients = [parameter.grad for parameter in self.network.parameters()]
        for parameter in self.network.parameters():
            parameter.grad = None
        return gradients

    def spoil(self, gradients: list[torch.Tensor | None]) -> None:
        """What a broken GPU would do."""


class Spoiling(StandIn):
    def spoil(self, gradients: list[torch.Tensor | None]) -> None:
        assert gradients[0] is not None
        gradients[0].zero_()


class Refusing(StandIn):
    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        call()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with `TORCH_USE...`")


def make_network() -> nn.Sequential:
    """With statistics and with dropout, which a repeated step must draw and count as before."""
    first = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.AdaptiveMaxPool2d(4)]
    return nn.Sequential(*first, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3))


def make_training(recorder: type[StandIn] | None, settings: tuple[str, ...] = ()) -> tuple[TrainingStep, StandIn]:
    torch.manual_seed(0)
    network = make_network()
    training = TrainingStep(network, RunConfig().with_overrides(["batch_size=8", *settings]), GREY, CPU)
    stand_in = (recorder or StandIn)(network)
    if recorder:
        training.graphs = GradientGraphs(training._gradients, list(network.parameters()), stand_in)
    return training, stand_in


class Stage(SimpleNamespace):
    """What a step of the loop asks of its plan."""


class Listener:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def make_batch(number: int, num_images: int = 8) -> Batch:
    draw = np.random.default_rng(number)
    image_BCHW = torch.from_numpy(draw.integers(0, 256, (num_images, 1, 8, 8), dtype=np.uint8))
    return Batch(image_BCHW=image_BCHW, target=torch.arange(num_images) % 3, index_B=np.arange(num_images))


def take_steps(training: TrainingStep, sizes: list[int]) -> list[float]:
    """The losses of steps with batches of these sizes."""
    losses = []
    for number, size in enumerate(sizes):
        before = float(training.totals.loss_sum)
        assert training.run(make_batch(number, size), number, 1.0)
        losses.append(float(training.totals.loss_sum) - before)
    return losses


def assert_same_weights(one: TrainingStep, other: TrainingStep) -> None:
    for (name, a), b in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("settings", [(), ("accumulate=2",), ("optimizer.clip_norm=0.1",), ("optimizer.name=muon",)])
def test_replayed_steps_are_the_steps_that_they_replace(settings: tuple[str, ...]):
    plain, _ = make_training(None, settings)
    recorded, stand_in = make_training(StandIn, settings)
    sizes = [8, 8, 8, 5] * 4
    assert take_steps(recorded, sizes) == take_steps(plain, sizes)
    assert_same_weights(recorded, plain)
    assert recorded.graphs is not None
    assert recorded.graphs.num_recordings == 2  # batches of 8, and of 5 at their third coming
    assert stand_in.num_replays == (1 + 9) + (1 + 1)  # one each to check, then one each time
    assert recorded.graphs.refusal == ""


def test_a_replay_that_differs_is_not_used():
    plain, _ = make_training(None)
    spoiled, _ = make_training(Spoiling)
    assert take_steps(spoiled, [8] * 6) == take_steps(plain, [8] * 6)
    assert_same_weights(spoiled, plain)
    assert spoiled.graphs is not None
    assert spoiled.graphs.num_recordings == 0
    loss = spoiled.graphs.refusal.split(" ")[4].rstrip(",")
    share = spoiled.graphs.refusal.rsplit(" ", 5)[1]
    assert spoiled.graphs.refusal == (
        f"the replay's loss is {loss}, not {loss}, and its gradients differ by {share} % of their norm"
    )
    assert 5 < float(share) < 100


def test_a_recording_that_fails_leaves_the_step_as_it_was_and_is_told_once():
    plain, _ = make_training(None)
    failing, _ = make_training(Refusing)
    assert take_steps(failing, [8] * 6) == take_steps(plain, [8] * 6)
    assert_same_weights(failing, plain)
    progress = Listener()
    plan = Stage(train=Stage(num_batches=10), progress=progress)
    for number in (6, 7):
        _take_step(failing, plan, Cursor(step=number), make_batch(number))  # type: ignore[arg-type]
    assert progress.notes == [
        "CUDA graphs are off from here on, which costs time and nothing else: "
        "CUDA error: operation not permitted when stream is capturing"
    ]
    assert failing.graphs is None


def test_recordings_make_room_where_memory_runs_out_and_the_step_keeps_its_parts(monkeypatch: pytest.MonkeyPatch):
    plain, _ = make_training(None)
    recorded, stand_in = make_training(StandIn)
    assert recorded.graphs is not None
    real = recorded._gradients

    def scarce(image_BCHW: torch.Tensor, target: torch.Tensor) -> Outcome:
        if len(image_BCHW) == 5 and not stand_in.num_forgotten:
            real(image_BCHW, target)  # memory runs out behind the forward pass
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(image_BCHW, target)

    monkeypatch.setattr(recorded.graphs, "_compute", scarce)
    sizes = [8] * 4 + [5] + [8] * 4
    assert take_steps(recorded, sizes) == take_steps(plain, sizes)
    assert_same_weights(recorded, plain)
    assert recorded.num_micro_batches == 1
    assert (stand_in.num_forgotten, stand_in.num_replays) == (1, 2)
    assert recorded.graphs.refusal == "they left too little memory for batches of another size"


def test_another_state_is_recorded_anew():
    plain, _ = make_training(None, ("input.start_fraction=0.5", "epochs=2", "input.full_from_fraction=0.5"))
    recorded, stand_in = make_training(
        StandIn, ("input.start_fraction=0.5", "epochs=2", "input.full_from_fraction=0.5")
    )
    for training in (plain, recorded):
        for epoch in range(2):
            training.set_epoch(epoch)
            take_steps(training, [8] * 5)
    assert_same_weights(recorded, plain)
    assert stand_in.num_replays == 2 * (1 + 2)
    assert stand_in.num_forgotten == 1


def test_a_loss_that_is_not_finite_is_not_recorded_and_refuses_nothing(monkeypatch: pytest.MonkeyPatch):
    training, stand_in = make_training(StandIn)
    real = training._inputs
    monkeypatch.setattr(training, "_inputs", lambda image_BCHW: real(image_BCHW) * float("inf"))
    assert not any(training.run(make_batch(number), number, 1.0) for number in range(5))
    assert training.graphs is not None
    assert (training.graphs.num_recordings, training.graphs.refusal, stand_in.num_replays) == (0, "", 0)
    monkeypatch.undo()
    take_steps(training, [8] * 2)
    assert training.graphs.num_recordings == 1


CARD = torch.device("cuda")
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")


def make_card_training(network: nn.Module, settings: str = "", cuda_graphs: bool = True) -> TrainingStep:
    precision = torch.bfloat16 if "bfloat16" in settings else torch.float32
    runtime = Runtime(device=CARD, precision=precision, num_threads=1, cuda_graphs=cuda_graphs)
    return TrainingStep(network, RunConfig().with_overrides(["batch_size=8", *settings.split()]), GREY, runtime)


@needs_card
@pytest.mark.parametrize("settings", ["", "runtime.precision=bfloat16", "accumulate=2", "optimizer.clip_norm=0.1"])
def test_a_card_replays_what_it_computes(settings: str):
    losses = {}
    for cuda_graphs in (False, True):
        torch.manual_seed(0)
        training = make_card_training(make_network(), f"{settings} optimizer.learning_rate=0.001", cuda_graphs)
        losses[cuda_graphs] = take_steps(training, [8] * 4 + [5] + [8] * 3)
    assert training.graphs is not None
    assert isinstance(training.graphs._recorder, CudaRecorder)
    assert (training.graphs.num_recordings, training.graphs.refusal) == (1, "")
    assert losses[True] == pytest.approx(losses[False], rel=1e-2)


class Waiting(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * (1 + 0 * value.detach().sum().item())


@needs_card
def test_a_card_that_cannot_record_goes_on_as_before():
    training = make_card_training(nn.Sequential(Waiting(), make_network()))
    take_steps(training, [8] * 6)
    assert training.graphs is not None
    assert training.graphs.num_recordings == 0
    assert "synchronizing" in training.graphs.refusal
    assert torch.cuda.current_stream(CARD) == torch.cuda.default_stream(CARD)
    assert torch.cuda.get_sync_debug_mode() == 0


@needs_card
def test_a_recording_that_breaks_off_leaves_a_card_as_it_was():
    training = make_card_training(make_network())
    take_steps(training, [8])
    recorder = CudaRecorder(CARD)

    def broken() -> Outcome:
        torch.nn.functional.dropout(torch.ones(8, device=CARD))
        raise ValueError("for a reason")

    with pytest.raises(ValueError, match="for a reason"):
        recorder.record(broken)
    assert torch.cuda.current_stream(CARD) == torch.cuda.default_stream(CARD)
    take_steps(training, [8] * 6)  # with dropout, whose random numbers the broken recording had registered
    assert training.graphs is not None
    assert (training.graphs.num_recordings, training.graphs.refusal) == (1, "")
