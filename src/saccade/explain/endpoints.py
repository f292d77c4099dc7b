"""Reading the maps inside a network: which there are, and what they hold for an image."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from ..core.errors import ModelError, UnknownNameError, did_you_mean, printable
from ..models.architecture import ImageClassifier

MIN_POSITIONS = 4  # rows and columns below which a map says too little of where


def endpoint_names(model: nn.Module) -> list[str]:
    """The named maps of a network in order of computation: stem, stage1, ... Raises ModelError where it has none."""
    if not isinstance(model, ImageClassifier):
        raise ModelError(
            f"{type(model).__name__} does not name its parts, so its maps cannot be found.\n"
            f"Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
        )
    return model.map_names()


def endpoint_module(model: nn.Module, name: str) -> nn.Module:
    """The part called `name`: an endpoint, or any module by its dotted name. Raises UnknownNameError."""
    if isinstance(model, ImageClassifier):
        for endpoint, module in model.endpoints():
            if endpoint == name:
                return module
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules or not name:
        known = endpoint_names(model)
        raise UnknownNameError(
            f"The network has no layer '{printable(name)}'.{did_you_mean(name, known) or did_you_mean(name, modules)} "
            f"Its maps are {', '.join(known)}."
        )
    return modules[name]


@contextmanager
def captured(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Collect what the parts `names` put out while the model runs inside the block."""
    outputs: dict[str, torch.Tensor] = {}

    def keep(name: str, output: torch.Tensor) -> torch.Tensor:
        outputs[name] = output
        return output.clone()  # what follows may work in place; ours stays as it was

    handles = [
        endpoint_module(model, name).register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def read_maps(model: nn.Module, input_BCHW: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """map_BCHW of each endpoint for normalised images. Raises UnknownNameError, or ModelError where one is no map."""
    with captured(model, names) as outputs:
        model(input_BCHW)
    return {name: as_map(model, name, output, input_BCHW) for name, output in outputs.items()}


def as_map(model: nn.Module, name: str, output: torch.Tensor, input_BCHW: torch.Tensor) -> torch.Tensor:
    """map_BCHW of what layer `name` puts out for `input_BCHW`. Raises ModelError where it is no map."""
    output = model.as_map(output, input_BCHW) if isinstance(model, ImageClassifier) else output
    check_is_map(name, output)
    return output


def check_is_map(name: str, output: torch.Tensor) -> None:
    """Raise ModelError where the layer's output has no rows and columns."""
    if output.ndim != 4:
        raise ModelError(
            f"Layer '{printable(name)}' puts out {tuple(output.shape)[1:]} values without rows and columns.\n"
            f"Choose a layer before the network's neck, such as 'stage1'."
        )


def best_endpoint(maps: dict[str, torch.Tensor]) -> str:
    """The layer to look at when nobody chose: the last map that still has 4 x 4 positions, else the largest one."""
    fine = [name for name, map_BCHW in maps.items() if min(map_BCHW.shape[2:]) >= MIN_POSITIONS]
    return fine[-1] if fine else max(maps, key=lambda name: min(maps[name].shape[2:]))
