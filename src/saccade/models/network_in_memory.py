"""A network that a caller of the library built: checked, and copied, since what a person gave stays as it is. The
networks of plug-ins are checked here, too.

No file says how to build such a network. Its name in a checkpoint carries a digest of its structure: kinds of layers,
names, shapes and types of its tensors. Who loads the checkpoint gives the network again, with whatever weights.
"""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..core.errors import ModelError, UsageError, printable
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
        refuse_unusable(given)
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
    try:
        return copy.deepcopy(network).to("cpu")
    except Exception as error:
        raise ModelError(
            f"{type(network).__name__} cannot be copied, and a copy is what is trained: {_reason(error)}.\n"
            f"Give a network that copy.deepcopy takes: what it cannot copy is kept outside, or made in forward."
        ) from error


def check_given(network: nn.Module, text: str, spec: ModelSpec) -> None:
    """Raise ModelError where the network has nothing to train, or does not turn images of `spec` into a logit for each
    class."""
    _refuse_untrainable(network, text)
    channels, height_px, width_px = spec.input_CHW
    was_training = network.training
    try:
        with torch.no_grad():
            logits_BK = network.eval()(torch.zeros(2, *spec.input_CHW))
    except Exception as error:  # whatever its forward raises: an assertion, a key that is not there
        raise ModelError(
            f"{printable(short_name(text))} cannot take images of {height_px}x{width_px}x{channels}: "
            f"{_reason(error)}.\n"
            f"Set the input to what it takes: input.size_px for the height, input.width_px for another width, "
            f"input.channels for grey or rgb."
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(logits_BK, torch.Tensor):
        raise ModelError(
            f"{printable(short_name(text))} gives a {type(logits_BK).__name__}, not a tensor of logits.\n"
            f"Let its forward return the logits alone, (images, {spec.num_classes})."
        )
    given = tuple(logits_BK.shape)
    if given != (2, spec.num_classes):
        raise ModelError(
            f"{printable(short_name(text))} turns 2 images into {given}; {spec.num_classes} classes need "
            f"(2, {spec.num_classes}) logits.\n"
            f"Give its last layer {spec.num_classes} outputs, and remove the softmax after it."
        )


def refuse_unusable(network: nn.Module) -> None:
    """Raise UsageError or ModelError for what no checkpoint could hold, or a run could not train."""
    if not isinstance(network, nn.Module):
        kind = f"the class {network.__name__}" if isinstance(network, type) else f"of type {type(network).__name__}"
        raise UsageError(f"'model' is {kind}; it takes a name or a torch.nn.Module.\nGive one: model=Network().")
    refuse_lazy(network)
    name = type(network).__name__
    for key, tensor in network.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise ModelError(
                f"{name}: '{printable(key)}' is a {type(tensor).__name__}, and a checkpoint holds tensors alone.\n"
                f"Keep it by register_buffer in place of get_extra_state."
            )
        if tensor.is_meta:
            raise ModelError(
                f"{name}: '{printable(key)}' has no values, only a shape (device meta).\n"
                f"Build the network on the CPU, or give it values first."
            )
    for key, parameter in network.named_parameters():
        is_number = parameter.is_floating_point() or parameter.is_complex()
        if is_number and parameter.dtype != torch.float32:
            raise ModelError(
                f"{name}: '{printable(key)}' is {str(parameter.dtype).removeprefix('torch.')}; weights are float32.\n"
                f"Give network.float(); runtime.precision chooses the arithmetic."
            )


def _refuse_untrainable(network: nn.Module, text: str) -> None:
    name = printable(short_name(text))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(
            f"{name} has no weights that are trained: requires_grad is off for all of them.\n"
            f"Give network.requires_grad_(True)."
        )
    for key, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"{name}: '{printable(key)}' holds values that are not finite, which a checkpoint does not take.\n"
                f"A constant is kept out of it: register_buffer(..., persistent=False)."
            )


def _reason(error: Exception) -> str:
    """The first line of what torch or a network says, with the kind of the error where it is not one of torch's."""
    words = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
    kind = "" if words and isinstance(error, RuntimeError | ValueError | TypeError) else type(error).__name__
    return printable(": ".join(filter(None, (kind, words))))
