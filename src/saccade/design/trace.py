"""What a network computes, operation by operation, without weights, images or arithmetic.

The network runs on tensors that have a shape, a type and no memory (torch's fake tensors), while every operation that
reaches torch's kernels is written down. So functions count as well as modules, and any `nn.Module` can be traced.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, printable
from ..core.torch_private.tracing import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    TorchDispatchMode,
    tree_leaves,
)
from ..models.build import DRAWS
from ..models.fit import fake_machine, refuse_lazy, why_not

OWN = ("aten", "prim", "prims", "profiler")  # libraries whose operations bear no library in their name
OTHER_INPUT = "Give another --input HEIGHTxWIDTHxCHANNELS, or look at that layer."


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of a torch kernel: `name` without its overload (`convolution`), in the module at `path`; what is not of
    torch itself has its library in front (`torchvision::roi_align`).

    `path` and `module` are the innermost running module's; `call` numbers the module's calls, so that a module used
    twice is seen twice. Tensors are fake. `given` are all tensors among the arguments, `made` those that came out.
    """

    name: str
    path: str
    module: nn.Module
    call: int
    arguments: tuple[Any, ...]
    given: tuple[torch.Tensor, ...]
    made: tuple[torch.Tensor, ...]


@dataclass
class Recorder(TorchDispatchMode):
    """Writes down every operation together with the module in which it runs."""

    root: nn.Module
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack: list[tuple[str, nn.Module, int]] = [("", self.root, 0)]
        self._num_calls = 0
        self.last_shape = torch.Size()  # of the input of the module that was entered last

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation_name(func)
        made = args[0] if name in DRAWS else func(*args, **(kwargs or {}))
        path, module, call = self._stack[-1]
        self.operations.append(
            Operation(
                name=name,
                path=path,
                module=module,
                call=call,
                arguments=tuple(args),
                given=_tensors((args, kwargs)),
                made=_tensors(made),
            )
        )
        return made

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow which module of the root runs."""
        handles = []
        for path, module in self.root.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(path)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._num_calls += 1
            self._stack.append((path, module, self._num_calls))
            self.last_shape = next((tensor.shape for tensor in _tensors(inputs)), torch.Size())

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._stack.pop()

    @property
    def place(self) -> tuple[str, nn.Module]:
        """The path and module that run now; after an error, those in which it was raised."""
        return self._stack[-1][:2]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """All operations of one forward pass on one image; `parameters` maps the storage of each to its names."""

    operations: tuple[Operation, ...]
    input_BCHW: torch.Tensor
    parameters: dict[int, str]
    output: torch.Tensor


def trace(model: nn.Module, input_CHW: tuple[int, int, int]) -> Trace:
    """Run `model` once in evaluation mode on one fake image. The model, its weights and its mode stay as they are.

    Raises ModelError where the input does not fit or the network cannot be followed (its sizes depend on values).
    """
    refuse_lazy(model, input_CHW)
    with fake_machine() as machine, fast_paths_off(), evaluating(model), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections")  # how it is computed is not what is asked here
        weights = fake_weights(model, machine)
        recorder = Recorder(model)
        image_BCHW = torch.empty(1, *input_CHW, dtype=input_dtype(model))
        with recorder, recorder.watching(), refusals(recorder, input_CHW):
            output = torch.func.functional_call(model, weights, (image_BCHW,))
        if not isinstance(output, torch.Tensor):
            raise ModelError(
                f"{type(model).__name__} returned {type(output).__name__} where one tensor of logits was expected.\n"
                f"A network for classification takes images (B, C, H, W) and returns logits (B, K)."
            )
    parameters = {storage_of(weights[name]): name for name, _ in model.named_parameters()}
    return Trace(
        operations=tuple(recorder.operations), input_BCHW=image_BCHW, parameters=parameters, output=output.detach()
    )


def fake_weights(model: nn.Module, machine: FakeTensorMode) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name, without memory; what is shared stays shared."""
    made: dict[int, torch.Tensor] = {}
    fakes = {}
    named = [
        *model.named_parameters(remove_duplicate=False),
        *((name, buffer) for name, buffer in model.named_buffers(remove_duplicate=False) if buffer is not None),
    ]
    for name, tensor in named:
        if id(tensor) not in made:
            fake = tensor if getattr(tensor, "fake_mode", None) is machine else torch.empty_like(tensor, device="cpu")
            made[id(tensor)] = fake.detach().requires_grad_(tensor.requires_grad)
        fakes[name] = made[id(tensor)]
    return fakes


@contextmanager
def refusals(recorder: Recorder, input_CHW: tuple[int, int, int], remedy: str = OTHER_INPUT) -> Iterator[None]:
    """Turn what torch says inside the block into a ModelError that names the layer."""
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ModelError(
            f"{_name(recorder)} decides by the values of its input ({error.func}), so its sizes are not fixed.\n"
            f"Saccade draws up a table from shapes alone; take that decision out of forward()."
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, AttributeError) as error:
        channels, height_px, width_px = input_CHW
        why = printable(why_not(recorder.place[1], recorder.last_shape, error))
        raise ModelError(
            f"An input of {height_px}x{width_px}x{channels} does not fit {_name(recorder)}: {why}.\n{remedy}"
        ) from error


_FAST_PATHS = threading.Lock()
_before: list[bool] = []  # what each block that is inside found; the outermost stays until the last one leaves


@contextmanager
def fast_paths_off() -> Iterator[None]:
    """torch's fused attention for inference hides its parts; without it the parts can be counted. The switch is the
    process's: of several threads inside the last one to leave puts it back."""
    with _FAST_PATHS:
        _before.append(torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        with _FAST_PATHS:
            was_enabled = _before.pop()
            if not _before:
                torch.backends.mha.set_fastpath_enabled(was_enabled)


@contextmanager
def evaluating(model: nn.Module, training: bool = False) -> Iterator[None]:
    """Evaluation (or training) mode inside the block; each module's own mode is put back."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before.items():
            module.training = was_training


def input_dtype(model: nn.Module) -> torch.dtype:
    """The type of the images that `model` computes with: that of its first parameter."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def storage_of(tensor: torch.Tensor) -> int:
    """Identity of the memory a tensor would have: equal for a tensor and its views."""
    address: int = tensor.untyped_storage()._cdata
    return address


def operation_name(func: Any) -> str:
    """What an `Operation` calls a kernel of torch, or of another library."""
    name: str = func.overloadpacket.__name__
    return name if func.namespace in OWN else f"{func.namespace}::{name}"


def _tensors(values: Any) -> tuple[torch.Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


def _name(recorder: Recorder) -> str:
    path, module = recorder.place
    kind = type(recorder.root).__name__
    return printable(f"{kind}: layer '{path}' ({type(module).__name__})" if path else kind)
