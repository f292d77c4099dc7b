"""CUDA graphs: the gradients of a step are recorded once, kernels and all, and launched as one piece from then on.

A GPU finishes the kernels of a small network faster than Python can launch them. A recording (torch's notes on CUDA
semantics, section "CUDA Graphs") repeats them on the same memory, so batches are copied to where the recorded one lay,
and what a recording cannot know of, such as the size of growing images or parts that thaw, is named by its `state`.

Nothing recorded is trusted unseen: its first replay is compared with the same step taken launch by launch. Where it
differs, or where recording fails, training goes on without and says why.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

Compute = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Outcome = tuple[torch.Tensor, torch.Tensor]

STEPS_BEFORE = (
    2  # of one shape that are taken launch by launch: the last batch of an epoch is mostly alone in its shape
)
MAX_LOSS_DIFFERENCE = 1e-3  # of the loss: kernels that add up in any order, in bfloat16, differ by less
MAX_GRADIENT_DIFFERENCE = 0.05  # of the gradients' norm


class Recorder(Protocol):
    """What records: a GPU, or a test's stand-in."""

    def aside(self) -> AbstractContextManager[None]:
        """Where a step is taken whose kernels shall be known and whose memory shall lie ready before recording."""

    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """What `call` will have given after each call of the function beside it, in the same tensors every time."""


class CudaRecorder:
    """torch's CUDA graphs, all of them in one pool of memory: no two run at a time, and no output outlives its step."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def aside(self) -> AbstractContextManager[None]:
        """A stream of its own, as backward passes insist on the stream of their forward pass."""
        return _OwnStream(self._stream)

    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """See the protocol. Other threads, such as those that read images, may use the GPU meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            outcome = call()
        return outcome, graph.replay


class _OwnStream:
    """While entered, work goes to `stream`, behind all that was asked for before; what follows waits for it."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._context = torch.cuda.stream(stream)

    def __enter__(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        self._context.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(*exception)
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """A step on memory of its own: what goes in, what comes out, and the gradients of the parameters that have one."""

    image_BCHW: torch.Tensor
    target: torch.Tensor
    outcome: Outcome
    gradients: list[torch.Tensor | None]
    replay: Callable[[], None]


class GradientGraphs:
    """`compute` for batches of any shape, replayed where the shape has come before.

    `compute` takes (image_BCHW uint8, target), leaves gradients in `parameters` and gives (loss, number right).
    `refusal` says in words why nothing is recorded any more; it is empty as long as all is well.
    """

    def __init__(self, compute: Compute, parameters: list[nn.Parameter], recorder: Recorder) -> None:
        self.refusal = ""
        self._compute = compute
        self._parameters = parameters
        self._recorder = recorder
        self._state: Hashable = None
        self._recordings: dict[Hashable, _Recording] = {}
        self._num_seen: Counter[Hashable] = Counter()

    @property
    def num_recordings(self) -> int:
        """How many shapes of batches are replayed at present."""
        return len(self._recordings)

    def gradients(
        self, image_BCHW: torch.Tensor, target: torch.Tensor, state: Hashable, begin: Callable[[], None]
    ) -> Outcome:
        """The loss and the number right of a batch, its gradients in the parameters.

        `state` names all that decides which kernels run and is no tensor; `begin` puts seeds, statistics and gradients
        to where they stood before the step. Raises what `compute` raises.
        """
        if state != self._state:
            self._state = state
            self._recordings.clear()
            self._num_seen.clear()
        key = (image_BCHW.shape, image_BCHW.stride(), target.shape, target.dtype)
        begin()
        recording = self._recordings.get(key)
        if recording is not None:
            return self._replay(recording, image_BCHW, target)
        self._num_seen[key] += 1
        if not self.refusal and self._num_seen[key] > STEPS_BEFORE:
            try:
                self._record(key, image_BCHW, target, begin)
            except (RuntimeError, MemoryError) as error:
                self._refuse(str(error).strip().partition("\n")[0] or type(error).__name__)
            begin()
        return self._compute(image_BCHW, target)

    def _replay(self, recording: _Recording, image_BCHW: torch.Tensor, target: torch.Tensor) -> Outcome:
        recording.image_BCHW.copy_(image_BCHW, non_blocking=True)
        recording.target.copy_(target, non_blocking=True)
        recording.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.outcome

    def _record(self, key: Hashable, image_BCHW: torch.Tensor, target: torch.Tensor, begin: Callable[[], None]) -> None:
        """Record the step on this batch and keep the recording if it does what the step does."""
        held_BCHW, held_target = image_BCHW.clone(), target.clone()

        def call() -> Outcome:
            return self._compute(held_BCHW, held_target)

        with self._recorder.aside():
            loss, _ = call()
            expected = [None if p.grad is None else p.grad.clone() for p in self._parameters]
        if not bool(torch.isfinite(loss)):
            return  # nothing can be compared with it; the next step tries again
        begin()  # gradients that are not there yet are made in the recording's memory
        outcome, replay = self._recorder.record(call)
        recording = _Recording(
            image_BCHW=held_BCHW,
            target=held_target,
            outcome=outcome,
            gradients=[parameter.grad for parameter in self._parameters],
            replay=replay,
        )
        begin()
        again, _ = self._replay(recording, image_BCHW, target)
        difference = _difference(expected, recording.gradients)
        if not (abs(float(again - loss)) <= MAX_LOSS_DIFFERENCE * abs(float(loss))) or not (
            difference <= MAX_GRADIENT_DIFFERENCE
        ):
            self._refuse(
                f"the replay's loss is {float(again):.6g}, not {float(loss):.6g}, and its gradients differ by "
                f"{100 * difference:.2g} % of their norm"
            )
            return
        self._recordings[key] = recording

    def _refuse(self, reason: str) -> None:
        self._recordings.clear()
        self.refusal = reason


def _difference(expected: list[torch.Tensor | None], found: list[torch.Tensor | None]) -> float:
    """The norm of the difference of two lists of gradients over that of the first; infinite where they do not match."""
    if [gradient is None for gradient in expected] != [gradient is None for gradient in found]:
        return float("inf")
    pairs = [(a.float(), b.float()) for a, b in zip(expected, found, strict=True) if a is not None and b is not None]
    if not pairs:
        return 0.0
    distance = torch.stack([(a - b).norm() for a, b in pairs]).norm()
    return float(distance / torch.stack([a.norm() for a, _ in pairs]).norm().clamp(min=1e-30))
