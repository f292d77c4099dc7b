"""A network from what a person wrote: a registered name, one with a new head, or one line of notation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, brief
from ..core.in_memory import is_given
from ..core.plug_ins import is_plug_in
from ..core.torch_private.tracing import TorchDispatchMode
from .architecture import MODELS, ModelSpec, build_model
from .network_in_memory import copy_given
from .new_head import build_with_new_head, has_new_head
from .notation import ALIASES, OPTIONS
from .notation_network import NotationNetwork


def is_notation(text: str) -> bool:
    """Whether `text` is a network written as a line: it has spaces, bars or brackets, or is one layer's word."""
    return any(character.isspace() or character in "|;()" for character in text.strip()) or (
        text.strip() not in MODELS and text.strip().lower() in {*OPTIONS, *ALIASES}
    )


def resolve_model(text: str, spec: ModelSpec) -> nn.Module:
    """The network that `text` names or describes, freshly initialised.

    Raises UnknownNameError (a name), NotationError (a line), or ModelError where the input does not fit. A network that
    was given from Python is copied with its weights.
    """
    if is_given(text):
        return copy_given(text)
    try:
        if has_new_head(text):
            return build_with_new_head(text, spec)
        return NotationNetwork(text, spec) if is_notation(text) else build_model(text, spec)
    except (RuntimeError, TypeError) as error:  # torch, of sizes whose product 64 bits cannot hold
        if "overflow" not in str(error).lower():
            raise
        channels, height, width = spec.input_CHW
        raise ModelError(
            f"'{brief(text, 80)}' would have more weights than can be counted, for an input of "
            f"{height}x{width}x{channels} and {spec.num_classes:,} classes.\n"
            f"Make the input or its layers smaller, or end its maps by gap, whose weights do not grow with the input."
        ) from None


def registered_name(text: str) -> str:
    """`text` with the name of a network as it is registered, whoever's spelling it has (`convnext_tiny`). "", a line of
    notation, and a network in memory stay as they are. Raises UnknownNameError before any image is read."""
    if not text or is_given(text) or is_notation(text):
        return text
    name, plus, head = text.partition("+")
    return MODELS.get(name).name + plus + head


def is_of_others(text: str) -> bool:
    """Whether the network `text` is somebody else's code: a caller's of the library, or a plug-in's."""
    name = text.partition("+")[0]
    return is_given(text) or (not is_notation(text) and name in MODELS and is_plug_in(MODELS.origin(name)))


@contextmanager
def without_weights() -> Iterator[None]:
    """Networks built in this block have shapes and no memory: nothing is allocated and nothing is drawn."""
    with torch.device("meta"), _WithoutDraws():  # type: ignore[no-untyped-call]
        yield


class _WithoutDraws(TorchDispatchMode):
    """Skips random initialisation, which has no memory to fill and whose first call imports torch's compiler (1 s)."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the other answer imports that compiler, too

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func.overloadpacket.__name__ in DRAWS else func(*args, **(kwargs or {}))


# torch's operations that fill a tensor with random numbers.
DRAWS = ("normal_", "uniform_", "bernoulli_", "random_", "exponential_", "log_normal_", "cauchy_", "geometric_")
