"""CUDA graphs: the gradients of a step are recorded once, kernels and all, and launched as one piece from then on.

A GPU finishes the kernels of a small network faster than Python can launch them. A recording (torch's notes on CUDA
semantics, section "CUDA Graphs") repeats them on the same memory, so batches are copied to where the recorded one lay,
and what a recording cannot know of, such as the size of growing images or parts that thaw, is named by its `state`.

Nothing recorded is trusted unseen: its first replay is compared with the same step taken launch by launch. Where it
differs, or where recording fails, training goes on without and says why. On with `runtime.cuda_graphs`. What it is
worth is not known: it has never met a card (`benchmarks/train_throughput_gpu.py` measures it).
"""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
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
        """Where a step is taken whose kernels shall be known, and that shall fail where recording it would."""

    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """What `call` will have given after each call of the function beside it, in the same tensors every time."""

    def forget(self) -> None:
        """All that was recorded is gone: give its memory back."""


class CudaRecorder:
    """torch's CUDA graphs, all of them in one pool of memory: no two run at a time, and no output outlives its step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _recording_stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the stream that records, since backward passes insist on the stream of their forward pass.

        What waits for the GPU raises RuntimeError here, where it does no harm: in a recording it breaks the stream.
        """
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(self._stream), _waiting_is_an_error():
                yield
        finally:  # what was launched before an error still changes statistics
            torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def record(self, call: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        """See the protocol. Other threads, such as those that read images, may use the GPU meanwhile.

        Not by `torch.cuda.graph`, which leaves its stream current and hides the reason where the recording fails.
        """
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # what lies idle may be all that the recording's own memory needs
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):
            graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                outcome = call()
                graph.capture_end()
            except BaseException:
                with suppress(RuntimeError):  # the reason is the first error
                    graph.capture_end()
                self._heal()
                raise
        return outcome, graph.replay

    def forget(self) -> None:
        """A pool that was emptied is not used again, which torch's allocators do not expect."""
        self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.empty_cache()

    def _heal(self) -> None:
        """torch 2.11 leaves the GPU's random numbers in a recording that failed: they get a state of their own."""
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        fresh = torch.Generator(device=f"cuda:{index}")
        torch.cuda.default_generators[index].graphsafe_set_state(fresh.graphsafe_get_state())


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch does not find every wait: the recording finds the rest
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@lru_cache(maxsize=16)
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    """One for each GPU: every stream that multiplies matrices keeps 64 MB of its own."""
    return torch.cuda.Stream(device)


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
        self, image_BCHW: torch.Tensor, target: torch.Tensor, state: Hashable, again: Callable[[], None]
    ) -> Outcome:
        """The loss and the number right of a batch, its gradients in the parameters.

        `state` names all that decides which kernels run and is no tensor; `again` puts seeds, statistics and gradients
        to where they stand now, in front of the step. Raises what `compute` raises.
        """
        if state != self._state:
            self._state = state
            self._forget()
        key = (image_BCHW.shape, image_BCHW.stride(), target.shape, target.dtype)
        if key in self._recordings:
            return self._replay(self._recordings[key], image_BCHW, target)
        self._num_seen[key] += 1
        if not self.refusal and self._num_seen[key] > STEPS_BEFORE:
            try:
                outcome = self._record(key, image_BCHW, target, again)
                if outcome is not None:
                    return outcome
            except (RuntimeError, MemoryError) as error:
                self._refuse(str(error).strip().partition("\n")[0] or type(error).__name__)
            again()
        return self._compute(image_BCHW, target)

    def make_room(self) -> bool:
        """Give up the memory of all recordings, for good; False where there are none."""
        if not self._recordings:
            return False
        self._refuse("they left too little memory for batches of another size")
        return True

    def _replay(self, recording: _Recording, image_BCHW: torch.Tensor, target: torch.Tensor) -> Outcome:
        recording.image_BCHW.copy_(image_BCHW, non_blocking=True)
        recording.target.copy_(target, non_blocking=True)
        recording.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.outcome

    def _record(
        self, key: Hashable, image_BCHW: torch.Tensor, target: torch.Tensor, again: Callable[[], None]
    ) -> Outcome | None:
        """Record the step on this batch and take it so, None where it is to be taken without: if it does not do what
        the step does, it is not kept."""
        held_BCHW, held_target = image_BCHW.clone(), target.clone()

        def call() -> Outcome:
            return self._compute(held_BCHW, held_target)

        with self._recorder.aside():
            loss, _ = call()
            expected = [None if p.grad is None else p.grad.clone() for p in self._parameters]
        if not bool(torch.isfinite(loss)):
            return None  # nothing can be compared with it; the next step tries again
        again()  # gradients that are not there yet are made in the recording's memory
        kept, replay = self._recorder.record(call)
        recording = _Recording(
            image_BCHW=held_BCHW,
            target=held_target,
            outcome=kept,
            gradients=[parameter.grad for parameter in self._parameters],
            replay=replay,
        )
        again()
        outcome = self._replay(recording, image_BCHW, target)
        difference = _difference(expected, recording.gradients)
        repeated = outcome[0]
        if (
            abs(float(repeated - loss)) <= MAX_LOSS_DIFFERENCE * abs(float(loss))
            and difference <= MAX_GRADIENT_DIFFERENCE
        ):
            self._recordings[key] = recording
            return outcome
        self._refuse(
            f"the replay's loss is {float(repeated):.6g}, not {float(loss):.6g}, and its gradients differ by "
            f"{100 * difference:.2g} % of their norm"
        )
        return None

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._forget()

    def _forget(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None  # it may lie in a recording's memory
        self._num_seen.clear()
        if self._recordings:
            self._recordings.clear()
            self._recorder.forget()


def _difference(expected: list[torch.Tensor | None], found: list[torch.Tensor | None]) -> float:
    """The norm of the difference of two lists of gradients over that of the first; infinite where they do not match."""
    if [gradient is None for gradient in expected] != [gradient is None for gradient in found]:
        return float("inf")
    pairs = [(a.float(), b.float()) for a, b in zip(expected, found, strict=True) if a is not None and b is not None]
    if not pairs:
        return 0.0
    distance = torch.stack([(a - b).norm() for a, b in pairs]).norm()
    return float(distance / torch.stack([a.norm() for a, _ in pairs]).norm().clamp(min=1e-30))
