"""Which network a transfer begins with, where its user names less than the network and its weights.

--weights alone     the network that the weights are of: a run says it, the hub's config.json, or the tensors
--backbone alone    the best public weights of that network that are free for any use
neither             weights of the table that lie on this machine, else the default for the device and the images
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..core.errors import WeightsError, printable, shell_word
from ..core.in_memory import is_given
from ..core.runtime import find_device
from ..data.source import open_source
from ..models.build import registered_name
from ..weights.hub import MODEL, is_on_this_machine
from ..weights.public import network_of_weights
from ..weights.public_table import PublicWeights, best_weights, fetch, find_public, multiply_adds, public_weights
from .request import TransferRequest

# What a transfer begins with by default. On a processor EfficientNet-Lite0 gains most for its time (75.5 % on ImageNet
# for 0.39 billion multiply-adds; no swish, no squeeze-and-excitation); MobileNetV3-large takes a bit more than half of
# that. On a GPU ConvNeXt transfers best at every size (Goldblum et al. 2023, arXiv:2310.19909).
DEFAULT_ON_PROCESSOR = ((20_000, "efficientnet-lite0"), (None, "mobilenetv3-large"))
DEFAULT_ON_GPU = ((200_000, "convnext-tiny"), (None, "convnext-nano"))


def with_backbone(request: TransferRequest, device: str, note: Callable[[str], None]) -> TransferRequest:
    """`request` with a network and its weights; what was chosen is told by `note`. `device` is that of the run.

    Raises UnknownNameError, WeightsError, ConfigError, DataError, StorageError.
    """
    backbone, weights = registered_name(request.backbone), os.fspath(request.weights)
    if weights and not Path(weights).exists() and weights in {line.name for line in public_weights()}:
        weights = find_public(weights).address
    if weights:
        return replace(request, backbone=backbone or network_of_weights(weights), weights=weights)
    if not request.source:
        return replace(request, backbone=backbone)  # what is missing is told by the request itself
    source = str(request.source)
    line, why = (best_weights(backbone), "") if backbone else _default(len(open_source(source)), device)
    is_here = is_on_this_machine(line.address)
    where = "on this machine" if is_here else f"downloading {line.megabytes:.0f} MB"
    note(f"backbone {line.network}{why}: {line.address}, {printable(line.licence)}, {where}")
    return replace(request, backbone=line.network, weights=_fetched(line, source))


def _default(num_images: int, device: str) -> tuple[PublicWeights, str]:
    """(the weights, why in words) where nobody names any."""
    is_gpu = find_device(device).type == "cuda"
    table = DEFAULT_ON_GPU if is_gpu else DEFAULT_ON_PROCESSOR
    most, network = next((most, network) for most, network in table if most is None or num_images <= most)
    usual = best_weights(network)
    here = [line for line in public_weights() if line.any_use and is_on_this_machine(line.address)]
    if here and usual not in here:
        cost = {line.name: multiply_adds(line) or 0 for line in (*here, usual)}
        allowed = [line for line in here if cost[line.name] <= 1.5 * cost[usual.name]]
        by_accuracy = max(allowed, key=lambda line: line.top1_percent, default=None)
        chosen = by_accuracy or min(here, key=lambda line: cost[line.name])
        return chosen, f", the best that is here; the default, {usual.network}, is not"
    kind = "a GPU" if is_gpu else "a processor"
    images = "" if most is None else f" and up to {most:,} images"
    return usual, f", the default for {kind}{images}"


def _fetched(line: PublicWeights, source: str) -> str:
    """hub:OWNER/NAME@COMMIT of weights that are on this machine afterwards. Raises WeightsError with what to do."""
    try:
        return fetch(line).address
    except WeightsError as error:
        photos = "SOURCE" if is_given(source) else shell_word(source)
        file = f"{MODEL.page}/{line.hub}/resolve/{line.revision or 'main'}/model.safetensors"
        raise WeightsError(
            f"{error.message.splitlines()[0]}\n"
            f"Put {file} ({line.megabytes:.0f} MB) and config.json from beside it into a folder, such as {line.name}, "
            f"and give that:\n"
            f"saccade transfer {photos} --weights {line.name}\n"
            f"Without pretrained weights: saccade train {photos}"
        ) from None
