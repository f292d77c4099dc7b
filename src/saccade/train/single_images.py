"""Steps of one image: what cannot be trained by them, and what does nothing."""

from typing import Any

import torch
from torch import nn

from ..core import torch_private
from ..core.errors import ConfigError, printable
from ..core.types import Preprocessing
from ..data.augmentation import Mixing
from ..models.fit import fake_machine
from .config import RunConfig
from .schedule import input_size


def refuse_single_values(model: nn.Module, config: RunConfig, preprocessing: Preprocessing) -> None:
    """Raise ConfigError where steps of one image would leave a batch normalisation of `model`, in the modes it is
    trained in, one value a channel: its deviation is zero, and torch refuses it in the first step."""
    if config.batch_size > 1:
        return
    input_HW = input_size(config.input, preprocessing.input_CHW[1:], 0, config.epochs)
    alone: list[tuple[str, torch.Size]] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if module.training and inputs[0].numel() == inputs[0].shape[1] and not alone:
                alone.append((name, inputs[0].shape[2:]))

        return hook

    norms = [(name, norm) for name, norm in model.named_modules() if isinstance(norm, torch_private.BatchNorm)]
    handles = [norm.register_forward_pre_hook(watch(name)) for name, norm in norms]
    try:
        with fake_machine(), torch.no_grad():
            fakes = {name: torch.empty_like(tensor, device="cpu") for name, tensor in model.state_dict().items()}
            image_BCHW = torch.empty(1, preprocessing.num_channels, *input_HW, device="cpu")
            torch.func.functional_call(model, fakes, (image_BCHW,))
    except (RuntimeError, ValueError):
        pass  # what else does not fit is told where it is looked for; this is only about single values
    finally:
        for handle in handles:
            handle.remove()
    if alone:
        name, size_HW = alone[0]
        is_map = len(size_HW) == 2
        of = "a map of 1x1" if is_map else "the features"
        twice_px = 2 * max(preprocessing.input_CHW[1:])  # of the full size: the first epochs may be smaller
        larger = f", or larger images with --set input.size_px={twice_px}" if is_map else ""
        raise ConfigError(
            f"batch_size=1 cannot train {printable(config.model)}: the batch normalisation '{printable(name)}' would "
            f"see {of} of one image, a single value a channel, which has no deviation.\n"
            f"Take --set batch_size=2 or more{larger}."
        )


def without_effect(config: RunConfig, has_validation: bool) -> list[str]:
    """Notes on settings that do nothing in such a run, which a dry run tells, too."""
    notes = []
    if config.stop.patience_epochs and not has_validation:
        notes.append("stop.patience_epochs is without effect: no image could be spared to tell a better epoch by")
    return [*notes, *filter(None, [idle_mixing(config)])]


def idle_mixing(config: RunConfig) -> str:
    """The note that nothing is mixed with steps of one image; "" where something is, or nothing was asked."""
    names = [entry.name for entry in config.augment.active() if isinstance(entry, Mixing)]
    if config.batch_size > 1 or not names:
        return ""
    verb = "mixes" if len(names) == 1 else "mix"
    return (
        f"{' and '.join(names)} {verb} pairs of images of a batch: with batch_size=1 there are none, and nothing is "
        f"mixed"
    )
