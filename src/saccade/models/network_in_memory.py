"""A network that a caller of the library built: checked, and copied, since what a person gave stays as it is.

No file says how to build such a network. Its name in a checkpoint carries a digest of its structure: kinds of layers,
names, shapes and types of its tensors. Who loads the checkpoint gives the network again, with whatever weights.
"""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..core.errors import ModelError, printable
from ..core.in_memory import GivenObjects, short_name
from .architecture import ModelSpec
from .fit import refuse_lazy

GIVEN_NETWORKS: GivenObjects[nn.Module] = GivenObjects("networks")


def structure_digest(network: nn.Module) -> str:
    """64 hexadecimal characters that change with the kind of a layer, or a tensor's name, shape or type."""
    digest = hashlib.sha256()
    for name, module in network.named_modules():
        digest.update(f"{name} {type(module).__qualname__}\n".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
    return digest.hexdigest()


@contextmanager
def known_network(given: str | nn.Module | None) -> Iterator[str]:
    """The text by which `given` is built in the enclosed work: of a name that name, of a network in memory a name."""
    if given is None or isinstance(given, str):
        yield given or ""
    else:
        refuse_lazy(given)
        with GIVEN_NETWORKS.known(type(given).__name__, structure_digest(given), given) as text:
            yield text


def copy_given(text: str) -> nn.Module:
    """A copy, on the CPU, of the network that was given as `text`. Raises ModelError where none was given."""
    network = GIVEN_NETWORKS.find(text)
    if network is None:
        name = printable(short_name(text))
        others = [printable(short_name(other)) for other in GIVEN_NETWORKS.names()]
        if others:
            raise ModelError(
                f"The network given, {others[0]}, is not that of the run, {name}: the kinds of their layers, or the "
                f"names, shapes or types of their tensors differ.\nGive the network that the run was trained with."
            )
        raise ModelError(
            f"This network, {name}, was given from Python: no file says how to build it.\n"
            f"Give the same network again, for example api.evaluate(run, source, model={name}()) (docs/python.md)."
        )
    return copy.deepcopy(network).to("cpu")


def check_given(network: nn.Module, text: str, spec: ModelSpec) -> None:
    """Raise ModelError where the network does not turn images of `spec` into a logit for each class."""
    channels, height_px, width_px = spec.input_CHW
    was_training = network.training
    try:
        with torch.no_grad():
            logits_BK = network.eval()(torch.zeros(2, *spec.input_CHW))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{printable(short_name(text))} cannot take images of {height_px}x{width_px}x{channels}: "
            f"{printable((str(error).splitlines() or [type(error).__name__])[0])}.\n"
            f"Set the input to what it takes: input.size_px for the size, input.channels for grey or rgb."
        ) from error
    finally:
        network.train(was_training)
    given = tuple(logits_BK.shape) if isinstance(logits_BK, torch.Tensor) else type(logits_BK).__name__
    if given != (2, spec.num_classes):
        raise ModelError(
            f"{printable(short_name(text))} turns 2 images into {given}; {spec.num_classes} classes need "
            f"(2, {spec.num_classes}) logits.\n"
            f"Give its last layer {spec.num_classes} outputs, and remove the softmax after it."
        )
