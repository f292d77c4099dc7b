"""A network from what a person wrote: a registered name, or one line of notation."""

from torch import nn

from .base import MODELS, ModelSpec, build_model
from .notation import ALIASES, OPTIONS
from .notation_network import NotationNetwork


def is_notation(text: str) -> bool:
    """Whether `text` is a network written as a line: it has spaces, bars or brackets, or is one layer's word."""
    return any(character.isspace() or character in "|;()" for character in text.strip()) or (
        text.strip() not in MODELS and text.strip().lower() in {*OPTIONS, *ALIASES}
    )


def resolve_model(text: str, spec: ModelSpec) -> nn.Module:
    """The network that `text` names or describes, freshly initialised.

    Raises UnknownNameError (a name), NotationError (a line), or ModelError where the input does not fit.
    """
    return NotationNetwork(text, spec) if is_notation(text) else build_model(text, spec)
