"""Taking a trained network apart: what is frozen, what is trained, and a new last layer for other classes.

A depth names what is frozen: `none`; `stem`; `stage1`, which is the stem and the first stage; and so on; `all`, which
is everything but the last dense layer. Yosinski et al. 2014 (arXiv:1411.1792) measured what each depth costs.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..core.errors import ModelError, UsageError, did_you_mean, printable
from .architecture import ImageClassifier, ModelSpec
from .build import resolve_model, without_weights
from .new_head import LINEAR, LOGLINEAR

ALL, NONE = "all", "none"
INSIDE = ("neck", "head")  # parts that are only ever frozen with everything before the last layer
SIDE_BRANCHES = "auxiliary."  # GoogLeNet's, which training from scratch uses alone


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A network cut at a depth: `frozen` then `live` modules, in order of computation."""

    frozen: tuple[nn.Module, ...]
    live: tuple[nn.Module, ...]


def depths(model: nn.Module) -> tuple[str, ...]:
    """Every depth `model` can be frozen to, from none to all; a depth that freezes no more than the one before it, or
    leaves no more than `all` does, is left out. Raises ModelError where the last layer cannot be replaced."""
    chain = _chain(_ends_in_dense(model)[0])
    has_parameters = [any(True for _ in module.parameters()) for _, module in chain]
    names = [
        name
        for number, (name, _) in enumerate(chain)
        if name not in INSIDE and has_parameters[number] and any(has_parameters[number + 1 :])
    ]
    return (NONE, *names, ALL)


def find_depth(model: nn.Module, text: str) -> str:
    """The depth that `text` names; the last stage is `all` where nothing but the last layer follows it.

    Raises UsageError with the depths of this network.
    """
    known = depths(model)
    if text in known:
        return text
    classifier, _ = _ends_in_dense(model)
    if text in [name for name, _ in _chain(classifier) if name not in INSIDE]:
        return ALL
    raise UsageError(
        f"'{printable(text)}' is not a freeze depth of this network.{did_you_mean(text, known)}\n"
        f"Use one of, from nothing to all but the last layer: {', '.join(known)}."
    )


def cut(model: nn.Module, depth: str) -> Parts:
    """`model` cut behind what `depth` freezes. Its modules are shared, not copied. Raises UsageError for no depth."""
    classifier, last = _ends_in_dense(model)
    chain = _chain(classifier)
    if depth == ALL:
        return Parts(frozen=tuple(module for _, module in chain), live=(last,))
    names = [name for name, _ in chain]
    if depth not in (NONE, *names):
        find_depth(model, depth)  # says which there are
    number = 0 if depth == NONE else 1 + names.index(depth)
    return Parts(
        frozen=tuple(module for _, module in chain[:number]), live=(*(module for _, module in chain[number:]), last)
    )


def run(modules: tuple[nn.Module, ...], value: torch.Tensor) -> torch.Tensor:
    """`value` through `modules`, one behind the other."""
    for module in modules:
        value = module(value)
    return value


def mean_over_positions(value: torch.Tensor) -> torch.Tensor:
    """feature_BD of map_BCHW or token_BND; of feature_BD itself."""
    axes = {4: (2, 3), 3: (1,)}.get(value.ndim)
    return value if axes is None else value.mean(dim=axes)


def freeze(model: nn.Module, depth: str) -> tuple[nn.Module, ...]:
    """Let no step change what `depth` names; returns these modules, which must also stay in evaluation mode, or their
    batch normalisation would go on measuring. Everything behind them is trainable again."""
    parts = cut(model, depth)
    frozen = {id(parameter) for module in parts.frozen for parameter in module.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) not in frozen)
    for name, parameter in model.named_parameters():
        if name.startswith(SIDE_BRANCHES):
            parameter.requires_grad_(False)
    return parts.frozen


def freeze_named(model: nn.Module, text: str) -> tuple[nn.Module, ...]:
    """`freeze` to the depth that a person named. Raises UsageError with the depths there are."""
    return freeze(model, find_depth(model, text))


def thaw(model: nn.Module, depth: str, fraction: float) -> tuple[nn.Module, ...]:
    """Of what is trained behind `depth`, release the last `fraction` (0: the last layer alone; from 1: everything).
    Only modules with parameters count.

    Returns the modules that still wait, which `hold_still` keeps in evaluation mode. Gradual unfreezing: Howard and
    Ruder 2018 (arXiv:1801.06146), section 3.3.
    """
    live = cut(model, depth).live
    positions = [number for number, module in enumerate(live) if any(True for _ in module.parameters())]
    num_released = max(1, min(len(positions), 1 + int(fraction * (len(positions) - 1) + 1e-9)))
    first = positions[-num_released] if num_released < len(positions) else 0
    waiting, released = live[:first], live[first:]
    for modules, is_trained in ((waiting, False), (released, True)):
        for module in modules:
            module.requires_grad_(is_trained)
    return waiting


def hold_still(frozen: tuple[nn.Module, ...]) -> None:
    """Evaluation mode for frozen parts inside a network that is in training mode: fixed statistics, no dropout."""
    for module in frozen:
        module.eval()


def transplant(backbone: nn.Module, name: str, spec: ModelSpec, head: str = LINEAR) -> tuple[str, ImageClassifier]:
    """(name, network): the body of `backbone`, a network called `name`, with a fresh last layer for `spec`.

    The name is what `resolve_model` builds it from. `head` is `linear`, `loglinear` or `hiddenN`; dense layers before
    the last one, as VGG has them, are part of the body and stay, and a logarithm that the backbone has goes where
    `linear` is asked for. The first convolution is brought to the channels of
    `spec` as `for_channels` says. Raises ModelError.
    """
    layers = [layer for layer_name, layer in backbone.named_modules() if layer_name.startswith("head")]
    num_dense = sum(isinstance(layer, nn.Linear) for layer in layers)
    name = _without_logarithm(name, spec) if head == LINEAR else name
    keeps_own = num_dense > 1 if head == LOGLINEAR else num_dense > 0 and head == LINEAR
    own_name = name if keeps_own else f"{name.partition('+')[0]}+{head}"
    model = resolve_model(own_name, spec)
    classifier, last = _ends_in_dense(model)
    last_name = next(module_name for module_name, module in model.named_modules() if module is last)
    fresh = (SIDE_BRANCHES, f"{last_name}." if keeps_own else "head.")
    own, theirs = model.state_dict(), backbone.state_dict()
    wanted = [tensor_name for tensor_name in own if not tensor_name.startswith(fresh)]
    num_channels = spec.input_CHW[0]
    theirs |= {name: _adapted(theirs[name], own[name], num_channels) for name in wanted if name in theirs}
    wrong = [tensor for tensor in wanted if tensor not in theirs or theirs[tensor].shape != own[tensor].shape]
    if wrong:
        raise ModelError(
            f"{printable(name)} does not hold {len(wrong)} of the tensors that {printable(own_name)} needs, "
            f"'{printable(wrong[0])}' first.\nIts weights were trained for another input size or variant."
        )
    with torch.no_grad():
        for tensor_name in wanted:
            own[tensor_name].copy_(theirs[tensor_name])
    return own_name, classifier


def _without_logarithm(name: str, spec: ModelSpec) -> str:
    """`NAME+loglinear` without the logarithm: NAME where that is a body and one dense layer, else NAME+linear."""
    own, _, word = name.partition("+")
    if word != LOGLINEAR:
        return name
    with without_weights():
        network = resolve_model(own, spec)
    num_tensors = sum(tensor_name.startswith("head.") for tensor_name in network.state_dict())
    return own if _last_dense(network) is not None and num_tensors == 2 else f"{own}+{LINEAR}"


def for_channels(weight_OIHW: torch.Tensor, num_channels: int) -> torch.Tensor:
    """Filters of grey or RGB (O, 1 or 3, H, W) for images of `num_channels`, by the rule of timm's adapt_input_conv
    (1.0.31, models/_manipulate.py).

    For one channel those of RGB are summed: a grey picture gets the answers of one with three equal channels. For more
    they are repeated in turn (red, green, blue, red, ...) and scaled by 3 over the number of channels, so that sums
    keep their size: an image whose channels repeat red, green and blue as often gets the answers of the RGB image.
    """
    num_own = weight_OIHW.shape[1]
    if num_channels == 1:
        return weight_OIHW.sum(dim=1, keepdim=True)
    turns = torch.arange(num_channels, device=weight_OIHW.device) % num_own
    return weight_OIHW[:, turns] * (num_own / num_channels)


def _adapted(theirs: torch.Tensor, own: torch.Tensor, num_channels: int) -> torch.Tensor:
    """`theirs`, brought to `num_channels` where these are filters of grey or RGB and `own` those of such images."""
    if theirs.ndim != 4 or own.ndim != 4 or theirs.shape == own.shape or own.shape[1] != num_channels:
        return theirs
    is_known = theirs.shape[1] == 3 or (theirs.shape[1] == 1 and num_channels != 3)  # colours are no copies of grey
    is_rest_equal = (own.shape[0], *own.shape[2:]) == (theirs.shape[0], *theirs.shape[2:])
    return for_channels(theirs, num_channels) if is_known and is_rest_equal else theirs


def last_layer(model: nn.Module) -> nn.Linear:
    """The dense layer that gives the logits. Raises ModelError where there is none."""
    return _ends_in_dense(model)[1]


def last_is_head(model: nn.Module) -> bool:
    """Whether the head sees what its last dense layer sees, since only dropout stands between. Raises ModelError."""
    head = _ends_in_dense(model)[0].head
    return isinstance(head, nn.Linear) or all(isinstance(layer, nn.Dropout) for layer in list(head.children())[:-1])


def parts_of_parameters(model: nn.Module) -> list[tuple[str, list[nn.Parameter]]]:
    """Named parts from the input on with their parameters; the last dense layer comes last, as `last`."""
    classifier, last = _ends_in_dense(model)
    parts = [(name, list(module.parameters())) for name, module in _chain(classifier)]
    return [*((name, parameters) for name, parameters in parts if parameters), ("last", list(last.parameters()))]


def _chain(model: ImageClassifier) -> list[tuple[str, nn.Module]]:
    """Everything before the last dense layer, named, in order."""
    layers = [] if isinstance(model.head, nn.Linear) else list(model.head.children())[:-1]
    return [
        ("stem", model.stem),
        *model.stages.named_children(),
        ("neck", model.neck),
        *(("head", layer) for layer in layers),
    ]


def _ends_in_dense(model: nn.Module) -> tuple[ImageClassifier, nn.Linear]:
    last = _last_dense(model)
    if not isinstance(model, ImageClassifier) or last is None:
        raise ModelError(
            "The last layer of this network is not a dense layer, so it cannot be exchanged for one of other classes.\n"
            "Take a registered network ('saccade models'), or NAME+linear for one that ends in a convolution."
        )
    return model, last


def _last_dense(model: nn.Module) -> nn.Linear | None:
    head = getattr(model, "head", None)
    if isinstance(head, nn.Linear):
        return head
    layers = list(head.children()) if isinstance(head, nn.Sequential) else []
    return layers[-1] if layers and isinstance(layers[-1], nn.Linear) else None
