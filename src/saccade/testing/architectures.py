"""The contract of a network: `check_architecture` runs it and says which promise is broken, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..core.errors import ModelError, printable
from ..core.torch_private.tracing import TorchDispatchMode
from ..models.architecture import MODELS, Architecture, ImageClassifier, ModelSpec
from ..models.build import without_weights
from .contract import broken, errors_told, require_subject

NUM_CLASSES = 7
SMALL_PX = (64, 96)  # sides of the input that a network is run with: the first one that it takes
MAX_RUN_PARAMETERS = 30_000_000  # larger networks are counted, not run
BATCH = 2  # images: the fewest that batch normalisation takes, and that can depend on each other


def check_architecture(architecture: str | Architecture = "") -> None:
    """Raise ContractError with what to write and where, unless a registered network keeps its promises.

    It is described and cited, its parts have the field's names, its published figures are met exactly, it takes grey
    images and refuses those that are too small. Networks of up to 30 million parameters are run: every parameter gets a
    gradient, an image's logits do not depend on the others, the seed decides the weights. Torch's own random state
    stays as it was.
    """
    require_subject(architecture, Architecture, "check_architecture", "Write check_architecture('mine')")
    name = architecture if isinstance(architecture, str) else architecture.name
    if isinstance(architecture, Architecture) and (name not in MODELS or MODELS.get(name) != architecture):
        broken(
            f"network '{printable(name)}'",
            "it is not registered under its name",
            "Write 'register(architecture, __name__)' below it; it is in saccade.models.architecture",
            architecture.build,
        )
    entry = MODELS.get(name)
    with errors_told(f"network '{printable(entry.name)}'", entry.build):
        _check_promises(entry)


def _check_promises(entry: Architecture) -> None:
    _check_description(entry)
    _check_parts(entry)
    _check_figures(entry)
    _check_sizes(entry)
    if _count_parameters(entry) < MAX_RUN_PARAMETERS:
        spec = runnable_spec(entry)
        with torch.random.fork_rng(devices=[]):
            model = _drawn(entry, spec, 3)
            _check_seed(entry, spec, model)
            _check_step(entry, spec, model)


def runnable_spec(architecture: Architecture) -> ModelSpec:
    """A small input that the network takes: 64 or 96 pixels a side, or its usual one."""
    channels, height_px, width_px = architecture.default_spec.input_CHW
    for side_px in SMALL_PX:
        input_CHW = (channels, min(height_px, side_px), min(width_px, side_px))
        small = ModelSpec(num_classes=NUM_CLASSES, input_CHW=input_CHW)
        try:
            with without_weights():
                architecture.build(small).eval()(torch.zeros(1, *small.input_CHW))
        except ModelError:
            continue
        return small
    return ModelSpec(num_classes=NUM_CLASSES, input_CHW=architecture.default_spec.input_CHW)


def _broken(architecture: Architecture, what: str, remedy: str) -> NoReturn:
    broken(f"network '{printable(architecture.name)}'", what, remedy, architecture.build)


def _check_description(architecture: Architecture) -> None:
    if not 10 <= len(architecture.summary) <= 90:
        _broken(architecture, "its summary does not have 10 to 90 characters", "Write summary= for 'saccade models'")
    if not any(character.isdigit() for character in architecture.citation):
        _broken(architecture, "its citation has no year", "Write citation= with authors, year, title and arXiv number")
    if not architecture.references:
        _broken(
            architecture,
            "it states no published figures",
            "Write references=(Reference(spec=..., source=..., parameters=..., multiply_adds=...),)",
        )


def _meta(architecture: Architecture, spec: ModelSpec) -> nn.Module:
    with without_weights():
        return architecture.build(spec).eval().requires_grad_(False)


@contextmanager
def _only_shapes() -> Iterator[None]:
    """Networks without weights give shapes in this block, and nothing of their gradients is kept."""
    with torch.device("meta"), torch.no_grad(), _ShortNorms():  # type: ignore[no-untyped-call]
        yield


class _ShortNorms(TorchDispatchMode):
    """Answers a batch normalisation whose sizes fit by its shape: to that, torch takes most of a network's time."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the other answer imports torch's compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_norm = func.overloadpacket.__name__ in ("native_batch_norm", "_native_batch_norm_legit_no_training")
        if is_norm and all(value is None or value.shape == args[0].shape[1:2] for value in args[1:5]):
            nothing = args[0].new_empty(0)
            return torch.empty_like(args[0]), nothing, nothing
        return func(*args, **(kwargs or {}))


def _count_parameters(architecture: Architecture) -> int:
    return sum(parameter.numel() for parameter in _meta(architecture, architecture.default_spec).parameters())


def _check_parts(architecture: Architecture) -> None:
    model = _meta(architecture, architecture.default_spec)
    if not isinstance(model, ImageClassifier):
        _broken(architecture, "build does not give an ImageClassifier", "Derive the network from ImageClassifier")
    names = [name for name, _ in model.endpoints()]
    wanted = ["stem", *(f"stage{number + 1}" for number in range(len(model.stages))), "neck", "head"]
    if names != wanted:
        _broken(
            architecture, f"its parts are {', '.join(names)}", f"Name them {', '.join(wanted)}: they are a file format"
        )
    others = {key.split(".")[0] for key in model.state_dict()} - {"stem", "stages", "neck", "head", "auxiliary"}
    if others:
        _broken(
            architecture,
            f"weights lie outside its parts, in {', '.join(sorted(others))}",
            "Put them into stem, stages, neck, head or auxiliary",
        )


def _check_figures(architecture: Architecture) -> None:
    for reference in architecture.references:
        model = _meta(architecture, reference.spec)
        with FlopCounterMode(display=False) as counter, _only_shapes():
            model(torch.zeros(1, *reference.spec.input_CHW))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        multiply_adds = counter.get_total_flops() // 2
        if (reference.parameters, reference.multiply_adds) != (parameters, multiply_adds):
            _broken(
                architecture,
                f"it has {parameters:,} parameters and {multiply_adds:,} multiply-adds, and its reference "
                f"({printable(reference.source)}) states {reference.parameters:,} and {reference.multiply_adds:,}",
                "Build what was published, or correct the reference and say where its figures come from",
            )


def _check_sizes(architecture: Architecture) -> None:
    channels, height_px, width_px = architecture.default_spec.input_CHW
    grey = ModelSpec(num_classes=3, input_CHW=(1, height_px, width_px))
    if _logits_shape(architecture, grey) != (1, 3):
        _broken(architecture, "it does not give logits_BK of grey images", "Take the channels from spec.input_CHW[0]")
    smallest = ModelSpec(num_classes=3, input_CHW=(channels, 1, 1))
    try:
        shape = _logits_shape(architecture, smallest)
    except ModelError as error:
        start = f"{architecture.name} cannot take an input of 1x1x{channels}: layer '"
        if not error.message.startswith(start) or not 2 <= len(error.message.splitlines()) <= 4:
            _broken(
                architecture,
                "its refusal of an input of one pixel does not name the layer",
                "Raise it by saccade.models.architecture.does_not_fit",
            )
    else:
        if shape != (1, 3):
            _broken(architecture, "it gives no logits_BK of one pixel", "Refuse what is too small by does_not_fit")


def _logits_shape(architecture: Architecture, spec: ModelSpec) -> tuple[int, ...]:
    """Shape of the logits. A RuntimeError of torch is a broken promise: the layer's size was not checked."""
    model = _meta(architecture, spec)
    try:
        with _only_shapes():
            return tuple(model(torch.zeros(1, *spec.input_CHW)).shape)
    except RuntimeError as error:
        height_px, width_px = spec.input_CHW[1:]
        _broken(
            architecture,
            f"an input of {height_px}x{width_px}x{spec.input_CHW[0]} ends in torch's own error: "
            f"{printable(str(error).splitlines()[0])[:120]}",
            "Refuse the sizes that a layer cannot take by saccade.models.architecture.does_not_fit",
        )


def _check_step(architecture: Architecture, spec: ModelSpec, model: ImageClassifier) -> None:
    image_BCHW = torch.randn(BATCH, *spec.input_CHW, generator=torch.Generator().manual_seed(1))
    logits_BK, auxiliary = model.train().forward_train(image_BCHW)
    if logits_BK.shape != (BATCH, NUM_CLASSES):
        _broken(architecture, f"its logits have the shape {tuple(logits_BK.shape)}", "Return logits_BK")
    losses = [logits_BK.square().mean(), *(weight * other_BK.square().mean() for weight, other_BK in auxiliary)]
    torch.stack(losses).sum().backward()
    without = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    if without:
        _broken(
            architecture,
            f"{len(without)} of its parameters never get a gradient, the first '{without[0]}'",
            "Use them in forward_train, or leave them out",
        )
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        _broken(architecture, "a gradient of a fresh network is not finite", "Check its initialisation and its powers")
    model.eval()
    with torch.no_grad():
        alone_BK = model(image_BCHW[:1])
        if _depends_on_others(model, image_BCHW):
            _broken(
                architecture,
                "when it answers, an image's logits depend on the other images of its batch",
                "Use batch statistics, dropout and their like in training only",
            )
        if not torch.equal(model.head(model.forward_features(image_BCHW[:1])), alone_BK):
            _broken(
                architecture, "forward is not head after forward_features", "Let forward be head(forward_features(x))"
            )


def _depends_on_others(model: nn.Module, image_BCHW: torch.Tensor) -> bool:
    """Whether the first image's logits are others in a batch than alone. In a deep network whose averages have seen one
    batch, rounding alone grows to that; in float64 it does not."""
    for dtype in (torch.float32, torch.float64):
        try:
            together_BK = model.to(dtype)(image_BCHW.to(dtype))[:1]
            alone_BK = model(image_BCHW[:1].to(dtype))
        except RuntimeError:  # a network that computes in float32 alone
            break
        finally:
            model.float()
        if torch.allclose(together_BK, alone_BK, rtol=1e-4, atol=1e-4):
            return False
    return True


def _drawn(architecture: Architecture, spec: ModelSpec, seed: int) -> ImageClassifier:
    """The network with the weights that torch's `seed` gives it."""
    torch.manual_seed(seed)
    model = architecture.build(spec)
    if not isinstance(model, ImageClassifier):
        _broken(architecture, "build does not give an ImageClassifier", "Derive the network from ImageClassifier")
    return model


def _check_seed(architecture: Architecture, spec: ModelSpec, first: ImageClassifier) -> None:
    def equal(second: ImageClassifier) -> bool:
        ours, others = list(first.parameters()), list(second.parameters())
        return len(ours) == len(others) and all(map(torch.equal, ours, others))

    if not equal(_drawn(architecture, spec, 3)) or equal(_drawn(architecture, spec, 4)):
        _broken(
            architecture,
            "torch's seed does not decide its weights",
            "Initialise them by torch.nn.init with torch's own random numbers",
        )
