"""What the tests of public names share: shapes of a file as its authors name them, against a network of ours."""

import torch

from saccade.models.architecture import MODELS, build_model
from saccade.weights.tensors import match_names, same_values, tensor_shapes

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    """The five tensors of a batch normalisation."""
    sizes: Shapes = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {**sizes, f"{name}.num_batches_tracked": ()}


def with_bias(name: str, *shape: int) -> Shapes:
    """The two tensors of a layer with a bias for each of its outputs."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def check_every_tensor_has_its_place(name: str, theirs: Shapes) -> None:
    """Every tensor of `theirs` is one of the network's, with as many numbers in the same order, and none is missing."""
    architecture = MODELS.get(name)
    with torch.device("meta"):
        ours = tensor_shapes(build_model(name, architecture.default_spec))
    names, unused = match_names(list(theirs), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    assert [key for key, place in names.items() if not same_values(theirs[key], ours[place])] == []
