"""Which network a transfer begins with, where its user names less than the network and its weights.

--weights alone     the network that the weights are of: a run says it, the hub's config.json, or the tensors
--backbone alone    the best public weights of that network that are free for any use
neither             weights of the table that lie on this machine, else the default for the device and the images
several             those are compared on the training images (`backbone_search.py`); `auto`: all of the table that lie
                    on this machine
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..core.addresses import is_hub, shown
from ..core.apart import first_apart
from ..core.errors import UsageError, WeightsError, printable, shell_word
from ..core.in_memory import is_given
from ..core.ranks import current_ranks
from ..core.runtime import find_device
from ..data.source import open_source
from ..data.store_place import store_at
from ..models.architecture import MODELS
from ..train.config import RunConfig
from ..train.progress import RunProgress
from ..weights.hub import is_offline, is_on_this_machine
from ..weights.public import network_of_weights
from ..weights.public_table import (
    PublicWeights,
    best_weights,
    fetch,
    find_public,
    line_at,
    multiply_adds,
    public_weights,
)
from .backbone_search import BackboneSearch, Budget, search_backbones
from .request import AUTO_BACKBONE, TransferRequest
from .run import FeatureStore

# What a transfer begins with by default. On a processor EfficientNet-Lite0 gains most for its time (74.8 % on ImageNet
# for 0.39 billion multiply-adds; no swish, no squeeze-and-excitation); MobileNetV3-large takes a bit more than half of
# that. On a GPU ConvNeXt transfers best at every size (Goldblum et al. 2023, arXiv:2310.19909).
DEFAULT_ON_PROCESSOR = ((20_000, "efficientnet-lite0"), (None, "mobilenetv3-large"))
DEFAULT_ON_GPU = ((200_000, "convnext-tiny"), (None, "convnext-nano"))


def with_backbone(
    request: TransferRequest, store: FeatureStore, progress: RunProgress
) -> tuple[TransferRequest, BackboneSearch | None]:
    """`request` with a network and its weights, and the search that chose them where several are named; what was chosen
    is told by `progress.note`.

    Raises UnknownNameError, WeightsError, ConfigError, UsageError, DataError, StorageError.
    """

    def choose(check: Callable[[], None]) -> bytes:
        chosen = _named(request, progress.note)
        return json.dumps([[each.backbone, each.one_weights()] for each in chosen]).encode()

    named = json.loads(first_apart(current_ranks(), choose))
    requests = [replace(request, backbone=backbone, weights=weights) for backbone, weights in named]
    if len(requests) == 1:
        return requests[0], None
    budget = Budget(ms=request.budget_ms, megabytes=request.budget_mb)
    found = search_backbones([each.config() for each in requests], budget, store.cache, progress)
    progress.note(f"taken: {found.sentence}")
    return replace(request, backbone=found.chosen.name, weights=found.chosen.weights), found


def _named(request: TransferRequest, note: Callable[[str], None]) -> list[TransferRequest]:
    """One request for each network that is to be compared, or one, each with its network and its weights."""
    _refuse_idle_budget(request)
    wanted = _several(request)
    if len(wanted) > 1 and not request.source:
        return wanted[:1]  # config() tells it
    if len(wanted) > 1 and request.preprocessing is not None:
        raise UsageError(
            "--preprocessing is for one network, and several are compared.\n"
            "Give each its own: a config.json beside its weights, or saccade convert --preprocessing."
        )
    return [_with_one(each, request.device(), note) for each in wanted]


def without_download(request: TransferRequest, note: Callable[[str], None]) -> tuple[TransferRequest, bool]:
    """`request` with the network and the weights that `with_backbone` would take, and whether these lie on this
    machine. Raises UsageError where several networks are to be compared."""
    _refuse_idle_budget(request)
    if request.names_several():
        raise UsageError(
            "A dry run looks at one network, and several are to be compared here.\n"
            "Name one of them with --backbone; all of them are compared by the same command without --dry-run."
        )
    backbone, weights = request.registered_backbone(), _address(request.one_weights())
    if not weights and request.source:
        source = str(request.source)
        usual = (
            (best_weights(backbone), "")
            if backbone
            else _default(len(open_source(source, several=True)), request.device())
        )
        note(f"backbone {usual[0].network}{usual[1]}: {usual[0].address}, {printable(usual[0].licence)}")
        backbone, weights = usual[0].network, usual[0].address
    is_here = not is_hub(weights) or is_on_this_machine(weights)
    if weights and not backbone:
        known = line_at(weights)
        backbone = network_of_weights(weights) if is_here else known.network if known else ""
    if weights and not backbone:
        raise UsageError(
            f"{shown(weights)} is not on this machine, and a dry run downloads nothing, so its network is not known.\n"
            f"Name it with --backbone NAME, or leave out --dry-run."
        )
    return replace(request, backbone=backbone, weights=weights), is_here


def _refuse_idle_budget(request: TransferRequest) -> None:
    """Raise UsageError for a budget where there is nothing to choose from: it would bound nothing."""
    if (request.budget_ms or request.budget_mb) and not request.names_several():
        raise UsageError(
            "--budget-ms and --budget-mb bound a choice among several networks, and one is asked for here.\n"
            "Name several, as --backbone A,B or --backbone auto; or leave the budget out."
        )


def _several(request: TransferRequest) -> list[TransferRequest]:
    """One request for each network that is to be compared; one alone where nothing is. Raises UsageError."""
    given = request.all_weights()
    if request.backbone == AUTO_BACKBONE:
        own = [replace(request, backbone="", weights=text) for text in given]
        known = [replace(request, backbone=line.network, weights=line.address) for line in _here()]
        if not own and not known:
            raise UsageError(
                "--backbone auto compares the weights of the table that lie in Hugging Face's cache on this machine; "
                "there are none.\nName networks with --backbone A,B, or give --weights; 'saccade weights' lists all."
            )
        return [*own, *known]
    names = [MODELS.get(name.strip()).name for name in request.backbone.split(",") if name.strip()]
    if len(names) < 2 and len(given) < 2:
        return [replace(request, backbone="".join(names), weights="".join(given))]
    known_weights = [(network_of_weights(_address(text), names), text) for text in given]
    for network, text in known_weights:
        if names and network not in names:
            raise UsageError(
                f"--weights {printable(text)} is of {network}, which --backbone does not name.\n"
                f"Add it there, or leave --backbone out to compare the networks of all --weights."
            )
    for name in names:  # without weights of its own: its best public ones
        if name not in {network for network, _ in known_weights}:
            known_weights.append((name, ""))
    return [replace(request, backbone=network, weights=text) for network, text in known_weights]


def _here() -> list[PublicWeights]:
    """The lines of the table that lie on this machine and are free for any use."""
    return [line for line in public_weights() if line.any_use and is_on_this_machine(line.address)]


def _address(text: str) -> str:
    """`text`, or hub:OWNER/NAME where it is a name of the table and no file."""
    is_name = text and not Path(text).exists() and text in {line.name for line in public_weights()}
    return find_public(text).address if is_name else text


def _with_one(request: TransferRequest, device: str, note: Callable[[str], None]) -> TransferRequest:
    """`request` with a network and its weights. `device` is that of the run."""
    backbone, weights = request.registered_backbone(), _address(request.one_weights())
    if weights and not backbone:
        backbone = network_of_weights(weights)
        note(f"backbone {backbone}, the network of {shown(weights)}")
    if weights:
        return replace(request, backbone=backbone, weights=weights)
    if not request.source:
        return replace(request, backbone=backbone)  # what is missing is told by the request itself
    source = str(request.source)
    line, why = (best_weights(backbone), "") if backbone else _default(_num_images(request), device)
    is_here = is_on_this_machine(line.address)
    if is_here or not is_offline():  # else there is nothing to tell but the error
        where = "on this machine" if is_here else f"downloading {line.megabytes:.0f} MB"
        note(f"backbone {line.network}{why}: {line.address}, {printable(line.licence)}, {where}")
    return replace(request, backbone=line.network, weights=_fetched(line, source))


def _num_images(request: TransferRequest) -> int:
    """How many images the source has."""
    loader = RunConfig().with_overrides(request.settings).loader
    with store_at(loader.store, loader.store_limit_bytes):
        return len(open_source(str(request.source), several=True))


def _default(num_images: int, device: str) -> tuple[PublicWeights, str]:
    """(the weights, why in words) where nobody names any."""
    is_gpu = find_device(device).type == "cuda"
    table = DEFAULT_ON_GPU if is_gpu else DEFAULT_ON_PROCESSOR
    most, network = next((most, network) for most, network in table if most is None or num_images <= most)
    usual = best_weights(network)
    here = _here()
    if here and usual not in here:
        cost = {line.name: multiply_adds(line) or 0 for line in (*here, usual)}
        allowed = [line for line in here if cost[line.name] <= 1.5 * cost[usual.name]]
        by_accuracy = max(allowed, key=lambda line: line.top1_percent or 0, default=None)
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
        raise WeightsError(
            f"{error.message}\n"
            f"Then run the same command with --weights {line.name}\n"
            f"Without pretrained weights: saccade train {photos}"
        ) from None
