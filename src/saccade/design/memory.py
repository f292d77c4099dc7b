"""How much memory a network needs, found by running a step on tensors without memory and counting what is alive.

The step is a real one (forward, loss, backward) under the precision asked for, so what autograd keeps, what it frees
and when are torch's own decisions. Not counted: the scratch space of kernels, the images before they reach the
network, and the process itself (about 0.3 GB with torch).
"""

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..core.errors import ModelError, UsageError, did_you_mean, printable
from ..core.given import settle_fields
from ..core.torch_private.tracing import TorchDispatchMode, tree_leaves
from ..models.build import DRAWS
from ..models.fit import fake_machine
from .trace import OTHER_INPUT, Recorder, evaluating, fake_weights, fast_paths_off, input_dtype, refusals

OTHER_BATCH = "Training may need more than one image at once (batch normalisation does): give a larger --batch."
PRECISIONS = ("float32", "bfloat16")
# State that each optimizer keeps per parameter, in float32 numbers (tested against the optimizers themselves).
STATE_PER_PARAMETER = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 2, "adam": 2, "adamw": 2, "muon": 1}


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The training step that memory is estimated for. Raises UsageError on what there is not."""

    batch_size: int = 32
    precision: str = "float32"
    optimizer: str = "nesterov"

    def __post_init__(self) -> None:
        settle_fields(self)
        if self.batch_size < 1:
            raise UsageError(f"A batch has at least one image, got {self.batch_size}.")
        for what, name, known in (
            ("precision", self.precision, PRECISIONS),
            ("optimizer", self.optimizer, tuple(STATE_PER_PARAMETER)),
        ):
            if name not in known:
                near = did_you_mean(name, known)
                raise UsageError(f"Unknown {what} '{printable(name[:80])}'.{near} Known: {', '.join(known)}.")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes, for a batch of `batch_size` images.

    `saved_activations` are what a training step holds between forward and backward; `training_peak` is the most that
    is alive at any moment of a step, weights, gradients and optimizer state included; `inference_peak` likewise
    without gradients.
    """

    batch_size: int
    precision: str
    optimizer: str
    weights: int
    gradients: int
    optimizer_state: int
    saved_activations: int
    training_peak: int
    inference_peak: int


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that exist, and the most that existed at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in DRAWS:
            return args[0]
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor)
        return made

    def ignore(self, tensor: torch.Tensor) -> None:
        """Never count `tensor`: it was there before."""
        self._known[tensor.untyped_storage()._cdata] = 0

    def _meet(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = storage.nbytes()
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.bytes -= self._known.pop(key, 0)


def estimate_memory(model: nn.Module, input_CHW: tuple[int, int, int], plan: StepPlan) -> Memory:
    """The memory of a training step as planned, and of inference in float32 on as many images.

    Raises ModelError where the network cannot be trained on such a batch.
    """
    weights = _bytes_of([*model.parameters(), *model.buffers()])
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state = STATE_PER_PARAMETER[plan.optimizer] * 4 * sum(parameter.numel() for parameter in trainable)
    saved, training_peak = _run(model, input_CHW, plan, training=True) if trainable else (0, 0)
    _, inference_peak = _run(model, input_CHW, StepPlan(batch_size=plan.batch_size), training=False)
    return Memory(
        batch_size=plan.batch_size,
        precision=plan.precision,
        optimizer=plan.optimizer,
        weights=weights,
        gradients=_bytes_of(trainable),
        optimizer_state=state,
        saved_activations=saved,
        training_peak=weights + state + training_peak,
        inference_peak=weights + inference_peak,
    )


def _run(model: nn.Module, input_CHW: tuple[int, int, int], plan: StepPlan, training: bool) -> tuple[int, int]:
    """(bytes held between forward and backward, most bytes alive), beside the weights."""
    with fake_machine() as machine, fast_paths_off(), evaluating(model, training), torch.set_grad_enabled(training):
        weights = fake_weights(model, machine)
        alive = Alive()
        for tensor in weights.values():
            alive.ignore(tensor)
        recorder = Recorder(model)
        remedy = OTHER_BATCH if training and plan.batch_size == 1 else OTHER_INPUT
        autocast = torch.autocast("cpu", torch.bfloat16) if plan.precision == "bfloat16" else nullcontext()
        with alive, refusals(recorder, input_CHW, remedy), recorder.watching():
            image_BCHW = torch.empty(plan.batch_size, *input_CHW, dtype=input_dtype(model))
            with autocast:
                called = _Training(model) if training else model
                names = {f"model.{name}": tensor for name, tensor in weights.items()} if training else weights
                logits, auxiliary = _outputs(torch.func.functional_call(called, names, (image_BCHW,)))
            saved = alive.bytes
            if training:
                _loss(logits, auxiliary).backward()
    return saved, alive.peak


class _Training(nn.Module):
    """The forward pass that training takes, auxiliary heads included."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_BCHW: torch.Tensor) -> Any:
        forward_train = getattr(self.model, "forward_train", None)
        return forward_train(image_BCHW) if forward_train else self.model(image_BCHW)


def _outputs(output: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], list):
        return output[0], [logits for _, logits in output[1]]
    if isinstance(output, torch.Tensor):
        return output, []
    raise ModelError(
        f"In training the network returns {type(output).__name__}, where logits (B, K) were expected.\n"
        f"Side branches belong into forward_train(), which returns (logits, [(weight, logits), ...])."
    )


def _loss(logits: torch.Tensor, auxiliary: list[torch.Tensor]) -> torch.Tensor:
    if logits.ndim != 2:
        return logits.float().sum()
    label_B = torch.zeros(logits.shape[0], dtype=torch.int64)
    losses = [functional.cross_entropy(each.float(), label_B) for each in (logits, *auxiliary)]
    return torch.stack(losses).sum()


def _bytes_of(tensors: list[torch.Tensor] | list[nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in tensors}.values())
